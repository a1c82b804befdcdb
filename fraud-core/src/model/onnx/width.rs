//! How wide the rows are that a graph takes, where the file does not say it of its input but its nodes do.

use std::collections::HashSet;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::Prepared;
use super::attributes::Attributes;
use super::ensemble::MAX_FEATURES;
use super::graph::constant;
use super::signature::{ROWS, mismatch};
use super::tensors;
use crate::error::ModelError;
use crate::model::ops;

/// What the graph needs of its rows.
struct Need {
    columns: usize,
    /// Wider rows would do as well.
    at_least: bool,
}

/// The error of a graph that was given the default features because nobody said what it takes, put as what it is.
pub(crate) fn explained(error: ModelError, prepared: &Prepared, width: usize) -> ModelError {
    if prepared.width_stated || !matches!(error, ModelError::BadGraph { .. } | ModelError::Run { .. }) {
        return error;
    }
    match prepared.proto.graph.as_ref().and_then(|graph| needed(graph, width)) {
        Some(Need { columns, at_least }) => {
            let found = if at_least { format!("at least {columns}") } else { columns.to_string() };
            ModelError::Signature { problem: mismatch(&found, width, false) }
        }
        None => error,
    }
}

/// What the first node needs that does not take rows of `width`, among those that read the rows as they came.
fn needed(graph: &GraphProto, width: usize) -> Option<Need> {
    let mut rows = HashSet::from([ROWS]);
    for node in &graph.node {
        let is_rows = |place: usize| node.input.get(place).is_some_and(|input| rows.contains(input.as_str()));
        if !is_rows(0) && !is_rows(1) {
            continue;
        }
        let passes = match node.op_type.as_str() {
            "Identity" | "Cast" => true,
            "Add" | "Sub" | "Mul" | "Div" => {
                let other = usize::from(is_rows(0));
                match dims(graph, node, other).as_deref() {
                    Some([.., columns]) if *columns > 1 && *columns != width => return Some(Need::exactly(*columns)),
                    constant => constant.is_some(),
                }
            }
            "MatMul" | "Gemm" if is_rows(0) => {
                let turned = Attributes(node).int("transB") == Some(1);
                let columns = match dims(graph, node, 1).as_deref() {
                    Some([_, columns]) if turned => *columns,
                    Some([columns, _]) => *columns,
                    _ => continue,
                };
                if columns != width {
                    return Some(Need::exactly(columns));
                }
                false
            }
            "ArrayFeatureExtractor" if is_rows(0) => {
                let indices = node.input.get(1).and_then(|name| tensors::integers(constant(graph, name)?).ok());
                let greatest = indices.and_then(|indices| usize::try_from(*indices.iter().max()?).ok());
                match greatest {
                    Some(index) if index >= width => return Some(Need { columns: index + 1, at_least: true }),
                    _ => false,
                }
            }
            _ => {
                let Some(kernel) = ops::row_kernel(node) else { continue };
                let takes = |columns: &usize| kernel.width(*columns).is_ok();
                if !takes(&width) {
                    let columns = (1..=MAX_FEATURES).find(takes)?;
                    return Some(Need { columns, at_least: takes(&(columns + 1)) });
                }
                matches!(kernel.name(), "Scaler" | "Imputer" | "Binarizer" | "Normalizer")
            }
        };
        if passes {
            rows.extend(node.output.iter().map(String::as_str));
        }
    }
    None
}

impl Need {
    fn exactly(columns: usize) -> Self {
        Self { columns, at_least: false }
    }
}

/// The dimensions of a constant input.
fn dims(graph: &GraphProto, node: &NodeProto, place: usize) -> Option<Vec<usize>> {
    let dims = &constant(graph, node.input.get(place)?)?.dims;
    dims.iter().map(|dim| usize::try_from(*dim).ok()).collect()
}
