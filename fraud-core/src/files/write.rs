//! Writes a table, batch by batch, to a file whose ending chooses the format.
//!
//! | ending | format | a timestamp is |
//! |---|---|---|
//! | `.parquet` | Parquet, row groups of 131,072 rows, zstd | `timestamp[us]`: UTC, no zone |
//! | `.csv` | CSV with a header, quoted as RFC 4180 says, lines ended by a line feed | `2018-04-01 00:00:31` (UTC) |
//! | `.jsonl`, `.ndjson`, `.json` | one JSON object a line | `"2018-04-01T00:00:31Z"` |
//!
//! Floats in CSV and JSON read back as the same bits. The same rows give the same bytes, however they were
//! cut into batches. The file appears under its name when [`TableWriter::finish`] returns, complete, or not
//! at all. Memory: one row group (8 bytes a number) for Parquet, about 1 MiB for the others.
//!
//! ```
//! use fraud_core::files::write::{Column, TableWriter, Texts, Values};
//!
//! let folder = std::env::temp_dir().join(format!("table-{}", std::process::id()));
//! std::fs::create_dir_all(&folder)?;
//! let columns = [Column::text("transaction_id"), Column::float("TX_AMOUNT")];
//! let mut writer = TableWriter::create(&folder.join("matrix.csv"), &columns)?;
//! let ids = Texts::from_iter(["a1", "a2"]);
//! writer.write(&[Values::Texts(&ids), Values::Floats(&[57.16, 81.0])])?;
//! let written = writer.finish()?;
//! assert_eq!(written.rows, 2);
//! assert_eq!(std::fs::read_to_string(folder.join("matrix.csv"))?, "transaction_id,TX_AMOUNT\na1,57.16\na2,81.0\n");
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

mod error;
mod parquet;
mod target;
mod text;
mod values;

pub use error::FileError;
pub use values::{Texts, Values};

use self::parquet::GroupWriter;
use self::target::Target;
use self::text::LineWriter;
use super::Format;

/// The format that a file's ending names, in either case.
///
/// # Errors
/// [`FileError::Extension`] for any other ending.
pub fn format_of(path: &Path) -> Result<Format, FileError> {
    Format::of(path).map_err(|_| FileError::Extension { path: path.to_owned() })
}

/// What the values of a column are. Every cell has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// 64-bit integers.
    Integer,
    /// 64-bit floats.
    Float,
    /// UTF-8 texts.
    Text,
    /// `true` or `false`.
    Boolean,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integer => "integers",
            Self::Float => "floats",
            Self::Text => "texts",
            Self::Boolean => "booleans",
            Self::Timestamp => "timestamps",
        })
    }
}

/// A column's name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The name, unique in its table and not empty.
    pub name: String,
    /// What its values are.
    pub column_type: ColumnType,
}

impl Column {
    /// A column of integers.
    #[must_use]
    pub fn integer(name: &str) -> Self {
        Self { name: name.to_owned(), column_type: ColumnType::Integer }
    }

    /// A column of floats.
    #[must_use]
    pub fn float(name: &str) -> Self {
        Self { name: name.to_owned(), column_type: ColumnType::Float }
    }

    /// A column of texts.
    #[must_use]
    pub fn text(name: &str) -> Self {
        Self { name: name.to_owned(), column_type: ColumnType::Text }
    }

    /// A column of booleans.
    #[must_use]
    pub fn boolean(name: &str) -> Self {
        Self { name: name.to_owned(), column_type: ColumnType::Boolean }
    }

    /// A column of timestamps.
    #[must_use]
    pub fn timestamp(name: &str) -> Self {
        Self { name: name.to_owned(), column_type: ColumnType::Timestamp }
    }
}

/// What a finished table came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows, without a header.
    pub rows: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// Writes a table. Dropped before [`TableWriter::finish`], it leaves no file behind; a process that is killed
/// leaves a hidden file whose name ends in `.partial`, beside the one that it was meant to be.
pub struct TableWriter {
    path: PathBuf,
    columns: Vec<Column>,
    rows: u64,
    /// None after a failure: what was written so far is gone.
    sink: Option<Sink>,
}

enum Sink {
    Groups(GroupWriter),
    Lines(LineWriter),
}

impl TableWriter {
    /// Begins a table with these columns; `path`'s ending chooses the format. A file that already stands
    /// there stays as it is until [`TableWriter::finish`] replaces it.
    ///
    /// # Errors
    /// [`FileError::Extension`], [`FileError::Columns`] for no columns, empty or repeated names,
    /// [`FileError::Io`] when no file can be created beside `path`.
    pub fn create(path: &Path, columns: &[Column]) -> Result<Self, FileError> {
        let format = format_of(path)?;
        check_names(columns)?;
        let target = Target::create(path)?;
        let sink = match format {
            Format::Parquet => Sink::Groups(GroupWriter::new(target, columns)),
            Format::Csv => Sink::Lines(LineWriter::new(target, columns, false)),
            Format::JsonLines => Sink::Lines(LineWriter::new(target, columns, true)),
        };
        Ok(Self { path: path.to_owned(), columns: columns.to_vec(), rows: 0, sink: Some(sink) })
    }

    /// Appends one batch: the values of each column, in the columns' order, all of one length.
    ///
    /// # Errors
    /// [`FileError::Batch`] and [`FileError::Timestamp`] for a batch that does not fit; nothing of it is
    /// written and the table goes on. [`FileError::Io`] and [`FileError::Encode`] when writing failed; the
    /// table is then lost.
    pub fn write(&mut self, batch: &[Values<'_>]) -> Result<(), FileError> {
        let rows = self.check(batch)?;
        let result = match &mut self.sink {
            Some(Sink::Groups(writer)) => writer.write(batch, rows),
            Some(Sink::Lines(writer)) => writer.write(batch, rows),
            None => Err(FileError::Discarded { path: self.path.clone() }),
        };
        match result {
            Ok(()) => self.rows += rows as u64,
            Err(_) => self.sink = None,
        }
        result
    }

    /// Rows written so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Completes the file and puts it in its place.
    ///
    /// # Errors
    /// [`FileError::Io`] and [`FileError::Encode`] when writing failed, [`FileError::Discarded`] when an
    /// earlier write did.
    pub fn finish(self) -> Result<Written, FileError> {
        let bytes = match self.sink {
            Some(Sink::Groups(writer)) => writer.finish()?,
            Some(Sink::Lines(writer)) => writer.finish()?,
            None => return Err(FileError::Discarded { path: self.path }),
        };
        Ok(Written { rows: self.rows, bytes })
    }

    /// The rows of a batch that fits.
    fn check(&self, batch: &[Values<'_>]) -> Result<usize, FileError> {
        if batch.len() != self.columns.len() {
            let problem = format!("the batch has {} columns, the table {}", batch.len(), self.columns.len());
            return Err(FileError::Columns { problem });
        }
        let rows = batch.first().map_or(0, Values::len);
        for (column, values) in self.columns.iter().zip(batch) {
            let wrong = |problem| FileError::Batch { column: column.name.clone(), problem };
            if values.column_type() != column.column_type {
                return Err(wrong(format!("takes {}, the batch has {}", column.column_type, values.column_type())));
            }
            if values.len() != rows {
                return Err(wrong(format!("has {} rows, the batch's first column {rows}", values.len())));
            }
            values.check_times(&column.name)?;
        }
        Ok(rows)
    }
}

fn check_names(columns: &[Column]) -> Result<(), FileError> {
    let wrong = |problem: String| Err(FileError::Columns { problem });
    let mut names = HashSet::new();
    if columns.is_empty() {
        return wrong("there are none".to_owned());
    }
    for (index, column) in columns.iter().enumerate() {
        if column.name.is_empty() {
            return wrong(format!("column {index} has no name"));
        }
        if !names.insert(&column.name) {
            return wrong(format!("`{}` stands there twice", column.name));
        }
    }
    Ok(())
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
