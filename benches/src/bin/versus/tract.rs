//! tract with its own tree operator, as it comes.

use std::path::Path;

use tract_onnx::prelude::*;

use super::Run;

pub fn contender(onnx: &Path, width: usize) -> anyhow::Result<Run> {
    let mut model = tract_onnx::onnx().model_for_path(onnx)?.with_input_fact(0, f32::fact([1, width]).into())?;
    let probabilities = model.outputs.len() - 1;
    let outlet = model.outputs[probabilities];
    model.select_output_outlets(&[outlet])?;
    let plan = model.into_optimized()?.into_runnable()?;
    Ok(Box::new(move |input, first, out| {
        // One row a call: this plan has a fixed shape, and what a batch would save is nothing next to its trees.
        for (index, out) in out.iter_mut().enumerate() {
            let row = &input.singles[(first + index) * width..][..width];
            let answer = plan.run(tvec!(Tensor::from_shape(&[1, width], row)?.into()))?;
            *out = answer[0].to_plain_array_view::<f32>()?.iter().last().copied().unwrap_or(f32::NAN);
        }
        Ok(())
    }))
}
