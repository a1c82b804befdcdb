//! Makes transactions: simulates them for files, and (later) as load.
#![warn(missing_docs)]
#![deny(unsafe_code)]

pub mod load;
pub mod simulate;
pub mod simulator;
