//! Records of several partitions in one order.
//!
//! Live, the record with the smallest time goes first, labels before transactions of the same time; a partition
//! that has more to come is waited for, within bounds. So partitions read at different speeds, after a restart
//! for instance, do not drift apart in event time. In recovery the order is given, and taken from the same queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::Watching;
use super::error::StreamError;
use super::source::{Positions, Source, Stream, Topics};
use super::watermark::Watermark;

/// How long the longest sleep lasts before queues and callbacks are looked at anyway.
const NAP: Duration = Duration::from_millis(50);
/// How often a partition that delivers nothing is spoken of in recovery.
const COMPLAIN: Duration = Duration::from_secs(10);

/// How the records of one partition come.
struct Way {
    source: Source,
    /// Where it begins.
    start: i64,
    queue: PartitionQueue<Watching>,
    /// Set when something came into the empty queue.
    filled: Arc<AtomicBool>,
    end: Watermark,
}

/// The queues of assigned partitions. Dropping them ends the assignment.
pub(super) struct Queues {
    consumer: Arc<BaseConsumer<Watching>>,
    topics: Topics,
    lanes: Vec<Way>,
}

impl Queues {
    /// Assigns the partitions of `positions` to a fresh consumer, each with a queue of its own. To be read by the
    /// thread that opens them.
    ///
    /// # Errors
    /// [`StreamError::Kafka`].
    pub(super) fn open(
        consumer: Arc<BaseConsumer<Watching>>,
        topics: &Topics,
        positions: &Positions,
    ) -> Result<Self, StreamError> {
        let mut lanes = Vec::with_capacity(positions.len());
        let reader = std::thread::current();
        for (source, offset) in positions {
            let topic = topics.name(source.stream);
            // Before the assignment: then not one record can go to the common queue.
            let mut queue = consumer
                .split_partition_queue(topic, source.partition)
                .ok_or_else(|| StreamError::Internal(format!("no queue for {topic} {}", source.partition)))?;
            let filled = Arc::new(AtomicBool::new(true));
            let (flag, reader) = (filled.clone(), reader.clone());
            queue.set_nonempty_callback(move || {
                flag.store(true, Ordering::Release);
                reader.unpark();
            });
            let end = Watermark::new(&consumer, topic, source.partition)
                .ok_or_else(|| StreamError::Internal(format!("no topic can be called {topic}")))?;
            lanes.push(Way { source: *source, start: *offset, queue, filled, end });
        }
        consumer.assign(&topics.list(positions, "")?).map_err(StreamError::kafka("assign partitions"))?;
        Ok(Self { consumer, topics: topics.clone(), lanes })
    }

    /// Stops or resumes fetching.
    pub(super) fn pause(&self, pause: bool) -> Result<(), StreamError> {
        let list = self.topics.list(&self.lanes.iter().map(|way| (way.source, way.start)).collect(), "")?;
        let done = if pause { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        done.map_err(StreamError::kafka("pause partitions"))
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        let _ends_anyway = self.consumer.unassign();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// Delivered when it was last asked.
    Flowing,
    /// Has more to come and was last asked in vain; since then.
    Waiting(Instant),
    /// Everything there is was delivered.
    AtEnd,
    /// Was waited for in vain; the others go on.
    GivenUp,
}

struct Lane<'q> {
    way: &'q Way,
    head: Option<(i64, BorrowedMessage<'q>)>,
    status: Status,
    next: i64,
}

/// A record with its place.
pub(super) struct Taken<'q> {
    /// Where it came from.
    pub source: Source,
    /// Its time in milliseconds; 0 where it has none.
    pub timestamp: i64,
    /// The record.
    pub message: BorrowedMessage<'q>,
}

/// Takes records off queues in order.
pub(super) struct Merge<'q> {
    queues: &'q Queues,
    lanes: Vec<Lane<'q>>,
    patience: Duration,
}

impl<'q> Merge<'q> {
    /// Begins where the queues begin; one partition is waited for `patience` at most.
    pub(super) fn new(queues: &'q Queues, patience: Duration) -> Self {
        let lane = |way: &'q Way| Lane { way, head: None, status: Status::Waiting(Instant::now()), next: way.start };
        Self { queues, lanes: queues.lanes.iter().map(lane).collect(), patience }
    }

    /// The next offset of every source.
    pub(super) fn positions(&self) -> Positions {
        self.lanes.iter().map(|lane| (lane.way.source, lane.next)).collect()
    }

    /// Whether every source is at its end and nothing waits.
    pub(super) fn at_end(&mut self) -> Result<bool, StreamError> {
        self.refill()?;
        Ok(self.lanes.iter().all(|lane| lane.head.is_none() && lane.status == Status::AtEnd))
    }

    /// The next record in the live order, or none until `deadline`.
    ///
    /// # Errors
    /// [`StreamError`] for what does not pass by itself.
    pub(super) fn next(&mut self, deadline: Instant) -> Result<Option<Taken<'q>>, StreamError> {
        loop {
            let waits_until = self.refill()?;
            if waits_until.is_none()
                && let Some(index) = self.earliest()
            {
                return Ok(self.take(index));
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(None);
            }
            let until = waits_until.map_or(deadline, |until| until.min(deadline)).min(now + NAP);
            self.sleep(until.saturating_duration_since(now))?;
        }
    }

    /// The next record of one source, however long it takes.
    ///
    /// # Errors
    /// [`StreamError::StateLost`] when the source ends before; `stop` ends the waiting with none.
    pub(super) fn next_of(
        &mut self,
        source: Source,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Taken<'q>>, StreamError> {
        let lost = || StreamError::StateLost {
            problem: format!(
                "the journal names a record of topic `{}` partition {} that is not there (retention or compaction?)",
                self.queues.topics.name(source.stream),
                source.partition
            ),
        };
        let index = self.lanes.iter().position(|lane| lane.way.source == source).ok_or_else(lost)?;
        let mut complain = Instant::now() + COMPLAIN;
        loop {
            self.lanes[index].refill()?;
            if self.lanes[index].head.is_some() {
                return Ok(self.take(index));
            }
            if self.lanes[index].status == Status::AtEnd {
                return Err(lost());
            }
            if stop() {
                return Ok(None);
            }
            if Instant::now() >= complain {
                complain = Instant::now() + COMPLAIN;
                tracing::warn!(partition = source.partition, "waiting for records to rebuild the state from");
            }
            self.sleep(NAP)?;
        }
    }

    /// Asks every lane without a head. Until when a lane with more to come is to be waited for, if one is.
    fn refill(&mut self) -> Result<Option<Instant>, StreamError> {
        let mut until: Option<Instant> = None;
        for lane in &mut self.lanes {
            if lane.head.is_some() {
                continue;
            }
            lane.refill()?;
            if let Status::Waiting(since) = lane.status {
                let end = since + self.patience;
                if Instant::now() >= end {
                    lane.status = Status::GivenUp;
                } else {
                    until = Some(until.map_or(end, |other| other.min(end)));
                }
            }
        }
        Ok(until)
    }

    fn earliest(&self) -> Option<usize> {
        let heads = self.lanes.iter().enumerate();
        let timed = heads.filter_map(|(index, lane)| Some((lane.head.as_ref()?.0, lane.way.source, index)));
        timed.min().map(|(_, _, index)| index)
    }

    fn take(&mut self, index: usize) -> Option<Taken<'q>> {
        let lane = &mut self.lanes[index];
        let (timestamp, message) = lane.head.take()?;
        lane.next = message.offset() + 1;
        Some(Taken { source: lane.way.source, timestamp, message })
    }

    /// Lets the client library call back. To be called now and then.
    pub(super) fn serve(&self) -> Result<(), StreamError> {
        match self.queues.consumer.poll(Duration::ZERO) {
            None => {}
            Some(Ok(_)) => return Err(StreamError::Internal("a record came outside of its queue".to_owned())),
            Some(Err(error)) => judge(&error)?,
        }
        Ok(())
    }

    fn sleep(&self, at_most: Duration) -> Result<(), StreamError> {
        self.serve()?;
        if !self.lanes.iter().any(|lane| lane.head.is_none() && lane.way.filled.load(Ordering::Acquire)) {
            std::thread::park_timeout(at_most);
        }
        // Ask everyone after a sleep: then no order of flag and queue can make a lane be forgotten.
        self.lanes.iter().for_each(|lane| lane.way.filled.store(true, Ordering::Release));
        Ok(())
    }
}

impl Lane<'_> {
    fn refill(&mut self) -> Result<(), StreamError> {
        if self.head.is_some() {
            return Ok(());
        }
        if self.status != Status::Flowing {
            // Looked at before it is written: this is asked for every record.
            if !self.way.filled.load(Ordering::Acquire) {
                return Ok(());
            }
            self.way.filled.store(false, Ordering::Release);
        }
        loop {
            match self.way.queue.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    self.head = Some((message.timestamp().to_millis().unwrap_or(0).max(0), message));
                    self.status = Status::Flowing;
                    return Ok(());
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.status = Status::AtEnd,
                Some(Err(error)) => judge(&error)?,
                None => {
                    if self.status == Status::Flowing {
                        let at_end = self.way.end.high().is_some_and(|high| self.next >= high);
                        self.status = if at_end { Status::AtEnd } else { Status::Waiting(Instant::now()) };
                    }
                    return Ok(());
                }
            }
        }
    }
}

/// Passes over what the client library repairs by itself.
fn judge(error: &KafkaError) -> Result<(), StreamError> {
    let over = || StreamError::SessionOver { problem: error.to_string() };
    match error {
        KafkaError::MessageConsumptionFatal(_) => Err(over()),
        _ => match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(over()),
            Some(
                Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::Authentication
                | Code::SaslAuthenticationFailed,
            ) => Err(StreamError::from_kafka("read", error)),
            _ => {
                tracing::warn!(%error, "reading; the client tries again");
                Ok(())
            }
        },
    }
}

impl Stream {
    /// Whether its records are transactions.
    pub(super) fn is_input(self) -> bool {
        self == Self::Input
    }
}
