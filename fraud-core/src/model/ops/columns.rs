//! Operators that pick or join columns.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::array::{Gather, Slice, TypedConcat};
use tract_onnx::tract_hir::internal::*;

use super::kernel::as_type;
use crate::error::ModelError;
use crate::model::onnx::attributes::Attributes;
use crate::model::onnx::ensemble;

/// The operator that `onnx::signature` puts before the inputs of a graph that takes its features apart.
pub(crate) const COLUMN: &str = "FraudFeatureColumn";

/// Columns of the feature matrix: N × count, or N where one is asked for flat.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    index: usize,
    count: usize,
    flat: bool,
}

pub(crate) fn column(node: &NodeProto) -> Result<Column, ModelError> {
    let attributes = Attributes(node);
    let index = ensemble::index(node, attributes.int("index").unwrap_or(0))? as usize;
    let count = ensemble::index(node, attributes.int("count").unwrap_or(1))? as usize;
    Ok(Column { index, count, flat: attributes.int("flat") == Some(1) })
}

impl Expansion for Column {
    fn name(&self) -> StaticName {
        COLUMN.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, &inputs[0].datum_type)?;
        solver.equals(&outputs[0].rank, if self.flat { 1 } else { 2 })?;
        solver.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
        if self.flat { Ok(()) } else { solver.equals(&outputs[0].shape[1], self.count.to_dim()) }
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let slice = Slice::new(1, self.index, self.index + self.count);
        let column = model.wire_node(format!("{prefix}.slice"), slice, inputs)?;
        if self.flat { model.wire_node(format!("{prefix}.flat"), AxisOp::Rm(1), &column) } else { Ok(column) }
    }
}

/// Joins its inputs, cast to f32, side by side.
#[derive(Debug, Clone)]
pub(crate) struct FeatureVectorizer;

pub(crate) fn feature_vectorizer(_: &NodeProto) -> Result<FeatureVectorizer, ModelError> {
    Ok(FeatureVectorizer)
}

impl Expansion for FeatureVectorizer {
    fn name(&self) -> StaticName {
        "FeatureVectorizer".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, f32::datum_type())?;
        solver.equals(&outputs[0].rank, 2)?;
        solver.given_all(inputs.iter().map(|input| &input.shape), move |solver, shapes: Vec<TVec<TDim>>| {
            let width: TDim = shapes.iter().map(|shape| shape.get(1).cloned().unwrap_or_else(|| 1.to_dim())).sum();
            if let Some(rows) = shapes.first().and_then(|shape| shape.first()) {
                solver.equals(&outputs[0].shape[0], rows.clone())?;
            }
            solver.equals(&outputs[0].shape[1], width)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut parts = TVec::new();
        for (index, input) in inputs.iter().enumerate() {
            let name = format!("{prefix}.{index}");
            let mut part = as_type(model, &name, (*input, f32::datum_type()))?;
            match model.outlet_fact(part)?.rank() {
                1 => part = model.wire_node(format!("{name}.column"), AxisOp::Add(1), &[part])?[0],
                2 => {}
                rank => bail!("FeatureVectorizer joins matrices, input {index} is of rank {rank}"),
            }
            parts.push(part);
        }
        model.wire_node(prefix, TypedConcat::new(1), &parts)
    }
}

/// Picks entries of the last axis; a list counts as a matrix of one row.
#[derive(Debug, Clone)]
pub(crate) struct ArrayFeatureExtractor;

pub(crate) fn array_feature_extractor(_: &NodeProto) -> Result<ArrayFeatureExtractor, ModelError> {
    Ok(ArrayFeatureExtractor)
}

impl Expansion for ArrayFeatureExtractor {
    fn name(&self) -> StaticName {
        "ArrayFeatureExtractor".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, &inputs[0].datum_type)?;
        solver.given_2(&inputs[0].shape, &inputs[1].shape, move |solver, shape, indices| {
            let mut shape = if shape.len() == 1 { tvec![1.to_dim(), shape[0].clone()] } else { shape };
            if let Some(last) = shape.last_mut() {
                *last = indices.iter().product();
            }
            solver.equals(&outputs[0].shape, shape)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut data = inputs[0];
        if model.outlet_fact(data)?.rank() == 1 {
            data = model.wire_node(format!("{prefix}.row"), AxisOp::Add(0), &[data])?[0];
        }
        let mut indices = as_type(model, prefix, (inputs[1], i64::datum_type()))?;
        let shape: TVec<TDim> = model.outlet_fact(indices)?.shape.iter().cloned().collect();
        if shape.len() != 1 {
            let flat = tvec![shape.iter().product()];
            indices = model.wire_node(format!("{prefix}.flat"), AxisOp::Reshape(0, shape, flat), &[indices])?[0];
        }
        let axis = model.outlet_fact(data)?.rank() - 1;
        model.wire_node(prefix, Gather::new(axis), &[data, indices])
    }
}
