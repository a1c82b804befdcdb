//! ONNX Runtime through the `ort` crate, one thread, from a shared library named on the command line.

use std::path::Path;

use anyhow::anyhow;
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use super::Run;

pub fn load(library: &Path) -> anyhow::Result<Environment> {
    let builder = ort::init_from(library).map_err(|error| anyhow!("{error}"))?;
    builder.build().map_err(|error| anyhow!("{error}"))
}

pub fn contender(environment: &Environment, onnx: &Path) -> anyhow::Result<Run> {
    let text = |error: &dyn std::fmt::Display| anyhow!("{error}");
    let mut session = Session::builder(environment)
        .map_err(|error| text(&error))?
        .with_intra_threads(1)
        .map_err(|error| text(&error))?
        .with_inter_threads(1)
        .map_err(|error| text(&error))?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|error| text(&error))?
        .commit_from_file(onnx)
        .map_err(|error| text(&error))?;
    Ok(Box::new(move |input, first, out| {
        let rows = &input.singles[first * input.width..][..out.len() * input.width];
        let tensor = TensorRef::from_array_view(([out.len(), input.width], rows))?;
        let answer = session.run(ort::inputs![tensor])?;
        let (_, values) = answer["probabilities"].try_extract_tensor::<f32>()?;
        for (out, row) in out.iter_mut().zip(values.chunks_exact(2)) {
            *out = row[1];
        }
        Ok(())
    }))
}
