//! The Kafka edge: transactions from a topic, through the one path, to a topic; exactly once.
//!
//! `RECOVERY.md` beside this crate says what is guaranteed, and how.
//!
//! ```text
//!                 ┌ labels ┐
//! transactions ─▶ reader ─▶ state ─▶ scorer ─▶ sink ─▶ predictions
//!                 (order)  (observe) (assess)    ├───▶ dead letters
//!                                                ├───▶ journal (the order)
//!                                                └───▶ offsets
//! ```

mod batch;
mod client;
mod command;
pub mod crash;
mod error;
mod format;
pub mod journal;
pub mod metrics;
mod outputs;
mod reader;
mod recover;
mod remote;
mod run;
pub mod security;
mod server;
mod session;
pub mod settings;
mod sink;
mod snapshot;
pub mod source;
mod state;
mod waiting;

pub use command::{RunArgs, run_command};
pub use error::StreamError;
pub use run::{Shared, run, run_shared};
pub use state::{Reason, Refusal};
