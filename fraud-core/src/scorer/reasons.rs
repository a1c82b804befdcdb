//! Which features a probability hangs on: each in turn is replaced by its training median.

use std::sync::Arc;

use super::cast;
use crate::assessment::Reason;
use crate::model::Model;

/// How many features an answer names.
const NAMED: usize = 3;

/// Adds the features whose median lowers the probability `p` of `row` most, the strongest first. A model
/// without medians, or one that fails on a replaced row, has no such reasons.
pub(super) fn strongest(model: &Model, names: &[Arc<str>], (row, p): (&[f64], f32), reasons: &mut Vec<Reason>) {
    let width = model.features().len();
    let Some(medians) = model.metadata().medians(model.features()) else { return };
    let inputs: Vec<f32> = cast(&row[..width]).collect();
    let mut replaced: Vec<f32> = inputs.repeat(width);
    for (feature, median) in cast(&medians).enumerate().take(width) {
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
        feature: names[feature].clone(),
        value: row[feature],
        median: medians[feature],
        change,
    }));
}
