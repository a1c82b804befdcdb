//! Which features a probability hangs on: each in turn is replaced by its training median.

use std::sync::Arc;

use super::cast;
use crate::assessment::Reason;
use crate::model::Model;

/// How many features an answer names.
const NAMED: usize = 3;

/// What explaining takes, fixed with the scorer.
#[derive(Debug)]
pub(super) struct Explainer {
    /// The model's features, then the rules'.
    pub(super) names: Box<[Arc<str>]>,
    /// The training medians of the model's features; without them features are no reasons.
    pub(super) medians: Option<Vec<f64>>,
}

impl Explainer {
    /// Adds the features whose median lowers the probability `p` of `row` most, the strongest first. Where the
    /// model fails on a replaced row there is none.
    pub(super) fn strongest(&self, model: &Model, (row, p): (&[f64], f32), reasons: &mut Vec<Reason>) {
        let Some(medians) = &self.medians else { return };
        let width = model.features().len();
        let inputs: Vec<f32> = cast(&row[..width]).collect();
        let mut replaced = inputs.repeat(width);
        for (feature, median) in cast(medians).enumerate() {
            replaced[feature * width + feature] = median;
        }
        let mut probabilities = vec![p; width];
        if model.predict_batch(&replaced, &mut probabilities).is_err() {
            return;
        }
        let mut changes: Vec<(usize, f32)> = probabilities.iter().map(|replaced| replaced - p).enumerate().collect();
        changes.retain(|(_, change)| *change < 0.0);
        changes.sort_by(|(left, a), (right, b)| a.total_cmp(b).then(left.cmp(right)));
        reasons.extend(changes.into_iter().take(NAMED).map(|(feature, change)| Reason::Feature {
            feature: self.names[feature].clone(),
            value: row[feature],
            median: medians[feature],
            change,
        }));
    }
}
