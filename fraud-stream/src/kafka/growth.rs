//! Partitions that a topic is given while it is read: they have to be read, too.

use std::time::{Duration, Instant};

use super::error::StreamError;
use super::queues::Queues;
use super::source::Stream;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(10);

/// How many partitions each stream had, to be compared with what the broker says now.
pub(super) struct Growth {
    read: Vec<(Stream, i32)>,
    looked: Instant,
}

impl Growth {
    /// Compares with these counts.
    pub(super) fn new(read: Vec<(Stream, i32)>) -> Self {
        Self { read, looked: Instant::now() }
    }

    /// [`StreamError::PartitionsAdded`] once a topic has more partitions, which end the session: the next one reads them all.
    pub(super) fn look(&mut self, queues: &Queues) -> Option<StreamError> {
        if self.looked.elapsed() < EVERY {
            return None;
        }
        self.looked = Instant::now();
        self.read.iter().find_map(|&(stream, read)| {
            // A broker that does not answer is asked again later.
            let now = queues.partitions(stream)?;
            let topic = queues.topics.name(stream).to_owned();
            (now > read).then_some(StreamError::PartitionsAdded { topic, read, now })
        })
    }
}
