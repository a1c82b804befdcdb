//! The order in which a batch was observed, written beside its predictions.
//!
//! A store's state follows from the records and from the order in which they were observed. The records are in
//! their topics; the order over several partitions, and between transactions and labels, is decided while the
//! stream runs. Each batch's order is therefore a message of the journal topic, in the same Kafka transaction as
//! the batch's predictions and offsets: what is committed can be observed again exactly as it was.

use xxhash_rust::xxh3::xxh3_64;

use super::source::{Positions, Source};

const MAGIC: [u8; 4] = *b"FSJ1";

/// Records of one source in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where they came from.
    pub source: Source,
    /// How many.
    pub count: u64,
}

/// One message of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Its number, from 0 without gaps.
    pub sequence: u64,
    /// Positions set before the runs: all of them at the very beginning, later those that somebody moved.
    pub set: Positions,
    /// What was observed, in order.
    pub runs: Vec<Run>,
    /// The positions after the runs, of the sources that moved.
    pub ends: Positions,
}

impl Entry {
    /// Notes that a record of a source was observed after all before.
    pub fn observed(&mut self, source: Source) {
        match self.runs.last_mut() {
            Some(run) if run.source == source => run.count += 1,
            _ => self.runs.push(Run { source, count: 1 }),
        }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.set.is_empty()
    }

    /// Its bytes: magic, checksum, and variable-length integers.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(32 + self.runs.len() * 3 + self.ends.len() * 8);
        put(&mut body, self.sequence);
        for positions in [&self.set, &self.ends] {
            put(&mut body, positions.len() as u64);
            for (source, offset) in positions {
                put(&mut body, source.code());
                put(&mut body, offset.unsigned_abs());
            }
        }
        put(&mut body, self.runs.len() as u64);
        for run in &self.runs {
            put(&mut body, run.source.code());
            put(&mut body, run.count);
        }
        let mut bytes = Vec::with_capacity(12 + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&xxh3_64(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// The entry of such bytes; `None` when they are anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (checksum, body) = rest.split_first_chunk::<8>()?;
        if *magic != MAGIC || u64::from_le_bytes(*checksum) != xxh3_64(body) {
            return None;
        }
        let mut left = body;
        let sequence = take(&mut left)?;
        let (set, ends) = (take_positions(&mut left)?, take_positions(&mut left)?);
        let count = take(&mut left)?;
        // Two bytes a run at least, so a count beyond that is none of ours.
        if count > left.len() as u64 / 2 {
            return None;
        }
        let mut runs = Vec::with_capacity(usize::try_from(count).ok()?);
        for _ in 0..count {
            runs.push(Run { source: Source::from_code(take(&mut left)?)?, count: take(&mut left)? });
        }
        left.is_empty().then_some(Self { sequence, set, runs, ends })
    }
}

fn take_positions(left: &mut &[u8]) -> Option<Positions> {
    let count = take(left)?;
    let mut positions = Positions::new();
    for _ in 0..count {
        positions.insert(Source::from_code(take(left)?)?, i64::try_from(take(left)?).ok()?);
    }
    Some(positions)
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn take(left: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = left.split_first()?;
        *left = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::source::Stream;
    use super::*;

    fn source() -> impl Strategy<Value = Source> {
        (any::<bool>(), 0..i32::MAX).prop_map(|(labels, partition)| Source {
            stream: if labels { Stream::Labels } else { Stream::Input },
            partition,
        })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let positions = || prop::collection::btree_map(source(), 0..i64::MAX, 0..8);
        let runs = prop::collection::vec((source(), any::<u64>()), 0..50);
        (any::<u64>(), positions(), positions(), runs).prop_map(|(sequence, set, ends, runs)| Entry {
            sequence,
            set,
            ends,
            runs: runs.into_iter().map(|(source, count)| Run { source, count }).collect(),
        })
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(entry in entry()) {
            prop_assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        }

        #[test]
        fn a_changed_byte_is_noticed(entry in entry(), at in any::<prop::sample::Index>(), by in 1_u8..) {
            let mut bytes = entry.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            prop_assert_eq!(Entry::decode(&bytes), None);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::decode(&bytes);
            let mut framed = MAGIC.to_vec();
            framed.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
            framed.extend_from_slice(&bytes);
            let _ = Entry::decode(&framed);
        }
    }

    #[test]
    fn records_in_a_row_are_one_run() {
        let (input, labels) =
            (Source { stream: Stream::Input, partition: 0 }, Source { stream: Stream::Labels, partition: 0 });
        let mut entry = Entry::default();
        [input, input, labels, input].into_iter().for_each(|source| entry.observed(source));
        let counts: Vec<_> = entry.runs.iter().map(|run| (run.source, run.count)).collect();
        assert_eq!(counts, [(input, 2), (labels, 1), (input, 1)]);
    }
}
