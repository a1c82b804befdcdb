//! tract's typed, decluttered graph → a program.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::tract_core::ops::array::{Gather, Slice, TypedConcat};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::nn::rms_norm::RmsNorm;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, Softmax, SoftmaxKind};
use tract_onnx::tract_hir::internal::*;

use super::dense::Dense;
use super::elementwise::{Operand, Operation};
use super::names;
use super::rowwise::{Fold, Row};
use super::shapes::{Layout, numbers, row_width};
use super::{BLOCK, Program, Register, Step};
use crate::model::ops::RowOp;
use crate::model::simd::Level;

/// Numbers per row of the widest register: what is wider is rare, and left to tract.
const WIDEST: usize = 1 << 16;

/// The program of a graph from one matrix of f32 to rows of `columns` numbers; `None` where a node is not known, or where
/// not every node treats each row by itself. `single`: the graph is typed for one row, otherwise for any number.
pub(in crate::model) fn build(model: &TypedModel, single: bool, (columns, column): (usize, usize)) -> Option<Program> {
    let order = model.eval_order().ok()?;
    let output = *model.output_outlets().ok()?.first()?;
    let mut builder = Builder { model, single, widest: 1, ..Builder::new(model) };
    for input in order.iter().flat_map(|node| &model.node(*node).inputs).chain([&output]) {
        *builder.uses.entry(*input).or_default() += 1;
    }
    for node in order {
        builder.node(model.node(node))?;
    }
    let answer = *builder.values.get(&output)?;
    if builder.steps.is_empty() || answer.width != columns || column >= columns || builder.widest > WIDEST {
        return None;
    }
    let block = (BLOCK / builder.widest).clamp(8, 256);
    let registers = builder.references.len() - 1;
    Some(Program { steps: builder.steps, answer, column, registers, block, level: Level::detect() })
}

struct Builder<'a> {
    model: &'a TypedModel,
    single: bool,
    steps: Vec<Step>,
    /// Where the tensors of rows are; constants are not among them.
    values: HashMap<OutletId, Register>,
    /// How many nodes read a tensor.
    uses: HashMap<OutletId, usize>,
    /// How many nodes are still to read a register.
    references: Vec<usize>,
    free: Vec<usize>,
    widest: usize,
}

impl<'a> Builder<'a> {
    fn new(model: &'a TypedModel) -> Self {
        Self {
            model,
            single: false,
            steps: Vec::new(),
            values: HashMap::new(),
            uses: HashMap::new(),
            references: vec![usize::MAX],
            free: Vec::new(),
            widest: 1,
        }
    }

    fn node(&mut self, node: &TypedNode) -> Option<()> {
        let [output] = node.outputs.as_slice() else { return None };
        let outlet = OutletId::new(node.id, 0);
        if output.fact.konst.is_some() {
            return Some(());
        }
        if self.model.input_outlets().ok()?.contains(&outlet) {
            let width = row_width(&output.fact.shape, self.single)?;
            self.widest = self.widest.max(width);
            self.values.insert(outlet, Register { index: 0, width });
            return Some(());
        }
        let op = &node.op;
        let to = if let Some(RowOp(kernel)) = op.downcast_ref() {
            let from = self.number(node.inputs[0])?;
            // The last axis is the row of a kernel.
            let layout = self.layout(node.inputs[0])?;
            if layout.inner.last() != Some(&from.width) {
                return None;
            }
            let to = self.fresh(kernel.width(from.width).ok()?);
            self.steps.push(Step::Kernel { kernel: Arc::clone(kernel), from, to });
            self.release(from);
            to
        } else if let Some(op) = op.downcast_ref::<EinSum>() {
            self.dense(node, op)?
        } else if let Some(op) = op.downcast_ref::<TypedBinOp>() {
            self.binary(node, names::operation(&*op.0)?)?
        } else if let Some(op) = op.downcast_ref::<ElementWiseOp>() {
            let function = names::unary(&*op.0)?;
            let at = self.number(node.inputs[0])?;
            let at = self.own(at, at.width);
            self.steps.push(Step::Unary { at, function });
            at
        } else if op.is::<Iff>() {
            self.select(node)?
        } else if let Some(op) = op.downcast_ref::<Softmax>() {
            if op.kind != SoftmaxKind::Softmax {
                return None;
            }
            self.row(node, &op.axes, Row::Softmax)?
        } else if let Some(op) = op.downcast_ref::<RmsNorm>() {
            self.row(node, &[op.axis], Row::RmsNorm(*numbers(&op.eps)?.first()?))?
        } else if let Some(op) = op.downcast_ref::<Reduce>() {
            self.fold(node, op)?
        } else if let Some(op) = op.downcast_ref::<TypedConcat>() {
            self.concat(node, op.axis)?
        } else if let Some(op) = op.downcast_ref::<Slice>() {
            let (start, end) = (op.start.to_usize().ok()?, op.end.to_usize().ok()?);
            self.pick(node, op.axis, &(start..end).collect::<Vec<_>>())?
        } else if let Some(op) = op.downcast_ref::<Gather>() {
            let places = self.places(node, op)?;
            self.pick(node, op.axis, &places)?
        } else if self.keeps_numbers(node) {
            let register = *self.values.get(&node.inputs[0])?;
            if row_width(&output.fact.shape, self.single)? != register.width {
                return None;
            }
            self.values.insert(outlet, register);
            if let Some(references) = self.references.get_mut(register.index).filter(|_| register.index > 0) {
                *references = *references - 1 + self.uses.get(&outlet)?;
            }
            return Some(());
        } else {
            return None;
        };
        if row_width(&output.fact.shape, self.single)? != to.width {
            return None;
        }
        self.references[to.index] = *self.uses.get(&outlet)?;
        self.values.insert(outlet, to);
        Some(())
    }

    /// Whether the node hands on the same numbers in the same order. Doubles are but f32 that were cast; truths are 0 and 1.
    fn keeps_numbers(&self, node: &TypedNode) -> bool {
        if let Some(axis) = node.op_as::<AxisOp>() {
            return matches!(axis, AxisOp::Add(_) | AxisOp::Rm(_) | AxisOp::Reshape(..));
        }
        node.op_as::<Cast>().is_some_and(|cast| [f32::datum_type(), f64::datum_type()].contains(&cast.to))
    }

    fn layout(&self, outlet: OutletId) -> Option<Layout> {
        Layout::of(&self.model.outlet_fact(outlet).ok()?.shape, self.single)
    }

    fn constant(&self, outlet: OutletId) -> Option<&'a Arc<Tensor>> {
        self.model.outlet_fact(outlet).ok()?.konst.as_ref()
    }

    /// The register of a tensor of f32.
    fn number(&self, outlet: OutletId) -> Option<Register> {
        let fact = self.model.outlet_fact(outlet).ok()?;
        self.values.get(&outlet).copied().filter(|_| fact.datum_type == f32::datum_type())
    }

    fn fresh(&mut self, width: usize) -> Register {
        self.widest = self.widest.max(width);
        let index = self.free.pop().unwrap_or_else(|| {
            self.references.push(0);
            self.references.len() - 1
        });
        Register { index, width }
    }

    /// One reader of the register less.
    fn release(&mut self, register: Register) {
        if register.index > 0 {
            self.references[register.index] -= 1;
            if self.references[register.index] == 0 {
                self.free.push(register.index);
            }
        }
    }

    /// The register to change in place: itself where nobody else reads it, else a copy.
    fn own(&mut self, from: Register, width: usize) -> Register {
        if from.width == width && self.references[from.index] == 1 {
            return from;
        }
        let to = self.fresh(width);
        self.steps.push(Step::Repeat { from, to });
        self.release(from);
        to
    }

    /// Rows times a constant matrix.
    fn dense(&mut self, node: &TypedNode, op: &EinSum) -> Option<Register> {
        let [a, b] = *node.inputs.as_slice() else { return None };
        let (data, matrix) = match (self.constant(a), self.constant(b)) {
            (None, Some(_)) => (0, 1),
            (Some(_), None) => (1, 0),
            _ => return None,
        };
        let from = self.number(node.inputs[data])?;
        let (x, y) = (self.layout(node.inputs[data])?, self.layout(node.id.into())?);
        let tensor = self.constant(node.inputs[matrix])?;
        if op.q_params.is_some() || op.operating_dt != f32::datum_type() {
            return None;
        }
        // Elements from one number to the next along the summed and along the answer's axis, with their lengths.
        let (mut inputs, mut outputs) = ((1, 0), (1, 0));
        for axis in op.axes.iter_all_axes() {
            let place = |places: &[usize]| if places.len() > 1 { None } else { Some(places.first().copied()) };
            let (in_x, in_matrix) = (place(&axis.inputs[data])?, place(&axis.inputs[matrix])?);
            let in_y = place(&axis.outputs[0])?;
            let long = in_matrix.map(|place| (tensor.shape()[place], tensor.shape()[place + 1..].iter().product()));
            match (in_x, long, in_y) {
                (Some(place), None, Some(to)) if place == x.axis && to == y.axis => {}
                (Some(place), Some(long), None) if long.0 > 1 && place > x.axis && inputs.0 == 1 => inputs = long,
                (None, Some(long), Some(to)) if long.0 > 1 && to > y.axis && outputs.0 == 1 => outputs = long,
                // Of what is left only axes of length 1 change nothing.
                _ => {
                    let data = in_x.is_none_or(|place| place != x.axis && self.is_one(node.inputs[data], place));
                    let answer = in_y.is_none_or(|place| place != y.axis && self.is_one(node.id.into(), place));
                    if !data || !answer || long.is_some_and(|(length, _)| length != 1) {
                        return None;
                    }
                }
            }
        }
        if inputs.0 != x.width() || outputs.0 != y.width() || from.width != x.width() {
            return None;
        }
        let weights = numbers(tensor)?;
        let layer = Dense::new((inputs.0, outputs.0), |input, output| weights[input * inputs.1 + output * outputs.1]);
        let to = self.fresh(outputs.0);
        self.steps.push(Step::Dense { layer, from, to });
        self.release(from);
        Some(to)
    }

    fn is_one(&self, outlet: OutletId, axis: usize) -> bool {
        let fact = self.model.outlet_fact(outlet);
        fact.is_ok_and(|fact| fact.shape.get(axis).is_some_and(TDim::is_one))
    }

    /// What stands beside a register of this layout.
    fn operand(&self, outlet: OutletId, layout: &Layout) -> Option<Operand> {
        if let Some(tensor) = self.constant(outlet) {
            if tensor.len() == 1 {
                return Some(Operand::Scalar(*numbers(tensor)?.first()?));
            }
            return Some(Operand::Row(layout.constant(tensor)?));
        }
        let register = self.number(outlet)?;
        let own = self.layout(outlet)?;
        let fits = own.axis == layout.axis && (own.inner == layout.inner || own.width() == 1);
        fits.then_some(Operand::Register(register))
    }

    fn release_operand(&mut self, operand: &Operand) {
        if let Operand::Register(register) = operand {
            self.release(*register);
        }
    }

    fn binary(&mut self, node: &TypedNode, operation: Operation) -> Option<Register> {
        let [a, b] = *node.inputs.as_slice() else { return None };
        let layout = self.layout(node.id.into())?;
        // The wider of the two is changed.
        let left = self.number(a).filter(|register| register.width == layout.width());
        let (at, outlet, operation) = match left {
            Some(_) => (a, b, operation),
            None => (b, a, operation.swapped()),
        };
        let register = self.number(at)?;
        if !matches!(self.operand(at, &layout)?, Operand::Register(_)) {
            return None;
        }
        let with = self.operand(outlet, &layout)?;
        let at = self.own(register, layout.width());
        if !self.fused(at, operation, &with) {
            self.release_operand(&with);
            self.steps.push(Step::Binary { at, operation, with });
        }
        Some(at)
    }

    /// Makes a bias or a Relu a part of the layer just before.
    fn fused(&mut self, at: Register, operation: Operation, with: &Operand) -> bool {
        let Some(Step::Dense { layer, to, .. }) = self.steps.last_mut() else { return false };
        match (operation, with) {
            _ if *to != at => false,
            (Operation::Add, Operand::Row(row)) => layer.add(row),
            (Operation::Add, Operand::Scalar(scalar)) => layer.add(&[*scalar]),
            (Operation::Max, Operand::Scalar(0.0)) => {
                layer.relu();
                true
            }
            _ => false,
        }
    }

    fn select(&mut self, node: &TypedNode) -> Option<Register> {
        let [condition, yes, no] = *node.inputs.as_slice() else { return None };
        let layout = self.layout(node.id.into())?;
        let at = *self.values.get(&condition)?;
        if self.layout(condition)?.inner != layout.inner {
            return None;
        }
        let (yes, no) = (self.operand(yes, &layout)?, self.operand(no, &layout)?);
        let at = self.own(at, layout.width());
        self.release_operand(&yes);
        self.release_operand(&no);
        self.steps.push(Step::Select { at, yes, no });
        Some(at)
    }

    fn row(&mut self, node: &TypedNode, axes: &[usize], function: Row) -> Option<Register> {
        let at = self.number(node.inputs[0])?;
        let group = self.layout(node.inputs[0])?.group(axes)?;
        let at = self.own(at, at.width);
        self.steps.push(Step::Row { at, group, function });
        Some(at)
    }

    fn fold(&mut self, node: &TypedNode, op: &Reduce) -> Option<Register> {
        let from = self.number(node.inputs[0])?;
        let group = self.layout(node.inputs[0])?.group(&op.axes)?;
        let fold = match op.reducer {
            Reducer::Sum => Fold::Sum,
            Reducer::Max => Fold::Max,
            Reducer::Min => Fold::Min,
            Reducer::MeanOfSquares => Fold::MeanOfSquares,
            _ => return None,
        };
        let to = self.fresh(from.width / group);
        self.steps.push(Step::Fold { from, to, fold });
        self.release(from);
        Some(to)
    }

    fn concat(&mut self, node: &TypedNode, axis: usize) -> Option<Register> {
        let parts = node.inputs.iter().map(|outlet| self.number(*outlet)).collect::<Option<Vec<_>>>()?;
        for outlet in &node.inputs {
            self.layout(*outlet)?.step(axis)?;
        }
        let to = self.fresh(parts.iter().map(|part| part.width).sum());
        let mut at = 0;
        for from in parts {
            self.steps.push(Step::Columns { from, start: 0, count: from.width, to, at });
            at += from.width;
            self.release(from);
        }
        Some(to)
    }

    /// The places that a Gather takes, where they are constant.
    fn places(&self, node: &TypedNode, op: &Gather) -> Option<Vec<usize>> {
        let indices = self.constant(*node.inputs.get(1)?)?.cast_to::<i64>().ok()?;
        let view = indices.try_as_plain_ram().ok()?;
        let layout = self.layout(node.inputs[0])?;
        let length = *layout.inner.get(op.axis.checked_sub(layout.axis + 1)?)?;
        let place = |index: &i64| {
            let index = if *index < 0 { index.checked_add(i64::try_from(length).ok()?)? } else { *index };
            usize::try_from(index).ok().filter(|index| *index < length)
        };
        view.as_slice::<i64>().ok()?.iter().map(place).collect()
    }

    fn pick(&mut self, node: &TypedNode, axis: usize, places: &[usize]) -> Option<Register> {
        let from = self.number(node.inputs[0])?;
        let step = self.layout(node.inputs[0])?.step(axis)?;
        let to = self.fresh(places.len() * step);
        let runs = places.chunk_by(|a, b| a + 1 == *b);
        let mut at = 0;
        for run in runs {
            let count = run.len() * step;
            self.steps.push(Step::Columns { from, start: run[0] * step, count, to, at });
            at += count;
        }
        self.release(from);
        Some(to)
    }
}
