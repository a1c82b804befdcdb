//! Two operators of ONNX itself that tract lacks for doubles, or computes so that they overflow.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::math::{add, exp, ln, sub};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, sigmoid};
use tract_onnx::tract_hir::internal::*;

use super::kernel::as_type;
use crate::error::ModelError;
use crate::model::onnx::attributes::{Attributes, bad};
use crate::model::onnx::{constant, tensors};

/// Sigmoid, of doubles too: computed in f32 then.
#[derive(Debug, Clone)]
pub(crate) struct Sigmoid;

impl Expansion for Sigmoid {
    fn name(&self) -> StaticName {
        "Sigmoid".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let given = model.outlet_fact(inputs[0])?.datum_type;
        let single = given == f64::datum_type();
        let x = if single { as_type(model, prefix, (inputs[0], f32::datum_type()))? } else { inputs[0] };
        let y = model.wire_node(format!("{prefix}.sigmoid"), sigmoid(), &[x])?[0];
        Ok(tvec!(as_type(model, &format!("{prefix}.answer"), (y, given))?))
    }
}

/// The logarithm of the sum of e^x over some axes, the greatest x taken out first.
#[derive(Debug, Clone)]
pub(crate) struct LogSumExp {
    /// `None`: all axes.
    axes: Option<Vec<i64>>,
    keep: bool,
}

pub(crate) fn log_sum_exp(context: &ParsingContext, node: &NodeProto) -> Result<LogSumExp, ModelError> {
    let attributes = Attributes(node);
    let mut axes = attributes.ints("axes").to_vec();
    if let Some(name) = node.input.get(1).filter(|name| !name.is_empty()) {
        let graph = context.model.graph.as_ref();
        let tensor = graph.and_then(|graph| constant(graph, name));
        let tensor = tensor.ok_or_else(|| bad(node, "its axes are not a constant"))?;
        axes = tensors::integers(tensor).map_err(|problem| bad(node, problem))?;
    }
    let axes = if axes.is_empty() { None } else { Some(axes) };
    Ok(LogSumExp { axes, keep: attributes.int("keepdims") != Some(0) })
}

impl LogSumExp {
    fn axes(&self, rank: usize) -> TVec<usize> {
        let place = |axis: &i64| if *axis < 0 { (axis + rank as i64).max(0) as usize } else { *axis as usize };
        let mut axes: TVec<usize> = match &self.axes {
            Some(axes) => axes.iter().map(place).filter(|axis| *axis < rank).collect(),
            None => (0..rank).collect(),
        };
        axes.sort_unstable();
        axes.dedup();
        axes
    }
}

impl Expansion for LogSumExp {
    fn name(&self) -> StaticName {
        "ReduceLogSumExp".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.given(&inputs[0].shape, move |solver, shape| {
            let axes = self.axes(shape.len());
            let kept = shape.iter().enumerate().filter_map(|(axis, dim)| {
                if axes.contains(&axis) { self.keep.then(|| 1.to_dim()) } else { Some(dim.clone()) }
            });
            solver.equals(&outputs[0].shape, kept.collect::<TVec<TDim>>())
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let x = inputs[0];
        let axes = self.axes(model.outlet_fact(x)?.rank());
        let reduce = |reducer| Reduce { axes: axes.clone(), reducer };
        let greatest = model.wire_node(format!("{prefix}.max"), reduce(Reducer::Max), &[x])?[0];
        let centred = model.wire_node(format!("{prefix}.centre"), sub(), &[x, greatest])?;
        let powers = model.wire_node(format!("{prefix}.exp"), exp(), &centred)?;
        let sum = model.wire_node(format!("{prefix}.sum"), reduce(Reducer::Sum), &powers)?;
        let log = model.wire_node(format!("{prefix}.ln"), ln(), &sum)?[0];
        let mut y = model.wire_node(format!("{prefix}.add"), add(), &[log, greatest])?[0];
        if !self.keep {
            for axis in axes.iter().rev() {
                y = model.wire_node(format!("{prefix}.drop_{axis}"), AxisOp::Rm(*axis), &[y])?[0];
            }
        }
        Ok(tvec!(y))
    }
}
