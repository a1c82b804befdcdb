//! What stops a replay.

use std::path::{Path, PathBuf};

use fraud_core::error::{FeatureError, ModelError, PolicyError, SharedStoreError, SnapshotError, StoreError};
use fraud_core::files::{FileError, write};

/// What stopped a replay. No output file was put in place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Arguments that contradict each other.
    #[error("{0}")]
    Arguments(String),
    /// The input file cannot be used.
    #[error(transparent)]
    Input(FileError),
    /// Not one row of the input is a transaction.
    #[error("{}: none of its {rows} rows is a transaction; the first problem, in row {row}: {reason}", path.display())]
    NothingValid {
        /// The input.
        path: PathBuf,
        /// Rows read.
        rows: u64,
        /// Where the first one stands.
        row: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The input was another one when it was read again.
    #[error("{}: it changed while it was read; replay a file that stays as it is", path.display())]
    InputChanged {
        /// The input.
        path: PathBuf,
    },
    /// The model cannot be used.
    #[error("the model cannot be used: {0}")]
    Model(#[from] ModelError),
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The features cannot be computed.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// The saved state cannot be read or written.
    #[error(transparent)]
    State(#[from] SnapshotError),
    /// The shared store cannot be used.
    #[error(transparent)]
    Shared(#[from] SharedStoreError),
    /// The store takes no more.
    #[error("row {row}: {source}")]
    Store {
        /// Where the transaction stands in the input.
        row: u64,
        /// What the store said.
        source: StoreError,
    },
    /// The shared store could not be told that all is in.
    #[error("all rows are recorded, but the store could not be handed over: {source}; run the same replay again")]
    Filled {
        /// What the store said.
        source: StoreError,
    },
    /// The features file began with integers as transaction ids, and then came another id.
    #[error(
        "row {row}: the transaction id is no integer, but those before were, so {} has a column of integers; \
         replay in event-time order, which looks at all ids first, or write the features as CSV", path.display()
    )]
    MixedIds {
        /// The features file.
        path: PathBuf,
        /// Where the transaction stands in the input.
        row: u64,
    },
    /// An output file cannot be written.
    #[error(transparent)]
    Table(#[from] write::FileError),
    /// The file system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A fault of this program.
    #[error("this is a fault of the program, please report it: {0}")]
    Internal(String),
}

impl ReplayError {
    /// The process's exit code, as `sysexits.h` has them: 64 settings, 65 data, 70 a fault of ours, 74 I/O.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Arguments(_) | Self::Model(_) | Self::Policy(_) | Self::Feature(_) => 64,
            Self::Shared(SharedStoreError::Unreachable { .. }) | Self::Filled { .. } => 74,
            Self::Shared(_) => 64,
            Self::Input(FileError::UnknownFormat { .. }) => 64,
            Self::Table(write::FileError::Extension { .. }) => 64,
            Self::State(SnapshotError::Incompatible { .. }) => 64,
            Self::Input(FileError::Io { .. }) | Self::State(SnapshotError::Io { .. }) | Self::Io { .. } => 74,
            Self::Table(write::FileError::Io { .. }) => 74,
            Self::Input(_)
            | Self::NothingValid { .. }
            | Self::InputChanged { .. }
            | Self::State(_)
            | Self::Store { .. }
            | Self::MixedIds { .. } => 65,
            Self::Table(_) | Self::Internal(_) => 70,
        }
    }

    pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }

    pub(super) fn internal(error: &impl ToString) -> Self {
        Self::Internal(error.to_string())
    }
}
