//! From what the graph answers to a probability.

use serde::{Deserialize, Serialize};

/// A declared map from score to probability; the file's `fraud.calibration`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Calibration {
    /// 1 / (1 + e^−(a·s + b)).
    Logistic {
        /// Slope.
        a: f64,
        /// Intercept.
        b: f64,
    },
    /// (s − from) / (to − from), cut to [0, 1].
    Linear {
        /// The score of probability 0.
        from: f64,
        /// The score of probability 1; may be less than `from`.
        to: f64,
    },
    /// Linear between points, constant beyond the ends.
    Piecewise {
        /// Strictly ascending.
        scores: Vec<f64>,
        /// As many, in [0, 1], all rising or all falling (not strictly).
        probabilities: Vec<f64>,
    },
}

impl Calibration {
    /// Refuses numbers that make no map.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Logistic { a, b } if a.is_finite() && b.is_finite() && *a != 0.0 => Ok(()),
            Self::Logistic { .. } => Err("`a` and `b` must be finite, `a` not 0".to_owned()),
            Self::Linear { from, to } if from.is_finite() && to.is_finite() && from != to => Ok(()),
            Self::Linear { .. } => Err("`from` and `to` must be finite and different".to_owned()),
            Self::Piecewise { scores, probabilities } => piecewise(scores, probabilities),
        }
    }

    /// The probability of a score; NaN for NaN.
    #[must_use]
    pub fn probability(&self, score: f64) -> f64 {
        match self {
            Self::Logistic { a, b } => logistic(a * score + b),
            Self::Linear { from, to } => ((score - from) / (to - from)).clamp(0.0, 1.0),
            Self::Piecewise { scores, probabilities } => {
                if score.is_nan() {
                    return score;
                }
                let right = scores.partition_point(|point| *point <= score);
                match (right.checked_sub(1), scores.get(right)) {
                    (None, _) => probabilities[0],
                    (Some(left), None) => probabilities[left],
                    (Some(left), Some(end)) => {
                        let share = (score - scores[left]) / (end - scores[left]);
                        probabilities[left] + share * (probabilities[right] - probabilities[left])
                    }
                }
            }
        }
    }
}

fn piecewise(scores: &[f64], probabilities: &[f64]) -> Result<(), String> {
    if scores.len() < 2 || scores.len() != probabilities.len() {
        return Err("`scores` and `probabilities` must be equally many, two or more".to_owned());
    }
    if !scores.iter().all(|score| score.is_finite()) || !scores.is_sorted_by(|a, b| a < b) {
        return Err("`scores` must be finite and strictly ascending".to_owned());
    }
    if !probabilities.iter().all(|p| (0.0..=1.0).contains(p)) {
        return Err("`probabilities` must be in [0, 1]".to_owned());
    }
    if probabilities.is_sorted() || probabilities.is_sorted_by(|a, b| a >= b) {
        Ok(())
    } else {
        Err("`probabilities` must all rise or all fall".to_owned())
    }
}

/// 1 / (1 + e^−x) without overflow.
pub(super) fn logistic(x: f64) -> f64 {
    let decay = (-x.abs()).exp();
    if x < 0.0 { decay / (1.0 + decay) } else { 1.0 / (1.0 + decay) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_scores() {
        let map = Calibration::Linear { from: 0.2, to: -0.2 };
        assert_eq!([map.probability(0.2), map.probability(0.0), map.probability(-9.0)], [0.0, 0.5, 1.0]);
        let map = Calibration::Piecewise { scores: vec![0.0, 1.0, 3.0], probabilities: vec![0.1, 0.2, 0.8] };
        assert!(map.check().is_ok());
        let answers = [-1.0, 0.5, 2.0, 3.0, 9.0].map(|score| map.probability(score));
        assert!(answers.iter().zip([0.1, 0.15, 0.5, 0.8, 0.8]).all(|(a, b)| (a - b).abs() < 1e-12), "{answers:?}");
        assert!((Calibration::Logistic { a: 2.0, b: -2.0 }.probability(1.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn refuses_what_is_no_map() {
        let piecewise = |scores: &[f64], probabilities: &[f64]| {
            Calibration::Piecewise { scores: scores.into(), probabilities: probabilities.into() }.check()
        };
        assert!(piecewise(&[0.0, 0.0], &[0.1, 0.2]).is_err());
        assert!(piecewise(&[0.0, 1.0, 2.0], &[0.1, 0.2, 0.1]).is_err());
        assert!(piecewise(&[0.0, 1.0], &[0.1, 1.2]).is_err());
        assert!(Calibration::Linear { from: 1.0, to: 1.0 }.check().is_err());
        assert!(Calibration::Logistic { a: f64::NAN, b: 1.0 }.check().is_err());
    }
}
