//! The distributions of the training data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const MAX_EDGES: usize = 255;

/// What the features and the score looked like in training: the file's `fraud.baseline`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// One distribution per feature, under its name; features may be missing.
    #[serde(default)]
    pub features: BTreeMap<String, Distribution>,
    /// That of the final probability.
    pub score: Option<Distribution>,
}

/// A histogram, and the median.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// The inner edges, strictly ascending, finite, at most 255.
    pub edges: Vec<f64>,
    /// How many training rows fell into each bin; one more than there are edges.
    pub counts: Vec<u64>,
    /// The training rows' median.
    pub median: Option<f64>,
}

impl Distribution {
    /// The index of a value's bin: the number of edges that are at most `value`. NaN goes to the last bin.
    #[must_use]
    pub fn bin(&self, value: f64) -> usize {
        if value.is_nan() { self.edges.len() } else { self.edges.partition_point(|edge| *edge <= value) }
    }

    fn check(&self) -> Result<(), String> {
        if self.edges.len() > MAX_EDGES || self.counts.len() != self.edges.len() + 1 {
            return Err(format!("there must be at most {MAX_EDGES} `edges`, and one more `counts`"));
        }
        if !self.edges.iter().all(|edge| edge.is_finite()) || !self.edges.is_sorted_by(|a, b| a < b) {
            return Err("`edges` must be finite and strictly ascending".to_owned());
        }
        if self.median.is_some_and(|median| !median.is_finite()) {
            return Err("`median` must be finite".to_owned());
        }
        Ok(())
    }
}

impl Baseline {
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, distribution) in &self.features {
            distribution.check().map_err(|problem| format!("`{name}`: {problem}"))?;
        }
        self.score.as_ref().map_or(Ok(()), |score| score.check().map_err(|problem| format!("`score`: {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_as_numpy_does() {
        let distribution = Distribution { edges: vec![1.0, 2.0], counts: vec![1, 2, 3], median: None };
        assert_eq!([0.5, 1.0, 1.5, 2.0, 9.0, f64::NAN].map(|value| distribution.bin(value)), [0, 1, 1, 2, 2, 2]);
        assert!(distribution.check().is_ok());
        assert!(Distribution { edges: vec![2.0, 2.0], ..distribution }.check().is_err());
    }
}
