//! What every request passes before and after its handler.

pub mod admission;
pub mod body;
pub mod client;
pub mod guard;
pub mod hot;
pub mod keys;
pub mod problem;
pub mod rate;
#[cfg(feature = "tls")]
pub mod tls;
