//! Ensembles that must be refused, and large ones that must not hurt.

use crate::model::trees::reference::eval;
use crate::model::trees::{
    Aggregate, LeafWeight, Mode, Node, PostTransform, Precision, Task, TreeError, TreeEvaluator, TreeSpec,
};

fn stump() -> TreeSpec {
    TreeSpec {
        features: 2,
        targets: 1,
        task: Task::Regressor,
        roots: vec![0],
        nodes: vec![Node::branch(0, Mode::Leq, 0.5, (1, 2)), Node::leaf(0, 1), Node::leaf(1, 1)],
        weights: vec![LeafWeight { target: 0, weight: 1.0 }, LeafWeight { target: 0, weight: 2.0 }],
        sets: vec![],
        base_values: vec![],
        aggregate: Aggregate::Sum,
        post: PostTransform::None,
        precision: Precision::Float,
    }
}

fn refusal(change: impl FnOnce(&mut TreeSpec)) -> TreeError {
    let mut spec = stump();
    change(&mut spec);
    TreeEvaluator::new(spec).expect_err("must be refused")
}

#[test]
fn a_stump_is_legal() {
    let evaluator = TreeEvaluator::new(stump()).unwrap();
    assert_eq!((evaluator.features(), evaluator.outputs()), (2, 1));
    assert_eq!(evaluator.probability_row(&[0.5, 0.0], 0), 1.0);
    assert_eq!(evaluator.probability_row(&[0.6, 0.0], 0), 2.0);
}

#[test]
fn illegal_ensembles_are_refused() {
    assert!(matches!(refusal(|spec| spec.nodes[0].yes = 0), TreeError::ReachedTwice { node: 0 }));
    assert!(matches!(refusal(|spec| spec.nodes[0].yes = 2), TreeError::ReachedTwice { node: 2 }));
    assert!(matches!(refusal(|spec| spec.roots = vec![0, 1]), TreeError::ReachedTwice { node: 1 }));
    assert!(matches!(refusal(|spec| spec.nodes[0].no = 3), TreeError::ChildOutOfRange { child: 3, .. }));
    assert!(matches!(refusal(|spec| spec.nodes[0].no = u32::MAX), TreeError::ChildOutOfRange { .. }));
    assert!(matches!(refusal(|spec| spec.roots = vec![9]), TreeError::RootOutOfRange { root: 9, .. }));
    assert!(matches!(refusal(|spec| spec.nodes[0].feature = 2), TreeError::FeatureOutOfRange { feature: 2, .. }));
    assert!(matches!(refusal(|spec| spec.nodes[0].threshold = f64::NAN), TreeError::ThresholdNan { node: 0 }));
    assert!(matches!(refusal(|spec| spec.nodes[0].mode = Mode::Member(0)), TreeError::SetOutOfRange { .. }));
    assert!(matches!(refusal(|spec| spec.nodes[1].weight_count = 9), TreeError::WeightsOutOfRange { .. }));
    assert!(matches!(refusal(|spec| spec.nodes[1].first_weight = u32::MAX), TreeError::WeightsOutOfRange { .. }));
    assert!(matches!(refusal(|spec| spec.nodes[1].weight_count = 2), TreeError::WeightsShared { .. }));
    assert!(matches!(refusal(|spec| spec.weights[1].target = 1), TreeError::TargetOutOfRange { .. }));
    assert!(matches!(refusal(|spec| spec.weights[1].weight = f64::INFINITY), TreeError::NotFinite { .. }));
    assert!(matches!(refusal(|spec| spec.weights[1].weight = f64::NAN), TreeError::NotFinite { .. }));
    assert!(matches!(refusal(|spec| spec.base_values = vec![f64::NAN]), TreeError::NotFinite { .. }));
    assert!(matches!(refusal(|spec| spec.targets = 0), TreeError::Empty { what: "targets" }));
    assert!(matches!(refusal(|spec| spec.targets = usize::MAX), TreeError::TooMany { what: "targets", .. }));
    assert!(matches!(refusal(|spec| spec.features = usize::MAX), TreeError::TooMany { what: "features", .. }));
    assert!(matches!(refusal(|spec| spec.roots.clear()), TreeError::Empty { what: "trees" }));
    assert!(matches!(refusal(|spec| spec.nodes.clear()), TreeError::Empty { what: "nodes" }));
}

/// A tree that is one long path: node 2i branches to leaf 2i + 1 and node 2i + 2.
fn chain(length: u32) -> TreeSpec {
    let mut spec = stump();
    let leaf = |index| Node::leaf(index, 1);
    spec.nodes = (0..length)
        .flat_map(|i| [Node::branch(0, Mode::Leq, f64::from(i), (2 * i + 1, 2 * i + 2)), leaf(i)])
        .chain([leaf(length)])
        .collect();
    spec.weights = (0..=length).map(|i| LeafWeight { target: 0, weight: f64::from(i) }).collect();
    spec
}

#[test]
fn a_chain_of_a_million_nodes_loads_and_runs() {
    let spec = chain(1_000_000);
    let evaluator = TreeEvaluator::new(spec.clone()).unwrap();
    for x in [-1.0, 3.5, 999_998.5, 2e6] {
        assert_eq!(evaluator.probability_row(&[x, 0.0], 0), eval(&spec, &[x, 0.0])[0]);
    }
}

#[test]
fn a_cycle_at_the_end_of_a_long_chain_is_found() {
    let mut spec = chain(1_000_000);
    spec.nodes[1_999_998].no = 0;
    assert_eq!(TreeEvaluator::new(spec).unwrap_err(), TreeError::ReachedTwice { node: 0 });
}

#[test]
fn many_trees_of_one_leaf_are_legal() {
    let mut spec = stump();
    spec.nodes = (0..100_000).map(|i| Node::leaf(i, 1)).collect();
    spec.roots = (0..100_000).collect();
    spec.weights = (0..100_000).map(|_| LeafWeight { target: 0, weight: 1.0 }).collect();
    assert_eq!(TreeEvaluator::new(spec).unwrap().probability_row(&[0.0, 0.0], 0), 100_000.0);
}
