//! Operators that change each value of a row: Scaler, Imputer, Binarizer, Normalizer.

use tract_onnx::pb::NodeProto;

use super::kernel::{RowExpansion, RowKernel};
use crate::error::ModelError;
use crate::model::onnx::attributes::{Attributes, bad};

#[derive(Debug)]
enum Change {
    /// (x − offset) · scale; one of each, or one per feature.
    Scale { offset: Vec<f32>, scale: Vec<f32> },
    /// Where x is `missing` (NaN is equal to NaN here), another value: one, or one per feature.
    Impute { missing: f32, values: Vec<f32> },
    /// 1 where x > threshold, else 0.
    Binarize { threshold: f32 },
}

impl RowKernel for Change {
    fn name(&self) -> &'static str {
        match self {
            Self::Scale { .. } => "Scaler",
            Self::Impute { .. } => "Imputer",
            Self::Binarize { .. } => "Binarizer",
        }
    }

    fn width(&self, inputs: usize) -> Result<usize, String> {
        let fits = |list: &[f32]| list.len() == 1 || list.len() == inputs;
        let (fitting, length) = match self {
            Self::Scale { offset, scale } => (fits(offset) && fits(scale), offset.len().max(scale.len())),
            Self::Impute { values, .. } => (fits(values), values.len()),
            Self::Binarize { .. } => (true, 0),
        };
        if fitting { Ok(inputs) } else { Err(format!("it is made for {length} features, rows have {inputs}")) }
    }

    fn rows(&self, x: &[f32], width: usize, out: &mut [f32]) {
        let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width));
        match self {
            Self::Scale { offset, scale } => {
                for (row, out) in rows {
                    for (index, (value, out)) in row.iter().zip(out).enumerate() {
                        *out = (value - pick(offset, index)) * pick(scale, index);
                    }
                }
            }
            Self::Impute { missing, values } => {
                for (row, out) in rows {
                    for (index, (value, out)) in row.iter().zip(out).enumerate() {
                        let replace = if missing.is_nan() { value.is_nan() } else { value == missing };
                        *out = if replace { pick(values, index) } else { *value };
                    }
                }
            }
            Self::Binarize { threshold } => {
                for (value, out) in x.iter().zip(out) {
                    *out = f32::from(u8::from(value > threshold));
                }
            }
        }
    }
}

fn pick(list: &[f32], index: usize) -> f32 {
    if list.len() == 1 { list[0] } else { list[index] }
}

pub(crate) fn scaler(node: &NodeProto) -> Result<RowExpansion, ModelError> {
    let attributes = Attributes(node);
    let or = |list: &[f32], value| if list.is_empty() { vec![value] } else { list.to_vec() };
    let offset = or(attributes.floats("offset"), 0.0);
    let scale = or(attributes.floats("scale"), 1.0);
    Ok(RowExpansion::scores(Change::Scale { offset, scale }))
}

pub(crate) fn imputer(node: &NodeProto) -> Result<RowExpansion, ModelError> {
    let attributes = Attributes(node);
    let floats = attributes.floats("imputed_value_floats");
    let integers = attributes.ints("imputed_value_int64s");
    #[allow(clippy::cast_precision_loss)] // Features are f32 throughout.
    let as_f32 = |value: i64| value as f32;
    let (missing, values) = if floats.is_empty() {
        let values: Vec<f32> = integers.iter().copied().map(as_f32).collect();
        (attributes.int("replaced_value_int64").map_or(0.0, as_f32), values)
    } else {
        (attributes.float("replaced_value_float").unwrap_or(0.0), floats.to_vec())
    };
    if values.is_empty() {
        return Err(bad(node, "it has no imputed values"));
    }
    let kernel = Change::Impute { missing, values };
    Ok(RowExpansion { answer: None, ..RowExpansion::scores(kernel) })
}

pub(crate) fn binarizer(node: &NodeProto) -> Result<RowExpansion, ModelError> {
    let threshold = Attributes(node).float("threshold").unwrap_or(0.0);
    Ok(RowExpansion { answer: None, ..RowExpansion::scores(Change::Binarize { threshold }) })
}

#[derive(Debug)]
enum Normalizer {
    Max,
    L1,
    L2,
}

impl RowKernel for Normalizer {
    fn name(&self) -> &'static str {
        "Normalizer"
    }

    fn width(&self, inputs: usize) -> Result<usize, String> {
        Ok(inputs)
    }

    fn rows(&self, x: &[f32], width: usize, out: &mut [f32]) {
        for (row, out) in x.chunks_exact(width.max(1)).zip(out.chunks_exact_mut(width.max(1))) {
            let norm = match self {
                // As ONNX and ONNX Runtime have it: the greatest value, not the greatest magnitude.
                Self::Max => row.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                Self::L1 => row.iter().map(|value| value.abs()).sum(),
                Self::L2 => row.iter().map(|value| value * value).sum::<f32>().sqrt(),
            };
            for (value, out) in row.iter().zip(out) {
                *out = if norm == 0.0 { *value } else { value / norm };
            }
        }
    }
}

pub(crate) fn normalizer(node: &NodeProto) -> Result<RowExpansion, ModelError> {
    let kernel = match Attributes(node).text("norm")?.unwrap_or("MAX") {
        "MAX" => Normalizer::Max,
        "L1" => Normalizer::L1,
        "L2" => Normalizer::L2,
        other => return Err(bad(node, format!("the norm `{other}` does not exist"))),
    };
    Ok(RowExpansion::scores(kernel))
}
