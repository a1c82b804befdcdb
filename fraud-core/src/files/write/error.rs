use std::path::PathBuf;

/// Why a table was not written. The target file is untouched in every case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file's name does not say which format is meant.
    #[error("{}: name the file .parquet, .csv or .jsonl (.ndjson, .json), the ending chooses the format", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, for example "create".
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A list of columns that no file can have.
    #[error("the table's columns: {problem}")]
    Columns {
        /// What is wrong with the list.
        problem: String,
    },
    /// A batch that does not fit the columns; nothing of it was written.
    #[error("column `{column}`: {problem}")]
    Batch {
        /// The column's name.
        column: String,
        /// What does not fit, with both values.
        problem: String,
    },
    /// A timestamp before year 1 or after year 9999; nothing of its batch was written.
    #[error("column `{column}`, row {row} of the batch: {micros} µs since 1970 lies outside of the years 1 to 9999")]
    Timestamp {
        /// The column's name.
        column: String,
        /// Row within the batch, from 0.
        row: usize,
        /// The value.
        micros: i64,
    },
    /// The encoder refused.
    #[error("{}: cannot encode the table: {problem}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        problem: String,
    },
    /// An earlier write failed, so the table is incomplete and was discarded.
    #[error("{}: discarded, an earlier write failed", path.display())]
    Discarded {
        /// The file.
        path: PathBuf,
    },
}
