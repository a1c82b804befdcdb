//! OneHotEncoder: a new last axis, with 1 at the category's place.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::kernel::as_type;
use crate::error::ModelError;
use crate::model::onnx::attributes::{Attributes, bad};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Categories {
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OneHot {
    categories: Categories,
    /// A value of no category gives zeros; otherwise it is an error.
    zeros: bool,
}

pub(crate) fn one_hot(node: &NodeProto) -> Result<OneHot, ModelError> {
    let attributes = Attributes(node);
    let integers = attributes.ints("cats_int64s");
    let texts = attributes.texts("cats_strings")?;
    let categories = match (integers.is_empty(), texts.is_empty()) {
        (false, true) => Categories::Integers(integers.to_vec()),
        (true, false) => Categories::Texts(texts),
        _ => return Err(bad(node, "it must have categories, and of one kind")),
    };
    Ok(OneHot { categories, zeros: attributes.int("zeros") != Some(0) })
}

impl OneHot {
    fn len(&self) -> usize {
        match &self.categories {
            Categories::Integers(categories) => categories.len(),
            Categories::Texts(categories) => categories.len(),
        }
    }

    fn encode<T: Datum>(&self, input: &Tensor, categories: &[T]) -> TractResult<Tensor> {
        let mut shape: TVec<usize> = input.shape().into();
        shape.push(categories.len());
        let mut out = Tensor::zero::<f32>(&shape)?;
        let mut view = out.try_as_plain_ram_mut()?;
        let cells = view.as_slice_mut::<f32>()?.chunks_exact_mut(categories.len());
        for (value, cells) in input.try_as_plain_ram()?.as_slice::<T>()?.iter().zip(cells) {
            match categories.iter().position(|category| category == value) {
                Some(place) => cells[place] = 1.0,
                None if self.zeros => {}
                None => return Err(ModelError::UnknownCategory { categories: categories.len() }.into()),
            }
        }
        Ok(out)
    }
}

impl Op for OneHot {
    fn name(&self) -> StaticName {
        "OneHotEncoder".into()
    }

    op_as_typed_op!();
}

impl EvalOp for OneHot {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let out = match &self.categories {
            Categories::Integers(categories) => self.encode(&inputs[0], categories),
            Categories::Texts(categories) => self.encode(&inputs[0], categories),
        };
        Ok(tvec!(out?.into_tvalue()))
    }
}

impl TypedOp for OneHot {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shape = inputs[0].shape.iter().cloned().chain([self.len().to_dim()]);
        Ok(tvec!(f32::fact(shape.collect::<TVec<TDim>>())))
    }

    as_op!();
}

impl Expansion for OneHot {
    fn name(&self) -> StaticName {
        "OneHotEncoder".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&outputs[0].datum_type, f32::datum_type())?;
        solver.given(&inputs[0].shape, move |solver, mut shape| {
            shape.push(self.len().to_dim());
            solver.equals(&outputs[0].shape, shape)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        // Floats are compared as whole numbers, as ONNX says.
        let kind = match self.categories {
            Categories::Integers(_) => i64::datum_type(),
            Categories::Texts(_) => String::datum_type(),
        };
        let x = as_type(model, prefix, (inputs[0], kind))?;
        model.wire_node(prefix, self.clone(), &[x])
    }
}
