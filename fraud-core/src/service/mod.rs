//! What the services share: settings, metrics, telemetry, the life of the model, drift and quality.
//!
//! Nothing in here serves HTTP or Kafka. The edges hand over outcomes; this module decides how they are
//! counted. Reading the environment and the clock is allowed here and nowhere else in the library.

pub mod clock;
pub mod drift;
pub mod fitness;
pub mod guards;
pub mod keys;
pub mod life;
pub mod metrics;
pub mod probe;
pub mod quality;
pub mod settings;
pub mod shadow;
pub mod shutdown;
pub mod source;
pub mod telemetry;
