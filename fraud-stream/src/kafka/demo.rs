//! `fraud-stream demo`: a stream to look at, without any set-up.
//!
//! The broker is librdkafka's mock cluster, inside this process. It moves messages and keeps offsets, but its
//! transactions are a pretence: so the demo delivers at least once, and shows nothing about guarantees.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use fraud_core::service::clock;
use fraud_loadgen::simulator::{Settings as Simulation, Simulator};
use hashbrown::HashSet;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use super::error::StreamError;
use super::run::{Shared, run_shared};
use super::settings::{Delivery, StreamSettings};

/// Partitions of the input.
const PARTITIONS: i32 = 6;
const WEEK: i64 = 7 * 86_400;

/// How much to show.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Simulated days; the stream runs through them as fast as --rate lets it
    #[arg(long, value_name = "DAYS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// Simulated customers
    #[arg(long, value_name = "COUNT", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    customers: u32,
    /// Transactions a second; 0 sends as fast as it goes
    #[arg(long, value_name = "COUNT", default_value_t = 3_000)]
    rate: u64,
    /// Everything random follows from it
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
}

/// What is on its way.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    labels: AtomicU64,
    all_sent: AtomicBool,
}

/// What came back.
#[derive(Debug, Default)]
struct Seen {
    scored: u64,
    decisions: [u64; 3],
    frauds: u64,
    caught: u64,
    /// Milliseconds from record to prediction: of all, and since the last line.
    latencies: Vec<u32>,
    recent: Vec<u32>,
}

/// Runs the command.
///
/// # Errors
/// [`StreamError`].
pub fn demo(arguments: &DemoArgs) -> Result<(), StreamError> {
    let cluster = MockCluster::new(1).map_err(StreamError::kafka("start the broker"))?;
    let settings = settings(cluster.bootstrap_servers());
    let kafka = &settings.kafka;
    for (topic, partitions) in [
        (&kafka.input_topic, PARTITIONS),
        (&kafka.predictions_topic, PARTITIONS),
        (&kafka.dead_letter_topic, 1),
        (&kafka.journal_topic, 1),
        (&settings.labels.topic, 1),
    ] {
        cluster.create_topic(topic, partitions, 1).map_err(StreamError::kafka("make a topic"))?;
    }
    let simulation = Simulation {
        customers: arguments.customers,
        terminals: arguments.customers * 2,
        days: arguments.days,
        seed: arguments.seed,
        ..Simulation::default()
    };
    let simulator = Simulator::new(simulation).map_err(|error| StreamError::Arguments(error.to_string()))?;
    let payments: Vec<_> = simulator.payments().collect();
    let frauds: HashSet<u64> =
        (0_u64..).zip(&payments).filter(|(_, payment)| payment.fraud.is_some()).map(|(id, _)| id).collect();
    println!(
        "{} payments of {} customers over {} days, {} of them fraud; a broker inside this process at {}",
        payments.len(),
        arguments.customers,
        arguments.days,
        frauds.len(),
        kafka.brokers
    );
    let shared = Shared::new(&settings)?;
    let counts = Counts::default();
    let (begin, start) = (Instant::now(), simulator.settings().start);
    std::thread::scope(|scope| {
        let stream = scope.spawn(|| run_shared(&settings, &shared));
        let sender = scope.spawn(|| send(&settings, (&payments, start), (arguments.rate, &counts)));
        let watched = watch(&settings, (&counts, &frauds), &|| stream.is_finished());
        shared.stop();
        counts.all_sent.store(true, Ordering::Release);
        let ended = || StreamError::Internal("a thread of the demo ended early".to_owned());
        let sent = sender.join().map_err(|_| ended())?;
        stream.join().map_err(|_| ended())??;
        sent?;
        summary(&watched?, (&counts, begin.elapsed()), &shared);
        Ok(())
    })
}

fn settings(brokers: String) -> StreamSettings {
    let mut settings = StreamSettings::default();
    settings.kafka.brokers = brokers;
    settings.kafka.delivery = Delivery::AtLeastOnce;
    settings.server.bind = String::new();
    // The simulation's days pass in seconds, so its partitions are far apart at any moment.
    settings.store.lateness = fraud_core::service::settings::Span::seconds(7 * 86_400);
    settings
}

/// Sends payments, and the label of each fraud a week of event time after it.
fn send(
    settings: &StreamSettings,
    (payments, start): (&[fraud_loadgen::simulator::Payment], i64),
    (rate, counts): (u64, &Counts),
) -> Result<(), StreamError> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &settings.kafka.brokers)
        .set("queue.buffering.max.ms", "2")
        .create()
        .map_err(StreamError::kafka("make a producer"))?;
    let begin = Instant::now();
    let mut known = payments.iter().enumerate().filter(|(_, payment)| payment.fraud.is_some()).peekable();
    for (id, payment) in payments.iter().enumerate() {
        while rate > 0 && begin.elapsed().as_secs_f64() * (rate as f64) < id as f64 {
            std::thread::sleep(Duration::from_millis(1));
        }
        if counts.all_sent.load(Ordering::Acquire) {
            return Ok(());
        }
        let time = start + payment.time_seconds();
        while let Some((fraud, _)) = known.next_if(|(_, fraud)| start + fraud.time_seconds() + WEEK <= time) {
            let label = format!("{{\"transaction_id\":{fraud},\"label\":true,\"observed_at\":{time}}}");
            put(&producer, (&settings.labels.topic, 0), ("", &label))?;
            counts.labels.fetch_add(1, Ordering::Relaxed);
        }
        let customer = payment.customer.to_string();
        let value = format!(
            "{{\"transaction_id\":{id},\"customer_id\":{customer},\"terminal_id\":{},\"tx_amount\":{},\
             \"tx_time_seconds\":{time}}}",
            payment.terminal,
            payment.amount()
        );
        let partition = i32::try_from(payment.customer % PARTITIONS.unsigned_abs()).unwrap_or(0);
        put(&producer, (&settings.kafka.input_topic, partition), (&customer, &value))?;
        counts.sent.fetch_add(1, Ordering::Relaxed);
    }
    producer.flush(Duration::from_secs(30)).map_err(StreamError::kafka("send"))?;
    counts.all_sent.store(true, Ordering::Release);
    Ok(())
}

fn put(
    producer: &BaseProducer,
    (topic, partition): (&str, i32),
    (key, value): (&str, &str),
) -> Result<(), StreamError> {
    let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
    loop {
        producer.poll(Duration::ZERO);
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((error, back)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => record = back,
            Err((error, _)) => return Err(StreamError::from_kafka("send", &error)),
        }
        producer.poll(Duration::from_millis(5));
    }
}

/// Reads predictions until there is one for each payment, and says once a second how it goes.
fn watch(
    settings: &StreamSettings,
    (counts, frauds): (&Counts, &HashSet<u64>),
    ended: &dyn Fn() -> bool,
) -> Result<Seen, StreamError> {
    #[derive(serde::Deserialize)]
    struct Prediction {
        transaction_id: fraud_core::Id,
        decision: fraud_core::Decision,
    }
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &settings.kafka.brokers)
        .set("group.id", "demo")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "20")
        .create()
        .map_err(StreamError::kafka("make a consumer"))?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let added = list.add_partition_offset(&settings.kafka.predictions_topic, partition, Offset::Beginning);
        added.map_err(StreamError::kafka("read the predictions"))?;
    }
    consumer.assign(&list).map_err(StreamError::kafka("read the predictions"))?;
    let mut seen = Seen::default();
    let (mut line, mut before) = (Instant::now(), 0);
    loop {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50))
            && let Some(prediction) =
                message.payload().and_then(|value| serde_json::from_slice::<Prediction>(value).ok())
        {
            seen.scored += 1;
            seen.decisions[prediction.decision as usize] += 1;
            let id = prediction.transaction_id.to_string().parse::<u64>().unwrap_or(u64::MAX);
            if frauds.contains(&id) {
                seen.frauds += 1;
                seen.caught += u64::from(prediction.decision != fraud_core::Decision::Approve);
            }
            let now = i64::try_from(clock::unix_millis()).unwrap_or(i64::MAX);
            let sent = message.headers().and_then(|headers| {
                let header = headers.iter().find(|header| header.key == "record-time")?;
                std::str::from_utf8(header.value?).ok()?.parse::<i64>().ok()
            });
            let took = now - sent.unwrap_or(now);
            let took = u32::try_from(took.max(0)).unwrap_or(u32::MAX);
            seen.latencies.push(took);
            seen.recent.push(took);
        }
        let done = counts.all_sent.load(Ordering::Acquire) && seen.scored >= counts.sent.load(Ordering::Acquire);
        if line.elapsed() >= Duration::from_secs(1) || done {
            show(&mut seen, (counts, before, line.elapsed()));
            (line, before) = (Instant::now(), seen.scored);
        }
        if done || ended() {
            if std::io::stdout().is_terminal() {
                println!();
            }
            return Ok(seen);
        }
    }
}

fn show(seen: &mut Seen, (counts, before, elapsed): (&Counts, u64, Duration)) {
    let rate = (seen.scored - before) as f64 / elapsed.as_secs_f64().max(0.001);
    seen.recent.sort_unstable();
    let (p50, p99) = (quantile(&seen.recent, 0.5), quantile(&seen.recent, 0.99));
    seen.recent.clear();
    let [approve, review, decline] = seen.decisions;
    let text = format!(
        "{:>8} sent  {:>8} scored  {rate:>7.0}/s  end to end p50 {p50} ms p99 {p99} ms  {approve} approve {review} review \
         {decline} decline  {} labels",
        counts.sent.load(Ordering::Relaxed),
        seen.scored,
        counts.labels.load(Ordering::Relaxed)
    );
    if std::io::stdout().is_terminal() {
        print!("\r{text}\x1b[K");
        let _ = std::io::stdout().flush();
    } else {
        println!("{text}");
    }
}

fn quantile(sorted: &[u32], share: f64) -> u32 {
    #[allow(clippy::cast_possible_truncation)] // An index below the length.
    let index = ((sorted.len() as f64 - 1.0).max(0.0) * share).round() as usize;
    sorted.get(index).copied().unwrap_or(0)
}

fn summary(seen: &Seen, (counts, took): (&Counts, Duration), shared: &Arc<Shared>) {
    let [approve, review, decline] = seen.decisions;
    let seconds = took.as_secs_f64();
    let end_to_end = &shared.metrics.end_to_end;
    let mean = end_to_end.get_sample_sum() / end_to_end.get_sample_count().max(1) as f64 * 1_000.0;
    println!(
        "\n{} payments scored in {seconds:.1} s ({:.0}/s), {} labels taken in on the way",
        seen.scored,
        seen.scored as f64 / seconds,
        counts.labels.load(Ordering::Relaxed)
    );
    println!("approve {approve}, review {review}, decline {decline}");
    println!("of {} frauds {} were held for review or declined", seen.frauds, seen.caught);
    println!("from a payment's record to the commit of its prediction: {mean:.0} ms on average");
    println!("\nThe broker was a mock inside this process: it shows the stream, not its guarantees. For those, a real");
    println!("one: scripts/kafka.sh start, then FRAUD__KAFKA__BROKERS=<its address> fraud-stream run");
}
