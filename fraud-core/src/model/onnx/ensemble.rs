//! TreeEnsembleClassifier and TreeEnsembleRegressor → [`TreeSpec`].

use std::collections::HashMap;
use tract_onnx::pb::NodeProto;

use super::attributes::{Attributes, bad};
use crate::error::ModelError;
use crate::model::trees::{Aggregate, LeafWeight, Mode, Node, PostTransform, Precision, Task, TreeSpec};

/// Feature indices beyond this are refused: rows are that wide nowhere.
pub(crate) const MAX_FEATURES: usize = 1 << 16;

/// The labels of a classifier's classes, in the order of its score columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClassLabels {
    Integers(Vec<i64>),
    Texts(Vec<String>),
}

impl ClassLabels {
    pub(crate) fn texts(&self) -> Vec<String> {
        match self {
            Self::Integers(labels) => labels.iter().map(ToString::to_string).collect(),
            Self::Texts(labels) => labels.clone(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Integers(labels) => labels.len(),
            Self::Texts(labels) => labels.len(),
        }
    }
}

/// The class labels of a classifier or ZipMap, under whichever of the attributes' names.
pub(crate) fn class_labels(node: &NodeProto) -> Result<Option<ClassLabels>, ModelError> {
    let attributes = Attributes(node);
    for name in ["classlabels_int64s", "classlabels_ints"] {
        if !attributes.ints(name).is_empty() {
            return Ok(Some(ClassLabels::Integers(attributes.ints(name).to_vec())));
        }
    }
    let texts = attributes.texts("classlabels_strings")?;
    Ok(if texts.is_empty() { None } else { Some(ClassLabels::Texts(texts)) })
}

/// Reads `post_transform`.
pub(crate) fn post_transform(node: &NodeProto) -> Result<PostTransform, ModelError> {
    Ok(match Attributes(node).text("post_transform")?.unwrap_or("NONE") {
        "NONE" => PostTransform::None,
        "SOFTMAX" => PostTransform::Softmax,
        "LOGISTIC" => PostTransform::Logistic,
        "SOFTMAX_ZERO" => PostTransform::SoftmaxZero,
        "PROBIT" => PostTransform::Probit,
        other => return Err(bad(node, format!("the post_transform `{other}` does not exist"))),
    })
}

/// The names of the attributes that say what leaves weigh.
struct Weights {
    trees: &'static str,
    nodes: &'static str,
    targets: &'static str,
    values: &'static str,
}

const CLASS: Weights =
    Weights { trees: "class_treeids", nodes: "class_nodeids", targets: "class_ids", values: "class_weights" };
const TARGET: Weights =
    Weights { trees: "target_treeids", nodes: "target_nodeids", targets: "target_ids", values: "target_weights" };

/// The ensemble that a node of either type states.
pub(crate) fn ensemble(node: &NodeProto) -> Result<TreeSpec, ModelError> {
    let attributes = Attributes(node);
    let classifier = node.op_type == "TreeEnsembleClassifier";
    let names = if classifier { CLASS } else { TARGET };
    let targets = if classifier {
        class_labels(node)?.map_or(0, |labels| labels.len())
    } else {
        index(node, attributes.int("n_targets").unwrap_or(1))? as usize
    };
    let aggregate = match attributes.text("aggregate_function")?.unwrap_or("SUM") {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return Err(bad(node, format!("the aggregate_function `{other}` does not exist"))),
    };
    let (mut nodes, roots, places, double_splits) = read_nodes(node)?;
    let (weights, double_weights) = read_weights(node, &names, (&mut nodes, &places))?;
    let (base_values, double_base) = attributes.numbers("base_values")?;
    let double = double_splits || double_weights || double_base;
    Ok(TreeSpec {
        features: width(&nodes),
        targets,
        task: if classifier { Task::Classifier } else { Task::Regressor },
        roots,
        nodes,
        weights,
        sets: Vec::new(),
        base_values,
        aggregate,
        post: post_transform(node)?,
        precision: if double { Precision::Double } else { Precision::Float },
    })
}

/// One more than the greatest feature compared: what a row must have at least.
pub(crate) fn width(nodes: &[Node]) -> usize {
    let inner = nodes.iter().filter(|node| node.mode != Mode::Leaf);
    inner.map(|node| node.feature as usize + 1).max().unwrap_or(1)
}

/// A whole number of the file as an index.
pub(crate) fn index(node: &NodeProto, value: i64) -> Result<u32, ModelError> {
    u32::try_from(value).map_err(|_| bad(node, format!("{value} cannot be an index or a count")))
}

type Places = HashMap<(i64, i64), u32>;

/// The nodes, the roots in order of appearance, where each (tree, node) stands, and whether the splits are doubles.
fn read_nodes(node: &NodeProto) -> Result<(Vec<Node>, Vec<u32>, Places, bool), ModelError> {
    let attributes = Attributes(node);
    let trees = attributes.ints("nodes_treeids");
    let ids = attributes.ints("nodes_nodeids");
    let features = attributes.ints("nodes_featureids");
    let modes = attributes.find("nodes_modes").map_or(&[][..], |attribute| &attribute.strings);
    let yes = attributes.ints("nodes_truenodeids");
    let no = attributes.ints("nodes_falsenodeids");
    let tracks = attributes.ints("nodes_missing_value_tracks_true");
    let (values, double) = attributes.numbers("nodes_values")?;
    let count = ids.len();
    if [trees.len(), features.len(), modes.len(), yes.len(), no.len(), values.len()].iter().any(|len| *len != count)
        || !(tracks.is_empty() || tracks.len() == count)
    {
        return Err(bad(node, "the `nodes_*` lists have different lengths"));
    }
    let mut places = Places::with_capacity(count);
    for (place, key) in trees.iter().copied().zip(ids.iter().copied()).enumerate() {
        if places.insert(key, index(node, place as i64)?).is_some() {
            return Err(bad(node, format!("node {} of tree {} is there twice", key.1, key.0)));
        }
    }
    let find = |tree: i64, id: i64| {
        let place = places.get(&(tree, id)).copied();
        place.ok_or_else(|| bad(node, format!("tree {tree} has no node {id}, though another node leads to it")))
    };
    let mut nodes = Vec::with_capacity(count);
    let mut child = vec![false; count];
    for place in 0..count {
        let mode = mode(node, &modes[place])?;
        if mode == Mode::Leaf {
            nodes.push(Node::leaf(0, 0));
            continue;
        }
        let children = (find(trees[place], yes[place])?, find(trees[place], no[place])?);
        child[children.0 as usize] = true;
        child[children.1 as usize] = true;
        let feature = feature(node, features[place])?;
        let mut branch = Node::branch(feature, mode, values[place], children);
        branch.missing_tracks_true = tracks.get(place).is_some_and(|track| *track != 0);
        nodes.push(branch);
    }
    let roots = roots(node, trees, (&nodes, &child))?;
    Ok((nodes, roots, places, double))
}

pub(crate) fn feature(node: &NodeProto, value: i64) -> Result<u32, ModelError> {
    let feature = index(node, value)?;
    if feature as usize >= MAX_FEATURES {
        return Err(bad(node, format!("it compares feature {feature}, at most {MAX_FEATURES} are supported")));
    }
    Ok(feature)
}

fn mode(node: &NodeProto, name: &[u8]) -> Result<Mode, ModelError> {
    Ok(match name {
        b"BRANCH_LEQ" => Mode::Leq,
        b"BRANCH_LT" => Mode::Lt,
        b"BRANCH_GTE" => Mode::Gte,
        b"BRANCH_GT" => Mode::Gt,
        b"BRANCH_EQ" => Mode::Eq,
        b"BRANCH_NEQ" => Mode::Neq,
        b"LEAF" => Mode::Leaf,
        other => {
            let shown: String = String::from_utf8_lossy(other).chars().take(40).collect();
            return Err(bad(node, format!("the node mode `{shown}` does not exist")));
        }
    })
}

/// Of each tree the first node, which exporters write first; where it is another's child, the first branch that is not.
fn roots(node: &NodeProto, trees: &[i64], (nodes, child): (&[Node], &[bool])) -> Result<Vec<u32>, ModelError> {
    let mut order = HashMap::new();
    let mut roots: Vec<Option<u32>> = Vec::new();
    for (place, tree) in trees.iter().enumerate() {
        let slot = *order.entry(*tree).or_insert(roots.len());
        let first = slot == roots.len();
        if first {
            roots.push(None);
        }
        let may_be_root = first || nodes[place].mode != Mode::Leaf;
        if !child[place] && may_be_root && roots[slot].is_none() {
            roots[slot] = u32::try_from(place).ok();
        }
    }
    let all: Option<Vec<u32>> = roots.into_iter().collect();
    all.ok_or_else(|| bad(node, "a tree has no root: its nodes form a cycle"))
}

/// The weights, ordered by leaf, and each leaf's range of them. Weights of inner nodes mean nothing.
fn read_weights(
    node: &NodeProto,
    names: &Weights,
    (nodes, places): (&mut [Node], &Places),
) -> Result<(Vec<LeafWeight>, bool), ModelError> {
    let attributes = Attributes(node);
    let trees = attributes.ints(names.trees);
    let ids = attributes.ints(names.nodes);
    let targets = attributes.ints(names.targets);
    let (values, double) = attributes.numbers(names.values)?;
    if [trees.len(), ids.len(), targets.len()].iter().any(|len| *len != values.len()) {
        return Err(bad(node, format!("the lists beside `{}` have different lengths", names.values)));
    }
    let mut entries = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let (tree, id) = (trees[at], ids[at]);
        let Some(place) = places.get(&(tree, id)) else {
            return Err(bad(node, format!("tree {tree} has no node {id}, though a weight is given for it")));
        };
        if nodes[*place as usize].mode == Mode::Leaf {
            entries.push((*place, LeafWeight { target: index(node, targets[at])?, weight: *value }));
        }
    }
    entries.sort_by_key(|(place, _)| *place);
    for (at, (place, _)) in entries.iter().enumerate() {
        let leaf = &mut nodes[*place as usize];
        if leaf.weight_count == 0 {
            leaf.first_weight = index(node, at as i64)?;
        }
        leaf.weight_count += 1;
    }
    Ok((entries.into_iter().map(|(_, weight)| weight).collect(), double))
}
