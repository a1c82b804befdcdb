//! Files of transactions and tables: Parquet, CSV and JSON lines, in constant memory. [`mod@write`] writes them.
//!
//! [`TransactionReader`] tells the format by the extension and yields one [`Row`] per row of the file, valid
//! or not. A broken row is that row's [`RowError`]; a file that is broken as a whole is one [`FileError`].
//! Whatever a file claims about itself is checked against its size before memory is given to it.

mod csv;
mod error;
mod json_lines;
mod parquet;
pub mod write;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};

pub use error::{FileError, RowError};

use crate::transaction::{ParseOptions, Parsed};

/// Longest line of a text file, in bytes; longer ones are skipped and reported as rejected.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// A format of transaction files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Apache Parquet (`.parquet`); pages plain, Snappy, Zstandard or raw LZ4.
    Parquet,
    /// Comma-separated values with a header (`.csv`).
    Csv,
    /// One JSON object per line (`.jsonl`, `.ndjson`, `.json`).
    JsonLines,
}

impl Format {
    /// The format that the path's extension names, in either case.
    ///
    /// # Errors
    /// [`FileError::UnknownFormat`].
    pub fn of(path: &Path) -> Result<Self, FileError> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "parquet" => Ok(Self::Parquet),
            "csv" => Ok(Self::Csv),
            "jsonl" | "ndjson" | "json" => Ok(Self::JsonLines),
            _ => Err(FileError::UnknownFormat { path: path.to_owned() }),
        }
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::JsonLines => "JSON lines",
        }
    }
}

/// Which columns are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Columns {
    /// All that make a transaction.
    #[default]
    All,
    /// The event time only, and the transaction id where its column is not of integers: a quick first look
    /// at the order of a Parquet file. What is not read stands as 0. Text files are read in full either way.
    TimeAndId,
}

/// How to read a file of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// How rows become transactions; names in capitals are accepted whatever it says.
    pub parse: ParseOptions,
    /// Which columns are read.
    pub columns: Columns,
}

/// One row of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands, from 1: the line it starts on in a text file, the row in a Parquet file.
    pub number: u64,
    /// The transaction, or why it is none.
    pub outcome: Result<Parsed, RowError>,
}

/// How far a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows (Parquet) or bytes (text) read.
    pub done: u64,
    /// Rows or bytes in all.
    pub total: u64,
}

/// Reads a file of transactions from front to back.
pub struct TransactionReader {
    path: PathBuf,
    inner: Inner,
}

enum Inner {
    Parquet(Box<parquet::ParquetReader>),
    Csv(Box<csv::CsvReader>),
    JsonLines(Box<json_lines::JsonLinesReader>),
}

/// What went wrong inside of a format's reader; the path is added on the way out.
enum Problem {
    Io(std::io::Error),
    Damaged(String),
    Missing { missing: Vec<&'static str>, found: Vec<String> },
    Repeated(&'static str),
    Type { column: &'static str, found: String, expected: &'static str },
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl Problem {
    fn at(self, path: &Path, format: Format, action: &'static str) -> FileError {
        let path = path.to_owned();
        match self {
            Self::Io(source) => FileError::Io { path, action, source },
            Self::Damaged(problem) => FileError::Damaged { path, format: format.name(), problem },
            Self::Missing { missing, found } => FileError::MissingColumns { path, missing, found },
            Self::Repeated(column) => FileError::RepeatedColumn { path, column },
            Self::Type { column, found, expected } => FileError::ColumnType { path, column, found, expected },
        }
    }
}

/// What a reader reads from.
trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}

impl TransactionReader {
    /// Opens a file and checks what can be checked before the first row: its columns and its frame.
    ///
    /// # Errors
    /// Any [`FileError`].
    pub fn open(path: &Path, options: ReadOptions) -> Result<Self, FileError> {
        let format = Format::of(path)?;
        let io = |source| FileError::Io { path: path.to_owned(), action: "open", source };
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if meta.is_dir() {
            return Err(io(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
        }
        Self::start(path, format, (Box::new(file), meta.len()), options)
    }

    /// Reads a file's bytes from memory; for tests and fuzzing.
    ///
    /// # Errors
    /// Any [`FileError`]; its path is empty.
    pub fn from_bytes(bytes: Vec<u8>, format: Format, options: ReadOptions) -> Result<Self, FileError> {
        let length = bytes.len() as u64;
        Self::start(Path::new(""), format, (Box::new(Cursor::new(bytes)), length), options)
    }

    fn start(
        path: &Path,
        format: Format,
        (source, length): (Box<dyn Source>, u64),
        options: ReadOptions,
    ) -> Result<Self, FileError> {
        let options = ReadOptions { parse: ParseOptions { any_case: true, ..options.parse }, ..options };
        let inner = match format {
            Format::Parquet => {
                parquet::ParquetReader::open(source, length, options).map(|reader| Inner::Parquet(Box::new(reader)))
            }
            Format::Csv => csv::CsvReader::open(source, length, options).map(|reader| Inner::Csv(Box::new(reader))),
            Format::JsonLines => json_lines::JsonLinesReader::open(source, length, options)
                .map(|reader| Inner::JsonLines(Box::new(reader))),
        };
        let inner = inner.map_err(|problem| problem.at(path, format, "read"))?;
        Ok(Self { path: path.to_owned(), inner })
    }

    /// Appends up to `limit` rows and answers how many; 0 at the end of the file.
    ///
    /// # Errors
    /// [`FileError::Io`] and [`FileError::Damaged`]; reading on after one gives nothing more.
    pub fn read(&mut self, rows: &mut Vec<Row>, limit: usize) -> Result<usize, FileError> {
        let before = rows.len();
        let (format, outcome) = match &mut self.inner {
            Inner::Parquet(reader) => (Format::Parquet, reader.read(rows, limit)),
            Inner::Csv(reader) => (Format::Csv, reader.read(rows, limit)),
            Inner::JsonLines(reader) => (Format::JsonLines, reader.read(rows, limit)),
        };
        outcome.map_err(|problem| problem.at(&self.path, format, "read"))?;
        Ok(rows.len() - before)
    }

    /// How far the file is read.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match &self.inner {
            Inner::Parquet(reader) => reader.progress(),
            Inner::Csv(reader) => reader.progress(),
            Inner::JsonLines(reader) => reader.progress(),
        }
    }

    /// Whether every transaction id is an integer by the type of its column; `None` where only the rows tell.
    #[must_use]
    pub fn integer_ids(&self) -> Option<bool> {
        match &self.inner {
            Inner::Parquet(reader) => reader.integer_ids(),
            Inner::Csv(_) | Inner::JsonLines(_) => None,
        }
    }
}

/// The columns that a transaction can have, as every format with a header meets them.
const KNOWN: [&str; 9] = [
    "transaction_id",
    "customer_id",
    "terminal_id",
    "tx_amount",
    "tx_datetime",
    "tx_time_seconds",
    "tx_time_days",
    "tx_fraud",
    "tx_fraud_scenario",
];

/// Finds the known columns of a header by name.
struct Header {
    /// Per entry of [`KNOWN`], where it stands.
    positions: [Option<usize>; KNOWN.len()],
    /// Columns that are not defined.
    unknown: u32,
}

impl Header {
    fn new<'a>(names: impl IntoIterator<Item = &'a str>, labels: bool) -> Result<Self, Problem> {
        let mut header = Self { positions: [None; KNOWN.len()], unknown: 0 };
        let mut found = Vec::new();
        for (position, name) in names.into_iter().enumerate() {
            found.push(name.to_owned());
            match KNOWN.iter().position(|known| known.eq_ignore_ascii_case(name)) {
                None => header.unknown += 1,
                Some(index) if header.positions[index].is_some() => return Err(Problem::Repeated(KNOWN[index])),
                Some(index) => header.positions[index] = Some(position),
            }
        }
        let there = |name: &str| KNOWN.iter().zip(header.positions).any(|(known, at)| *known == name && at.is_some());
        let mut missing: Vec<_> = KNOWN.into_iter().take(4).filter(|name| !there(name)).collect();
        if !there("tx_datetime") && !there("tx_time_seconds") {
            missing.push("tx_datetime");
        }
        if labels && !there("tx_fraud") {
            missing.push("tx_fraud (asked for as the label)");
        }
        if missing.is_empty() { Ok(header) } else { Err(Problem::Missing { missing, found }) }
    }

    /// The known columns that are there, with their positions.
    fn known(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        KNOWN.into_iter().zip(self.positions).filter_map(|(name, at)| Some((name, at?)))
    }
}
