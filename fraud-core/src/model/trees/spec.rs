//! A tree ensemble as its file states it: the meaning of ONNX's tree operators, without their attribute lists.

use super::error::TreeError;
use super::validate;

/// How a node chooses between its two children, or that it has none. `x` is the row's feature, `t` the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `x <= t` goes to `yes`.
    Leq,
    /// `x < t` goes to `yes`.
    Lt,
    /// `x >= t` goes to `yes`.
    Gte,
    /// `x > t` goes to `yes`.
    Gt,
    /// `x == t` goes to `yes`.
    Eq,
    /// `x != t` goes to `yes`; NaN differs from everything.
    Neq,
    /// `x` equal to a member of the set with this index in [`TreeSpec::sets`] goes to `yes`.
    Member(u32),
    /// The end of a path: the weights count, the children are ignored.
    Leaf,
}

/// How the weights of one target, one per tree, become one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// Their sum divided by the number of trees.
    Average,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

/// What is applied to a row's scores at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostTransform {
    /// Nothing.
    None,
    /// e^x over the sum of e^x.
    Softmax,
    /// 1 / (1 + e^-x).
    Logistic,
    /// As softmax, but scores of zero stay zero.
    SoftmaxZero,
    /// The inverse of the normal distribution's cumulative function.
    Probit,
}

/// What the scores mean. ONNX Runtime finishes the two in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// One output per class. With two classes, weights that all name one class are the score of the positive
    /// class, and the other column follows from it (ONNX's binary case; found here, not stated by the caller).
    Classifier,
    /// One output per target.
    Regressor,
}

/// How thresholds and weights were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits: thresholds and weights are rounded to f32 first.
    Float,
    /// 64 bits (the `*_as_tensor` attributes): thresholds are compared as f64 with the widened f32 input.
    Double,
}

/// One node of a tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Node {
    /// Index of the feature compared; ignored in leaves.
    pub feature: u32,
    /// The comparison, or leaf.
    pub mode: Mode,
    /// What the feature is compared with; ignored in leaves and by [`Mode::Member`]. Never NaN in a comparison.
    pub threshold: f64,
    /// Index in [`TreeSpec::nodes`] of the child for a comparison that holds.
    pub yes: u32,
    /// Index of the child for a comparison that does not hold.
    pub no: u32,
    /// NaN goes to `yes` whatever the comparison says.
    pub missing_tracks_true: bool,
    /// First of the leaf's weights in [`TreeSpec::weights`].
    pub first_weight: u32,
    /// Number of the leaf's weights; may be 0.
    pub weight_count: u32,
}

impl Node {
    /// An inner node; NaN follows the comparison.
    #[must_use]
    pub fn branch(feature: u32, mode: Mode, threshold: f64, (yes, no): (u32, u32)) -> Self {
        Self { feature, mode, threshold, yes, no, missing_tracks_true: false, first_weight: 0, weight_count: 0 }
    }

    /// A leaf with the weights `first_weight..first_weight + weight_count`.
    #[must_use]
    pub fn leaf(first_weight: u32, weight_count: u32) -> Self {
        let node = Self::branch(0, Mode::Leaf, 0.0, (0, 0));
        Self { first_weight, weight_count, ..node }
    }
}

/// What a leaf adds to one target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeafWeight {
    /// Index of the target or class.
    pub target: u32,
    /// The weight; finite.
    pub weight: f64,
}

/// A tree ensemble.
#[derive(Debug, Clone, PartialEq)]
pub struct TreeSpec {
    /// Width of a row: features the model takes.
    pub features: usize,
    /// Number of targets or classes, and so of outputs.
    pub targets: usize,
    /// Regression or classification.
    pub task: Task,
    /// Index of each tree's root, in the order of the file.
    pub roots: Vec<u32>,
    /// All nodes of all trees; a node has at most one parent, a root none.
    pub nodes: Vec<Node>,
    /// All leaf weights, each listed by one leaf; those of one leaf and one target add up.
    pub weights: Vec<LeafWeight>,
    /// The sets that [`Mode::Member`] names.
    pub sets: Vec<Vec<f32>>,
    /// As in the file; any length. ONNX Runtime decides what each length means: for a regressor, one value per
    /// target or nothing; for a classifier, values in the order of its classes; surplus values are ignored.
    pub base_values: Vec<f64>,
    /// How trees are combined.
    pub aggregate: Aggregate,
    /// What is applied at the end.
    pub post: PostTransform,
    /// Precision of thresholds and weights.
    pub precision: Precision,
}

impl TreeSpec {
    /// Checks everything that evaluation relies on, in time and memory linear in the size of the ensemble.
    ///
    /// # Errors
    /// The first thing found that is not legal; see [`TreeError`]. Nodes reached twice are refused: cycles, and
    /// subtrees shared by two parents.
    pub fn validate(&self) -> Result<(), TreeError> {
        validate::validate(self)
    }
}
