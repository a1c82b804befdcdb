//! Sorting by event time without holding everything: sorted runs in temporary files, then one merge.
//!
//! Rows of the same second keep the order of the file: runs are cut from it in order and sorted stably, and the
//! merge prefers the earlier run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fraud_core::transaction::{Amount, Id, IdRef, Transaction};

use super::batch::Entry;
use super::error::ReplayError;

/// Runs merged at once. So many files are open, each with a buffer.
const FAN_IN: usize = 64;
const BUFFER_BYTES: usize = 1 << 16;

/// Takes rows in any order, and gives them back by event time.
pub(super) struct Sorter {
    /// Where temporary files go: beside the output, where there is room for something of the input's size.
    folder: PathBuf,
    limit: usize,
    fan_in: usize,
    held: Vec<Entry>,
    /// Sorted runs in the order of the file, each with how many times it was merged.
    runs: Vec<(u32, File)>,
}

impl Sorter {
    /// A sorter that holds at most `limit` rows.
    pub(super) fn new(folder: &Path, limit: usize) -> Self {
        Self { folder: folder.to_owned(), limit: limit.max(1), fan_in: FAN_IN, held: Vec::new(), runs: Vec::new() }
    }

    pub(super) fn push(&mut self, entry: Entry) -> Result<(), ReplayError> {
        self.held.push(entry);
        if self.held.len() < self.limit {
            return Ok(());
        }
        self.held.sort_by_key(|entry| entry.transaction.time);
        let run = self.write(self.held.iter())?;
        self.held.clear();
        self.runs.push((0, run));
        self.merge_equals()
    }

    /// The rows in order; the sorter is empty then.
    pub(super) fn finish(&mut self) -> Result<Sorted, ReplayError> {
        self.held.sort_by_key(|entry| entry.transaction.time);
        while self.runs.len() > self.fan_in {
            self.merge_last(self.fan_in)?;
        }
        let folder = self.folder.clone();
        let files = std::mem::take(&mut self.runs).into_iter().map(|(_, file)| Run::File(reader(file)));
        // What is still held came last.
        let runs = files.chain([Run::Memory(std::mem::take(&mut self.held).into_iter())]).collect();
        Sorted::new(runs, folder)
    }

    /// Merges runs of one generation as soon as there are many, so that few files are ever open.
    fn merge_equals(&mut self) -> Result<(), ReplayError> {
        while let Some((generation, _)) = self.runs.last() {
            let same = self.runs.iter().rev().take_while(|(other, _)| other == generation).count();
            if same < self.fan_in {
                break;
            }
            self.merge_last(self.fan_in)?;
        }
        Ok(())
    }

    fn merge_last(&mut self, count: usize) -> Result<(), ReplayError> {
        let merged = self.runs.split_off(self.runs.len() - count);
        let generation = merged.iter().map(|(generation, _)| *generation).max().unwrap_or_default() + 1;
        let runs = merged.into_iter().map(|(_, file)| Run::File(reader(file))).collect();
        let mut sorted = Sorted::new(runs, self.folder.clone())?;
        let mut out = self.create()?;
        while let Some(entry) = sorted.next()? {
            encode(&entry, &mut out).map_err(self.io("write"))?;
        }
        let file = self.rewound(out)?;
        self.runs.push((generation, file));
        Ok(())
    }

    fn write<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> Result<File, ReplayError> {
        let mut out = self.create()?;
        for entry in entries {
            encode(entry, &mut out).map_err(self.io("write"))?;
        }
        self.rewound(out)
    }

    /// A file without a name: it is gone with the process, however that ends.
    fn create(&self) -> Result<BufWriter<File>, ReplayError> {
        let file = tempfile::tempfile_in(&self.folder).or_else(|_| tempfile::tempfile());
        Ok(BufWriter::with_capacity(BUFFER_BYTES, file.map_err(self.io("create a temporary file"))?))
    }

    fn rewound(&self, out: BufWriter<File>) -> Result<File, ReplayError> {
        let mut file = out.into_inner().map_err(|error| self.io("write")(error.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(self.io("rewind"))?;
        Ok(file)
    }

    fn io(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> ReplayError {
        ReplayError::io(&self.folder, action)
    }
}

fn reader(file: File) -> BufReader<File> {
    BufReader::with_capacity(BUFFER_BYTES, file)
}

enum Run {
    File(BufReader<File>),
    Memory(std::vec::IntoIter<Entry>),
}

impl Run {
    fn next(&mut self) -> std::io::Result<Option<Entry>> {
        match self {
            Self::File(input) => decode(input),
            Self::Memory(entries) => Ok(entries.next()),
        }
    }
}

/// Sorted rows, merged as they are asked for.
pub(super) struct Sorted {
    runs: Vec<Run>,
    folder: PathBuf,
    /// The first row of each run, and the order among them: by time, then by run.
    heads: Vec<Option<Entry>>,
    order: BinaryHeap<Reverse<(i64, usize)>>,
}

impl Sorted {
    fn new(runs: Vec<Run>, folder: PathBuf) -> Result<Self, ReplayError> {
        let heads = runs.iter().map(|_| None).collect();
        let mut sorted = Self { runs, folder, heads, order: BinaryHeap::new() };
        for run in 0..sorted.runs.len() {
            sorted.advance(run)?;
        }
        Ok(sorted)
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>, ReplayError> {
        let Some(Reverse((_, run))) = self.order.pop() else { return Ok(None) };
        let entry = self.heads[run].take();
        self.advance(run)?;
        Ok(entry)
    }

    fn advance(&mut self, run: usize) -> Result<(), ReplayError> {
        let next = self.runs[run].next().map_err(ReplayError::io(&self.folder, "read a temporary file"))?;
        if let Some(entry) = &next {
            self.order.push(Reverse((entry.transaction.time, run)));
        }
        self.heads[run] = next;
        Ok(())
    }
}

/// A label's byte.
const NONE: u8 = 2;

fn encode(entry: &Entry, out: &mut impl Write) -> std::io::Result<()> {
    let Entry { number, transaction, label } = entry;
    out.write_all(&number.to_le_bytes())?;
    out.write_all(&transaction.time.to_le_bytes())?;
    out.write_all(&transaction.amount.units().to_le_bytes())?;
    out.write_all(&[label.map_or(NONE, u8::from)])?;
    for id in [&transaction.transaction_id, &transaction.customer_id, &transaction.terminal_id] {
        match id.as_ref() {
            IdRef::Integer(value) => {
                out.write_all(&[0])?;
                out.write_all(&value.to_le_bytes())?;
            }
            IdRef::Text(text) => {
                // 1 to 128 bytes.
                out.write_all(&[u8::try_from(text.len()).unwrap_or(u8::MAX)])?;
                out.write_all(text.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// `None` at the end.
fn decode(input: &mut BufReader<File>) -> std::io::Result<Option<Entry>> {
    let mut number = [0; 8];
    match input.read_exact(&mut number) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let time = integer(input)?;
    let amount = Amount::from_units(integer(input)?).ok_or_else(altered)?;
    let mut byte = [0];
    input.read_exact(&mut byte)?;
    let label = (byte[0] != NONE).then_some(byte[0] == 1);
    let (transaction_id, customer_id, terminal_id) = (id(input)?, id(input)?, id(input)?);
    let transaction = Transaction { transaction_id, customer_id, terminal_id, amount, time };
    Ok(Some(Entry { number: u64::from_le_bytes(number), transaction, label }))
}

fn integer(input: &mut impl Read) -> std::io::Result<i64> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes)?;
    Ok(i64::from_le_bytes(bytes))
}

fn id(input: &mut impl Read) -> std::io::Result<Id> {
    let mut length = [0];
    input.read_exact(&mut length)?;
    if length[0] == 0 {
        return Ok(Id::from(integer(input)?));
    }
    let mut bytes = [0; u8::MAX as usize];
    let bytes = &mut bytes[..usize::from(length[0])];
    input.read_exact(bytes)?;
    std::str::from_utf8(bytes).ok().and_then(Id::from_text).ok_or_else(altered)
}

fn altered() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, "the temporary file was altered")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let id =
            || prop_oneof![any::<i64>().prop_map(Id::from), "[a-zé]{1,40}".prop_filter_map("", |t| Id::from_text(&t))];
        let entry = (id(), id(), id(), 0i64..50, 0i64..1_000_000, prop::option::of(any::<bool>()));
        prop::collection::vec(entry, 0..120).prop_map(|rows| {
            let entry = |(index, (transaction_id, customer_id, terminal_id, time, amount, label))| {
                let amount = Amount::from_units(amount).unwrap();
                let transaction = Transaction { transaction_id, customer_id, terminal_id, amount, time };
                Entry { number: index as u64 + 1, transaction, label }
            };
            rows.into_iter().enumerate().map(entry).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// From everything in memory to merges of merges of merges.
        #[test]
        fn is_a_stable_sort(rows in entries(), limit in 1usize..150, fan_in in 2usize..5) {
            let mut sorter = Sorter::new(&std::env::temp_dir(), limit);
            sorter.fan_in = fan_in;
            for entry in &rows {
                sorter.push(entry.clone()).unwrap();
            }
            let mut expected = rows;
            expected.sort_by_key(|entry| entry.transaction.time);
            let mut sorted = sorter.finish().unwrap();
            for entry in expected {
                prop_assert_eq!(sorted.next().unwrap(), Some(entry));
            }
            prop_assert_eq!(sorted.next().unwrap(), None);
        }
    }
}
