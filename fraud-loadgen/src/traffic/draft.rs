//! A transaction that is not yet a request.

use fraud_core::files::FileError;
use fraud_core::files::write::FileError as WriteError;
use fraud_core::{Amount, Id};

use crate::simulator::SettingsError;

/// A transaction with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its own identifier, where it came from a file.
    pub id: Option<Id>,
    /// Who pays.
    pub customer: Id,
    /// Who is paid.
    pub terminal: Id,
    /// How much.
    pub amount: Amount,
    /// Its event time where it comes from, in Unix seconds.
    pub time: i64,
    /// Whether it is fraud, if that is known.
    pub fraud: Option<bool>,
    /// The simulator's scenario, 1 to 3; 0 for none.
    pub scenario_number: u8,
}

/// Where transactions come from.
pub trait Stream: Send {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// [`StreamError`].
    fn next(&mut self) -> Result<Option<Draft>, StreamError>;
}

/// Why there is no next transaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The file of transactions cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// Settings that make no simulation.
    #[error(transparent)]
    Simulation(#[from] SettingsError),
    /// The ground truth cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A time that cannot be written as a date.
    #[error("event time {seconds} (Unix seconds) lies outside of the years 1 to 9999")]
    Time {
        /// The time.
        seconds: i64,
    },
    /// A file without one transaction in it.
    #[error("there is not one valid transaction in the file")]
    Empty,
}
