//! The answer: one type, which every edge serialises.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::transaction::Id;

mod json;

/// What to do with the payment, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Let it pass.
    Approve,
    /// Have someone look at it.
    Review,
    /// Refuse it.
    Decline,
}

/// How likely fraud is, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    /// Probability below 0.3.
    Low,
    /// Probability from 0.3.
    Medium,
    /// Probability from 0.7.
    High,
}

impl RiskLevel {
    /// The level of a probability.
    #[must_use]
    pub fn of(probability: f32) -> Self {
        match probability {
            p if p >= 0.7 => Self::High,
            p if p >= 0.3 => Self::Medium,
            _ => Self::Low,
        }
    }
}

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionSource {
    /// The model's probability against the thresholds.
    Model,
    /// A rule of the policy.
    Rules,
}

/// What the probability came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelType {
    /// An ONNX model.
    Onnx,
    /// No model could answer; the policy's rules did.
    Rules,
}

/// Why the decision is what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reason {
    /// A feature without whose value the probability would be lower.
    Feature {
        /// Its name.
        feature: Arc<str>,
        /// Its value for this transaction.
        value: f64,
        /// Its median over the model's training data.
        median: f64,
        /// What the probability would change by, were the value the median: below 0.
        change: f32,
    },
    /// The rule that fired.
    Rule {
        /// Its name.
        rule: Arc<str>,
    },
}

/// The assessment of one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// The transaction's id.
    pub transaction_id: Id,
    /// Probability of fraud, 0 to 1; none when no model could answer.
    pub fraud_probability: Option<f32>,
    /// The probability in words; without a probability, as severe as the decision.
    pub risk_level: RiskLevel,
    /// What to do.
    pub decision: Decision,
    /// Who decided.
    pub decision_source: DecisionSource,
    /// Up to three features, the strongest first, then the rule that fired; for review and decline, and on
    /// request.
    pub reasons: Vec<Reason>,
    /// The transaction was seen before and not recorded again.
    pub duplicate: bool,
    /// The transaction came too late to be recorded.
    pub late: bool,
    /// The store had seen all the time that the features look back.
    pub history_complete: bool,
    /// A window was known by the minute only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// The model that answered; `none` when no model could.
    pub model_version: Arc<str>,
    /// What kind of model answered.
    pub model_type: ModelType,
    /// The policy that decided.
    pub policy_version: Arc<str>,
    /// max(p, 1 − p); none without a probability.
    pub confidence_score: Option<f32>,
}
