//! The graph's inputs against the features: whatever the graph takes, it is made to take one N × F matrix of f32.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TypeProto, ValueInfoProto};

use crate::error::ModelError;
use crate::features::FeatureSet;
use crate::model::ops::COLUMN;

/// The one input of the graph that is run.
pub(crate) const ROWS: &str = "fraud_feature_rows";

fn problem(text: String) -> ModelError {
    ModelError::Signature { problem: text }
}

/// One input: how many columns it has, where stated, and of what type.
struct Input<'a> {
    name: &'a str,
    columns: Option<usize>,
    flat: bool,
    kind: i32,
}

/// Checks the inputs against the features and rewrites the graph to take [`ROWS`].
pub(crate) fn apply(graph: &mut GraphProto, features: &FeatureSet, declared: bool) -> Result<(), ModelError> {
    let inputs = graph.input.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let width = features.len();
    let mut new = Vec::new();
    match inputs.as_slice() {
        [] => return Err(problem("the score does not depend on any input".to_owned())),
        [input] => {
            let columns = if input.flat { 1 } else { input.columns.unwrap_or(width) };
            if columns != width {
                return Err(problem(mismatch(columns, width, declared)));
            }
            new.push(cast(ROWS, input));
        }
        several => {
            let columns = |input: &Input<'_>| input.columns.unwrap_or(1);
            let total: usize = several.iter().map(columns).sum();
            if total != width {
                return Err(problem(mismatch(total, width, declared)));
            }
            let by_name: Option<Vec<usize>> = several.iter().map(|input| features.position(input.name)).collect();
            let mut start = 0;
            for (at, input) in several.iter().enumerate() {
                let count = columns(input);
                let index = match &by_name {
                    Some(places) if count == 1 && total == several.len() => places[at],
                    _ => start,
                };
                start += count;
                let part = format!("{ROWS}.{at}");
                new.push(slice(&part, (index, count), input.flat));
                new.push(cast(&part, input));
            }
        }
    }
    new.append(&mut graph.node);
    graph.node = new;
    let tensor = Tensor { elem_type: DataType::Float as i32, shape: None };
    let kind = TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() };
    graph.input = vec![ValueInfoProto { name: ROWS.to_owned(), r#type: Some(kind), ..ValueInfoProto::default() }];
    Ok(())
}

fn mismatch(found: usize, width: usize, declared: bool) -> String {
    if declared {
        format!("it takes {found} columns, the feature list names {width}: make the two the same")
    } else {
        format!(
            "it takes {found} columns and names no features, the default features are {width}: write \
             `fraud.features` into the file's metadata, or set `model.features`"
        )
    }
}

fn read(input: &ValueInfoProto) -> Result<Input<'_>, ModelError> {
    let name = input.name.as_str();
    let shown: String = name.chars().take(120).collect();
    let Some(Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Err(problem(format!("the input `{shown}` is not a tensor")));
    };
    let kind = tensor.elem_type;
    if !matches!(
        DataType::try_from(kind),
        Ok(DataType::Float | DataType::Double | DataType::Float16 | DataType::Int64 | DataType::Int32 | DataType::Bool)
    ) {
        return Err(problem(format!("the input `{shown}` does not take numbers: features are numbers only")));
    }
    let dims = tensor.shape.as_ref().map(|shape| shape.dim.as_slice());
    let stated = |dim: &tract_onnx::pb::tensor_shape_proto::Dimension| match &dim.value {
        Some(dimension::Value::DimValue(value)) if *value > 0 => usize::try_from(*value).ok(),
        _ => None,
    };
    let (columns, flat) = match dims {
        // skl2onnx leaves the shape empty where it was not told one.
        None | Some([]) => (None, false),
        Some([_]) => (Some(1), true),
        Some([_, columns]) => (stated(columns), false),
        Some(dims) => {
            return Err(problem(format!(
                "the input `{shown}` has {} dimensions: rows × features are expected",
                dims.len()
            )));
        }
    };
    Ok(Input { name, columns, flat, kind })
}

/// Names `from` as the input, cast where the graph wants another type.
fn cast(from: &str, input: &Input<'_>) -> NodeProto {
    let mut node = NodeProto {
        input: vec![from.to_owned()],
        output: vec![input.name.to_owned()],
        name: format!("{ROWS}.as.{}", input.name),
        op_type: "Identity".to_owned(),
        ..NodeProto::default()
    };
    if input.kind != DataType::Float as i32 {
        node.op_type = "Cast".to_owned();
        node.attribute = vec![integer("to", i64::from(input.kind))];
    }
    node
}

fn slice(name: &str, (index, count): (usize, usize), flat: bool) -> NodeProto {
    let attribute =
        vec![integer("index", index as i64), integer("count", count as i64), integer("flat", i64::from(flat))];
    NodeProto {
        input: vec![ROWS.to_owned()],
        output: vec![name.to_owned()],
        name: name.to_owned(),
        op_type: COLUMN.to_owned(),
        attribute,
        ..NodeProto::default()
    }
}

fn integer(name: &str, value: i64) -> AttributeProto {
    let kind = AttributeType::Int as i32;
    AttributeProto { name: name.to_owned(), i: value, r#type: kind, ..AttributeProto::default() }
}
