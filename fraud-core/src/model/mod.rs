//! Models: an ONNX file → checked graph → the fastest thing that runs it → probability of fraud.
//!
//! - `onnx` reads the file and reduces it to the one output that is read; it runs nothing.
//! - `ops` holds the operators of `ai.onnx.ml`, `plan` gives the graph to tract, which knows the others.
//! - [`trees`] evaluates tree ensembles and knows neither ONNX files nor tract.
//! - `program` runs graphs whose nodes are all known and treat each row by itself, `engine` is whichever of the three it is.
//!
//! The file's own part of the definition, its metadata, is described in `models/FORMAT.md`.

mod baseline;
mod calibration;
mod engine;
mod guard;
mod loaded;
mod metadata;
mod onnx;
mod ops;
mod options;
mod plan;
mod program;
mod simd;
pub mod trees;

pub use baseline::{Baseline, Distribution};
pub use calibration::Calibration;
pub use loaded::Model;
pub use metadata::{GoldenRows, ModelMetadata, Training};
pub use options::{LoadOptions, OutputKind, OutputOptions};
