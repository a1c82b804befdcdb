//! Tree ensembles: ONNX's meaning, evaluated by kernels of our own. This module knows no ONNX file and no engine.
//!
//! [`TreeSpec`] says what an ensemble is; [`TreeEvaluator`] runs it. Every way of running gives the same bits:
//! weights are held as integers on one binary grid per ensemble (62 bits for the greatest possible sum), so
//! that sums are exact and no order of adding changes them; they are rounded once, to f32, at the end.

mod bits;
mod choose;
mod error;
mod evaluator;
mod fast;
mod finish;
mod keys;
mod lockstep;
mod normal;
#[doc(hidden)]
pub mod reference;
mod simd;
mod spec;
mod validate;
mod walk;

#[cfg(test)]
mod tests;

pub use error::TreeError;
pub use evaluator::TreeEvaluator;
pub use fast::Kernel;
pub use spec::{Aggregate, LeafWeight, Mode, Node, PostTransform, Precision, Task, TreeSpec};
