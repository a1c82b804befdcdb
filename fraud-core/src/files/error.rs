//! Why a file, or one row of it, gave no transactions.

use std::path::PathBuf;

use crate::error::{ParseError, ValidationError};

/// A file that cannot be read as transactions at all. Single bad rows are [`RowError`]s instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, for example "open".
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The extension names no format that is read.
    #[error("{}: the format is told by the extension: .parquet, .csv, .jsonl, .ndjson or .json", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file as a whole is not what its extension says.
    #[error("{}: not a readable {format} file: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The format that its extension names.
        format: &'static str,
        /// What does not fit, and what to do.
        problem: String,
    },
    /// Columns without which no row can be a transaction.
    #[error(
        "{}: missing {}; a transaction needs transaction_id, customer_id, terminal_id, tx_amount and tx_datetime \
         (or tx_time_seconds), in either case; the file has {}", path.display(), missing.join(", "), listed(found)
    )]
    MissingColumns {
        /// The file.
        path: PathBuf,
        /// The missing ones, in lower case.
        missing: Vec<&'static str>,
        /// The columns that are there.
        found: Vec<String>,
    },
    /// Two columns of one name, if only in another case.
    #[error("{}: the column `{column}` is there twice", path.display())]
    RepeatedColumn {
        /// The file.
        path: PathBuf,
        /// Its name in lower case.
        column: &'static str,
    },
    /// A column whose type cannot hold what its name says.
    #[error("{}: column `{column}` is {found}, it must be {expected}", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// Its name in lower case.
        column: &'static str,
        /// Its type in the file.
        found: String,
        /// The types that are read.
        expected: &'static str,
    },
}

/// The first few column names, so that an error about a wide file stays readable.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => text.push_str("no columns"),
        count if count > SHOWN => text.push_str(&format!(" and {} more", count - SHOWN)),
        _ => {}
    }
    text
}

/// One row that is no transaction; the rows after it are read all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// A line that is not a JSON object.
    #[error(transparent)]
    Parse(ParseError),
    /// A row that breaks rules; all of them are listed.
    #[error(transparent)]
    Invalid(#[from] ValidationError),
    /// A row with more or fewer cells than the header.
    #[error("the row has {found} cells, the header {expected}")]
    Ragged {
        /// Cells in the header.
        expected: usize,
        /// Cells in the row.
        found: usize,
    },
    /// A line or record beyond the limit; its bytes were skipped.
    #[error("the row is longer than {limit} bytes (an unclosed quote, or a missing line end?)")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
}

impl From<ParseError> for RowError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Invalid(invalid) => Self::Invalid(invalid),
            other => Self::Parse(other),
        }
    }
}

impl RowError {
    /// The names of the offending fields, lower case; empty where the row as a whole is wrong.
    #[must_use]
    pub fn fields(&self) -> Vec<&'static str> {
        match self {
            Self::Invalid(error) => {
                error.problems.iter().map(|problem| problem.field).filter(|field| !field.is_empty()).collect()
            }
            _ => Vec::new(),
        }
    }
}
