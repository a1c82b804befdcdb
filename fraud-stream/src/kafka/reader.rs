//! Records of several partitions in one order.
//!
//! Live, the record with the smallest time goes first, labels before transactions of the same time; a partition
//! that has more to come is waited for, within bounds. So partitions read at different speeds, after a restart
//! for instance, do not drift apart in event time. In recovery the order is given, and taken from the same queues.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};

use super::error::StreamError;
use super::queues::{Queues, Way, judge};
use super::source::{Positions, Source, Stream};

/// How long the longest sleep lasts before queues and callbacks are looked at anyway.
const NAP: Duration = Duration::from_millis(50);
/// How often a partition that delivers nothing is spoken of in recovery.
const COMPLAIN: Duration = Duration::from_secs(10);

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

    /// The next offsets of sources of which a record was fetched and not taken: it is gone with the merge.
    pub(super) fn unread(&self) -> Positions {
        let heads = self.lanes.iter().filter(|lane| lane.head.is_some());
        heads.map(|lane| (lane.way.source, lane.next)).collect()
    }

    /// Whether every source is at its end and nothing waits.
    pub(super) fn at_end(&mut self) -> Result<bool, StreamError> {
        self.refill()?;
        Ok(self.lanes.iter().all(|lane| lane.head.is_none() && lane.status == Status::AtEnd))
    }

    /// Whether every source was read up to its end among these, or has nothing more.
    pub(super) fn is_past(&mut self, ends: &Positions) -> Result<bool, StreamError> {
        self.refill()?;
        Ok(self.lanes.iter().all(|lane| {
            let next = lane.head.as_ref().map_or(lane.next, |(_, message)| message.offset());
            // The last offsets may be no records but the broker's own marks.
            let at_end = lane.head.is_none() && lane.status == Status::AtEnd;
            at_end || ends.get(&lane.way.source).is_some_and(|end| next >= *end)
        }))
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
        self.queues.serve()
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

impl Stream {
    /// Whether its records are transactions.
    pub(super) fn is_input(self) -> bool {
        self == Self::Input
    }
}
