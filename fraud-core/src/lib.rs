//! Real-time fraud scoring: a raw transaction in, a probability, a decision and its reasons out.
//!
//! ```text
//! bytes ─parse, validate─▶ Transaction ─observe─▶ Profile ─┐
//!                                                          ├─▶ Scorer::assess ─▶ Assessment
//!                             model, policy ───────────────┘
//! ```
//!
//! - [`transaction`]: one payment, validated once; after that its type is trusted.
//! - [`features`]: what is computed, as data; the store that answers for a customer and a terminal at a
//!   transaction's event time.
//! - [`model`]: an ONNX file, checked and made ready.
//! - [`policy`]: thresholds and rules.
//! - [`Scorer`]: the whole path; [`SharedScorer`] exchanges it while others score.
//!
//! Scoring knows no HTTP, Kafka, clock, environment or telemetry. What the programs share of those stands in `service`
//! (feature `service`): settings, clock, metrics, telemetry, and where models come from. Everything here is synchronous,
//! but for `store::redis` (feature `redis`), the store that several processes share.
#![deny(missing_docs)]

pub mod assessment;
pub mod duration;
pub mod error;
pub mod features;
#[cfg(feature = "files")]
pub mod files;
pub mod model;
pub mod policy;
pub mod scorer;
#[cfg(feature = "service")]
pub mod service;
#[cfg(feature = "redis")]
pub mod store;
pub mod transaction;

pub use assessment::{Assessment, Decision, DecisionSource, ModelType, Reason, RiskLevel};
pub use model::Model;
pub use policy::Policy;
pub use scorer::{Scorer, SharedScorer};
pub use transaction::{Amount, Id, ParseOptions, Parsed, Transaction};

/// The quick start of the README, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
