//! What consuming and producing cost by themselves: the yardstick for `fraud-stream run`.
//!
//! ```text
//! bare_loop load  BROKERS TOPIC FILE [RATE]    sends the lines of a file, RATE a second or as fast as it goes; with a
//!                                              rate, the first of each partition two seconds before the others, since
//!                                              connections, producer ids and first transactions take time once
//! bare_loop copy  BROKERS INPUT OUTPUT COUNT   copies records to another topic, exactly once, until COUNT are done
//! bare_loop watch BROKERS TOPIC COUNT          reads COUNT records; prints latencies from header `sent` or record time
//! ```
//!
//! `copy` does what the stream does around scoring: one consumer of all partitions, batches of up to 10,000 or 5 ms,
//! and per batch one transaction of records and offsets. Key, value and time are passed on; nothing is parsed.

use std::error::Error;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

type Outcome = Result<(), Box<dyn Error>>;
const BATCH: usize = 10_000;
const WAIT: Duration = Duration::from_millis(5);
const ASK: Duration = Duration::from_secs(30);

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["load", brokers, topic, file, rate @ ..] => load((brokers, topic), file, rate.first().copied()),
        ["copy", brokers, input, output, count] => copy(brokers, (input, output), count.parse()?),
        ["watch", brokers, topic, count] => watch((brokers, topic), count.parse()?),
        _ => Err("see the top of this example's source".into()),
    }
}

fn millis() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<i32, Box<dyn Error>> {
    let metadata = consumer.fetch_metadata(Some(topic), ASK)?;
    Ok(i32::try_from(metadata.topics().first().map_or(0, |topic| topic.partitions().len()))?)
}

fn consumer(brokers: &str, topic: &str) -> Result<BaseConsumer, Box<dyn Error>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "100")
        .set("queued.min.messages", "50000")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions(&consumer, topic)? {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

fn load((brokers, topic): (&str, &str), file: &str, rate: Option<&str>) -> Outcome {
    let rate: f64 = rate.map_or(Ok(0.0), str::parse)?;
    let text = std::fs::read_to_string(file)?;
    let asker = consumer(brokers, topic)?;
    let count = u64::try_from(partitions(&asker, topic)?)?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("queue.buffering.max.ms", "1")
        .set("queue.buffering.max.messages", "500000")
        .create()?;
    let mut begin = Instant::now();
    let mut worst = 0.0_f64;
    let first = if rate > 0.0 { usize::try_from(count)? } else { 0 };
    for (index, line) in text.lines().enumerate() {
        if rate > 0.0 && index == first {
            producer.flush(ASK)?;
            std::thread::sleep(Duration::from_secs(2));
            begin = Instant::now();
        }
        if rate > 0.0 && index >= first {
            let due = (index - first) as f64 / rate;
            while begin.elapsed().as_secs_f64() < due {
                producer.poll(Duration::ZERO);
                std::thread::sleep(Duration::from_micros(200));
            }
            worst = worst.max(begin.elapsed().as_secs_f64() - due);
        }
        let row: serde_json::Value = serde_json::from_str(line)?;
        let field = row.get("customer_id").or_else(|| row.get("CUSTOMER_ID")).ok_or("no customer_id")?;
        let customer = field.as_u64().map_or_else(|| field.to_string(), |id| id.to_string());
        let hash = customer.bytes().fold(7_u64, |hash, byte| hash * 31 + u64::from(byte));
        let partition = i32::try_from(if index < first { index as u64 } else { hash } % count)?;
        let mut record = BaseRecord::to(topic).partition(partition).key(&customer).payload(line).timestamp(millis());
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(5));
        }
        if index % 1_000 == 0 || rate > 0.0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(ASK)?;
    println!("loaded in {:.2} s, at most {:.1} ms behind schedule", begin.elapsed().as_secs_f64(), worst * 1e3);
    Ok(())
}

fn copy(brokers: &str, (input, output): (&str, &str), wanted: usize) -> Outcome {
    let consumer = consumer(brokers, input)?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", "bare")
        .set("queue.buffering.max.ms", "1")
        .set("batch.num.messages", "20000")
        .set("queue.buffering.max.messages", "200000")
        .set("delivery.report.only.error", "true")
        .create()?;
    producer.init_transactions(ASK)?;
    let (mut done, mut begin) = (0, Instant::now());
    let mut batch: Vec<BorrowedMessage<'_>> = Vec::new();
    while done < wanted {
        batch.clear();
        let Some(first) = consumer.poll(Duration::from_millis(100)) else { continue };
        if done == 0 {
            begin = Instant::now();
        }
        batch.push(first?);
        let deadline = Instant::now() + WAIT;
        while batch.len() < BATCH {
            match consumer.poll(deadline.saturating_duration_since(Instant::now())) {
                Some(message) => batch.push(message?),
                None => break,
            }
        }
        producer.begin_transaction()?;
        let mut ends = TopicPartitionList::new();
        for message in &batch {
            let headers = OwnedHeaders::new_with_capacity(4)
                .insert(Header { key: "model-version", value: Some("none") })
                .insert(Header { key: "schema-version", value: Some("1") })
                .insert(Header { key: "input", value: Some("0:0") })
                .insert(Header {
                    key: "record-time",
                    value: Some(&message.timestamp().to_millis().unwrap_or(0).to_string()),
                });
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(output).headers(headers);
            (record.key, record.payload) = (message.key(), message.payload());
            while let Err((_, back)) = producer.send(record) {
                record = back;
                give_time(&producer);
            }
        }
        let mut last: std::collections::BTreeMap<i32, i64> = std::collections::BTreeMap::new();
        last.extend(batch.iter().map(|message| (message.partition(), message.offset() + 1)));
        for (partition, offset) in last {
            ends.add_partition_offset(input, partition, Offset::Offset(offset))?;
        }
        while producer.in_flight_count() > 0 {
            give_time(&producer);
        }
        let group = consumer.group_metadata().ok_or("no group")?;
        producer.send_offsets_to_transaction(&ends, &group, ASK)?;
        producer.commit_transaction(ASK)?;
        done += batch.len();
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("copied {done} in {seconds:.3} s: {:.0}/s", done as f64 / seconds);
    Ok(())
}

/// Not `poll` with a millisecond: that would spin, and take the processor from the broker.
fn give_time(producer: &BaseProducer) {
    producer.poll(Duration::ZERO);
    std::thread::sleep(Duration::from_micros(250));
}

fn watch((brokers, topic): (&str, &str), wanted: usize) -> Outcome {
    let consumer = consumer(brokers, topic)?;
    let mut took: Vec<i64> = Vec::with_capacity(wanted);
    while took.len() < wanted {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        let sent = message.headers().and_then(|headers| {
            let header = headers.iter().find(|header| header.key == "record-time")?;
            std::str::from_utf8(header.value?).ok()?.parse().ok()
        });
        let sent = sent.or_else(|| message.timestamp().to_millis()).unwrap_or_default();
        took.push(millis() - sent);
    }
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!("{wanted} records: p50 {} ms, p99 {} ms, p99.9 {} ms", at(0.5), at(0.99), at(0.999));
    Ok(())
}
