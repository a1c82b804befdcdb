//! An ensemble, compiled and ready to run from any thread.

use std::cell::RefCell;
use std::sync::Arc;

use super::choose::choose;
use super::error::TreeError;
use super::fast::{Fast, Kernel, ROWS, Rows};
use super::finish::Finish;
use super::normal::Normal;
use super::simd::Level;
use super::spec::TreeSpec;
use super::walk::Walk;

/// Targets whose scores are held on the stack.
const ON_STACK: usize = 8;

thread_local! {
    /// Scores of ensembles with many targets; grows once.
    static SCORES: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Compiled {
    features: usize,
    targets: usize,
    unit: f64,
    finish: Finish,
    walk: Walk,
    fast: Option<Fast>,
    kernel: Kernel,
}

/// Evaluates one ensemble. Cheap to clone: the ensemble is shared.
///
/// Rows are f32 features in the order of the model's input; NaN is a missing value. No call allocates, but for
/// the first of a thread where the ensemble has more than eight targets. Whichever method is called, and however rows
/// are batched, the same row gives the same bits.
#[derive(Debug, Clone)]
pub struct TreeEvaluator {
    compiled: Arc<Compiled>,
}

impl TreeEvaluator {
    /// Checks and compiles an ensemble.
    ///
    /// # Errors
    /// Those of [`TreeSpec::validate`].
    pub fn new(spec: TreeSpec) -> Result<Self, TreeError> {
        Self::compile(&spec, None)
    }

    /// As [`new`](Self::new), but with the kernel named where it fits the ensemble, else the general one.
    ///
    /// # Errors
    /// Those of [`TreeSpec::validate`].
    pub fn with_kernel(spec: TreeSpec, kernel: Kernel) -> Result<Self, TreeError> {
        Self::compile(&spec, Some(kernel))
    }

    fn compile(spec: &TreeSpec, kernel: Option<Kernel>) -> Result<Self, TreeError> {
        spec.validate()?;
        let normal = Normal::new(spec);
        let finish = Finish::new(spec, normal.seen);
        let kernel = kernel.unwrap_or_else(|| choose(&normal));
        let walk = Walk::new(&normal);
        let fast =
            if normal.sums() && finish.seen().is_some() { Fast::new(&normal, kernel, Level::detect()) } else { None };
        let kernel = if fast.is_some() { kernel } else { Kernel::Walk };
        let (features, targets, unit) = (normal.features, normal.targets, normal.unit);
        Ok(Self { compiled: Arc::new(Compiled { features, targets, unit, finish, walk, fast, kernel }) })
    }

    /// The kernel in use.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.compiled.kernel
    }

    /// Width of a row.
    #[must_use]
    pub fn features(&self) -> usize {
        self.compiled.features
    }

    /// Number of outputs per row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.compiled.finish.outputs()
    }

    /// All outputs of one row, after the post transform.
    ///
    /// # Panics
    /// When `x` is shorter than [`features`](Self::features), or `out` is not [`outputs`](Self::outputs) long.
    pub fn row(&self, x: &[f32], out: &mut [f32]) {
        self.compiled.row(x, out);
    }

    /// All outputs of many rows: row `i` starts at `x[i * stride]`, its outputs at `out[i * outputs]`. The number of
    /// rows is that of `out`.
    ///
    /// # Panics
    /// When `x` is too short for the rows, or `stride` for the features.
    pub fn rows(&self, x: &[f32], stride: usize, out: &mut [f32]) {
        self.compiled.rows(Rows { x, stride }, out);
    }

    /// One output of one row; faster than all of them where there are several.
    ///
    /// # Panics
    /// When `x` is too short, or there is no such column.
    #[must_use]
    pub fn probability_row(&self, x: &[f32], column: usize) -> f32 {
        self.compiled.one(x, column)
    }

    /// One output of many rows, into a slice with one place per row.
    ///
    /// # Panics
    /// When `x` is too short for the rows, or there is no such column.
    pub fn probability_rows(&self, x: &[f32], stride: usize, (column, out): (usize, &mut [f32])) {
        self.compiled.ones(Rows { x, stride }, column, out);
    }
}

impl Compiled {
    fn row(&self, x: &[f32], out: &mut [f32]) {
        if let (Some(fast), Some(seen)) = (&self.fast, self.finish.seen()) {
            if self.targets == 1
                && let Some([score]) = fast.one(x, 0)
            {
                return self.finish.all(|_| self.value(score), seen, out);
            }
            if let Some(scores) = fast.two(x) {
                return self.finish.all(|target| self.value(scores[target]), seen, out);
            }
        }
        self.with_scores(|scores| {
            let seen = self.walk.scores(x, scores);
            self.finish.all(|target| self.value(scores[target]), seen, out);
        });
    }

    fn one(&self, x: &[f32], column: usize) -> f32 {
        if let (Some(fast), Some(seen)) = (&self.fast, self.finish.seen()) {
            if let Some(target) = self.finish.score_of(column) {
                if let Some([score]) = fast.one(x, target) {
                    return self.finish.one(|_| self.value(score), seen, column);
                }
            } else if let Some(scores) = fast.two(x) {
                return self.finish.one(|target| self.value(scores[target]), seen, column);
            }
        }
        self.with_scores(|scores| {
            let seen = self.walk.scores(x, scores);
            self.finish.one(|target| self.value(scores[target]), seen, column)
        })
    }

    fn rows(&self, rows: Rows<'_>, out: &mut [f32]) {
        if let (Some(fast), Some(seen)) = (&self.fast, self.finish.seen())
            && fast.blocks()
            && self.targets <= 2
        {
            for (index, out) in out.chunks_mut(ROWS * self.targets).enumerate() {
                let rows = rows.from(index * ROWS);
                let count = out.len() / self.targets;
                let (mut one, mut two) = ([[0]; ROWS], [[0; 2]; ROWS]);
                let general = if self.targets == 1 {
                    fast.block_of_one(rows, 0, &mut one[..count])
                } else {
                    fast.block_of_two(rows, &mut two[..count])
                };
                for (index, out) in out.chunks_exact_mut(self.targets).enumerate() {
                    let score = |target: usize| if self.targets == 1 { one[index][0] } else { two[index][target] };
                    if general.is_none_or(|rows| rows >> index & 1 == 1) {
                        self.row(rows.row(index), out);
                    } else {
                        self.finish.all(|target| self.value(score(target)), seen, out);
                    }
                }
            }
            return;
        }
        for (index, out) in out.chunks_exact_mut(self.targets).enumerate() {
            self.row(rows.row(index), out);
        }
    }

    fn ones(&self, rows: Rows<'_>, column: usize, out: &mut [f32]) {
        if let (Some(fast), Some(seen)) = (&self.fast, self.finish.seen())
            && fast.blocks()
            && let Some(target) = self.finish.score_of(column)
        {
            for (index, out) in out.chunks_mut(ROWS).enumerate() {
                let rows = rows.from(index * ROWS);
                let mut scores = [[0]; ROWS];
                let general = fast.block_of_one(rows, target, &mut scores[..out.len()]);
                for (index, out) in out.iter_mut().enumerate() {
                    *out = if general.is_none_or(|rows| rows >> index & 1 == 1) {
                        self.one(rows.row(index), column)
                    } else {
                        self.finish.one(|_| self.value(scores[index][0]), seen, column)
                    };
                }
            }
            return;
        }
        for (index, out) in out.iter_mut().enumerate() {
            *out = self.one(rows.row(index), column);
        }
    }

    fn value(&self, score: i64) -> f64 {
        score as f64 * self.unit
    }

    fn with_scores<R>(&self, run: impl FnOnce(&mut [i64]) -> R) -> R {
        if self.targets <= ON_STACK {
            return run(&mut [0; ON_STACK][..self.targets]);
        }
        SCORES.with_borrow_mut(|scores| {
            scores.resize(scores.len().max(self.targets), 0);
            run(&mut scores[..self.targets])
        })
    }
}
