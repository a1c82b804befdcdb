//! ONNX files made by hand, as bytes: graphs that no exporter has to be installed for.
#![allow(dead_code)] // Every test uses its part.

#[path = "protobuf.rs"]
mod protobuf;

use protobuf::{bytes, number};

pub const FLOAT: u64 = 1;
pub const INT: u64 = 7;

/// A graph of opset 17 and ai.onnx.ml 3.
#[derive(Default)]
pub struct Graph {
    content: Vec<u8>,
}

impl Graph {
    pub fn new() -> Self {
        Self::default()
    }

    /// An input, or with [`Graph::output`] an output; a dimension of 0 is not stated, no dimensions no shape.
    pub fn input(self, name: &str, kind: u64, dims: &[u64]) -> Self {
        self.value(11, name, kind, dims)
    }

    pub fn output(self, name: &str, kind: u64, dims: &[u64]) -> Self {
        self.value(12, name, kind, dims)
    }

    pub fn floats(self, name: &str, dims: &[u64], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, FLOAT, dims, &raw)
    }

    pub fn ints(self, name: &str, values: &[i64]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, INT, &[values.len() as u64], &raw)
    }

    pub fn node(mut self, node: Node) -> Self {
        bytes(1, &node.content, &mut self.content);
        self
    }

    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let mut file = Vec::new();
        number(1, 8, &mut file);
        for (domain, version) in [("", 17), ("ai.onnx.ml", 3)] {
            let mut import = Vec::new();
            bytes(1, domain.as_bytes(), &mut import);
            number(2, version, &mut import);
            bytes(8, &import, &mut file);
        }
        bytes(7, &self.content, &mut file);
        file
    }

    fn value(mut self, field: u64, name: &str, kind: u64, dims: &[u64]) -> Self {
        let (mut shape, mut tensor, mut all, mut value) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for dim in dims {
            let mut inner = Vec::new();
            if *dim > 0 {
                number(1, *dim, &mut inner);
            }
            bytes(1, &inner, &mut shape);
        }
        number(1, kind, &mut tensor);
        if !dims.is_empty() {
            bytes(2, &shape, &mut tensor);
        }
        bytes(1, &tensor, &mut all);
        bytes(1, name.as_bytes(), &mut value);
        bytes(2, &all, &mut value);
        bytes(field, &value, &mut self.content);
        self
    }

    fn constant(mut self, name: &str, kind: u64, dims: &[u64], raw: &[u8]) -> Self {
        bytes(5, &tensor(name, (kind, dims, raw)), &mut self.content);
        self
    }
}

/// A node with its attributes.
pub struct Node {
    content: Vec<u8>,
}

impl Node {
    /// `inputs` and `outputs` are names with spaces between; `kind` of ai.onnx.ml begins with `ml.`.
    pub fn new(kind: &str, inputs: &str, outputs: &str) -> Self {
        let mut content = Vec::new();
        inputs.split(' ').for_each(|name| bytes(1, name.as_bytes(), &mut content));
        outputs.split(' ').for_each(|name| bytes(2, name.as_bytes(), &mut content));
        bytes(4, kind.trim_start_matches("ml.").as_bytes(), &mut content);
        if kind.starts_with("ml.") {
            bytes(7, b"ai.onnx.ml", &mut content);
        }
        Self { content }
    }

    pub fn int(self, name: &str, value: i64) -> Self {
        self.attribute(name, 2, |out| number(3, value as u64, out))
    }

    pub fn ints(self, name: &str, values: &[i64]) -> Self {
        self.attribute(name, 7, |out| values.iter().for_each(|value| number(8, *value as u64, out)))
    }

    pub fn floats(self, name: &str, values: &[f32]) -> Self {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.attribute(name, 6, |out| bytes(7, &packed, out))
    }

    pub fn text(self, name: &str, value: &str) -> Self {
        self.attribute(name, 3, |out| bytes(4, value.as_bytes(), out))
    }

    pub fn texts(self, name: &str, values: &[&str]) -> Self {
        self.attribute(name, 8, |out| values.iter().for_each(|value| bytes(9, value.as_bytes(), out)))
    }

    /// A tensor of whole numbers.
    pub fn tensor(self, name: &str, values: &[i64]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.attribute(name, 4, |out| bytes(5, &tensor("", (INT, &[values.len() as u64], &raw)), out))
    }

    fn attribute(mut self, name: &str, kind: u64, value: impl Fn(&mut Vec<u8>)) -> Self {
        let mut attribute = Vec::new();
        bytes(1, name.as_bytes(), &mut attribute);
        value(&mut attribute);
        number(20, kind, &mut attribute);
        bytes(5, &attribute, &mut self.content);
        self
    }
}

/// Entries of the file's metadata: appended to a file, they join those that are there.
pub fn metadata(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in entries {
        let mut entry = Vec::new();
        bytes(1, key.as_bytes(), &mut entry);
        bytes(2, value.as_bytes(), &mut entry);
        bytes(14, &entry, &mut out);
    }
    out
}

fn tensor(name: &str, (kind, dims, raw): (u64, &[u64], &[u8])) -> Vec<u8> {
    let mut out = Vec::new();
    dims.iter().for_each(|dim| number(1, *dim, &mut out));
    number(2, kind, &mut out);
    bytes(8, name.as_bytes(), &mut out);
    bytes(9, raw, &mut out);
    out
}
