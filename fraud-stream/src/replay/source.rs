//! The input in the order of observation.

use std::path::Path;

use fraud_core::files::{Columns, Format, ReadOptions, Row, TransactionReader};
use fraud_core::transaction::{IdRef, ParseOptions};
use serde::Serialize;

use super::batch::{Batch, Entry, Reject};
use super::error::ReplayError;
use super::options::{Labels, Options, Order};
use super::progress::Progress;
use super::sort::{Sorted, Sorter};

/// Rows read at once.
const CHUNK_ROWS: usize = 4_096;

/// How the rows came into their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sorting {
    /// The file was in order of event time.
    AlreadySorted,
    /// The rows were sorted by event time.
    Sorted,
    /// The rows were taken as they came.
    AsTheyCame,
}

/// What a first look at the input told.
#[derive(Debug, Clone, Copy)]
struct FirstLook {
    sorted: bool,
    /// Every transaction id is an integer, as far as was looked.
    integer_ids: bool,
}

/// The input's transactions, in the order in which the store is to observe them.
pub(super) struct Source<'a> {
    options: &'a Options,
    progress: &'a Progress,
    sorting: Sorting,
    integer_ids: bool,
    rows: Rows,
    chunk: Vec<Row>,
    /// Rows read and valid ones (given out, once sorted), and the event time of the last one.
    read: u64,
    valid: u64,
    last: i64,
}

enum Rows {
    /// Straight from the file.
    Streamed(TransactionReader),
    /// Going through the file, nothing to give out yet but bad rows.
    Sorting(TransactionReader, Sorter),
    Sorted(Box<Sorted>),
}

impl<'a> Source<'a> {
    pub(super) fn open(options: &'a Options, progress: &'a Progress) -> Result<Self, ReplayError> {
        let mut look = FirstLook { sorted: true, integer_ids: true };
        let sorting = match options.order {
            Order::Arrival => {
                look.integer_ids = first_ids_are_integers(options)?;
                Sorting::AsTheyCame
            }
            Order::EventTime => {
                progress.begin("looking");
                look = first_look(options, progress)?;
                if look.sorted { Sorting::AlreadySorted } else { Sorting::Sorted }
            }
        };
        let reader = open(options, Columns::All)?;
        let rows = if sorting == Sorting::Sorted {
            let folder = options.output.parent().filter(|folder| !folder.as_os_str().is_empty());
            Rows::Sorting(reader, Sorter::new(folder.unwrap_or(Path::new(".")), options.sort_rows))
        } else {
            Rows::Streamed(reader)
        };
        progress.begin(if sorting == Sorting::Sorted { "sorting" } else { "scoring" });
        let integer_ids = look.integer_ids;
        let chunk = Vec::with_capacity(CHUNK_ROWS);
        Ok(Self { options, progress, sorting, integer_ids, rows, chunk, read: 0, valid: 0, last: i64::MIN })
    }

    pub(super) fn sorting(&self) -> Sorting {
        self.sorting
    }

    /// Fills a cleared batch with up to `limit` rows, or with bad rows only; false when there are no more.
    pub(super) fn fill(&mut self, batch: &mut Batch, limit: usize) -> Result<bool, ReplayError> {
        if matches!(self.rows, Rows::Sorting(..)) {
            self.sort(batch, limit)?;
        }
        match &mut self.rows {
            Rows::Sorting(..) => {}
            Rows::Sorted(sorted) => {
                while batch.len() < limit
                    && let Some(entry) = sorted.next()?
                {
                    batch.push(entry);
                }
                self.read += batch.len() as u64;
                self.progress.update((self.read, self.valid), self.read);
            }
            Rows::Streamed(reader) => {
                self.chunk.clear();
                reader.read(&mut self.chunk, limit).map_err(ReplayError::Input)?;
                for row in self.chunk.drain(..) {
                    match entry(row) {
                        Err(reject) => batch.rejects.push(reject),
                        Ok(entry) => {
                            if self.sorting == Sorting::AlreadySorted && entry.transaction.time < self.last {
                                return Err(ReplayError::InputChanged { path: self.options.input.clone() });
                            }
                            self.last = entry.transaction.time;
                            batch.push(entry);
                        }
                    }
                }
                self.valid += batch.len() as u64;
                let progress = reader.progress();
                self.progress.update((progress.done, progress.total), self.valid);
            }
        }
        batch.integer_ids = self.integer_ids;
        Ok(batch.len() > 0 || !batch.rejects.is_empty())
    }

    /// Goes on through the file until there are bad rows enough for a batch, or until it is sorted.
    fn sort(&mut self, batch: &mut Batch, limit: usize) -> Result<(), ReplayError> {
        let Rows::Sorting(reader, sorter) = &mut self.rows else { return Ok(()) };
        while batch.rejects.len() < limit {
            if reader.read(&mut self.chunk, CHUNK_ROWS).map_err(ReplayError::Input)? == 0 {
                let sorted = sorter.finish()?;
                self.rows = Rows::Sorted(Box::new(sorted));
                self.progress.begin("scoring");
                return Ok(());
            }
            for row in self.chunk.drain(..) {
                match entry(row) {
                    Err(reject) => batch.rejects.push(reject),
                    Ok(entry) => {
                        self.integer_ids &= is_integer(&entry);
                        self.valid += 1;
                        sorter.push(entry)?;
                    }
                }
            }
            let progress = reader.progress();
            self.progress.update((progress.done, progress.total), self.valid);
        }
        Ok(())
    }
}

fn open(options: &Options, columns: Columns) -> Result<TransactionReader, ReplayError> {
    let labels = options.labels == Labels::TxFraud;
    let parse = ParseOptions { epoch: options.epoch, labels, any_case: true };
    TransactionReader::open(&options.input, ReadOptions { parse, columns }).map_err(ReplayError::Input)
}

fn entry(row: Row) -> Result<Entry, Reject> {
    match row.outcome {
        Ok(parsed) => Ok(Entry { number: row.number, transaction: parsed.transaction, label: parsed.label }),
        Err(error) => Err(Reject::row(row.number, &error)),
    }
}

fn is_integer(entry: &Entry) -> bool {
    matches!(entry.transaction.transaction_id.as_ref(), IdRef::Integer(_))
}

/// Reads the input up to the first row out of order: only times of a Parquet file, everything of a text.
fn first_look(options: &Options, progress: &Progress) -> Result<FirstLook, ReplayError> {
    let mut reader = open(options, Columns::TimeAndId)?;
    let mut rows = Vec::with_capacity(CHUNK_ROWS);
    let mut look = FirstLook { sorted: true, integer_ids: true };
    let (mut last, mut count) = (i64::MIN, 0);
    while reader.read(&mut rows, CHUNK_ROWS).map_err(ReplayError::Input)? > 0 {
        count += rows.len() as u64;
        for entry in rows.drain(..).filter_map(|row| entry(row).ok()) {
            if entry.transaction.time < last {
                // Sorting sees every id before the first row goes out.
                return Ok(FirstLook { sorted: false, integer_ids: true });
            }
            last = entry.transaction.time;
            look.integer_ids &= is_integer(&entry);
        }
        let done = reader.progress();
        progress.update((done.done, done.total), count);
    }
    Ok(look)
}

/// Looks at the first rows only.
fn first_ids_are_integers(options: &Options) -> Result<bool, ReplayError> {
    let mut reader = open(options, Columns::All)?;
    if let Some(known) = reader.integer_ids() {
        return Ok(known);
    }
    let mut rows = Vec::new();
    reader.read(&mut rows, CHUNK_ROWS).map_err(ReplayError::Input)?;
    Ok(rows.into_iter().filter_map(|row| entry(row).ok()).all(|entry| is_integer(&entry)))
}

/// The format of the input, for the summary.
pub(super) fn format_of(path: &Path) -> &'static str {
    Format::of(path).map_or("", Format::name)
}
