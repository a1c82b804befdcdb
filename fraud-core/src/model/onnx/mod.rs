//! The ONNX file before any engine: decoded, checked, reduced to the score, made to take one matrix of features.

pub(crate) mod attributes;
pub(crate) mod ensemble;
pub(crate) mod ensemble5;
mod graph;
mod half;
mod isolation;
mod limits;
mod operators;
pub(crate) mod output;
pub(crate) mod signature;
pub(crate) mod tensors;
pub(crate) mod width;
mod wire;

use std::io::Cursor;

use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::tract_hir::internal::Framework;

use crate::error::ModelError;
use crate::features::FeatureSet;

pub(crate) use ensemble::ClassLabels;
pub(crate) use graph::{bad_graph, constant};

/// Decodes a file's bytes. Nothing of the graph is looked at yet.
pub(crate) fn decode(bytes: &[u8], reader: &Onnx) -> Result<ModelProto, ModelError> {
    wire::check(bytes)?;
    let not_onnx = |problem: String| ModelError::NotOnnx { problem };
    let proto = reader.proto_model_for_read(&mut Cursor::new(bytes)).map_err(|error| not_onnx(format!("{error:#}")))?;
    if proto.graph.as_ref().is_none_or(|graph| graph.output.is_empty()) {
        return Err(not_onnx(
            "it holds no graph with an output: it is empty, truncated or another kind of file".to_owned(),
        ));
    }
    if !proto.functions.is_empty() {
        return Err(bad_graph("it has local functions: inline them first (onnx.inliner.inline_local_functions)"));
    }
    Ok(proto)
}

/// What to read of a file, and how.
pub(crate) struct Wanted<'a> {
    pub features: &'a FeatureSet,
    /// Somebody named the features; they are not the default ones.
    pub declared: bool,
    pub output: Option<&'a str>,
    pub label: Option<&'a str>,
}

/// A graph from one matrix of features to one output.
pub(crate) struct Prepared {
    pub proto: ModelProto,
    pub chosen: output::Chosen,
    /// Somebody says how wide its rows are: the file, or whoever named the features.
    pub width_stated: bool,
}

/// Reduces the file to a graph from one matrix of features to one output.
pub(crate) fn prepare(mut proto: ModelProto, reader: &Onnx, wanted: &Wanted<'_>) -> Result<Prepared, ModelError> {
    let graph = graph_of(&mut proto)?;
    graph::check(graph)?;
    let chosen = output::choose(graph, wanted.output, wanted.label)?;
    graph.output.truncate(1);
    let Some(output) = graph.output.first_mut() else { return Err(bad_graph("it has no output")) };
    output.name.clone_from(&chosen.tensor);
    output.r#type = None;
    let names: std::collections::HashSet<String> = graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
    graph.input.retain(|input| !names.contains(&input.name));
    let inputs = signature::declared(graph);
    graph::prune(graph);
    half::widen(graph);
    graph::forget_shapes(graph);
    operators::check(graph, reader)?;
    limits::constants(graph)?;
    if isolation::fold(graph, reader)? {
        graph::prune(graph);
    }
    let stated = signature::apply(graph, &inputs, wanted)?;
    proto.metadata_props.clear();
    Ok(Prepared { proto, chosen, width_stated: stated || wanted.declared })
}

fn graph_of(proto: &mut ModelProto) -> Result<&mut GraphProto, ModelError> {
    proto.graph.as_mut().ok_or_else(|| bad_graph("it has no graph"))
}
