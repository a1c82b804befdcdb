//! A node's attributes, with errors that name the node.

use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

use super::tensors;
use crate::error::ModelError;

/// The node's name, or where it has none its first output.
pub(crate) fn node_name(node: &NodeProto) -> String {
    let first = if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name };
    first.chars().take(120).collect()
}

/// Domain and type, as messages write it.
pub(crate) fn operator(node: &NodeProto) -> String {
    let name = if node.domain.is_empty() || node.domain == "ai.onnx" {
        node.op_type.clone()
    } else {
        format!("{}.{}", node.domain, node.op_type)
    };
    name.chars().take(120).collect()
}

/// An error about this node.
pub(crate) fn bad(node: &NodeProto, problem: impl Into<String>) -> ModelError {
    ModelError::BadNode { node: node_name(node), operator: operator(node), problem: problem.into() }
}

/// Reads attributes of one node. Those that are absent are empty.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(pub &'a NodeProto);

impl<'a> Attributes<'a> {
    pub(crate) fn find(self, name: &str) -> Option<&'a AttributeProto> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(crate) fn ints(self, name: &str) -> &'a [i64] {
        self.find(name).map_or(&[], |attribute| &attribute.ints)
    }

    pub(crate) fn floats(self, name: &str) -> &'a [f32] {
        self.find(name).map_or(&[], |attribute| &attribute.floats)
    }

    pub(crate) fn int(self, name: &str) -> Option<i64> {
        self.find(name).map(|attribute| attribute.i)
    }

    pub(crate) fn float(self, name: &str) -> Option<f32> {
        self.find(name).map(|attribute| attribute.f)
    }

    pub(crate) fn tensor(self, name: &str) -> Option<&'a TensorProto> {
        self.find(name).and_then(|attribute| attribute.t.as_ref())
    }

    pub(crate) fn text(self, name: &str) -> Result<Option<&'a str>, ModelError> {
        let Some(attribute) = self.find(name) else { return Ok(None) };
        let text = std::str::from_utf8(&attribute.s).map_err(|_| bad(self.0, format!("`{name}` is not UTF-8")))?;
        Ok(Some(text))
    }

    pub(crate) fn texts(self, name: &str) -> Result<Vec<String>, ModelError> {
        let Some(attribute) = self.find(name) else { return Ok(Vec::new()) };
        let texts = attribute.strings.iter().map(|bytes| String::from_utf8(bytes.clone()));
        texts.collect::<Result<_, _>>().map_err(|_| bad(self.0, format!("`{name}` is not UTF-8")))
    }

    /// Numbers given as a list of floats, or with twice the precision as the tensor `<name>_as_tensor`. The
    /// second value says that it was a tensor of doubles.
    pub(crate) fn numbers(self, name: &str) -> Result<(Vec<f64>, bool), ModelError> {
        match self.tensor(&format!("{name}_as_tensor")) {
            Some(tensor) => {
                let numbers = tensors::numbers(tensor).map_err(|problem| bad(self.0, problem))?;
                Ok((numbers, tensors::is_double(tensor)))
            }
            None => Ok((self.floats(name).iter().map(|value| f64::from(*value)).collect(), false)),
        }
    }
}
