//! A sum over single trees, each followed by a formula of its own, becomes one ensemble.
//!
//! skl2onnx writes an isolation forest as a tree operator per tree that answers a leaf, and two dozen elementwise
//! operators that turn the leaf into a path length: some 2,600 nodes. A tree has finitely many leaves, so the
//! formula is computed once per leaf, here, by the engine itself, and the results become the leaves' weights.

use std::collections::{HashMap, HashSet};
use tract_onnx::Onnx;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::graph::{constant, producers};
use super::tensors;
use crate::error::ModelError;
use crate::model::guard::guarded;

/// Operators that treat each row by itself, when their constants are single numbers.
const ELEMENTWISE: [&str; 27] = [
    "Cast",
    "LabelEncoder",
    "Reshape",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Max",
    "Min",
    "Log",
    "Exp",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Neg",
    "Pow",
    "Sqrt",
    "Abs",
    "Not",
    "And",
    "Or",
    "Where",
    "Identity",
    "Clip",
    "Constant",
];

/// One summand: its tree, and the nodes of its formula.
struct Summand {
    tree: usize,
    nodes: Vec<usize>,
}

/// Replaces the first such sum; says whether there was one.
pub(crate) fn fold(graph: &mut GraphProto, reader: &Onnx) -> Result<bool, ModelError> {
    let Some((sum, summands)) = find(graph) else { return Ok(false) };
    // Whatever stands in the way, the graph is still right as it is.
    let Some(weights) = leaf_weights(graph, reader, (sum, &summands)) else { return Ok(false) };
    let Some(ensemble) = join(graph, sum, (&summands, weights)) else { return Ok(false) };
    graph.node[sum] = ensemble;
    Ok(true)
}

fn find(graph: &GraphProto) -> Option<(usize, Vec<Summand>)> {
    let makers = producers(graph);
    let singles: HashSet<&str> = graph
        .initializer
        .iter()
        .filter(|tensor| tensors::elements(tensor) == Ok(1) || is_column_shape(tensor))
        .map(|tensor| tensor.name.as_str())
        .collect();
    let find_one = |name: &str| summand(graph, name, (&makers, &singles));
    graph.node.iter().enumerate().filter(|(_, node)| node.op_type == "Sum" && node.input.len() > 1).find_map(
        |(index, node)| {
            let summands = node.input.iter().map(|name| find_one(name)).collect::<Option<Vec<_>>>()?;
            Some((index, summands))
        },
    )
}

/// The shape [-1, 1] or [-1], which keeps a column a column.
fn is_column_shape(tensor: &TensorProto) -> bool {
    matches!(tensors::integers(tensor).as_deref(), Ok([-1, 1] | [-1]))
}

fn summand(
    graph: &GraphProto,
    name: &str,
    (makers, singles): (&HashMap<&str, usize>, &HashSet<&str>),
) -> Option<Summand> {
    let mut tree = None;
    let mut nodes = Vec::new();
    let mut seen = HashSet::from([name]);
    let mut stack = vec![name];
    while let Some(name) = stack.pop() {
        let Some(index) = makers.get(name).copied() else {
            if singles.contains(name) {
                continue;
            }
            return None;
        };
        let node = &graph.node[index];
        if node.op_type == "TreeEnsembleRegressor" {
            if tree.replace(index).is_some_and(|other| other != index) {
                return None;
            }
            continue;
        }
        if !ELEMENTWISE.contains(&node.op_type.as_str()) {
            return None;
        }
        nodes.push(index);
        stack.extend(node.input.iter().map(String::as_str).filter(|input| !input.is_empty() && seen.insert(input)));
    }
    let tree = tree.filter(|index| is_single_tree(&graph.node[*index]))?;
    nodes.sort_unstable();
    Some(Summand { tree, nodes })
}

fn is_single_tree(node: &NodeProto) -> bool {
    let attributes = Attributes(node);
    let trees = attributes.ints("nodes_treeids");
    let plain = ["nodes_values_as_tensor", "target_weights_as_tensor", "base_values_as_tensor"]
        .iter()
        .all(|name| attributes.find(name).is_none())
        && attributes.floats("base_values").is_empty()
        && attributes.int("n_targets").unwrap_or(1) == 1
        && matches!(attributes.text("post_transform"), Ok(None | Some("NONE")))
        && matches!(attributes.text("aggregate_function"), Ok(None | Some("SUM")));
    let leaves: HashSet<i64> = attributes.ints("target_nodeids").iter().copied().collect();
    plain
        && trees.first().is_some_and(|first| trees.iter().all(|tree| tree == first))
        && leaves.len() == attributes.floats("target_weights").len()
}

/// The formulas' values for every leaf, tree by tree, in the order of the trees' weights.
fn leaf_weights(graph: &GraphProto, reader: &Onnx, (sum, summands): (usize, &[Summand])) -> Option<Vec<Vec<f32>>> {
    let mut part = GraphProto { name: "leaves".to_owned(), ..GraphProto::default() };
    let mut used: Vec<usize> = summands.iter().flat_map(|summand| summand.nodes.iter().copied()).collect();
    used.sort_unstable();
    used.dedup();
    part.node = used.iter().map(|index| graph.node[*index].clone()).collect();
    let read: HashSet<&str> = part.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
    part.initializer = graph.initializer.iter().filter(|tensor| read.contains(tensor.name.as_str())).cloned().collect();
    let mut trees: Vec<usize> = summands.iter().map(|summand| summand.tree).collect();
    trees.sort_unstable();
    trees.dedup();
    for tree in trees {
        let node = &graph.node[tree];
        let weights = Attributes(node).floats("target_weights");
        part.initializer.push(TensorProto {
            name: node.output.first()?.clone(),
            dims: vec![i64::try_from(weights.len()).ok()?, 1],
            data_type: 1,
            float_data: weights.to_vec(),
            ..TensorProto::default()
        });
    }
    let output = |name: &String| ValueInfoProto { name: name.clone(), ..ValueInfoProto::default() };
    part.output = graph.node[sum].input.iter().map(output).collect();
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 15 }];
    let proto = ModelProto { ir_version: 8, opset_import, graph: Some(part), ..ModelProto::default() };
    let run = || reader.model_for_proto_model(&proto)?.into_typed()?.into_runnable()?.run(tvec!());
    let outputs = guarded(run).ok()?;
    summands
        .iter()
        .zip(outputs.iter())
        .map(|(summand, output)| {
            let values = output.cast_to::<f32>().ok()?;
            let values = values.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec();
            let leaves = Attributes(&graph.node[summand.tree]).floats("target_weights").len();
            (values.len() == leaves && values.iter().all(|value| value.is_finite())).then_some(values)
        })
        .collect()
}

/// One node of all the trees, which reads what each of them reads.
fn join(graph: &GraphProto, sum: usize, (summands, weights): (&[Summand], Vec<Vec<f32>>)) -> Option<NodeProto> {
    let mut joined = Joined::default();
    let mut source = None;
    for (id, (summand, weights)) in summands.iter().zip(weights).enumerate() {
        let node = &graph.node[summand.tree];
        let (name, columns) = tree_input(graph, node)?;
        if source.get_or_insert_with(|| name.clone()) != &name {
            return None;
        }
        joined.add(node, i64::try_from(id).ok()?, (columns, weights))?;
    }
    Some(NodeProto {
        input: vec![source?],
        output: graph.node[sum].output.clone(),
        name: graph.node[sum].name.clone(),
        op_type: "TreeEnsembleRegressor".to_owned(),
        domain: "ai.onnx.ml".to_owned(),
        attribute: joined.attributes(),
        ..NodeProto::default()
    })
}

/// What a tree reads: a tensor, and which of its columns where it reads a selection.
fn tree_input(graph: &GraphProto, node: &NodeProto) -> Option<(String, Option<Vec<i64>>)> {
    let name = node.input.first()?;
    let maker = graph.node.iter().find(|node| node.output.contains(name));
    match maker {
        Some(gather) if gather.op_type == "Gather" && Attributes(gather).int("axis") == Some(1) => {
            let columns = tensors::integers(constant(graph, gather.input.get(1)?)?).ok()?;
            if columns.iter().any(|column| *column < 0) {
                return None;
            }
            Some((gather.input.first()?.clone(), Some(columns)))
        }
        _ => Some((name.clone(), None)),
    }
}

#[derive(Default)]
struct Joined {
    ints: HashMap<&'static str, Vec<i64>>,
    values: Vec<f32>,
    modes: Vec<Vec<u8>>,
    weights: Vec<f32>,
}

impl Joined {
    fn add(&mut self, node: &NodeProto, id: i64, (columns, weights): (Option<Vec<i64>>, Vec<f32>)) -> Option<()> {
        let attributes = Attributes(node);
        let count = attributes.ints("nodes_nodeids").len();
        for name in ["nodes_nodeids", "nodes_truenodeids", "nodes_falsenodeids", "target_nodeids"] {
            self.ints.entry(name).or_default().extend(attributes.ints(name));
        }
        let modes = &attributes.find("nodes_modes")?.strings;
        for (feature, mode) in attributes.ints("nodes_featureids").iter().zip(modes) {
            let mapped = match &columns {
                Some(columns) if mode != b"LEAF" => *columns.get(usize::try_from(*feature).ok()?)?,
                _ => *feature,
            };
            self.ints.entry("nodes_featureids").or_default().push(mapped);
        }
        let tracks = attributes.ints("nodes_missing_value_tracks_true");
        let track = |at: usize| tracks.get(at).copied().unwrap_or(0);
        self.ints.entry("nodes_missing_value_tracks_true").or_default().extend((0..count).map(track));
        self.ints.entry("nodes_treeids").or_default().extend(std::iter::repeat_n(id, count));
        self.ints.entry("target_treeids").or_default().extend(std::iter::repeat_n(id, weights.len()));
        self.ints.entry("target_ids").or_default().extend(std::iter::repeat_n(0, weights.len()));
        self.modes.extend(modes.iter().cloned());
        self.values.extend(attributes.floats("nodes_values"));
        self.weights.extend(weights);
        Some(())
    }

    fn attributes(self) -> Vec<AttributeProto> {
        let named = |name: &str, kind: AttributeType| AttributeProto {
            name: name.to_owned(),
            r#type: kind as i32,
            ..AttributeProto::default()
        };
        let ints =
            self.ints.into_iter().map(|(name, ints)| AttributeProto { ints, ..named(name, AttributeType::Ints) });
        let mut all: Vec<AttributeProto> = ints.collect();
        all.push(AttributeProto { floats: self.values, ..named("nodes_values", AttributeType::Floats) });
        all.push(AttributeProto { floats: self.weights, ..named("target_weights", AttributeType::Floats) });
        all.push(AttributeProto { strings: self.modes, ..named("nodes_modes", AttributeType::Strings) });
        all.push(AttributeProto { i: 1, ..named("n_targets", AttributeType::Int) });
        all
    }
}
