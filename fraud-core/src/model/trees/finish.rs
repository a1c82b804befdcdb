//! From the scores of a row to its outputs: base values and post transform, as ONNX Runtime does it.

use super::spec::{Aggregate, PostTransform, Task, TreeSpec};

/// Whether some leaf reached names class 1 of a classifier of two classes; ONNX Runtime decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecondClass {
    /// For every row.
    Always,
    /// For no row; also where there are not two classes.
    Never,
    /// It depends on the row.
    Varies,
}

/// Where outputs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Each from the score of its own target.
    Each,
    /// Two classes, both from the first score, which speaks for the positive one.
    Single,
    /// Two classes, both from the first score and the second base value, with opposite signs.
    Mirror,
}

/// The last step of every evaluation.
#[derive(Debug, Clone)]
pub(super) struct Finish {
    /// What each score starts from, under [`Layout::Each`].
    starts: Box<[f64]>,
    /// Base values as given.
    base: Box<[f64]>,
    post: PostTransform,
    /// Divides the sums: the number of trees where they are averaged.
    divisor: f64,
    /// A classifier of two classes.
    binary: bool,
    /// All weights name one class and none is negative: the score is a probability by itself.
    probability: bool,
    second: SecondClass,
}

impl Finish {
    pub(super) fn new(spec: &TreeSpec, second: SecondClass) -> Self {
        let classifier = spec.task == Task::Classifier;
        let binary = classifier && spec.targets == 2;
        // A classifier has no aggregate function in ONNX.
        let average = spec.aggregate == Aggregate::Average && !classifier;
        let one_class = spec.weights.windows(2).all(|pair| pair[0].target == pair[1].target);
        let base = &spec.base_values;
        // ONNX Runtime adds what a classifier has, in order; a regressor's list is used where its length fits.
        let used = if binary { base.len() <= 2 } else { base.len() == spec.targets || classifier };
        let start = |target| if used { base.get(target).copied().unwrap_or(0.0) } else { 0.0 };
        Self {
            starts: (0..spec.targets).map(start).collect(),
            base: base.clone().into(),
            post: spec.post,
            divisor: if average { spec.roots.len() as f64 } else { 1.0 },
            binary,
            probability: one_class && spec.weights.iter().all(|weight| weight.weight >= 0.0),
            second,
        }
    }

    /// Number of outputs.
    pub(super) fn outputs(&self) -> usize {
        self.starts.len()
    }

    /// Whether leaves name class 1.
    pub(super) fn second(&self) -> SecondClass {
        self.second
    }

    /// The one score that the output `column` depends on, where there is one only and it is the same in each row.
    pub(super) fn score_of(&self, column: usize) -> Option<usize> {
        if self.second == SecondClass::Varies {
            return None;
        }
        match self.layout(self.second == SecondClass::Always) {
            Layout::Single => Some(0),
            _ if self.mixes() => None,
            Layout::Mirror => Some(0),
            Layout::Each => Some(column),
        }
    }

    fn layout(&self, second: bool) -> Layout {
        match self.base.len() {
            _ if !self.binary => Layout::Each,
            0 | 1 if !second => Layout::Single,
            2 if second => Layout::Mirror,
            _ => Layout::Each,
        }
    }

    /// Each output depends on all scores.
    fn mixes(&self) -> bool {
        self.outputs() > 1 && matches!(self.post, PostTransform::Softmax | PostTransform::SoftmaxZero)
    }

    /// One output; `score` is asked only for [`Finish::score_of`] where that names one. Same bits as from
    /// [`Finish::all`].
    pub(super) fn one(&self, score: impl Fn(usize) -> f64, second: bool, column: usize) -> f32 {
        let layout = self.layout(second);
        if layout == Layout::Single {
            return self.single(score(0))[column];
        }
        let value = |column| self.value(layout, column, score(if layout == Layout::Mirror { 0 } else { column }));
        if !self.mixes() {
            return self.transform(value(column));
        }
        let softmax = Softmax::new((0..self.outputs()).map(value), self.post == PostTransform::SoftmaxZero);
        softmax.of(value(column))
    }

    /// All outputs from all scores; `second`: a leaf reached names class 1.
    pub(super) fn all(&self, score: impl Fn(usize) -> f64, second: bool, out: &mut [f32]) {
        let layout = self.layout(second);
        if layout == Layout::Single {
            out.copy_from_slice(&self.single(score(0)));
            return;
        }
        for (column, out) in out.iter_mut().enumerate() {
            *out = self.value(layout, column, score(if layout == Layout::Mirror { 0 } else { column }));
        }
        if self.mixes() {
            let softmax = Softmax::new(out.iter().copied(), self.post == PostTransform::SoftmaxZero);
            out.iter_mut().for_each(|out| *out = softmax.of(*out));
        } else {
            out.iter_mut().for_each(|out| *out = self.transform(*out));
        }
    }

    /// An output before the transform.
    fn value(&self, layout: Layout, column: usize, score: f64) -> f32 {
        match (layout, column) {
            (Layout::Mirror, 0) => -(self.base[1] + score) as f32,
            (Layout::Mirror, _) => (self.base[1] + score) as f32,
            _ => (score / self.divisor + self.starts[column]) as f32,
        }
    }

    /// Both outputs of a classifier of two classes from the score of the positive one.
    fn single(&self, score: f64) -> [f32; 2] {
        let score = (score + self.starts[0]) as f32;
        match self.post {
            PostTransform::Probit => [probit(score), 0.0],
            _ if self.probability => [1.0 - score, score],
            PostTransform::Logistic => [logistic(-score), logistic(score)],
            _ => [-score, score],
        }
    }

    fn transform(&self, value: f32) -> f32 {
        match self.post {
            // ONNX Runtime transforms a single output by PROBIT only.
            PostTransform::Logistic if self.outputs() > 1 => logistic(value),
            PostTransform::Probit => probit(value),
            _ => value,
        }
    }
}

fn logistic(value: f32) -> f32 {
    let upper = 1.0 / (1.0 + (-value.abs()).exp());
    if value < 0.0 { 1.0 - upper } else { upper }
}

/// The inverse error function by Winitzki's formula, as ONNX Runtime has it: the outputs are to agree with it.
fn probit(value: f32) -> f32 {
    let x = 2.0 * value - 1.0;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (std::f32::consts::PI * 0.147) + 0.5 * log;
    let root = (half * half - log / 0.147).sqrt();
    std::f32::consts::SQRT_2 * sign * (root - half).sqrt()
}

/// What a softmax needs to know of all values.
struct Softmax {
    greatest: f32,
    total: f32,
    keep_zero: bool,
}

impl Softmax {
    fn new(values: impl Iterator<Item = f32> + Clone, keep_zero: bool) -> Self {
        let greatest = values.clone().fold(-f32::MAX, f32::max);
        let mut softmax = Self { greatest, total: 1.0, keep_zero };
        softmax.total = values.filter(|value| !softmax.keeps(*value)).map(|value| (value - greatest).exp()).sum();
        softmax
    }

    /// Scores of zero are absent classes to SOFTMAX_ZERO.
    fn keeps(&self, value: f32) -> bool {
        self.keep_zero && value.abs() <= 1e-7
    }

    fn of(&self, value: f32) -> f32 {
        let power = if self.keeps(value) { value * (-self.greatest).exp() } else { (value - self.greatest).exp() };
        power / self.total
    }
}
