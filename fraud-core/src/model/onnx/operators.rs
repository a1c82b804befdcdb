//! Which operators there are, and what to export instead of those there are not.

use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::attributes::{node_name, operator};
use crate::error::ModelError;

const DOMAINS: [&str; 5] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "org.pytorch.aten"];

/// Operators that the engine has, but was seen to answer wrongly (scikit-learn's nearest neighbours).
const WRONG: [&str; 2] = ["Scan", "Loop"];

/// Refuses the first node whose operator is not there, subgraphs included.
pub(crate) fn check(graph: &GraphProto, reader: &Onnx) -> Result<(), ModelError> {
    for node in &graph.node {
        let known = !WRONG.contains(&node.op_type.as_str())
            && reader.op_register.0.contains_key(&node.op_type)
            && DOMAINS.contains(&node.domain.as_str());
        if !known {
            return Err(unsupported(node));
        }
        for inner in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
            check(inner, reader)?;
        }
    }
    Ok(())
}

/// The error for a node whose operator, or a mode of it, is not there.
pub(crate) fn unsupported(node: &NodeProto) -> ModelError {
    ModelError::UnsupportedOperator {
        operator: operator(node),
        node: node_name(node),
        advice: advice(&node.op_type).to_owned(),
    }
}

fn advice(operator: &str) -> &'static str {
    match operator {
        "StringNormalizer" | "TfIdfVectorizer" | "StringConcat" | "StringSplit" | "RegexFullMatch" | "Tokenizer"
        | "DictVectorizer" | "CastMap" => "features are numbers only; drop the text step from the pipeline",
        "Loop" | "Scan" | "SequenceConstruct" | "SequenceAt" | "ConcatFromSequence" | "SequenceInsert" => {
            "export the model without loops and sequences; for nearest neighbours use another model family"
        }
        "CDist" | "FusedMatMul" | "Solve" => {
            "export with the standard operators only (skl2onnx: target_opset={\"\": 15, \"ai.onnx.ml\": 3} and no \
             com.microsoft domain in the options)"
        }
        _ => {
            "export it with standard ONNX operators (skl2onnx, onnxmltools, torch.onnx with opset 13 to 18), or drop the \
             step that needs it; docs/models.md lists what works"
        }
    }
}
