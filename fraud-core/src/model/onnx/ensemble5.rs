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
    let (values, double) = numbers(node, "leaf_weights")?;
    let targets = attributes.ints("leaf_targetids");
    if values.len() != targets.len() {
        return Err(bad(node, "`leaf_weights` and `leaf_targetids` have different lengths"));
    }
    let leaf = |(weight, target): (&f64, &i64)| Ok(LeafWeight { target: index(node, *target)?, weight: *weight });
    let leaves = values.iter().zip(targets).map(leaf).collect::<Result<Vec<_>, ModelError>>()?;
    let (sets, modes) = sets(node)?;
    let roots = attributes.ints("tree_roots").iter().map(|root| index(node, *root)).collect::<Result<Vec<_>, _>>()?;
    let Trees { nodes, weights, double: double_splits } = trees(node, &leaves, (&modes, &roots))?;
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

struct Trees {
    nodes: Vec<Node>,
    weights: Vec<LeafWeight>,
    /// The splits are doubles.
    double: bool,
}

/// Walks the trees from their roots; what no root leads to is not looked at.
fn trees(node: &NodeProto, leaves: &[LeafWeight], (modes, roots): (&[i64], &[u32])) -> Result<Trees, ModelError> {
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
    // Sets belong to the nodes of that mode in the order of the list.
    let mut sets = vec![0; count];
    for place in 1..count {
        sets[place] = sets[place - 1] + u32::from(modes[place - 1] == MEMBER);
    }
    let mut nodes = vec![Node::leaf(0, 0); count];
    let mut weights = Vec::new();
    let mut met = vec![false; count];
    let mut pending: Vec<usize> = roots.iter().map(|root| *root as usize).collect();
    if let Some(root) = pending.iter().find(|root| **root >= count) {
        return Err(bad(node, format!("there is no node {root}, though a tree begins there")));
    }
    while let Some(place) = pending.pop() {
        // A second way to a node is refused when the ensemble is checked.
        if std::mem::replace(&mut met[place], true) {
            continue;
        }
        // A leaf may be mentioned more than once: each mention is a leaf of its own, with a weight of its own.
        let mut mention = |id: u32| -> Result<Node, ModelError> {
            weights.push(*leaves.get(id as usize).ok_or_else(|| bad(node, format!("there is no leaf {id}")))?);
            Ok(Node::leaf(index(node, weights.len() as i64 - 1)?, 1))
        };
        let ids = (index(node, yes.ids[place])?, index(node, no.ids[place])?);
        let are_leaves = (yes.leaves[place] != 0, no.leaves[place] != 0);
        if are_leaves == (true, true) && ids.0 == ids.1 {
            // How a tree of one leaf is written: a comparison that decides nothing.
            nodes[place] = mention(ids.0)?;
            continue;
        }
        let mut child = |id: u32, leaf: bool| -> Result<u32, ModelError> {
            if leaf {
                nodes.push(mention(id)?);
                return index(node, nodes.len() as i64 - 1);
            }
            if id as usize >= count {
                return Err(bad(node, format!("there is no node {id}")));
            }
            pending.push(id as usize);
            Ok(id)
        };
        let children = (child(ids.0, are_leaves.0)?, child(ids.1, are_leaves.1)?);
        let mode = mode(node, modes[place], sets[place])?;
        let threshold = if matches!(mode, Mode::Member(_)) { 0.0 } else { splits[place] };
        let mut branch = Node::branch(feature(node, features[place])?, mode, threshold, children);
        branch.missing_tracks_true = tracks.get(place).is_some_and(|track| *track != 0);
        nodes[place] = branch;
    }
    Ok(Trees { nodes, weights, double })
}

fn mode(node: &NodeProto, mode: i64, set: u32) -> Result<Mode, ModelError> {
    Ok(match mode {
        0 => Mode::Leq,
        1 => Mode::Lt,
        2 => Mode::Gte,
        3 => Mode::Gt,
        4 => Mode::Eq,
        5 => Mode::Neq,
        MEMBER => Mode::Member(set),
        other => return Err(bad(node, format!("the node mode {other} does not exist"))),
    })
}

struct Children<'a> {
    ids: &'a [i64],
    leaves: &'a [i64],
}
