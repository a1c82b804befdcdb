//! Transactions of a file.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use fraud_core::ParseOptions;
use fraud_core::files::{Columns, FileError, ReadOptions, Row, TransactionReader};

use super::draft::{Draft, Stream, StreamError};
use crate::load::clock::SECOND;
use crate::load::schedule::Arrival;

/// Rows read at a time.
const ROWS: usize = 1_024;

/// A file's valid transactions in its order, over and over when asked to.
pub struct FileStream {
    path: PathBuf,
    options: ReadOptions,
    again: bool,
    reader: TransactionReader,
    rows: VecDeque<Row>,
    found: bool,
    /// Rows that are no transactions and were passed over.
    pub skipped: u64,
}

impl FileStream {
    /// Opens a file; `tx_fraud` is read where a column of that name is there.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(path: &Path, again: bool) -> Result<Self, FileError> {
        let with =
            |labels| ReadOptions { parse: ParseOptions { labels, ..ParseOptions::default() }, columns: Columns::All };
        // Formats with a header say at once whether labels are there; lines say it one by one.
        let (options, reader) = match TransactionReader::open(path, with(true)) {
            Err(FileError::MissingColumns { missing, .. })
                if missing.iter().all(|name| name.starts_with("tx_fraud")) =>
            {
                (with(false), TransactionReader::open(path, with(false))?)
            }
            other => (with(true), other?),
        };
        Ok(Self { path: path.to_owned(), options, again, reader, rows: VecDeque::new(), found: false, skipped: 0 })
    }

    fn row(&mut self) -> Result<Option<Row>, StreamError> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Ok(Some(row));
            }
            let mut rows = Vec::with_capacity(ROWS);
            if self.reader.read(&mut rows, ROWS)? > 0 {
                self.rows = rows.into();
                continue;
            }
            if !self.found {
                return Err(StreamError::Empty);
            }
            if !self.again {
                return Ok(None);
            }
            self.reader = TransactionReader::open(&self.path, self.options)?;
        }
    }
}

impl Stream for FileStream {
    fn next(&mut self) -> Result<Option<Draft>, StreamError> {
        while let Some(row) = self.row()? {
            let Ok(parsed) = row.outcome else {
                self.skipped += 1;
                continue;
            };
            self.found = true;
            let transaction = parsed.transaction;
            return Ok(Some(Draft {
                id: Some(transaction.transaction_id),
                customer: transaction.customer_id,
                terminal: transaction.terminal_id,
                amount: transaction.amount,
                time: transaction.time,
                fraud: parsed.label,
                scenario_number: 0,
            }));
        }
        Ok(None)
    }
}

/// The intended starts of a file replayed in its own time: the distances between its transactions, divided by a speed.
/// A transaction that is earlier than the one before it is due with it.
pub struct FileTimes {
    stream: FileStream,
    speed: f64,
    first: Option<i64>,
    last: u64,
    /// How many transactions go into one request.
    rows: usize,
    /// What ended it early, for who asks afterwards. The stream of transactions meets the same error.
    failed: bool,
}

impl FileTimes {
    /// Opens the file a second time, beside the stream of its transactions.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(path: &Path, speed: f64, rows: usize) -> Result<Self, FileError> {
        let stream = FileStream::open(path, false)?;
        Ok(Self { stream, speed, first: None, last: 0, rows: rows.max(1), failed: false })
    }
}

impl Iterator for FileTimes {
    type Item = Arrival;

    #[allow(clippy::cast_possible_truncation)] // Saturates; the run's bound is far below.
    fn next(&mut self) -> Option<Arrival> {
        if self.failed {
            return None;
        }
        let mut due = None;
        for _ in 0..self.rows {
            match self.stream.next() {
                Ok(Some(draft)) => {
                    let first = *self.first.get_or_insert(draft.time);
                    let seconds = draft.time.saturating_sub(first).max(0) as f64 / self.speed;
                    self.last = self.last.max((seconds * SECOND as f64) as u64);
                    due = Some(self.last);
                }
                Ok(None) => break,
                Err(_) => {
                    self.failed = true;
                    break;
                }
            }
        }
        // A request of several transactions goes out with the last of them.
        due.map(|due| Arrival { due, phase: 0 })
    }
}
