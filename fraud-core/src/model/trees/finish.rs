//! From the scores of a row to its outputs: base values and post transform, as ONNX Runtime does it.

use super::spec::{Aggregate, PostTransform, Task, TreeSpec};

/// Which of the first two targets have a weight in the leaves reached. With two classes ONNX Runtime decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) first: bool,
    pub(super) second: bool,
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
    /// Where it is the same for every row.
    seen: Option<Seen>,
}

impl Finish {
    pub(super) fn new(spec: &TreeSpec, seen: Option<Seen>) -> Self {
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
            seen: if binary { seen } else { Some(Seen::default()) },
        }
    }

    /// Number of outputs.
    pub(super) fn outputs(&self) -> usize {
        self.starts.len()
    }

    /// Which targets have weights, where that is known beforehand or does not matter.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.seen
    }

    /// The one score that the output `column` depends on, where there is one only and it is the same in each row.
    pub(super) fn score_of(&self, column: usize) -> Option<usize> {
        match self.layout(self.seen?) {
            Layout::Single => Some(0),
            _ if self.mixes() => None,
            Layout::Mirror => Some(0),
            Layout::Each => Some(column),
        }
    }

    fn layout(&self, seen: Seen) -> Layout {
        match self.base.len() {
            _ if !self.binary => Layout::Each,
            0 | 1 if !seen.second => Layout::Single,
            2 if seen.second => Layout::Mirror,
            _ => Layout::Each,
        }
    }

    /// Each output depends on all scores.
    fn mixes(&self) -> bool {
        self.outputs() > 1 && matches!(self.post, PostTransform::Softmax | PostTransform::SoftmaxZero)
    }

    /// One output; `score` is asked only for [`Finish::score_of`] where that names one. Same bits as from
    /// [`Finish::all`].
    pub(super) fn one(&self, score: impl Fn(usize) -> f64, seen: Seen, column: usize) -> f32 {
        let layout = self.layout(seen);
        if layout == Layout::Single {
            return self.single(score(0))[column];
        }
        let value = |column| self.value((layout, seen), column, &score);
        if !self.mixes() {
            return self.transform(value(column));
        }
        let softmax = Softmax::new((0..self.outputs()).map(value), self.post == PostTransform::SoftmaxZero);
        softmax.of(value(column))
    }

    /// All outputs from all scores.
    pub(super) fn all(&self, score: impl Fn(usize) -> f64, seen: Seen, out: &mut [f32]) {
        let layout = self.layout(seen);
        if layout == Layout::Single {
            out.copy_from_slice(&self.single(score(0)));
            return;
        }
        for (column, out) in out.iter_mut().enumerate() {
            *out = self.value((layout, seen), column, &score);
        }
        if self.mixes() {
            let softmax = Softmax::new(out.iter().copied(), self.post == PostTransform::SoftmaxZero);
            out.iter_mut().for_each(|out| *out = softmax.of(*out));
        } else {
            out.iter_mut().for_each(|out| *out = self.transform(*out));
        }
    }

    /// An output before the transform.
    #[inline]
    fn value(&self, (layout, seen): (Layout, Seen), column: usize, score: impl Fn(usize) -> f64) -> f32 {
        if self.binary && (column == 0 && !seen.first || column == 1 && !seen.second) {
            // A class without a score, whatever its base value.
            return 0.0;
        }
        match (layout, column) {
            (Layout::Mirror, 0) => -(self.base[1] + score(0)) as f32,
            (Layout::Mirror, _) => (self.base[1] + score(0)) as f32,
            _ => (score(column) / self.divisor + self.starts[column]) as f32,
        }
    }

    /// Both outputs of a classifier of two classes from the score of the positive one.
    fn single(&self, score: f64) -> [f32; 2] {
        let score = (score + self.starts[0]) as f32;
        match self.post {
            PostTransform::Probit => [probit(score), 0.0],
            PostTransform::Logistic => [logistic(-score), logistic(score)],
            _ if self.probability => [1.0 - score, score],
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
