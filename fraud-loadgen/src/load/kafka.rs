//! Open-loop load through Kafka: a producer on the schedule, and a reader of the assessments that measures end to end.
//!
//! A request's bytes are a [`frame`]: key, transaction id and message. Latency counts from the intended start to the moment
//! at which the assessment was read (or, where nobody reads, at which the broker confirmed the message). What is
//! malformed has no assessment: it ends with the broker's confirmation.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::batch::{Batch, Kind, Source, Truth};
use super::clock::{Clock, MILLISECOND, SECOND, nanoseconds};
use super::engine::{AHEAD, Measured, RunError, Seconds, make};
use super::outcomes;
use super::schedule::Arrival;
use super::stats::{End, Outcome, Stats};

/// Time between the beginning and the first intended start.
const LEAD: Duration = Duration::from_millis(200);
/// How long the brokers may take to tell of a topic.
const METADATA: Duration = Duration::from_secs(10);
/// A sleep ends late by about as much; the rest of a wait is spent looking at the clock.
const OVERSLEEP: u64 = 80_000;
/// Messages sent before confirmations are looked at.
const BURST: usize = 256;
const UPKEEP: u64 = 20 * MILLISECOND;

/// Where messages go, and where assessments come from.
#[derive(Debug, Clone)]
pub struct Topics {
    /// `host:port` of some brokers, parted by commas.
    pub brokers: String,
    /// Transactions.
    pub input: String,
    /// Labels.
    pub labels: String,
    /// Assessments; none is read where there is no name.
    pub predictions: Option<String>,
}

/// What a run through Kafka is made of; see [`super::engine::Run`].
pub struct KafkaRun {
    /// When messages are intended to start.
    pub arrivals: Box<dyn Iterator<Item = Arrival> + Send>,
    /// Number of phases that the arrivals speak of.
    pub phases: usize,
    /// Where they go.
    pub topics: Topics,
    /// From the intended start, how long an assessment is waited for.
    pub timeout: Duration,
    /// Set from outside to end the run early.
    pub stop: Arc<AtomicBool>,
}

/// Writes a frame: the message's key, the transaction's id, and then the message itself.
pub fn frame(key: &[u8], id: &[u8], out: &mut Vec<u8>) {
    for part in [key, id] {
        // Identifiers have at most 128 bytes.
        out.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(&part[..part.len().min(usize::from(u16::MAX))]);
    }
}

/// Key, id and message of a frame.
fn unframe(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let part = |bytes: &'_ [u8]| {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length));
        (rest.len() >= length).then_some(length)
    };
    let length = part(bytes)?;
    let (key, rest) = bytes[2..].split_at(length);
    let length = part(rest)?;
    let (id, message) = rest[2..].split_at(length);
    Some((key, id, message))
}

/// A message that has no end yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    due: u64,
    dispatched: u64,
    phase: u16,
    truth: Option<Truth>,
}

/// By transaction id. Both threads look at it; each does so for moments.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<Box<[u8]>, Open>>);

impl Waiting {
    fn put(&self, id: &[u8], open: Open) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.into(), open);
    }

    fn take(&self, id: &[u8]) -> Option<Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }

    fn look(&self, id: &[u8]) -> Option<Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Measurements of one thread.
struct Meter {
    clock: Clock,
    thread: usize,
    seconds: Sender<(usize, u64, Stats)>,
    second: Stats,
    closed: u64,
    phases: Vec<Stats>,
}

impl Meter {
    fn count(&mut self, phase: u16, mut counting: impl FnMut(&mut Stats)) {
        counting(&mut self.second);
        if let Some(stats) = self.phases.get_mut(usize::from(phase)) {
            counting(stats);
        }
    }

    fn end(&mut self, open: Open, end: End, outcome: Outcome) {
        let now = self.clock.now();
        self.count(open.phase, |stats| {
            stats.ends[end as usize] += 1;
            if end != End::Rejected {
                stats.latency.record(now.saturating_sub(open.due));
                stats.from_dispatch.record(now.saturating_sub(open.dispatched));
            }
            if let Some(truth) = open.truth {
                stats.decisions.add(truth, outcome);
            }
        });
    }

    /// Closes the second when it is over.
    fn look_at_clock(&mut self, now: u64) {
        if now >= (self.closed + 1) * SECOND {
            self.close();
        }
    }

    fn close(&mut self) {
        // Nobody listens any more when the run was broken off.
        let _ = self.seconds.send((self.thread, self.closed, std::mem::take(&mut self.second)));
        self.closed = (self.clock.now() / SECOND).max(self.closed + 1);
    }

    fn finish(mut self) -> Vec<Stats> {
        self.close();
        self.phases
    }
}

/// Confirmations of the broker, in the order in which they came.
#[derive(Default)]
struct Confirmations(Mutex<Vec<(Box<[u8]>, bool)>>);

struct Context(Arc<Confirmations>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Box<[u8]>>;

    fn delivery(&self, result: &DeliveryResult<'_>, id: Self::DeliveryOpaque) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).push((*id, result.is_ok()));
    }
}

/// Why Kafka cannot be used.
fn broken(error: &KafkaError) -> io::Error {
    io::Error::other(error.to_string())
}

/// Runs, as [`super::engine::run`] does.
///
/// # Errors
/// [`RunError`]; brokers that cannot be reached are [`RunError::Io`].
pub fn run<S: Source>(
    run: KafkaRun,
    source: &mut S,
    every: Duration,
    mut watch: impl FnMut(&Clock, Vec<(u64, Stats)>),
) -> Result<Measured, RunError<S::Error>> {
    let confirmations = Arc::new(Confirmations::default());
    let producer = producer(&run.topics, confirmations.clone()).map_err(|error| broken(&error))?;
    let consumer = match &run.topics.predictions {
        Some(topic) => Some(consumer(&run.topics.brokers, topic).map_err(|error| broken(&error))?),
        None => None,
    };
    let clock = Clock::starting_in(LEAD);
    let waiting = Waiting::default();
    let (seconds_in, seconds_out) = channel();
    let threads = 1 + usize::from(consumer.is_some());
    let meter = |thread, seconds: &Sender<_>| Meter {
        clock,
        thread,
        seconds: seconds.clone(),
        second: Stats::default(),
        closed: 0,
        phases: (0..run.phases).map(|_| Stats::default()).collect(),
    };
    let (own, readers) = (meter(0, &seconds_in), consumer.map(|consumer| (consumer, meter(1, &seconds_in))));
    drop(seconds_in);
    // Until when assessments are waited for; 0 while the producer is at work.
    let until = AtomicU64::new(0);
    let (queue, batches) = sync_channel(AHEAD);
    let (stop, waiting, until) = (&*run.stop, &waiting, &until);
    let (arrivals, topics, timeout) = (run.arrivals, &run.topics, nanoseconds(run.timeout));
    thread::scope(|scope| {
        let maker = scope.spawn(move || make(source, arrivals, &[queue], stop));
        let reads = readers.is_some();
        let reader = readers.map(|(consumer, meter)| scope.spawn(move || read(&consumer, meter, (waiting, until))));
        let sender = Sending { producer, confirmations, topics, waiting, reads, meter: own, timeout };
        let sender = scope.spawn(move || {
            let phases = sender.run(&batches, stop);
            until.store(clock.now().saturating_add(1), Ordering::SeqCst);
            phases
        });
        let mut seconds = Seconds::new(threads);
        loop {
            match seconds_out.recv_timeout(every) {
                Ok((thread, second, stats)) => seconds.add(thread, second, &stats),
                Err(RecvTimeoutError::Timeout) => watch(&clock, Vec::new()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let complete = seconds.complete();
            if !complete.is_empty() {
                watch(&clock, complete);
            }
        }
        let elapsed = clock.now();
        watch(&clock, seconds.rest());
        let mut phases = sender.join().map_err(|_| RunError::Thread)?;
        if let Some(reader) = reader {
            let read = reader.join().map_err(|_| RunError::Thread)?;
            phases.iter_mut().zip(&read).for_each(|(whole, part)| whole.add(part));
        }
        maker.join().map_err(|_| RunError::Thread)?.map_err(RunError::Source)?;
        let mut total = Stats::default();
        phases.iter().for_each(|phase| total.add(phase));
        Ok(Measured { phases, total, elapsed })
    })
}

fn producer(topics: &Topics, confirmations: Arc<Confirmations>) -> Result<BaseProducer<Context>, KafkaError> {
    let producer: BaseProducer<Context> = ClientConfig::new()
        .set("bootstrap.servers", &topics.brokers)
        .set("client.id", "fraud-loadgen")
        .set("acks", "all")
        .set("linger.ms", "2")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "500000")
        .create_with_context(Context(confirmations))?;
    producer.client().fetch_metadata(Some(&topics.input), METADATA)?;
    Ok(producer)
}

/// A reader that stands at the end of every partition: assessments of before are nobody's here.
fn consumer(brokers: &str, topic: &str) -> Result<BaseConsumer, KafkaError> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "fraud-loadgen")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "5")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), METADATA)?;
    let mut positions = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
        let (_, end) = consumer.fetch_watermarks(topic, partition.id(), METADATA)?;
        positions.add_partition_offset(topic, partition.id(), Offset::Offset(end))?;
    }
    consumer.assign(&positions)?;
    Ok(consumer)
}

/// Reads assessments until none is waited for, or the time is over.
fn read(consumer: &BaseConsumer, mut meter: Meter, (waiting, until): (&Waiting, &AtomicU64)) -> Vec<Stats> {
    loop {
        let message = consumer.poll(Duration::from_millis(5));
        let now = meter.clock.now();
        meter.look_at_clock(now);
        // A broker that is away for a while is asked again; what it does not answer in time is counted as that.
        if let Some(Ok(message)) = message
            && let Some(open) = message.key().and_then(|key| waiting.take(key))
        {
            let mut outcome = Outcome::Missing;
            let payload = message.payload().unwrap_or_default();
            outcomes::read(payload, 1, |found| outcome = found);
            let bytes = payload.len() as u64;
            meter.count(open.phase, |stats| stats.received_bytes += bytes);
            meter.end(open, End::Answered, outcome);
        } else if until.load(Ordering::SeqCst) > 0 && waiting.is_empty() {
            // The sender keeps at its work until nothing is waited for.
            return meter.finish();
        }
    }
}

/// The producer's side.
struct Sending<'a> {
    producer: BaseProducer<Context>,
    confirmations: Arc<Confirmations>,
    topics: &'a Topics,
    waiting: &'a Waiting,
    reads: bool,
    meter: Meter,
    timeout: u64,
}

impl Sending<'_> {
    fn run(mut self, batches: &Receiver<Batch>, stop: &AtomicBool) -> Vec<Stats> {
        // Ids in the order of their intended starts, for what is not answered in time.
        let mut order: VecDeque<(u64, Box<[u8]>)> = VecDeque::new();
        let (mut ended, mut upkeep) = (false, 0);
        while !ended && !stop.load(Ordering::Relaxed) {
            match batches.try_recv() {
                Ok(batch) => self.send_batch(&batch, stop, &mut order),
                Err(TryRecvError::Empty) => Self::pause(MILLISECOND / 4),
                Err(TryRecvError::Disconnected) => ended = true,
            }
            self.look_after(&mut order, &mut upkeep);
        }
        while !self.waiting.is_empty() || self.producer.in_flight_count() > 0 {
            Self::pause(MILLISECOND);
            self.look_after(&mut order, &mut upkeep);
            if order.is_empty() && self.waiting.is_empty() && self.meter.clock.now() > upkeep + self.timeout {
                break;
            }
        }
        self.look_after(&mut order, &mut 0);
        self.meter.finish()
    }

    fn send_batch(&mut self, batch: &Batch, stop: &AtomicBool, order: &mut VecDeque<(u64, Box<[u8]>)>) {
        let (mut sent, mut upkeep) = (0, 0);
        for request in batch.requests() {
            let due = request.arrival.due;
            loop {
                let now = self.meter.clock.now();
                if (now >= due && self.meter.clock.until_start() == 0) || stop.load(Ordering::Relaxed) {
                    break;
                }
                let wait = due.saturating_sub(now) + self.meter.clock.until_start();
                self.look_after(order, &mut upkeep);
                Self::pause(wait);
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let Some((key, id, message)) = unframe(batch.bytes(request)) else { continue };
            let dispatched = self.meter.clock.now();
            let truth = batch.truths(request).first().copied();
            let open = Open { due, dispatched, phase: request.arrival.phase, truth };
            if request.kind == Kind::Score {
                let bytes = message.len() as u64;
                self.meter.count(open.phase, |stats| {
                    stats.schedule_error.record(dispatched.saturating_sub(due));
                    stats.dispatched += 1;
                    stats.sent_bytes += bytes;
                });
                self.waiting.put(id, open);
                order.push_back((due, id.into()));
            }
            self.send((request.kind, open), (key, id, message));
            sent += 1;
            if sent % BURST == 0 {
                self.look_after(order, &mut upkeep);
            }
        }
    }

    fn send(&mut self, (kind, open): (Kind, Open), (key, id, message): (&[u8], &[u8], &[u8])) {
        let topic = if kind == Kind::Score { &self.topics.input } else { &self.topics.labels };
        let opaque: Box<Box<[u8]>> = Box::new(if kind == Kind::Score { id.into() } else { Box::default() });
        let mut record = BaseRecord::with_opaque_to(topic, opaque).payload(message).key(key);
        let mut waited = false;
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                // The brokers are slower than the schedule. That is theirs to answer for: the latency runs on.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    waited = true;
                    record = back;
                    // Not a poll with a limit: the client library spins through its last millisecond.
                    self.producer.poll(Duration::ZERO);
                    thread::sleep(Duration::from_micros(250));
                }
                Err((_, back)) => {
                    let confirmations = &self.confirmations.0;
                    confirmations.lock().unwrap_or_else(PoisonError::into_inner).push((*back.delivery_opaque, false));
                    break;
                }
            }
        }
        if waited {
            self.meter.count(open.phase, |stats| stats.waited += 1);
        }
    }

    /// Confirmations, time limits, and the end of the second.
    fn look_after(&mut self, order: &mut VecDeque<(u64, Box<[u8]>)>, upkeep: &mut u64) {
        self.producer.poll(Duration::ZERO);
        let confirmed = std::mem::take(&mut *self.confirmations.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (id, is_taken) in confirmed {
            self.confirmed(&id, is_taken);
        }
        let now = self.meter.clock.now();
        self.meter.look_at_clock(now);
        if now < *upkeep {
            return;
        }
        *upkeep = now + UPKEEP;
        while let Some((_, id)) = order.pop_front_if(|(due, _)| *due + self.timeout < now) {
            if let Some(open) = self.waiting.take(&id) {
                self.meter.end(open, End::TimedOut, Outcome::Missing);
            }
        }
    }

    fn confirmed(&mut self, id: &[u8], is_taken: bool) {
        if id.is_empty() {
            // Labels are counted in all; the first phase stands for it.
            self.meter.count(0, |stats| {
                stats.labels_taken += u64::from(is_taken);
                stats.labels_lost += u64::from(!is_taken);
            });
            return;
        }
        // The assessment may have been read before the confirmation came.
        let Some(open) = self.waiting.look(id) else { return };
        let end = match (is_taken, open.truth) {
            (false, _) => End::Broken,
            (true, Some(Truth::Malformed)) => End::Rejected,
            (true, _) if self.reads => return,
            (true, _) => End::Answered,
        };
        if let Some(open) = self.waiting.take(id) {
            self.meter.end(open, end, Outcome::Missing);
        }
    }

    /// Waits at most so long, and not much longer than asked for.
    fn pause(wait: u64) {
        if wait > 2 * OVERSLEEP {
            thread::sleep(Duration::from_nanos((wait - OVERSLEEP).min(MILLISECOND)));
        } else {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_apart_as_they_were_put_together() {
        let mut bytes = Vec::new();
        frame(b"key", b"id", &mut bytes);
        bytes.extend_from_slice(b"{}");
        assert_eq!(unframe(&bytes), Some((&b"key"[..], &b"id"[..], &b"{}"[..])));
        for end in 0..bytes.len() - 2 {
            assert_eq!(unframe(&bytes[..end]), None);
        }
    }
}
