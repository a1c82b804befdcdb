//! What an operator of ours computes, without tract, and the tract operator around it.

use std::fmt::Debug;
use std::sync::Arc;

use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_hir::internal::*;

use crate::model::onnx::ClassLabels;
use crate::model::trees::TreeEvaluator;

/// A function of rows: each row of f32 becomes a row of f32, whatever the other rows are.
pub(crate) trait RowKernel: Debug + Send + Sync + 'static {
    /// The ONNX operator.
    fn name(&self) -> &'static str;

    /// How wide the answer is for rows of this width; a width that does not fit is refused with the reason.
    fn width(&self, inputs: usize) -> Result<usize, String>;

    /// Answers rows: `x` holds rows of `width` values, `out` as many rows of `self.width(width)`.
    fn rows(&self, x: &[f32], width: usize, out: &mut [f32]);

    /// The evaluator, where the kernel is one.
    fn trees(&self) -> Option<&TreeEvaluator> {
        None
    }

    /// The index of each row's class, from the rows themselves where their scores do not say it.
    fn classes(&self, x: &[f32], width: usize, scores: &[f32]) -> Vec<usize> {
        let _ = x;
        let columns = self.width(width).unwrap_or(1).max(1);
        let best =
            |row: &[f32]| (1..row.len()).fold(0, |best, column| if row[column] > row[best] { column } else { best });
        scores.chunks_exact(columns).map(best).collect()
    }
}

/// The scores of a kernel as a tract operator: one input of f32, whose last axis is the row; a list is one row.
#[derive(Debug, Clone)]
pub(crate) struct RowOp(pub Arc<dyn RowKernel>);

impl PartialEq for RowOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for RowOp {}

impl Op for RowOp {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    op_as_typed_op!();
}

impl EvalOp for RowOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (rows, width) = matrix(inputs[0].shape())?;
        let columns = self.0.width(width).map_err(|problem| format_err!(problem))?;
        let mut shape: TVec<usize> = rows.into();
        shape.push(columns);
        let mut out = Tensor::zero::<f32>(&shape)?;
        let x = inputs[0].try_as_plain_ram()?;
        self.0.rows(x.as_slice::<f32>()?, width, out.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
        Ok(tvec!(out.into_tvalue()))
    }
}

impl TypedOp for RowOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let (mut shape, width) = symbolic(&inputs[0].shape)?;
        let columns = self.0.width(width).map_err(|problem| format_err!(problem))?;
        shape.push(columns.to_dim());
        Ok(tvec!(f32::fact(shape)))
    }

    as_op!();
}

/// The class labels of a kernel's scores.
#[derive(Debug, Clone)]
pub(crate) struct LabelOp {
    kernel: Arc<dyn RowKernel>,
    labels: ClassLabels,
}

impl PartialEq for LabelOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kernel, &other.kernel) && self.labels == other.labels
    }
}

impl Eq for LabelOp {}

impl Op for LabelOp {
    fn name(&self) -> StaticName {
        "ClassLabels".into()
    }

    op_as_typed_op!();
}

impl EvalOp for LabelOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (rows, width) = matrix(inputs[0].shape())?;
        let columns = self.kernel.width(width).map_err(|problem| format_err!(problem))?;
        let view = inputs[0].try_as_plain_ram()?;
        let x = view.as_slice::<f32>()?;
        let mut scores = vec![0.0; rows.iter().product::<usize>() * columns];
        self.kernel.rows(x, width, &mut scores);
        let classes = self.kernel.classes(x, width, &scores);
        let answer = match &self.labels {
            ClassLabels::Integers(labels) => tensor1(
                &classes.iter().map(|class| labels.get(*class).copied().unwrap_or_default()).collect::<Vec<_>>(),
            ),
            ClassLabels::Texts(labels) => tensor1(
                &classes.iter().map(|class| labels.get(*class).cloned().unwrap_or_default()).collect::<Vec<_>>(),
            ),
        };
        Ok(tvec!(answer.into_shape(rows)?.into_tvalue()))
    }
}

impl TypedOp for LabelOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let (rows, _) = symbolic(&inputs[0].shape)?;
        Ok(tvec!(label_type(&self.labels).fact(rows)))
    }

    as_op!();
}

fn label_type(labels: &ClassLabels) -> DatumType {
    match labels {
        ClassLabels::Integers(_) => i64::datum_type(),
        ClassLabels::Texts(_) => String::datum_type(),
    }
}

/// The axes of the rows, and their width; a list is one row.
fn matrix(shape: &[usize]) -> TractResult<(&[usize], usize)> {
    match shape {
        [] => bail!("rows are expected, not a single number"),
        [width] => Ok((&[1], *width)),
        [rows @ .., width] => Ok((rows, *width)),
    }
}

fn symbolic(shape: &ShapeFact) -> TractResult<(TVec<TDim>, usize)> {
    match shape.as_ref() {
        [] => bail!("rows are expected, not a single number"),
        [width] => Ok((tvec![1.to_dim()], width.to_usize()?)),
        [rows @ .., width] => Ok((rows.into(), width.to_usize()?)),
    }
}

/// The kernel as a node of a parsed graph: labels first where it has them, then scores.
#[derive(Debug, Clone)]
pub(crate) struct RowExpansion {
    pub kernel: Arc<dyn RowKernel>,
    pub labels: Option<ClassLabels>,
    /// Type of the scores; `None` is that of the input.
    pub answer: Option<DatumType>,
}

impl RowExpansion {
    pub(crate) fn scores(kernel: impl RowKernel) -> Self {
        Self { kernel: Arc::new(kernel), labels: None, answer: Some(f32::datum_type()) }
    }
}

impl Expansion for RowExpansion {
    fn name(&self) -> StaticName {
        self.kernel.name().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(1 + usize::from(self.labels.is_some()))
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        let scores = &outputs[outputs.len() - 1];
        match self.answer {
            Some(answer) => solver.equals(&scores.datum_type, answer)?,
            None => solver.equals(&scores.datum_type, &inputs[0].datum_type)?,
        }
        if let (Some(labels), [first, _]) = (&self.labels, outputs) {
            solver.equals(&first.datum_type, label_type(labels))?;
        }
        solver.given(&inputs[0].shape, move |solver, shape| {
            let mut rows: TVec<TDim> = if shape.len() == 1 { tvec![1.to_dim()] } else { shape.clone() };
            if shape.len() != 1 {
                rows.pop();
            }
            if let [labels, _] = outputs {
                solver.equals(&labels.shape, rows.clone())?;
            }
            if let Some(Ok(width)) = shape.last().map(TDim::to_usize) {
                let columns = self.kernel.width(width).map_err(|problem| format_err!(problem))?;
                rows.push(columns.to_dim());
                solver.equals(&scores.shape, rows)?;
            }
            Ok(())
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let given = model.outlet_fact(inputs[0])?.datum_type;
        let x = as_type(model, prefix, (inputs[0], f32::datum_type()))?;
        let scores = model.wire_node(format!("{prefix}.scores"), RowOp(Arc::clone(&self.kernel)), &[x])?[0];
        let wanted = self.answer.unwrap_or(if given == TDim::datum_type() { i64::datum_type() } else { given });
        let scores = as_type(model, &format!("{prefix}.answer"), (scores, wanted))?;
        let Some(labels) = &self.labels else { return Ok(tvec!(scores)) };
        let op = LabelOp { kernel: Arc::clone(&self.kernel), labels: labels.clone() };
        let labels = model.wire_node(format!("{prefix}.labels"), op, &[x])?[0];
        Ok(tvec!(labels, scores))
    }
}

/// Casts, where the type is another.
pub(crate) fn as_type(
    model: &mut TypedModel,
    prefix: &str,
    (outlet, wanted): (OutletId, DatumType),
) -> TractResult<OutletId> {
    if model.outlet_fact(outlet)?.datum_type == wanted {
        return Ok(outlet);
    }
    Ok(model.wire_node(format!("{prefix}.as_{wanted:?}"), cast(wanted), &[outlet])?[0])
}
