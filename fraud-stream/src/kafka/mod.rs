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

mod again;
mod batch;
mod client;
mod command;
pub mod crash;
mod demo;
mod error;
mod format;
mod group;
mod growth;
mod headers;
pub mod journal;
mod member;
pub mod metrics;
mod outputs;
mod pipe;
mod queues;
mod reader;
mod recover;
mod redrive;
mod remote;
mod run;
pub mod security;
mod server;
mod session;
pub mod settings;
mod shared;
mod sink;
mod snapshot;
pub mod source;
mod state;
mod waiting;
mod watermark;

pub use again::{AgainArgs, replay_topic, wanted as wants_topic};
pub use command::{RunArgs, SettingsArgs, run_command};
pub use demo::{DemoArgs, demo};
pub use error::StreamError;
pub use redrive::{RedriveArgs, redrive};
pub use run::{Shared, run, run_shared};
pub use state::{Reason, Refusal};
