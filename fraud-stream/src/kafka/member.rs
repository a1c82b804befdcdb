//! What the consumer group gives to its member and takes away again.
//!
//! The client library tells of it in a callback and then waits until the change is made. It is made not in the
//! callback but by the reading thread between two batches: what is in flight of a partition is committed before the
//! partition is given back, so its next owner begins behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::client::Watching;

/// One change of the assignment.
#[derive(Debug)]
pub(super) enum Change {
    /// Partitions that are ours from now on.
    Given(Vec<i32>),
    /// Partitions to be given back.
    Taken(Vec<i32>),
}

/// Changes that are to be made.
#[derive(Debug, Default)]
pub(super) struct Changes {
    queue: Mutex<VecDeque<Change>>,
    /// Leaving: whatever comes is agreed to at once.
    leaving: AtomicBool,
}

impl Changes {
    /// Whether there is something to do.
    pub(super) fn waiting(&self) -> bool {
        !self.queue.lock().is_empty()
    }

    /// The next change.
    pub(super) fn next(&self) -> Option<Change> {
        self.queue.lock().pop_front()
    }

    /// Called back by the client library, on the thread that polls it.
    pub(super) fn note(&self, consumer: &BaseConsumer<Watching>, error: RDKafkaRespErr, list: &TopicPartitionList) {
        let given = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.leaving.load(Ordering::Acquire) {
            agree(consumer, given, list);
            return;
        }
        let partitions = list.elements().iter().map(|element| element.partition()).collect();
        self.queue.lock().push_back(if given { Change::Given(partitions) } else { Change::Taken(partitions) });
    }
}

fn agree(consumer: &BaseConsumer<Watching>, given: bool, list: &TopicPartitionList) {
    let done = if given { consumer.incremental_assign(list) } else { consumer.incremental_unassign(list) };
    if let Err(error) = done {
        tracing::warn!(%error, "leaving the group");
    }
}

/// Leaves the group when dropped, so that the others take over at once and not after the session's timeout.
pub(super) struct Leave {
    pub consumer: Arc<BaseConsumer<Watching>>,
    pub changes: Arc<Changes>,
    pub topic: String,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.changes.leaving.store(true, Ordering::Release);
        // The library waits for what it told of already.
        while let Some(change) = self.changes.next() {
            let (given, partitions) = match change {
                Change::Given(partitions) => (true, partitions),
                Change::Taken(partitions) => (false, partitions),
            };
            let mut list = TopicPartitionList::with_capacity(partitions.len());
            for partition in partitions {
                list.add_partition(&self.topic, partition);
            }
            agree(&self.consumer, given, &list);
        }
    }
}
