//! An ensemble, compiled and ready to run from any thread.

use std::cell::RefCell;
use std::sync::Arc;

use super::error::TreeError;
use super::finish::Finish;
use super::normal::Normal;
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
        spec.validate()?;
        let normal = Normal::new(&spec);
        let finish = Finish::new(&spec, normal.second);
        drop(spec);
        let walk = Walk::new(&normal);
        let compiled = Compiled { features: normal.features, targets: normal.targets, unit: normal.unit, finish, walk };
        Ok(Self { compiled: Arc::new(compiled) })
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
        let compiled = &*self.compiled;
        compiled.with_scores(|scores| {
            let second = compiled.walk.scores(x, scores);
            compiled.finish.all(|target| scores[target] as f64 * compiled.unit, second, out);
        });
    }

    /// All outputs of many rows: row `i` starts at `x[i * stride]`, its outputs at `out[i * outputs]`. The number of
    /// rows is that of `out`.
    ///
    /// # Panics
    /// When `x` is too short for the rows, or `stride` for the features.
    pub fn rows(&self, x: &[f32], stride: usize, out: &mut [f32]) {
        for (index, out) in out.chunks_exact_mut(self.outputs()).enumerate() {
            self.row(&x[index * stride..][..self.features()], out);
        }
    }

    /// One output of one row; faster than all of them where there are several.
    ///
    /// # Panics
    /// When `x` is too short, or there is no such column.
    #[must_use]
    pub fn probability_row(&self, x: &[f32], column: usize) -> f32 {
        let mut out = [0.0];
        self.probability_rows(x, self.features(), (column, &mut out));
        out[0]
    }

    /// One output of many rows, into a slice with one place per row.
    ///
    /// # Panics
    /// When `x` is too short for the rows, or there is no such column.
    pub fn probability_rows(&self, x: &[f32], stride: usize, (column, out): (usize, &mut [f32])) {
        let compiled = &*self.compiled;
        for (index, out) in out.iter_mut().enumerate() {
            let x = &x[index * stride..][..self.features()];
            *out = compiled.with_scores(|scores| {
                let second = compiled.walk.scores(x, scores);
                compiled.finish.one(|target| scores[target] as f64 * compiled.unit, second, column)
            });
        }
    }
}

impl Compiled {
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
