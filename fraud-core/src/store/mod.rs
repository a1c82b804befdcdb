//! Stores outside of the process.

pub mod redis;
