//! The graph's inputs against the features: whatever the graph takes, it is made to take one N × F matrix of f32.

use std::collections::HashMap;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TypeProto, ValueInfoProto};

use super::Wanted;
use crate::error::ModelError;
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

/// An input as the file declares it, whether or not the score needs it.
pub(crate) struct Declared {
    name: String,
    columns: usize,
}

/// All inputs of the file, in order; one whose width is not stated counts as one column.
pub(crate) fn declared(graph: &GraphProto) -> Vec<Declared> {
    let columns = |input: &ValueInfoProto| read(input).ok().and_then(|input| input.columns).unwrap_or(1);
    graph.input.iter().map(|input| Declared { name: input.name.clone(), columns: columns(input) }).collect()
}

/// Checks the inputs that are left against the features and rewrites the graph to take [`ROWS`]. Answers whether the
/// file states how wide they are.
pub(crate) fn apply(graph: &mut GraphProto, file: &[Declared], wanted: &Wanted<'_>) -> Result<bool, ModelError> {
    let inputs = graph.input.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut new = Vec::new();
    let mut stated = true;
    match inputs.as_slice() {
        [] => return Err(problem("the score does not depend on any input".to_owned())),
        [input] if takes_all(input, wanted) => {
            stated = input.columns.is_some();
            new.push(cast(ROWS, input));
        }
        several => {
            for (at, (input, index)) in several.iter().zip(places(several, file, wanted)?).enumerate() {
                let part = format!("{ROWS}.{at}");
                new.push(slice(&part, (index, input.columns.unwrap_or(1)), input.flat));
                new.push(cast(&part, input));
            }
        }
    }
    new.append(&mut graph.node);
    graph.node = new;
    let tensor = Tensor { elem_type: DataType::Float as i32, shape: None };
    let kind = TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() };
    graph.input = vec![ValueInfoProto { name: ROWS.to_owned(), r#type: Some(kind), ..ValueInfoProto::default() }];
    Ok(stated)
}

/// Whether the one input that is left takes whole rows.
fn takes_all(input: &Input<'_>, wanted: &Wanted<'_>) -> bool {
    match input.columns {
        Some(columns) => columns == wanted.features.len() && !input.flat,
        None => wanted.features.position(input.name).is_none(),
    }
}

/// The column at which each input begins: by name where all are single columns called as features are, else by the
/// order of the file, which counts the inputs that the score does not need.
fn places(inputs: &[Input<'_>], file: &[Declared], wanted: &Wanted<'_>) -> Result<Vec<usize>, ModelError> {
    let features = wanted.features;
    let place = |name: &str, columns: usize| features.position(name).filter(|_| columns == 1);
    let by_name: Option<Vec<usize>> =
        inputs.iter().map(|input| place(input.name, input.columns.unwrap_or(1))).collect();
    if let Some(places) = by_name {
        return Ok(places);
    }
    let named: Vec<(&str, usize)> =
        file.iter().filter_map(|input| Some((input.name.as_str(), place(&input.name, input.columns)?))).collect();
    let others =
        inputs.iter().filter(|input| input.columns.unwrap_or(1) == 1 && features.position(input.name).is_none());
    let others: Vec<String> = others.map(|input| format!("`{}`", shown(input.name))).collect();
    if !named.is_empty() && !others.is_empty() {
        // By order a misspelt or foreign name would silently be scored as whatever feature stands in its place.
        return Err(problem(format!(
            "{} of its inputs have the name of a feature, {} ({}) have not: name each as its feature, or none, and \
             list the features (`fraud.features` in the metadata, or `model.features`)",
            named.len(),
            others.len(),
            others.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ")
        )));
    }
    let total = file.iter().fold(0_usize, |total, input| total.saturating_add(input.columns));
    if total != features.len() {
        return Err(problem(mismatch(&total.to_string(), features.len(), wanted.declared)));
    }
    let mut start = 0;
    let mut starts = HashMap::new();
    for input in file {
        starts.insert(input.name.as_str(), start);
        start += input.columns;
    }
    if let Some((name, place)) = named.iter().find(|(name, place)| starts.get(name) != Some(place)) {
        let name = shown(name);
        return Err(problem(format!(
            "the input `{name}` does not stand where the feature of that name does (column {place}, from 0): put the \
             inputs in the order of the features"
        )));
    }
    Ok(inputs.iter().map(|input| starts.get(input.name).copied().unwrap_or_default()).collect())
}

fn shown(name: &str) -> String {
    name.chars().take(120).collect()
}

/// `found` is the number of columns that the graph takes.
pub(crate) fn mismatch(found: &str, width: usize, declared: bool) -> String {
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
    let shown = shown(name);
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
