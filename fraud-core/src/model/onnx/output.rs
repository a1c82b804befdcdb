//! Which of the graph's outputs is the probability of fraud, and what its columns are called.

use std::collections::VecDeque;

use std::collections::HashSet;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, NodeProto, ValueInfoProto};

use super::attributes::Attributes;
use super::ensemble::{ClassLabels, class_labels};
use super::graph::{constant, producers};
use super::tensors;
use crate::error::ModelError;

/// The output to read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen {
    /// The tensor's name in the graph.
    pub tensor: String,
    /// The classes of its columns, where the file says them.
    pub labels: Option<Vec<String>>,
}

/// Words that mean fraud where classes are texts and nothing was said about them.
const FRAUD_WORDS: [&str; 6] = ["1", "1.0", "true", "fraud", "fraudulent", "yes"];

fn problem(text: String) -> ModelError {
    ModelError::Output { problem: text }
}

/// Finds the output, by name where one is given.
pub(crate) fn choose(graph: &GraphProto, name: Option<&str>, label: Option<&str>) -> Result<Chosen, ModelError> {
    let makers = producers(graph);
    let maker = |name: &str| makers.get(name).map(|index| &graph.node[*index]);
    let names = || graph.output.iter().map(|output| format!("`{}`", output.name)).collect::<Vec<_>>().join(", ");
    let output = if let Some(name) = name {
        let found = graph.output.iter().find(|output| output.name == name);
        let found =
            found.ok_or_else(|| problem(format!("there is no output `{name}`, the outputs are {}", names())))?;
        if is_label(found, maker(&found.name)) {
            return Err(problem(format!("the output `{name}` is a class label: name the one with probabilities")));
        }
        found
    } else {
        let scores: Vec<_> = graph.output.iter().filter(|output| !is_label(output, maker(&output.name))).collect();
        match pick(&scores, label) {
            Some(output) => output,
            None if scores.is_empty() => {
                return Err(problem(format!(
                    "the outputs ({}) are class labels: export the model with its probabilities \
                     (skl2onnx: options={{\"zipmap\": False}}, and no `nocl` without probabilities)",
                    names()
                )));
            }
            None => return Err(problem(format!("several could: name one of {} (`fraud.output`)", names()))),
        }
    };
    let zip = maker(&output.name).filter(|node| node.op_type == "ZipMap");
    let tensor = match zip {
        Some(node) => node.input.first().cloned().unwrap_or_default(),
        None => output.name.clone(),
    };
    Ok(Chosen { labels: labels(graph, zip, &output.name)?, tensor })
}

fn pick<'a>(scores: &[&'a ValueInfoProto], label: Option<&str>) -> Option<&'a ValueInfoProto> {
    let only = |test: &dyn Fn(&str) -> bool| {
        let mut fitting = scores.iter().filter(|output| test(&output.name.to_lowercase()));
        fitting.next().filter(|_| fitting.next().is_none()).copied()
    };
    let label = label.unwrap_or("1").to_lowercase();
    only(&|_| true)
        .or_else(|| only(&|name| name.contains("prob")))
        // One output per class, as skl2onnx writes them with zipmap="columns".
        .or_else(|| only(&|name| name == label || name == format!("i{label}") || name == format!("s{label}")))
        .or_else(|| only(&|name| name.contains("score")))
}

/// Whether an output is a class label: by its type, or where the file states none by what makes it.
fn is_label(output: &ValueInfoProto, maker: Option<&NodeProto>) -> bool {
    if let Some(Value::TensorType(tensor)) = output.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        // Every type but the floating ones.
        return !matches!(tensor.elem_type, 0 | 1 | 10 | 11);
    }
    maker.is_some_and(|node| match node.op_type.as_str() {
        "TreeEnsembleClassifier" | "LinearClassifier" => node.output.first() == Some(&output.name),
        "ArgMax" | "ArrayFeatureExtractor" | "LabelEncoder" => true,
        _ => false,
    })
}

/// The class labels: those of the ZipMap, of the way to the label output, or of the way to the scores.
fn labels(graph: &GraphProto, zip: Option<&NodeProto>, scores: &str) -> Result<Option<Vec<String>>, ModelError> {
    if let Some(node) = zip {
        return Ok(class_labels(node)?.map(|labels| labels.texts()));
    }
    let makers = producers(graph);
    let label_outputs = graph
        .output
        .iter()
        .filter(|output| is_label(output, makers.get(output.name.as_str()).map(|index| &graph.node[*index])));
    for output in label_outputs {
        // How skl2onnx writes a tree that knows one class: the label is a constant.
        let maker = makers.get(output.name.as_str()).map(|index| &graph.node[*index]);
        if let Some(node) = maker.filter(|node| node.op_type == "ConstantOfShape") {
            let label = Attributes(node).tensor("value").and_then(|tensor| tensors::integers(tensor).ok());
            return Ok(label.map(|label| ClassLabels::Integers(label).texts()));
        }
        if let Some(labels) = search(graph, &output.name)? {
            return Ok(Some(labels));
        }
    }
    search(graph, scores)
}

/// The nearest class labels on the ways that lead to a tensor.
fn search(graph: &GraphProto, tensor: &str) -> Result<Option<Vec<String>>, ModelError> {
    let makers = producers(graph);
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([tensor]);
    while let Some(name) = queue.pop_front() {
        let Some(node) = makers.get(name).map(|index| &graph.node[*index]) else { continue };
        if let Some(labels) = stated(graph, node)? {
            return Ok(Some(labels));
        }
        queue.extend(node.input.iter().map(String::as_str).filter(|input| seen.insert(input.to_owned())));
    }
    Ok(None)
}

fn stated(graph: &GraphProto, node: &NodeProto) -> Result<Option<Vec<String>>, ModelError> {
    match node.op_type.as_str() {
        "ArrayFeatureExtractor" => {
            let Some(tensor) = node.input.first().and_then(|name| constant(graph, name)) else { return Ok(None) };
            let labels = match tensors::texts(tensor) {
                Ok(texts) if tensor.data_type == 8 => Some(texts),
                _ => tensors::integers(tensor).ok().map(|labels| ClassLabels::Integers(labels).texts()),
            };
            Ok(labels.filter(|labels| !labels.is_empty()))
        }
        "TreeEnsembleClassifier" | "LinearClassifier" | "SVMClassifier" => {
            Ok(class_labels(node)?.map(|labels| labels.texts()))
        }
        "LabelEncoder" => {
            // Numbers to words, at the end of a label's way.
            let words = Attributes(node).texts("values_strings")?;
            Ok(if words.len() > 1 { Some(words) } else { None })
        }
        _ => Ok(None),
    }
}

/// The column that holds the probability of fraud, of an output that is `columns` wide.
///
/// Without a label that is `1`; where classes are texts the one that is called fraud, or with `second` the second of two,
/// which is what scikit-learn calls positive.
pub(crate) fn column(
    chosen: &Chosen,
    columns: usize,
    (label, second): (Option<&str>, bool),
) -> Result<usize, ModelError> {
    // The one column of a model that knows one class is that class's, and always certain.
    if columns == 1 && chosen.labels.as_ref().is_none_or(|labels| labels.len() != 1) {
        return Ok(0);
    }
    let Some(labels) = chosen.labels.as_ref().filter(|labels| labels.len() == columns) else {
        // Nothing names the columns: classes count from 0.
        let wanted = label.unwrap_or("1");
        let place = wanted.parse::<usize>().ok().filter(|place| *place < columns);
        return place.ok_or_else(|| {
            problem(format!(
                "the file names no classes for its {columns} columns; `{wanted}` is not one of 0 to {}",
                columns - 1
            ))
        });
    };
    let place = |wanted: &str| labels.iter().position(|found| found == wanted);
    let found = match label {
        Some(label) => place(label),
        None if second && columns == 2 => Some(place("1").unwrap_or(1)),
        None => place("1").or_else(|| {
            let fitting = |(_, found): &(usize, &String)| FRAUD_WORDS.contains(&found.to_lowercase().as_str());
            let mut places = labels.iter().enumerate().filter(fitting).map(|(place, _)| place);
            places.next().filter(|_| places.next().is_none())
        }),
    };
    found.ok_or_else(|| {
        let shown: Vec<String> =
            labels.iter().take(10).map(|label| format!("`{}`", label.chars().take(40).collect::<String>())).collect();
        if let [only] = shown.as_slice() {
            return problem(format!(
                "the model knows only class {only}: fit it on data that holds fraud as well as none (where {only} is \
                 what means fraud, name it: `fraud.label`)"
            ));
        }
        problem(format!(
            "there is no class `{}`, the classes are {}: name the one that means fraud (`fraud.label`)",
            label.unwrap_or("1"),
            shown.join(", ")
        ))
    })
}
