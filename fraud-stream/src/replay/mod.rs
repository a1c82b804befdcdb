//! Replay: a file of transactions through the one path, each as if it arrived at its event time.
//!
//! ```text
//! file ─read, sort─▶ observe ─▶ assess, serialise ─▶ write
//!       one thread   one thread     some threads      one thread
//! ```
//!
//! Batches of rows travel through bounded channels and are used again; only the order in which the store observes
//! matters to what is computed, and one thread does that. So what is written depends on the input alone: not on
//! threads, not on the machine, not on the clock.

mod args;
mod batch;
mod error;
mod observe;
mod options;
mod output;
mod pipeline;
mod progress;
mod quality;
mod sort;
mod source;
mod summary;

pub use args::ReplayArgs;
pub use error::ReplayError;
pub use options::{Labels, Options, Order};
pub use pipeline::run;
pub use quality::{CardPrecision, Confusion, Quality};
pub use summary::Summary;

use std::io::Write;

/// Runs the command: replays, prints the summary, and writes it as JSON where that is asked for.
///
/// # Errors
/// [`ReplayError`]; its exit code says whose fault it is.
pub fn from_arguments(arguments: ReplayArgs) -> Result<(), ReplayError> {
    let summary_file = arguments.summary.clone();
    let options = Options::try_from(arguments)?;
    let summary = run(&options)?;
    // A closed pipe is the reader's choice, the files are written by now.
    let _ = write!(std::io::stdout().lock(), "{summary}");
    if let Some(path) = summary_file {
        let mut json = serde_json::to_string_pretty(&summary).map_err(|error| ReplayError::internal(&error))?;
        json.push('\n');
        std::fs::write(&path, json).map_err(ReplayError::io(&path, "write"))?;
    }
    Ok(())
}
