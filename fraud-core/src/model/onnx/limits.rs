//! Bounds on what a graph computes from its constants, before the engine computes it while loading.

use std::collections::HashMap;
use tract_onnx::pb::GraphProto;

use super::attributes::{Attributes, node_name};
use super::graph::{bad_graph, constant, reads};
use super::tensors;
use crate::error::ModelError;

/// Elements that one operator may make of constants alone.
const MAX_CONSTANT: u64 = 1 << 26;

/// Refuses operators that would make huge tensors of constants.
///
/// The sizes are upper bounds: an elementwise operator of two constants may broadcast to their product. Ordinary
/// exporters fold their constants themselves, what they leave is small.
pub(crate) fn constants(graph: &GraphProto) -> Result<(), ModelError> {
    let mut sizes: HashMap<&str, u64> = HashMap::new();
    for tensor in &graph.initializer {
        sizes.insert(&tensor.name, tensors::elements(tensor).map_err(bad_graph)?.max(1));
    }
    for node in &graph.node {
        let refuse = || bad_graph(format!("node `{}` ({}) would make a huge tensor", node_name(node), node.op_type));
        if let Some(shape) = target_shape(graph, node) {
            let product = shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(dim.unsigned_abs().max(1)));
            if product.is_none_or(|product| product > MAX_CONSTANT) {
                return Err(refuse());
            }
        }
        let inputs: Option<Vec<u64>> = reads(node).into_iter().map(|name| sizes.get(name).copied()).collect();
        let Some(inputs) = inputs else { continue };
        let size = match node.op_type.as_str() {
            "Constant" => Attributes(node).tensor("value").map_or(Ok(1), tensors::elements).map_err(bad_graph)?,
            "Concat" | "Sum" | "FeatureVectorizer" => inputs.iter().sum(),
            "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" | "Cast" | "Identity" | "Flatten" | "Slice" | "Split"
            | "DequantizeLinear" | "QuantizeLinear" | "Gather" => inputs.iter().copied().max().unwrap_or(1),
            // What their constants hold decides, not how many there are; `target_shape` looks at that.
            "ConstantOfShape" | "Expand" | "Tile" | "Range" | "Pad" | "OneHot" | "Resize" | "EyeLike" => {
                target_shape(graph, node).map_or(MAX_CONSTANT + 1, |shape| {
                    shape.iter().fold(1_u64, |product, dim| product.saturating_mul(dim.unsigned_abs().max(1)))
                })
            }
            _ => inputs.iter().try_fold(1_u64, |product, size| product.checked_mul(*size)).unwrap_or(u64::MAX),
        };
        if size > MAX_CONSTANT {
            return Err(refuse());
        }
        for output in &node.output {
            sizes.insert(output, size.max(1));
        }
    }
    Ok(())
}

/// The size that an operator is told to make, where a constant tells it.
fn target_shape(graph: &GraphProto, node: &tract_onnx::pb::NodeProto) -> Option<Vec<i64>> {
    let told = |place: usize| tensors::integers(constant(graph, node.input.get(place)?)?).ok();
    match node.op_type.as_str() {
        "ConstantOfShape" | "EyeLike" => told(0),
        "Expand" => told(1),
        "Tile" => {
            let mut repeats = told(1)?;
            let data = tensors::elements(constant(graph, node.input.first()?)?).ok()?;
            repeats.push(i64::try_from(data).ok()?);
            Some(repeats)
        }
        "OneHot" => {
            let mut depth = told(1)?;
            let indices = constant(graph, node.input.first()?).and_then(|tensor| tensors::elements(tensor).ok());
            depth.push(i64::try_from(indices.unwrap_or(1)).ok()?);
            Some(depth)
        }
        "Range" => {
            let (from, to) = (told(0)?, told(1)?);
            Some(vec![to.first()?.saturating_sub(*from.first()?)])
        }
        "Pad" => {
            let pads = told(1)?;
            let data = constant(graph, node.input.first()?).and_then(|tensor| tensors::elements(tensor).ok());
            Some(
                pads.into_iter()
                    .map(|pad| pad.saturating_add(1))
                    .chain([i64::try_from(data.unwrap_or(1)).ok()?])
                    .collect(),
            )
        }
        _ => None,
    }
}
