//! A graph as a short program: steps over blocks of rows, without tract.
//!
//! `build` makes it from tract's typed graph where every node is known and treats each row by itself; `dense`, `elementwise`
//! and `rowwise` are the steps. Each number of an answer is made by the same operations in the same order however
//! many rows there are, so an answer never depends on its neighbours.

mod build;
mod dense;
mod elementwise;
mod functions;
mod lanes;
mod names;
mod rowwise;
mod shapes;
mod simd;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;

use super::ops::kernel::RowKernel;
use super::simd::Level;
use crate::model::trees::TreeEvaluator;
use dense::Dense;
use elementwise::{Operand, Operation, Unary};
use rowwise::{Fold, Row};
use simd::Instructions;

pub(super) use build::build;
pub(super) use shapes::{at, row_width};

/// Numbers that the widest register of a block may have: a few registers fit into the first-level cache.
const BLOCK: usize = 4_096;

/// As many numbers per row as there are columns. Register 0 is the input, which no step writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Register {
    index: usize,
    width: usize,
}

/// What is done to all rows of a block before the next step. `at` is changed in place, `to` is never `from`.
#[derive(Debug)]
enum Step {
    Kernel {
        kernel: Arc<dyn RowKernel>,
        from: Register,
        to: Register,
    },
    Dense {
        layer: Dense,
        from: Register,
        to: Register,
    },
    /// `count` columns from `start` on become those from `at` on.
    Columns {
        from: Register,
        start: usize,
        count: usize,
        to: Register,
        at: usize,
    },
    /// A copy; a single column is repeated.
    Repeat {
        from: Register,
        to: Register,
    },
    Unary {
        at: Register,
        function: Unary,
    },
    Binary {
        at: Register,
        operation: Operation,
        with: Operand,
    },
    /// `yes` where `at` is not 0, else `no`.
    Select {
        at: Register,
        yes: Operand,
        no: Operand,
    },
    /// A function of `group` numbers at a time.
    Row {
        at: Register,
        group: usize,
        function: Row,
    },
    /// `from.width / to.width` numbers at a time become one.
    Fold {
        from: Register,
        to: Register,
        fold: Fold,
    },
}

/// Steps, and the register and column that hold the answer.
#[derive(Debug)]
pub(super) struct Program {
    steps: Vec<Step>,
    answer: Register,
    column: usize,
    /// Registers beside the input.
    registers: usize,
    /// Rows of a block.
    block: usize,
    level: Level,
}

thread_local! {
    /// The registers of every program that this thread runs; they only grow.
    static REGISTERS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

impl Program {
    /// Answers rows of `width` features, one number each.
    pub(super) fn run(&self, rows: &[f32], width: usize, out: &mut [f32]) {
        REGISTERS.with_borrow_mut(|registers| {
            if registers.len() < self.registers {
                registers.resize_with(self.registers, Vec::new);
            }
            for (input, out) in rows.chunks(self.block * width).zip(out.chunks_mut(self.block)) {
                self.level.run(self, Registers { input, rows: out.len(), others: registers }, out);
            }
        });
    }

    /// The evaluator and the column to read, where the program is nothing but trees.
    pub(super) fn trees(&self) -> Option<(&TreeEvaluator, usize)> {
        match self.steps.as_slice() {
            [Step::Kernel { kernel, from: Register { index: 0, .. }, .. }] => Some((kernel.trees()?, self.column)),
            _ => None,
        }
    }

    /// One block. It and all that it calls are inlined, so that they are compiled for the caller's instructions.
    #[inline(always)]
    fn block<S: Instructions>(&self, mut registers: Registers<'_>, out: &mut [f32]) {
        for step in &self.steps {
            match step {
                Step::Kernel { kernel, from, to } => {
                    registers.make(*to, |from_, to| kernel.rows(from_.get(*from), from.width, to));
                }
                Step::Dense { layer, from, to } => {
                    registers.make(*to, |others, to| S::dense(layer, others.get(*from), to));
                }
                Step::Columns { from, start, count, to, at } => registers.make(*to, |others, out| {
                    let rows = others.get(*from).chunks_exact(from.width).zip(out.chunks_exact_mut(to.width));
                    rows.for_each(|(x, out)| out[*at..][..*count].copy_from_slice(&x[*start..][..*count]));
                }),
                Step::Repeat { from, to } => registers.make(*to, |others, out| {
                    let x = others.get(*from);
                    if from.width == to.width {
                        out.copy_from_slice(x);
                    } else {
                        x.iter().zip(out.chunks_exact_mut(to.width)).for_each(|(x, out)| out.fill(*x));
                    }
                }),
                Step::Unary { at, function } => registers.make(*at, |_, x| function.apply::<S>(x)),
                Step::Binary { at, operation, with } => {
                    registers.make(*at, |others, x| operation.apply(x, at.width, with.values(others)));
                }
                Step::Select { at, yes, no } => registers.make(*at, |others, x| {
                    elementwise::select(x, at.width, (yes.values(others), no.values(others)));
                }),
                Step::Row { at, group, function } => registers.make(*at, |_, x| function.apply::<S>(x, *group)),
                Step::Fold { from, to, fold } => {
                    registers.make(*to, |others, out| fold.apply(others.get(*from), from.width / to.width, out));
                }
            }
        }
        let answers = registers.get(self.answer);
        for (row, out) in answers.chunks_exact(self.answer.width).zip(out) {
            *out = row[self.column];
        }
    }
}

/// The registers of one block.
struct Registers<'a> {
    input: &'a [f32],
    rows: usize,
    others: &'a mut Vec<Vec<f32>>,
}

impl Registers<'_> {
    #[inline(always)]
    fn get(&self, register: Register) -> &[f32] {
        let count = self.rows * register.width;
        match register.index.checked_sub(1) {
            Some(index) => &self.others[index][..count],
            None => &self.input[..count],
        }
    }

    /// Writes a register, which still holds what it held; the others can be read meanwhile.
    #[inline(always)]
    fn make(&mut self, register: Register, write: impl FnOnce(&Self, &mut [f32])) {
        let Some(index) = register.index.checked_sub(1) else { return };
        let count = self.rows * register.width;
        let mut values = std::mem::take(&mut self.others[index]);
        if values.len() < count {
            values.resize(count, 0.0);
        }
        write(self, &mut values[..count]);
        self.others[index] = values;
    }
}
