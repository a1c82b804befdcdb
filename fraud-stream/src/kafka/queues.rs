//! Partitions, each with a queue of its own: assigned by us for good, or by the consumer group for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::{self, Watching};
use super::error::StreamError;
use super::metrics::Lag;
use super::source::{Positions, Source, Stream, Topics};
use super::watermark::Watermark;

/// How long setting a partition's position may take.
const SEEK: Duration = Duration::from_secs(10);
/// How long one look at a partition's end, or at how many there are, may take.
const LOOK: Duration = Duration::from_millis(500);

/// How the records of one partition come.
pub(super) struct Way {
    pub source: Source,
    /// Where it begins.
    pub start: i64,
    consumer: Arc<BaseConsumer<Watching>>,
    pub queue: PartitionQueue<Watching>,
    /// Set when something came into the empty queue.
    pub filled: Arc<AtomicBool>,
    pub end: Watermark,
}

/// The queues of partitions. To be read by the thread that opens them. Dropping them ends the assignment.
pub(super) struct Queues {
    /// Has its partitions from us, for good.
    assigned: Option<Arc<BaseConsumer<Watching>>>,
    /// Has its partitions from the group, which takes them away again.
    member: Option<Arc<BaseConsumer<Watching>>>,
    pub topics: Topics,
    pub lanes: Vec<Way>,
}

impl Queues {
    /// Assigns the partitions of `positions` to a fresh consumer, each with a queue of its own.
    ///
    /// # Errors
    /// [`StreamError::Kafka`].
    pub(super) fn open(
        consumer: Arc<BaseConsumer<Watching>>,
        topics: &Topics,
        positions: &Positions,
    ) -> Result<Self, StreamError> {
        let mut queues = Self { assigned: None, member: None, topics: topics.clone(), lanes: Vec::new() };
        queues.split(&consumer, positions)?;
        consumer.assign(&topics.list(positions, "")?).map_err(StreamError::kafka("assign partitions"))?;
        queues.assigned = Some(consumer);
        Ok(queues)
    }

    /// Queues of a member of the group, which has no partitions yet; beside those that are open.
    pub(super) fn join(&mut self, member: Arc<BaseConsumer<Watching>>) {
        self.member = Some(member);
    }

    /// Takes over partitions that the group gave to its member.
    ///
    /// # Errors
    /// [`StreamError::Kafka`].
    pub(super) fn add(&mut self, positions: &Positions) -> Result<(), StreamError> {
        let Some(member) = self.member.clone() else { return Ok(()) };
        self.split(&member, positions)?;
        let list = self.topics.list(positions, "")?;
        member.incremental_assign(&list).map_err(StreamError::kafka("take over partitions"))
    }

    /// Gives partitions back that the group takes away from its member.
    ///
    /// # Errors
    /// [`StreamError::Kafka`].
    pub(super) fn remove(&mut self, sources: &[Source]) -> Result<(), StreamError> {
        let Some(member) = self.member.clone() else { return Ok(()) };
        self.lanes.retain(|way| !sources.contains(&way.source));
        let positions = sources.iter().map(|source| (*source, 0)).collect();
        let list = self.topics.list(&positions, "")?;
        member.incremental_unassign(&list).map_err(StreamError::kafka("give partitions back"))
    }

    /// Reads on from these positions, whatever was read before.
    ///
    /// # Errors
    /// [`StreamError::Kafka`].
    pub(super) fn go_to(&mut self, positions: &Positions) -> Result<(), StreamError> {
        for way in &mut self.lanes {
            if let Some(offset) = positions.get(&way.source) {
                let topic = self.topics.name(way.source.stream);
                way.consumer
                    .seek(topic, way.source.partition, Offset::Offset(*offset), SEEK)
                    .map_err(StreamError::kafka("read on from an offset"))?;
                way.start = *offset;
            }
        }
        Ok(())
    }

    /// Notes how far each partition was read, for whoever reads next.
    pub(super) fn read_up_to(&mut self, positions: &Positions) {
        for way in &mut self.lanes {
            way.start = positions.get(&way.source).copied().unwrap_or(way.start);
        }
    }

    /// The partitions there are, and where each begins.
    pub(super) fn positions(&self) -> Positions {
        self.lanes.iter().map(|way| (way.source, way.start)).collect()
    }

    /// How many partitions of each stream there are.
    pub(super) fn counts(&self) -> Vec<(Stream, i32)> {
        let mut counts: Vec<(Stream, i32)> = Vec::new();
        for way in &self.lanes {
            match counts.iter_mut().find(|(stream, _)| *stream == way.source.stream) {
                Some((_, count)) => *count += 1,
                None => counts.push((way.source.stream, 1)),
            }
        }
        counts
    }

    /// How many partitions the broker says that a stream has; none when it does not say at once.
    pub(super) fn partitions(&self, stream: Stream) -> Option<i32> {
        let topic = self.topics.name(stream);
        let metadata = self.consumer()?.fetch_metadata(Some(topic), LOOK).ok()?;
        let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none())?;
        i32::try_from(found.partitions().len()).ok()
    }

    /// One to ask with.
    fn consumer(&self) -> Option<&Arc<BaseConsumer<Watching>>> {
        self.assigned.as_ref().or(self.member.as_ref())
    }

    fn split(&mut self, consumer: &Arc<BaseConsumer<Watching>>, positions: &Positions) -> Result<(), StreamError> {
        let reader = std::thread::current();
        for (source, offset) in positions {
            let topic = self.topics.name(source.stream);
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
            let end = Watermark::new(consumer, topic, source.partition)
                .ok_or_else(|| StreamError::Internal(format!("no topic can be called {topic}")))?;
            let consumer = consumer.clone();
            self.lanes.push(Way { source: *source, start: *offset, consumer, queue, filled, end });
        }
        Ok(())
    }

    /// Lets the client library call back. To be called now and then.
    ///
    /// # Errors
    /// [`StreamError`] for what does not pass by itself.
    pub(super) fn serve(&self) -> Result<(), StreamError> {
        for consumer in self.assigned.iter().chain(&self.member) {
            match consumer.poll(Duration::ZERO) {
                None => {}
                Some(Ok(_)) => return Err(StreamError::Internal("a record came outside of its queue".to_owned())),
                Some(Err(error)) => judge(&error)?,
            }
        }
        Ok(())
    }

    /// Where a partition of any topic ends now, as the broker says.
    ///
    /// # Errors
    /// [`StreamError::Kafka`].
    pub(super) fn end(&self, partition: (&str, i32)) -> Result<i64, StreamError> {
        let consumer = self.consumer().ok_or_else(|| StreamError::Internal("no consumer to ask with".to_owned()))?;
        Ok(client::watermarks(consumer, partition)?.1)
    }

    /// Tells the lag where the input ends, unless that was asked a moment ago. For when nothing is fetched; a broker that does
    /// not answer is not insisted on.
    pub(super) fn look_at_input(&self, lag: &Lag) {
        if !lag.ask() {
            return;
        }
        let mut ends = Positions::new();
        for way in self.lanes.iter().filter(|way| way.source.stream == Stream::Input) {
            let Ok((_, end)) = way.consumer.fetch_watermarks(&self.topics.input, way.source.partition, LOOK) else {
                return;
            };
            ends.insert(way.source, end);
        }
        lag.look(&self.topics.input, &ends);
    }

    /// Stops or resumes fetching.
    pub(super) fn pause(&self, pause: bool) -> Result<(), StreamError> {
        for consumer in self.assigned.iter().chain(&self.member) {
            let own = self.lanes.iter().filter(|way| Arc::ptr_eq(&way.consumer, consumer));
            let list = self.topics.list(&own.map(|way| (way.source, way.start)).collect(), "")?;
            let done = if pause { consumer.pause(&list) } else { consumer.resume(&list) };
            done.map_err(StreamError::kafka("pause partitions"))?;
        }
        Ok(())
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.lanes.clear();
        if let Some(consumer) = &self.assigned {
            let _ends_anyway = consumer.unassign();
        }
    }
}

/// Passes over what the client library repairs by itself.
pub(super) fn judge(error: &KafkaError) -> Result<(), StreamError> {
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
