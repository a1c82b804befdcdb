//! Makes transactions: simulated ones for files, and load, genuine and hostile, for services.
#![warn(missing_docs)]
#![deny(unsafe_code)]

pub mod drill;
pub mod fail_if;
pub mod load;
pub mod profile;
pub mod report;
pub mod run;
pub mod simulate;
pub mod simulator;
pub mod target;
pub mod traffic;
