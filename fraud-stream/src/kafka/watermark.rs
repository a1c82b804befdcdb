//! The end of a partition as the client library last heard of it, without asking the broker.
//!
//! The library says that an end is reached only once a fetch came back empty, up to `fetch.wait.max.ms` later. Waiting
//! for that with several partitions cost 80 to 100 ms a record where one call costs a lock. The safe interface has
//! only the question to the broker, hence the one unsafe block.

use std::ffi::CString;
use std::sync::Arc;

use rdkafka::bindings::rd_kafka_get_watermark_offsets;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::client::Watching;

/// Knows the end of one partition.
pub(super) struct Watermark {
    consumer: Arc<BaseConsumer<Watching>>,
    topic: CString,
    partition: i32,
}

impl Watermark {
    /// Of a partition of a topic; none for a name that is no C string, which no topic has.
    pub(super) fn new(consumer: &Arc<BaseConsumer<Watching>>, topic: &str, partition: i32) -> Option<Self> {
        Some(Self { consumer: consumer.clone(), topic: CString::new(topic).ok()?, partition })
    }

    /// The next offset to be written, as of the last fetch; none before the first.
    #[allow(unsafe_code)]
    pub(super) fn high(&self) -> Option<i64> {
        let (mut low, mut high) = (-1_i64, -1_i64);
        // SAFETY: the handle is valid, because `self.consumer` keeps it alive for the call; the library's handles may
        // be used from any thread. `topic` ends with a zero byte and outlives the call, which copies what it keeps.
        // `low` and `high` are writable and not used elsewhere during the call, which does not keep their addresses.
        let error = unsafe {
            rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                self.topic.as_ptr(),
                self.partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (error == rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}
