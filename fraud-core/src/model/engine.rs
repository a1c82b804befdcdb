//! What runs a model: a chain of kernels called directly, or tract's plan.

use std::cell::RefCell;
use std::sync::Arc;

use super::ops::kernel::RowKernel;
use super::plan::Plan;
use super::trees::TreeEvaluator;
use crate::error::ModelError;

/// Rows that a chain works on at a time.
const BLOCK: usize = 256;

/// A function from rows of features to one number per row.
#[derive(Debug)]
pub(super) enum Engine {
    /// Nothing but trees: no plan, no allocation.
    Trees { evaluator: TreeEvaluator, column: usize },
    /// Kernels one after another: no plan either.
    Chain(Chain),
    /// Everything else.
    Plan(Box<Plan>),
}

/// Kernels, each with the width of its answer.
#[derive(Debug)]
pub(super) struct Chain {
    pub steps: Vec<(Arc<dyn RowKernel>, usize)>,
    pub column: usize,
}

thread_local! {
    /// Two buffers between which a chain's rows go to and fro.
    static BUFFERS: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Engine {
    /// Answers rows of `width` features, one number each.
    pub(super) fn run(&self, rows: &[f32], width: usize, out: &mut [f32]) -> Result<(), ModelError> {
        match self {
            Self::Trees { evaluator, column } => {
                if let [out] = out {
                    *out = evaluator.probability_row(&rows[..evaluator.features()], *column);
                } else {
                    evaluator.probability_rows(rows, width, (*column, out));
                }
                Ok(())
            }
            Self::Chain(chain) => {
                for (rows, out) in rows.chunks(BLOCK * width).zip(out.chunks_mut(BLOCK)) {
                    chain.block(rows, width, out);
                }
                Ok(())
            }
            Self::Plan(plan) => plan.run(rows, width, out),
        }
    }

    /// For people: what runs the model.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Trees { .. } => "trees",
            Self::Chain(_) => "chain",
            Self::Plan(_) => "plan",
        }
    }
}

impl Chain {
    fn block(&self, rows: &[f32], width: usize, out: &mut [f32]) {
        BUFFERS.with_borrow_mut(|(from, to)| {
            let mut columns = width;
            for (index, (kernel, answers)) in self.steps.iter().enumerate() {
                to.clear();
                to.resize(out.len() * answers, 0.0);
                kernel.rows(if index == 0 { rows } else { from }, columns, to);
                std::mem::swap(from, to);
                columns = *answers;
            }
            for (row, out) in from.chunks_exact(columns).zip(out) {
                *out = row[self.column];
            }
        });
    }
}
