//! Every way of evaluating against the obvious one.

mod finishing;
mod hostile;
pub mod random;
mod semantics;
