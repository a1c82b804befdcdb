//! TreeEnsemble (ai.onnx.ml 5) → [`TreeSpec`].

use tract_onnx::pb::NodeProto;

use super::attributes::{Attributes, bad};
use super::ensemble::{feature, index, width};
use super::tensors;
use crate::error::ModelError;
use crate::model::trees::{Aggregate, LeafWeight, Mode, Node, PostTransform, Precision, Task, TreeSpec};

/// The ensemble that the node states.
pub(crate) fn ensemble(node: &NodeProto) -> Result<TreeSpec, ModelError> {
    let attributes = Attributes(node);
    let (weights, double) = numbers(node, "leaf_weights")?;
    let targets = attributes.ints("leaf_targetids");
    if weights.len() != targets.len() {
        return Err(bad(node, "`leaf_weights` and `leaf_targetids` have different lengths"));
    }
    let leaf = |(weight, target): (&f64, &i64)| Ok(LeafWeight { target: index(node, *target)?, weight: *weight });
    let weights = weights.iter().zip(targets).map(leaf).collect::<Result<Vec<_>, ModelError>>()?;
    let (sets, members) = sets(node)?;
    let (nodes, double_splits) = nodes(node, weights.len(), members)?;
    let roots = attributes.ints("tree_roots").iter().map(|root| index(node, *root)).collect::<Result<_, _>>()?;
    let aggregate = match attributes.int("aggregate_function").unwrap_or(1) {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(bad(node, format!("the aggregate_function {other} does not exist"))),
    };
    let post = match attributes.int("post_transform").unwrap_or(0) {
        0 => PostTransform::None,
        1 => PostTransform::Softmax,
        2 => PostTransform::Logistic,
        3 => PostTransform::SoftmaxZero,
        4 => PostTransform::Probit,
        other => return Err(bad(node, format!("the post_transform {other} does not exist"))),
    };
    Ok(TreeSpec {
        features: width(&nodes),
        targets: index(node, attributes.int("n_targets").unwrap_or(1))? as usize,
        task: Task::Regressor,
        roots,
        nodes,
        weights,
        sets,
        base_values: Vec::new(),
        aggregate,
        post,
        precision: if double || double_splits { Precision::Double } else { Precision::Float },
    })
}

/// Whether the scores come as doubles, as the leaf weights do.
pub(crate) fn answers_double(node: &NodeProto) -> bool {
    Attributes(node).tensor("leaf_weights").is_some_and(tensors::is_double)
}

fn numbers(node: &NodeProto, name: &str) -> Result<(Vec<f64>, bool), ModelError> {
    let Some(tensor) = Attributes(node).tensor(name) else { return Ok((Vec::new(), false)) };
    let numbers = tensors::numbers(tensor).map_err(|problem| bad(node, problem))?;
    Ok((numbers, tensors::is_double(tensor)))
}

/// The sets of `membership_values`, which NaN separates; and the modes as numbers.
fn sets(node: &NodeProto) -> Result<(Vec<Vec<f32>>, Vec<i64>), ModelError> {
    let modes = match Attributes(node).tensor("nodes_modes") {
        Some(tensor) => tensors::integers(tensor).map_err(|problem| bad(node, problem))?,
        None => Vec::new(),
    };
    let (values, _) = numbers(node, "membership_values")?;
    let wanted = modes.iter().filter(|mode| **mode == MEMBER).count();
    let mut sets: Vec<Vec<f32>> = Vec::with_capacity(wanted);
    if wanted > 0 {
        for set in values.split(|value| value.is_nan()).take(wanted) {
            #[allow(clippy::cast_possible_truncation)] // Rows are f32: a member beyond it equals none of them.
            sets.push(set.iter().map(|value| *value as f32).collect());
        }
    }
    if sets.len() != wanted {
        return Err(bad(node, format!("it needs {wanted} sets of `membership_values`, there are {}", sets.len())));
    }
    Ok((sets, modes))
}

const MEMBER: i64 = 6;

fn nodes(node: &NodeProto, weights: usize, modes: Vec<i64>) -> Result<(Vec<Node>, bool), ModelError> {
    let attributes = Attributes(node);
    let features = attributes.ints("nodes_featureids");
    let (splits, double) = numbers(node, "nodes_splits")?;
    let yes = Children { ids: attributes.ints("nodes_truenodeids"), leaves: attributes.ints("nodes_trueleafs") };
    let no = Children { ids: attributes.ints("nodes_falsenodeids"), leaves: attributes.ints("nodes_falseleafs") };
    let tracks = attributes.ints("nodes_missing_value_tracks_true");
    let count = modes.len();
    let lengths = [features.len(), splits.len(), yes.ids.len(), yes.leaves.len(), no.ids.len(), no.leaves.len()];
    if lengths.iter().any(|length| *length != count) || !(tracks.is_empty() || tracks.len() == count) {
        return Err(bad(node, "the `nodes_*` lists have different lengths"));
    }
    let mut nodes = vec![Node::leaf(0, 0); count];
    let mut set = 0;
    for (place, mode) in modes.iter().enumerate() {
        let mode = match mode {
            0 => Mode::Leq,
            1 => Mode::Lt,
            2 => Mode::Gte,
            3 => Mode::Gt,
            4 => Mode::Eq,
            5 => Mode::Neq,
            &MEMBER => {
                set += 1;
                Mode::Member(set - 1)
            }
            other => return Err(bad(node, format!("the node mode {other} does not exist"))),
        };
        let mut child = |children: &Children<'_>| -> Result<u32, ModelError> {
            let id = index(node, children.ids[place])?;
            if children.leaves[place] == 0 {
                return if (id as usize) < count { Ok(id) } else { Err(bad(node, format!("there is no node {id}"))) };
            }
            if id as usize >= weights {
                return Err(bad(node, format!("there is no leaf {id}")));
            }
            // A leaf may be named more than once, a node may not: each mention becomes a node of its own.
            nodes.push(Node::leaf(id, 1));
            index(node, nodes.len() as i64 - 1)
        };
        let children = (child(&yes)?, child(&no)?);
        let threshold = if matches!(mode, Mode::Member(_)) { 0.0 } else { splits[place] };
        let mut branch = Node::branch(feature(node, features[place])?, mode, threshold, children);
        branch.missing_tracks_true = tracks.get(place).is_some_and(|track| *track != 0);
        nodes[place] = branch;
    }
    Ok((nodes, double))
}

struct Children<'a> {
    ids: &'a [i64],
    leaves: &'a [i64],
}
