//! What the consumer group gives to its member and takes away again.
//!
//! The client library tells of it in a callback and then waits until the change is made. It is made not in the
//! callback but by the reading thread between two batches: what is in flight of a partition is committed before the
//! partition is given back, so its next owner begins behind it.
//!
//! A member that the group took for dead must commit nothing more. The library's flag for that does not do: agreeing to
//! a change that came before clears it, and offsets of a member without a name are taken by the broker in any case. So a
//! batch is committed only under the name that the member had when it was given its partitions: the broker gives no
//! name twice, and the library joins anew only once it was agreed that everything is lost.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::bindings::{rd_kafka_mem_free, rd_kafka_memberid};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::client::Watching;

/// One change of the assignment.
#[derive(Debug, Clone)]
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

    /// The next change. It stays until it is made, because the library waits for it also when the process ends before.
    pub(super) fn next(&self) -> Option<Change> {
        self.queue.lock().front().cloned()
    }

    /// The next change is made.
    pub(super) fn made(&self) {
        self.queue.lock().pop_front();
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

/// The name that the group knows a member by; none for one that it does not know, or not any more.
///
/// The safe interface has it only inside of what is sent with offsets, where it cannot be read.
#[allow(unsafe_code)]
pub(super) fn name(consumer: &BaseConsumer<Watching>) -> Option<String> {
    let client = consumer.client().native_ptr();
    // SAFETY: the handle is valid, because `consumer` is borrowed for the call; the library's handles may be used from
    // any thread. The call returns null or a string that ends with a zero byte and is ours alone; it is copied, then
    // freed once, by the function that the library's documentation names, and not used after.
    let name = unsafe {
        let name = rd_kafka_memberid(client);
        if name.is_null() {
            return None;
        }
        let copy = CStr::from_ptr(name).to_string_lossy().into_owned();
        rd_kafka_mem_free(client, name.cast());
        copy
    };
    Some(name).filter(|name| !name.is_empty())
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
            self.changes.made();
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
