//! Every way of evaluating against the obvious one.

mod finishing;
mod hostile;
mod random;
mod semantics;
