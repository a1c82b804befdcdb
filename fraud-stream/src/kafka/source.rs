//! Partitions as sources of records, and how far each was read.

use std::collections::BTreeMap;

use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::error::StreamError;
use super::settings::StreamSettings;

/// Which of the two streams a record belongs to. At equal times labels come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// `fraud-labels`.
    Labels,
    /// `transactions-input`.
    Input,
}

/// One partition of one of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The stream.
    pub stream: Stream,
    /// The partition, from 0.
    pub partition: i32,
}

impl Source {
    /// A number that stands for the source in the journal.
    #[must_use]
    pub fn code(self) -> u64 {
        u64::from(self.partition.unsigned_abs()) << 1 | u64::from(self.stream == Stream::Labels)
    }

    /// The source of a number, unless it is out of range.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        let stream = if code & 1 == 1 { Stream::Labels } else { Stream::Input };
        Some(Self { stream, partition: i32::try_from(code >> 1).ok()? })
    }
}

/// The next offset of each source.
pub type Positions = BTreeMap<Source, i64>;

/// The topics behind the streams.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Transactions.
    pub input: String,
    /// Labels, where they are read.
    pub labels: Option<String>,
}

impl Topics {
    /// The topics of the settings.
    #[must_use]
    pub fn new(settings: &StreamSettings) -> Self {
        Self { input: settings.kafka.input_topic.clone(), labels: settings.labels_topic().map(str::to_owned) }
    }

    /// The topic of a stream; the empty text for labels that are not read.
    #[must_use]
    pub fn name(&self, stream: Stream) -> &str {
        match stream {
            Stream::Input => &self.input,
            Stream::Labels => self.labels.as_deref().unwrap_or_default(),
        }
    }

    /// The source of a topic's partition.
    #[must_use]
    pub fn source(&self, topic: &str, partition: i32) -> Source {
        let stream = if self.labels.as_deref() == Some(topic) { Stream::Labels } else { Stream::Input };
        Source { stream, partition }
    }

    /// A list for the client library, each offset with a note.
    ///
    /// # Errors
    /// [`StreamError::Kafka`] for an offset below 0.
    pub(super) fn list(&self, positions: &Positions, note: &str) -> Result<TopicPartitionList, StreamError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (source, offset) in positions {
            let mut element = list.add_partition(self.name(source.stream), source.partition);
            element.set_offset(Offset::Offset(*offset)).map_err(StreamError::kafka("set an offset"))?;
            element.set_metadata(note);
        }
        Ok(list)
    }
}
