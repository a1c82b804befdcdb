//! What is sent: transactions, fraud laid over them, and requests made of them.
//!
//! Everything random comes from one seed, in streams that do not touch each other: the same options give the same
//! requests, byte for byte, whatever the server answers and however long it takes.

mod draft;
mod encode;
mod file;
mod labels;
mod malformed;
mod scenario;
mod simulated;
mod source;
mod truth;

pub use draft::{Draft, Stream, StreamError};
pub use encode::{Encoder, Endpoint};
pub use file::{FileStream, FileTimes};
pub use labels::{LabelSettings, Labelled};
pub use malformed::Malformed;
pub use scenario::{Scenario, ScenarioShare};
pub use simulated::{Simulated, customers_for};
pub use source::{EventTime, Traffic, TrafficSettings};
pub use truth::TruthFile;
