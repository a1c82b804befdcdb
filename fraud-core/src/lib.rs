//! Real-time fraud scoring: a raw transaction in, a probability, a decision and its reasons out.
#![warn(missing_docs)]

pub mod duration;
pub mod error;
pub mod features;
#[cfg(feature = "files")]
pub mod files;
pub mod transaction;
