//! Why an ensemble is refused.

/// A tree ensemble that cannot be evaluated. Trees and nodes are counted from 0, nodes over the whole ensemble.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// More of something than is supported.
    #[error("the ensemble has {found} {what}, at most {limit} are supported")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// None of something there must be one of.
    #[error("the ensemble has no {what}")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// A root that is no node.
    #[error("tree {tree}: its root {root} is not one of the {nodes} nodes")]
    RootOutOfRange {
        /// The tree.
        tree: usize,
        /// The root named.
        root: u32,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A child that is no node.
    #[error("node {node}: its child {child} is not one of the {nodes} nodes")]
    ChildOutOfRange {
        /// The node.
        node: usize,
        /// The child named.
        child: u32,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A node that two paths lead to: a cycle, or a subtree with two parents.
    #[error("node {node} is reached twice: the nodes form a cycle, or two nodes share a child")]
    ReachedTwice {
        /// The node.
        node: usize,
    },
    /// A feature beyond the row.
    #[error("node {node} compares feature {feature}, a row has {features}")]
    FeatureOutOfRange {
        /// The node.
        node: usize,
        /// The feature named.
        feature: u32,
        /// Features in a row.
        features: usize,
    },
    /// A threshold that nothing can be compared with.
    #[error("node {node} compares with NaN")]
    ThresholdNan {
        /// The node.
        node: usize,
    },
    /// A set that does not exist.
    #[error("node {node} names set {set} of {sets}")]
    SetOutOfRange {
        /// The node.
        node: usize,
        /// The set named.
        set: u32,
        /// How many sets there are.
        sets: usize,
    },
    /// Weights that do not exist.
    #[error("leaf {node} names {count} weights from {first} on, there are {weights}")]
    WeightsOutOfRange {
        /// The leaf.
        node: usize,
        /// The first weight named.
        first: u32,
        /// How many are named.
        count: u32,
        /// How many weights there are.
        weights: usize,
    },
    /// Leaves list more weights than there are: they share some.
    #[error("leaf {node} lists weights that other leaves list as well")]
    WeightsShared {
        /// The leaf.
        node: usize,
    },
    /// A target or class that does not exist.
    #[error("weight {weight} is for target {target}, there are {targets}")]
    TargetOutOfRange {
        /// The weight.
        weight: usize,
        /// The target named.
        target: u32,
        /// How many targets there are.
        targets: usize,
    },
    /// An infinite or missing number where scores are made.
    #[error("{what} {index} is {value}, it must be finite")]
    NotFinite {
        /// What kind of number.
        what: &'static str,
        /// Its index.
        index: usize,
        /// The number.
        value: f64,
    },
}
