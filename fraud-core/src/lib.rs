//! Real-time fraud scoring: a raw transaction in, a probability, a decision and its reasons out.
#![warn(missing_docs)]

pub mod duration;
pub mod error;
pub mod features;
pub mod model;
pub mod transaction;
