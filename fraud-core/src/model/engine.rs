//! What runs a model: trees alone, a program of our own, or tract's plan.

use super::plan::Plan;
use super::program::Program;
use super::trees::TreeEvaluator;
use crate::error::ModelError;

/// A function from rows of features to one number per row.
#[derive(Debug)]
pub(super) enum Engine {
    /// Nothing but trees: no plan, no allocation.
    Trees { evaluator: TreeEvaluator, column: usize },
    /// Steps of our own over blocks of rows: no plan either.
    Program(Box<Program>),
    /// Everything else.
    Plan(Box<Plan>),
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
            Self::Program(program) => {
                program.run(rows, width, out);
                Ok(())
            }
            Self::Plan(plan) => plan.run(rows, width, out),
        }
    }

    /// For people: what runs the model.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Trees { .. } => "trees",
            Self::Program(_) => "program",
            Self::Plan(_) => "plan",
        }
    }
}
