//! LinearClassifier and LinearRegressor.

use tract_onnx::pb::NodeProto;

use super::kernel::{RowExpansion, RowKernel};
use super::post;
use crate::error::ModelError;
use crate::model::onnx::attributes::{Attributes, bad};
use crate::model::onnx::ensemble;
use crate::model::trees::PostTransform;

#[derive(Debug)]
struct Linear {
    name: &'static str,
    /// One run of weights per score.
    coefficients: Vec<f32>,
    intercepts: Vec<f32>,
    features: usize,
    post: PostTransform,
    /// One score stands for two classes: the answer is its complement and itself.
    second_class: bool,
}

impl Linear {
    fn scores(&self, row: &[f32], out: &mut [f32]) {
        for ((weights, intercept), score) in
            self.coefficients.chunks_exact(self.features).zip(&self.intercepts).zip(out)
        {
            // Two partial sums in f64: closer to the exact value than any order of f32 additions.
            let products = weights.iter().zip(row).map(|(weight, value)| f64::from(*weight) * f64::from(*value));
            #[allow(clippy::cast_possible_truncation)]
            let sum = (products.sum::<f64>() + f64::from(*intercept)) as f32;
            *score = sum;
        }
    }
}

impl RowKernel for Linear {
    fn name(&self) -> &'static str {
        self.name
    }

    fn width(&self, inputs: usize) -> Result<usize, String> {
        if inputs != self.features {
            return Err(format!("there are {} coefficients per score, rows have {inputs} values", self.features));
        }
        Ok(self.intercepts.len() + usize::from(self.second_class))
    }

    fn rows(&self, x: &[f32], width: usize, out: &mut [f32]) {
        let columns = self.intercepts.len() + usize::from(self.second_class);
        for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(columns)) {
            if self.second_class {
                self.scores(row, &mut out[1..]);
                // With one score ONNX Runtime knows no softmax, and a logistic complement is exact.
                match self.post {
                    PostTransform::Logistic => {
                        out[0] = post::logistic(-out[1]);
                        out[1] = post::logistic(out[1]);
                    }
                    _ => out[0] = 1.0 - out[1],
                }
            } else {
                self.scores(row, out);
                // A single target is not transformed by ONNX Runtime, except by PROBIT.
                if columns > 1 || self.post == PostTransform::Probit {
                    post::apply(self.post, out);
                }
            }
        }
    }

    fn classes(&self, x: &[f32], width: usize, scores: &[f32]) -> Vec<usize> {
        let columns = self.intercepts.len();
        let mut raw = vec![0.0; columns];
        let rows = x.chunks_exact(width).map(|row| {
            self.scores(row, &mut raw);
            if columns == 1 {
                usize::from(raw[0] > 0.0)
            } else {
                (1..columns).fold(0, |best, column| if raw[column] > raw[best] { column } else { best })
            }
        });
        let _ = scores;
        rows.collect()
    }
}

fn linear(node: &NodeProto, targets: usize, name: &'static str) -> Result<Linear, ModelError> {
    let attributes = Attributes(node);
    let coefficients = attributes.floats("coefficients").to_vec();
    let mut intercepts = attributes.floats("intercepts").to_vec();
    if targets == 0 || coefficients.is_empty() || !coefficients.len().is_multiple_of(targets) {
        return Err(bad(node, format!("{} coefficients cannot be shared by {targets} scores", coefficients.len())));
    }
    // Only now: the number of targets is no greater than that of the coefficients.
    if intercepts.is_empty() {
        intercepts = vec![0.0; targets];
    }
    if intercepts.len() != targets {
        return Err(bad(node, format!("there are {} intercepts for {targets} scores", intercepts.len())));
    }
    let features = coefficients.len() / targets;
    Ok(Linear { name, coefficients, intercepts, features, post: ensemble::post_transform(node)?, second_class: false })
}

pub(crate) fn classifier(node: &NodeProto) -> Result<RowExpansion, ModelError> {
    let labels = ensemble::class_labels(node)?.ok_or_else(|| bad(node, "it has no class labels"))?;
    let attributes = Attributes(node);
    let scores = match attributes.floats("intercepts").len() {
        0 if labels.len() == 2 && attributes.int("multi_class").unwrap_or(0) == 0 => 1,
        0 => labels.len(),
        given => given,
    };
    let second_class = scores == 1 && labels.len() == 2;
    if scores != labels.len() && !second_class {
        return Err(bad(node, format!("there are {scores} scores for {} classes", labels.len())));
    }
    let kernel = Linear { second_class, ..linear(node, scores, "LinearClassifier")? };
    Ok(RowExpansion { labels: Some(labels), ..RowExpansion::scores(kernel) })
}

pub(crate) fn regressor(node: &NodeProto) -> Result<RowExpansion, ModelError> {
    let targets = ensemble::index(node, Attributes(node).int("targets").unwrap_or(1))? as usize;
    Ok(RowExpansion::scores(linear(node, targets, "LinearRegressor")?))
}
