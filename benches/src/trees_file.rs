//! Tree ensembles out of ONNX files, for benchmarks of the evaluator alone.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};
use fraud_core::model::trees::{Aggregate, LeafWeight, Mode, Node, PostTransform, Precision, Task, TreeSpec};
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::prelude::Framework;

/// The first tree operator of the file, for rows of `features`.
///
/// # Errors
/// When the file cannot be read, or holds no such operator of f32 attributes.
pub fn tree_spec(path: &Path, features: usize) -> anyhow::Result<TreeSpec> {
    let mut file = std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let model = tract_onnx::onnx().proto_model_for_read(&mut file)?;
    let graph = model.graph.context("no graph")?;
    let names = ["TreeEnsembleClassifier", "TreeEnsembleRegressor"];
    let node = graph.node.iter().find(|node| names.contains(&node.op_type.as_str())).context("no tree operator")?;
    spec(&Attributes::of(node), node.op_type == names[0], features)
}

struct Attributes<'a>(HashMap<&'a str, &'a AttributeProto>);

impl<'a> Attributes<'a> {
    fn of(node: &'a NodeProto) -> Self {
        Self(node.attribute.iter().map(|attribute| (attribute.name.as_str(), attribute)).collect())
    }

    fn ints(&self, name: &str) -> &[i64] {
        self.0.get(name).map_or(&[], |attribute| &attribute.ints)
    }

    fn floats(&self, name: &str) -> &[f32] {
        self.0.get(name).map_or(&[], |attribute| &attribute.floats)
    }

    fn strings(&self, name: &str) -> &[Vec<u8>] {
        self.0.get(name).map_or(&[], |attribute| &attribute.strings)
    }
}

fn spec(attributes: &Attributes<'_>, classifier: bool, features: usize) -> anyhow::Result<TreeSpec> {
    let prefix = if classifier { "class" } else { "target" };
    let (trees, ids) = (attributes.ints("nodes_treeids"), attributes.ints("nodes_nodeids"));
    let place: HashMap<(i64, i64), u32> =
        trees.iter().zip(ids).enumerate().map(|(index, (tree, id))| ((*tree, *id), index as u32)).collect();
    let mut leaves: Vec<Vec<LeafWeight>> = vec![Vec::new(); trees.len()];
    let of = |name: &str| attributes.ints(&format!("{prefix}_{name}"));
    let weights = of("treeids").iter().zip(of("nodeids")).zip(of("ids"));
    for (((tree, id), target), weight) in weights.zip(attributes.floats(&format!("{prefix}_weights"))) {
        let index = *place.get(&(*tree, *id)).context("a weight of no node")?;
        leaves[index as usize].push(LeafWeight { target: u32::try_from(*target)?, weight: f64::from(*weight) });
    }
    let mut spec = TreeSpec {
        features,
        targets: if classifier {
            attributes.ints("classlabels_int64s").len().max(attributes.strings("classlabels_strings").len())
        } else {
            attributes.0.get("n_targets").map_or(1, |attribute| usize::try_from(attribute.i).unwrap_or(1))
        },
        task: if classifier { Task::Classifier } else { Task::Regressor },
        roots: Vec::new(),
        nodes: Vec::with_capacity(trees.len()),
        weights: Vec::new(),
        sets: Vec::new(),
        base_values: attributes.floats("base_values").iter().copied().map(f64::from).collect(),
        aggregate: Aggregate::Sum,
        post: match attributes.0.get("post_transform").map_or(&b"NONE"[..], |attribute| &attribute.s) {
            b"NONE" => PostTransform::None,
            b"LOGISTIC" => PostTransform::Logistic,
            b"SOFTMAX" => PostTransform::Softmax,
            other => bail!("post transform {}", String::from_utf8_lossy(other)),
        },
        precision: Precision::Float,
    };
    for (index, tree) in trees.iter().enumerate() {
        if index == 0 || trees[index - 1] != *tree {
            spec.roots.push(index as u32);
        }
        let mode = match attributes.strings("nodes_modes")[index].as_slice() {
            b"LEAF" => {
                let first = spec.weights.len() as u32;
                spec.weights.extend(&leaves[index]);
                spec.nodes.push(Node::leaf(first, leaves[index].len() as u32));
                continue;
            }
            b"BRANCH_LEQ" => Mode::Leq,
            b"BRANCH_LT" => Mode::Lt,
            b"BRANCH_GTE" => Mode::Gte,
            b"BRANCH_GT" => Mode::Gt,
            other => bail!("mode {}", String::from_utf8_lossy(other)),
        };
        let child = |name: &str| place.get(&(*tree, attributes.ints(name)[index])).copied().context("no such child");
        let children = (child("nodes_truenodeids")?, child("nodes_falsenodeids")?);
        let feature = u32::try_from(attributes.ints("nodes_featureids")[index])?;
        let threshold = f64::from(attributes.floats("nodes_values")[index]);
        let missing_tracks_true = attributes.ints("nodes_missing_value_tracks_true").get(index) == Some(&1);
        spec.nodes.push(Node { missing_tracks_true, ..Node::branch(feature, mode, threshold, children) });
    }
    Ok(spec)
}
