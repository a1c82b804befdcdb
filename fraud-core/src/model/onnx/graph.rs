//! The graph as the file holds it: checked, put in order, reduced to what one output needs.

use std::collections::{HashMap, HashSet};
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::attributes::{Attributes, node_name};
use super::tensors;
use crate::error::ModelError;

/// Nodes of the graph and its subgraphs together; the greatest ordinary export has some thousands.
const MAX_NODES: usize = 200_000;

pub(crate) fn bad_graph(problem: impl Into<String>) -> ModelError {
    ModelError::BadGraph { problem: problem.into() }
}

fn shown(name: &str) -> String {
    name.chars().take(120).collect()
}

/// Checks names, tensors and order; leaves the nodes sorted so that each stands after what it reads.
pub(crate) fn check(graph: &mut GraphProto) -> Result<(), ModelError> {
    let mut count = 0;
    check_tensors(graph, &mut count)?;
    sort(graph)
}

fn check_tensors(graph: &GraphProto, count: &mut usize) -> Result<(), ModelError> {
    *count += graph.node.len();
    if *count > MAX_NODES {
        return Err(bad_graph(format!("it has more than {MAX_NODES} nodes")));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err(bad_graph("it has sparse tensors: export dense ones"));
    }
    graph.initializer.iter().try_for_each(check_tensor)?;
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        attribute.t.iter().chain(&attribute.tensors).try_for_each(check_tensor)?;
        if attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty() {
            return Err(bad_graph("it has sparse tensors: export dense ones"));
        }
        attribute.g.iter().chain(&attribute.graphs).try_for_each(|graph| check_tensors(graph, count))?;
    }
    Ok(())
}

fn check_tensor(tensor: &TensorProto) -> Result<(), ModelError> {
    const EXTERNAL: i32 = 1;
    if tensor.data_location == Some(EXTERNAL) || !tensor.external_data.is_empty() {
        return Err(ModelError::ExternalData { tensor: shown(&tensor.name) });
    }
    tensors::check(tensor).map_err(bad_graph)
}

/// What a node reads: its inputs, and what its subgraphs read from outside of them.
pub(crate) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
        let mut own: HashSet<&str> = graph.input.iter().map(|value| value.name.as_str()).collect();
        own.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
        own.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
        let inner = graph.node.iter().flat_map(reads);
        let outputs = graph.output.iter().map(|value| value.name.as_str());
        names.extend(inner.chain(outputs).filter(|name| !own.contains(name)));
    }
    names
}

/// Which node makes each tensor.
pub(crate) fn producers(graph: &GraphProto) -> HashMap<&str, usize> {
    let outputs = |(index, node): (usize, &'_ NodeProto)| (index, node.output.len());
    let mut map = HashMap::new();
    for (index, _) in graph.node.iter().enumerate().map(outputs) {
        for output in graph.node[index].output.iter().filter(|name| !name.is_empty()) {
            map.insert(output.as_str(), index);
        }
    }
    map
}

/// A tensor that the file states: an initializer, or the value of a Constant node.
pub(crate) fn constant<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    graph.initializer.iter().find(|tensor| tensor.name == name).or_else(|| {
        let node =
            graph.node.iter().find(|node| node.op_type == "Constant" && node.output.iter().any(|out| out == name))?;
        Attributes(node).tensor("value")
    })
}

fn sort(graph: &mut GraphProto) -> Result<(), ModelError> {
    let mut known: HashSet<&str> = graph.input.iter().map(|value| value.name.as_str()).collect();
    known.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    let mut made = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if known.contains(output.as_str()) || made.insert(output.as_str(), index).is_some() {
                return Err(bad_graph(format!("two nodes or inputs are called `{}`", shown(output))));
            }
        }
    }
    let mut waiting = vec![0_usize; graph.node.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    for (index, node) in graph.node.iter().enumerate() {
        for name in reads(node) {
            match made.get(name) {
                Some(maker) => {
                    readers[*maker].push(index);
                    waiting[index] += 1;
                }
                None if known.contains(name) => {}
                None => {
                    let node = node_name(node);
                    return Err(bad_graph(format!("node `{node}` reads `{}`, which nothing makes", shown(name))));
                }
            }
        }
    }
    if let Some(output) = graph
        .output
        .iter()
        .find(|value| !made.contains_key(value.name.as_str()) && !known.contains(value.name.as_str()))
    {
        return Err(bad_graph(format!("nothing makes the output `{}`", shown(&output.name))));
    }
    let mut order: Vec<usize> = (0..graph.node.len()).filter(|index| waiting[*index] == 0).collect();
    let mut next = 0;
    while let Some(index) = order.get(next).copied() {
        next += 1;
        for reader in &readers[index] {
            waiting[*reader] -= 1;
            if waiting[*reader] == 0 {
                order.push(*reader);
            }
        }
    }
    if order.len() < graph.node.len() {
        let stuck = waiting.iter().position(|count| *count > 0).unwrap_or_default();
        return Err(bad_graph(format!("its nodes form a cycle through `{}`", node_name(&graph.node[stuck]))));
    }
    let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|index| nodes[index].take()).collect();
    Ok(())
}

/// Drops every node and initializer that the outputs do not need.
pub(crate) fn prune(graph: &mut GraphProto) {
    let mut needed: HashSet<String> = graph.output.iter().map(|value| value.name.clone()).collect();
    let mut keep = vec![false; graph.node.len()];
    for (index, node) in graph.node.iter().enumerate().rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            keep[index] = true;
            needed.extend(reads(node).into_iter().map(str::to_owned));
        }
    }
    let mut keep = keep.into_iter();
    graph.node.retain(|_| keep.next().unwrap_or(false));
    graph.initializer.retain(|tensor| needed.contains(&tensor.name));
    graph.input.retain(|value| needed.contains(&value.name));
    graph.value_info.clear();
}

/// Drops the shapes that subgraphs declare: the engine finds them itself, and its reader of symbolic dimensions
/// recurses as deep as a hostile text likes.
pub(crate) fn forget_shapes(graph: &mut GraphProto) {
    let subgraphs = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    for inner in subgraphs.flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs)) {
        inner.value_info.clear();
        for value in &mut inner.input {
            if let Some(Value::TensorType(tensor)) = value.r#type.as_mut().and_then(|kind| kind.value.as_mut()) {
                tensor.shape = None;
            }
        }
        forget_shapes(inner);
    }
}
