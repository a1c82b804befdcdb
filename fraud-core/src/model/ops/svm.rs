//! SVMClassifier, with probabilities or raw scores, and SVMRegressor.

use tract_onnx::pb::NodeProto;

use super::kernel::{RowExpansion, RowKernel};
use crate::error::ModelError;
use crate::model::calibration::logistic;
use crate::model::onnx::attributes::{Attributes, bad};
use crate::model::onnx::ensemble;

/// The similarity of two vectors.
#[derive(Debug, Clone, Copy)]
enum Similarity {
    Linear,
    Poly { gamma: f64, coef0: f64, degree: f64 },
    Rbf { gamma: f64 },
    Sigmoid { gamma: f64, coef0: f64 },
}

impl Similarity {
    fn of(self, a: &[f32], b: &[f32]) -> f64 {
        let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let dot = || pairs().map(|(a, b)| a * b).sum::<f64>();
        match self {
            Self::Linear => dot(),
            Self::Poly { gamma, coef0, degree } => (gamma * dot() + coef0).powf(degree),
            Self::Rbf { gamma } => (-gamma * pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>()).exp(),
            Self::Sigmoid { gamma, coef0 } => (gamma * dot() + coef0).tanh(),
        }
    }
}

fn similarity(node: &NodeProto) -> Result<Similarity, ModelError> {
    let attributes = Attributes(node);
    let parameter = |at: usize| attributes.floats("kernel_params").get(at).map_or(0.0, |value| f64::from(*value));
    let (gamma, coef0, degree) = (parameter(0), parameter(1), parameter(2));
    Ok(match attributes.text("kernel_type")?.unwrap_or("LINEAR") {
        "LINEAR" => Similarity::Linear,
        "POLY" => Similarity::Poly { gamma, coef0, degree },
        "RBF" => Similarity::Rbf { gamma },
        "SIGMOID" => Similarity::Sigmoid { gamma, coef0 },
        other => return Err(bad(node, format!("the kernel_type `{other}` does not exist"))),
    })
}

/// The support vectors, one after another, and their width.
fn vectors(node: &NodeProto, count: usize) -> Result<(Vec<f32>, usize), ModelError> {
    let vectors = Attributes(node).floats("support_vectors").to_vec();
    if count == 0 || vectors.is_empty() || !vectors.len().is_multiple_of(count) {
        return Err(bad(node, format!("its support vectors cannot be {count}: export one with support vectors")));
    }
    let width = vectors.len() / count;
    Ok((vectors, width))
}

#[derive(Debug)]
struct Classifier {
    similarity: Similarity,
    vectors: Vec<f32>,
    width: usize,
    /// For each class the range of its vectors.
    classes: Vec<std::ops::Range<usize>>,
    /// One run per class but the last.
    coefficients: Vec<f32>,
    /// The offset of each pair of classes.
    offsets: Vec<f64>,
    /// The two parameters of each pair's probability; none where the answers are the raw scores.
    probabilities: Vec<(f64, f64)>,
}

impl Classifier {
    /// The score of each pair of classes, in the order (0, 1), (0, 2), …: positive for the first of the two.
    fn scores(&self, row: &[f32]) -> Vec<f64> {
        let count = self.classes.len();
        let total = self.vectors.len() / self.width;
        let near: Vec<f64> =
            self.vectors.chunks_exact(self.width).map(|vector| self.similarity.of(row, vector)).collect();
        let part = |class: usize, run: usize| {
            let range = self.classes[class].clone();
            range.map(|at| f64::from(self.coefficients[run * total + at]) * near[at]).sum::<f64>()
        };
        pairs(count).zip(&self.offsets).map(|((i, j), rho)| part(i, j - 1) + part(j, i) + rho).collect()
    }
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |i| (i + 1..count).map(move |j| (i, j)))
}

impl RowKernel for Classifier {
    fn name(&self) -> &'static str {
        "SVMClassifier"
    }

    fn width(&self, inputs: usize) -> Result<usize, String> {
        let raw = self.probabilities.is_empty() && self.classes.len() > 2;
        fitting(self.width, inputs).map(|()| if raw { self.offsets.len() } else { self.classes.len() })
    }

    #[allow(clippy::cast_possible_truncation)] // Sums in f64, answers in f32.
    fn rows(&self, x: &[f32], width: usize, out: &mut [f32]) {
        let count = self.classes.len();
        let columns = self.width(width).unwrap_or(count);
        for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(columns)) {
            let scores = self.scores(row);
            if self.probabilities.is_empty() {
                match scores.as_slice() {
                    // Two columns of one score, as ONNX Runtime gives them.
                    [score] => out.copy_from_slice(&[-*score as f32, *score as f32]),
                    scores => out.iter_mut().zip(scores).for_each(|(out, score)| *out = *score as f32),
                }
                continue;
            }
            let mut pairwise = vec![vec![0.0; count]; count];
            for (((i, j), score), (a, b)) in pairs(count).zip(scores).zip(&self.probabilities) {
                let p = (1.0 - logistic(score * a + b)).clamp(1e-7, 1.0 - 1e-7);
                pairwise[i][j] = p;
                pairwise[j][i] = 1.0 - p;
            }
            for (out, p) in out.iter_mut().zip(coupled(&pairwise)) {
                *out = p as f32;
            }
        }
    }

    /// The class that wins the most pairs, whatever the probabilities say.
    fn classes(&self, x: &[f32], width: usize, scores: &[f32]) -> Vec<usize> {
        let _ = scores;
        let count = self.classes.len();
        let won = |row: &[f32]| {
            let mut votes = vec![0_usize; count];
            for ((i, j), score) in pairs(count).zip(self.scores(row)) {
                votes[if score > 0.0 { i } else { j }] += 1;
            }
            (1..count).fold(0, |best, class| if votes[class] > votes[best] { class } else { best })
        };
        x.chunks_exact(width).map(won).collect()
    }
}

/// One probability per class from those of pairs: libsvm's iteration, and its place to stop.
fn coupled(pairwise: &[Vec<f64>]) -> Vec<f64> {
    let count = pairwise.len();
    let mut q = vec![vec![0.0; count]; count];
    for t in 0..count {
        for j in (0..count).filter(|j| *j != t) {
            q[t][t] += pairwise[j][t] * pairwise[j][t];
            q[t][j] = -pairwise[j][t] * pairwise[t][j];
        }
    }
    let mut p = vec![1.0 / count as f64; count];
    for _ in 0..100.max(count) {
        let mut qp: Vec<f64> = q.iter().map(|row| row.iter().zip(&p).map(|(q, p)| q * p).sum()).collect();
        let mut pqp: f64 = p.iter().zip(&qp).map(|(p, qp)| p * qp).sum();
        let worst = qp.iter().map(|qp| (qp - pqp).abs()).fold(0.0, f64::max);
        if worst < 0.005 / count as f64 {
            break;
        }
        for t in 0..count {
            let change = (pqp - qp[t]) / q[t][t];
            p[t] += change;
            pqp = (pqp + change * (change * q[t][t] + 2.0 * qp[t])) / (1.0 + change) / (1.0 + change);
            for j in 0..count {
                qp[j] = (qp[j] + change * q[t][j]) / (1.0 + change);
                p[j] /= 1.0 + change;
            }
        }
    }
    p
}

fn fitting(width: usize, inputs: usize) -> Result<(), String> {
    if width == inputs { Ok(()) } else { Err(format!("its vectors are {width} wide, rows have {inputs}")) }
}

pub(crate) fn classifier(node: &NodeProto) -> Result<RowExpansion, ModelError> {
    let attributes = Attributes(node);
    let labels = ensemble::class_labels(node)?.ok_or_else(|| bad(node, "it has no class labels"))?;
    let count = labels.len();
    let mut start = 0_usize;
    let mut classes = Vec::new();
    for size in attributes.ints("vectors_per_class") {
        let end = start.saturating_add(ensemble::index(node, *size)? as usize);
        classes.push(start..end);
        start = end;
    }
    let (vectors, width) = vectors(node, start)?;
    let [rho, a, b] = ["rho", "prob_a", "prob_b"].map(|name| attributes.floats(name));
    let raw = a.is_empty() && b.is_empty();
    let post = attributes.text("post_transform")?.unwrap_or("NONE");
    if raw && post != "NONE" {
        return Err(bad(
            node,
            format!("raw scores with the post_transform `{post}` are not supported: export it with NONE"),
        ));
    }
    let coefficients = attributes.floats("coefficients").to_vec();
    let pairs = count * count.saturating_sub(1) / 2;
    let lengths_fit = (2..=64).contains(&count)
        && classes.len() == count
        && rho.len() == pairs
        && (raw || [a.len(), b.len()] == [pairs; 2])
        && coefficients.len() == (count - 1) * start;
    if !lengths_fit {
        return Err(bad(node, "its lists do not fit its classes"));
    }
    let wide = |value: &f32| f64::from(*value);
    let probabilities = a.iter().zip(b).map(|(a, b)| (wide(a), wide(b))).collect();
    let offsets = rho.iter().map(wide).collect();
    let similarity = similarity(node)?;
    let kernel = Classifier { similarity, vectors, width, classes, coefficients, offsets, probabilities };
    Ok(RowExpansion { labels: Some(labels), ..RowExpansion::scores(kernel) })
}

#[derive(Debug)]
struct Regressor {
    similarity: Similarity,
    vectors: Vec<f32>,
    width: usize,
    coefficients: Vec<f32>,
    rho: f64,
    /// The answer is only the sign.
    one_class: bool,
}

impl RowKernel for Regressor {
    fn name(&self) -> &'static str {
        "SVMRegressor"
    }

    fn width(&self, inputs: usize) -> Result<usize, String> {
        fitting(self.width, inputs).map(|()| 1)
    }

    fn rows(&self, x: &[f32], width: usize, out: &mut [f32]) {
        for (row, out) in x.chunks_exact(width).zip(out) {
            let terms = self.vectors.chunks_exact(width).zip(&self.coefficients);
            let sum = terms.map(|(vector, weight)| f64::from(*weight) * self.similarity.of(row, vector)).sum::<f64>();
            #[allow(clippy::cast_possible_truncation)]
            let value = (sum + self.rho) as f32;
            *out = if !self.one_class {
                value
            } else if value > 0.0 {
                1.0
            } else {
                -1.0
            };
        }
    }
}

pub(crate) fn regressor(node: &NodeProto) -> Result<RowExpansion, ModelError> {
    let attributes = Attributes(node);
    let coefficients = attributes.floats("coefficients").to_vec();
    let count = ensemble::index(node, attributes.int("n_supports").unwrap_or(0))? as usize;
    let (vectors, width) = vectors(node, count)?;
    if coefficients.len() != count {
        return Err(bad(node, format!("there are {} coefficients for {count} vectors", coefficients.len())));
    }
    let rho = attributes.floats("rho").first().map_or(0.0, |rho| f64::from(*rho));
    let one_class = attributes.int("one_class") == Some(1);
    let kernel = Regressor { similarity: similarity(node)?, vectors, width, coefficients, rho, one_class };
    Ok(RowExpansion::scores(kernel))
}
