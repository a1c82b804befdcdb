//! A prepared graph → tract's optimised plan, or what can be run without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tract_onnx::Onnx;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{TypedRunnableModel, TypedSimpleState};
use tract_onnx::tract_hir::internal::*;

use super::engine::Engine;
use super::guard::{guarded, shortened};
use super::onnx::output::{Chosen, column};
use super::program::{self, at, row_width};
use crate::error::ModelError;

/// Elements that one row may become anywhere in the graph.
const MAX_ROW_ELEMENTS: i64 = 1 << 24;
/// tract's plan of a graph, with as many states as threads have run it at once.
#[derive(Debug)]
pub(super) struct Plan {
    runnable: Arc<TypedRunnableModel>,
    states: [Mutex<Vec<TypedSimpleState>>; SHARDS],
    columns: usize,
    column: usize,
}

/// The engine of a graph that `onnx::prepare` made; rows are `width` wide.
pub(super) fn build(
    reader: &Onnx,
    proto: &ModelProto,
    (chosen, label, width): (&Chosen, (Option<&str>, bool), usize),
) -> Result<Engine, ModelError> {
    // A graph whose export fixed the batch to one row does not take a matrix of any height.
    let (model, single) = match typed(reader, proto, (width, true)) {
        Ok(model) => (model, false),
        Err(first) => match typed(reader, proto, (width, false)) {
            Ok(model) => (model, true),
            Err(_) => return Err(first),
        },
    };
    let columns = columns(&model, single)?;
    let column = column(chosen, columns, label)?;
    // tract's arithmetic of dimensions may panic; then its plan shall say what is wrong.
    if let Ok(Some(program)) = guarded(|| Ok(program::build(&model, single, (columns, column)))) {
        return Ok(match program.trees() {
            Some((evaluator, column)) => Engine::Trees { evaluator: evaluator.clone(), column },
            None => Engine::Program(Box::new(program)),
        });
    }
    // What runs one row at a time may as well know it.
    let model = if single { model } else { typed(reader, proto, (width, false)).unwrap_or(model) };
    let runnable = guarded(|| model.into_optimized()?.into_runnable())?;
    Ok(Engine::Plan(Box::new(Plan::new(runnable, (columns, column)))))
}

fn typed(reader: &Onnx, proto: &ModelProto, (width, any_height): (usize, bool)) -> Result<TypedModel, ModelError> {
    guarded(|| {
        let mut model = reader.model_for_proto_model(proto)?;
        let rows = if any_height { model.symbols.sym("N").to_dim() } else { 1.to_dim() };
        model.set_input_fact(0, f32::fact([rows, width.to_dim()]).into())?;
        let model = model.into_typed()?;
        check_sizes(&model)?;
        model.into_decluttered()
    })
}

fn check_sizes(model: &TypedModel) -> TractResult<()> {
    for node in model.nodes() {
        for output in &node.outputs {
            let elements = at(&output.fact.shape.volume(), 1);
            ensure!(
                elements.is_none_or(|elements| elements <= MAX_ROW_ELEMENTS),
                "node `{}` makes {} numbers of one row",
                node.name,
                elements.unwrap_or_default()
            );
        }
    }
    Ok(())
}

/// How many numbers the output has per row.
fn columns(model: &TypedModel, single: bool) -> Result<usize, ModelError> {
    let unfit = |shape: &dyn std::fmt::Debug| ModelError::Output {
        problem: format!("the output has the shape {shape:?}, which is not one row per row of input"),
    };
    let fact = model.output_fact(0).map_err(|error| ModelError::BadGraph { problem: format!("{error:#}") })?;
    if fact.datum_type == String::datum_type() {
        return Err(ModelError::Output { problem: "the output is text: name one with probabilities".to_owned() });
    }
    row_width(&fact.shape, single).ok_or_else(|| unfit(&fact.shape))
}

/// So many stores of states, each used by every so-many-th thread, so that threads seldom meet.
const SHARDS: usize = 16;

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which store this thread uses. The states themselves cannot be thread-local: tract's give memory back to
    /// thread-local storage when they are dropped, which aborts the process where that happens at a thread's end.
    static SHARD: usize = NEXT_THREAD.fetch_add(1, Ordering::Relaxed) % SHARDS;
}

impl Plan {
    fn new(runnable: Arc<TypedRunnableModel>, (columns, column): (usize, usize)) -> Self {
        Self { runnable, states: Default::default(), columns, column }
    }

    /// One row at a time: several together go through other kernels and other tails of vectors, which round
    /// otherwise, and an answer must not depend on its neighbours.
    pub(super) fn run(&self, rows: &[f32], width: usize, out: &mut [f32]) -> Result<(), ModelError> {
        let states = SHARD.with(|shard| &self.states[*shard]);
        // A state that fails half-way is not put back.
        let held = states.lock().pop();
        let mut state = match held {
            Some(state) => state,
            None => self.runnable.spawn().map_err(|error| ModelError::Run { problem: shortened(&error) })?,
        };
        for (row, out) in rows.chunks(width).zip(out) {
            *out = guarded(|| self.row(&mut state, row)).map_err(|error| match error {
                ModelError::BadGraph { problem } => ModelError::Run { problem },
                other => other,
            })?;
        }
        states.lock().push(state);
        Ok(())
    }

    fn row(&self, state: &mut TypedSimpleState, row: &[f32]) -> TractResult<f32> {
        let input = Tensor::from_shape(&[1, row.len()], row)?;
        let outputs = state.run(tvec!(input.into_tvalue()))?;
        let answer = outputs[0].cast_to::<f32>()?;
        let view = answer.try_as_plain_ram()?;
        let values = view.as_slice::<f32>()?;
        ensure!(values.len() == self.columns, "it answered {} numbers", values.len());
        Ok(values[self.column])
    }
}
