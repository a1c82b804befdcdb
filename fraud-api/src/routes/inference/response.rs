//! The answer to an inference request.

use fraud_core::Model;
use serde_json::{Value, json};

use super::request::InferRequest;
use super::{LABEL, PROBABILITY};
use crate::http::problem::ApiError;

/// An answer's bytes.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// How many of them are JSON, when tensors follow it.
    pub(super) json_bytes: Option<usize>,
}

/// Writes the outputs that were asked for.
pub(super) fn write(asked: &InferRequest, model: &Model, probabilities: &[f32]) -> Result<Answer, ApiError> {
    let mut tensors: Vec<u8> = Vec::new();
    let mut outputs = Vec::with_capacity(asked.outputs.len());
    for (name, binary) in &asked.outputs {
        let mut output = json!({ "name": name, "shape": [asked.count] });
        output["datatype"] = if *name == LABEL { "INT64" } else { "FP32" }.into();
        let before = tensors.len();
        match (*name, *binary) {
            (LABEL, true) => labels(probabilities).for_each(|label| tensors.extend_from_slice(&label.to_le_bytes())),
            (LABEL, false) => output["data"] = labels(probabilities).collect(),
            (PROBABILITY, true) => probabilities.iter().for_each(|p| tensors.extend_from_slice(&p.to_le_bytes())),
            _ => output["data"] = probabilities.iter().map(|p| json!(p)).collect::<Value>(),
        }
        if *binary {
            output["parameters"] = json!({ "binary_data_size": tensors.len() - before });
        }
        outputs.push(output);
    }
    let mut answer = json!({ "model_name": model.name(), "model_version": model.version(), "outputs": outputs });
    if let Some(id) = &asked.id {
        answer["id"] = id.as_str().into();
    }
    let mut body = serde_json::to_vec(&answer).map_err(|error| ApiError::Internal { problem: error.to_string() })?;
    let is_binary = asked.outputs.iter().any(|(_, binary)| *binary);
    let json_bytes = is_binary.then_some(body.len());
    body.append(&mut tensors);
    Ok(Answer { body, json_bytes })
}

fn labels(probabilities: &[f32]) -> impl Iterator<Item = i64> + '_ {
    probabilities.iter().map(|p| i64::from(*p >= 0.5))
}
