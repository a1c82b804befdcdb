//! Every way of evaluating against the obvious one.

mod hostile;
mod random;
mod semantics;
