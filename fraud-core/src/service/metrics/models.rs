//! Metrics of models coming, going, and compared.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, Counter, Meter};

use crate::assessment::Decision;
use crate::service::source::SourceError;

const DIFFERENCE_BUCKETS: [f64; 11] = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9];
const DECISIONS: [&str; 3] = ["approve", "review", "decline"];

/// What a look at the registry found: the values of `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Look {
    /// What serves is what is meant.
    Unchanged,
    /// Another version, which was taken.
    Taken,
    /// Another version, which was not taken.
    Refused,
    /// No usable answer.
    Failed,
}

impl Look {
    const ALL: [Self; 4] = [Self::Unchanged, Self::Taken, Self::Refused, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Why a service went back to the model before: the values of `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RollbackReason {
    /// Its scores lay elsewhere.
    ScoreShift,
    /// It declined far more, or far less.
    DeclineRate,
    /// It took far longer.
    Latency,
    /// It failed.
    Errors,
    /// Another replica went back from it and marked it.
    Marked,
    /// An operator asked for it.
    Operator,
}

impl RollbackReason {
    const ALL: [Self; 6] =
        [Self::ScoreShift, Self::DeclineRate, Self::Latency, Self::Errors, Self::Marked, Self::Operator];

    /// As metrics and marks say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScoreShift => "score_shift",
            Self::DeclineRate => "decline_rate",
            Self::Latency => "latency",
            Self::Errors => "errors",
            Self::Marked => "marked",
            Self::Operator => "operator",
        }
    }
}

/// The instruments.
pub(super) struct Models {
    looks: Counter<u64>,
    refusals: Counter<u64>,
    rollbacks: Counter<u64>,
    scored: BoundCounter<u64>,
    dropped: BoundCounter<u64>,
    failed: BoundCounter<u64>,
    difference: BoundHistogram<f64>,
    /// By what the served model decided, then by what the challenger would have.
    flips: [[BoundCounter<u64>; 3]; 3],
}

impl Models {
    pub(super) fn new(meter: &Meter) -> Self {
        let counter = |name: &'static str, help: &'static str| meter.u64_counter(name).with_description(help).build();
        let flips = counter(
            "fraud_shadow_decision_flips",
            "Transactions that the challenger would have decided otherwise, by both decisions.",
        );
        let difference = meter
            .f64_histogram("fraud_shadow_score_difference")
            .with_description("Distance of the challenger's probability from the served model's.")
            .with_boundaries(DIFFERENCE_BUCKETS.to_vec())
            .build();
        let models = Self {
            looks: counter("fraud_model_registry_looks", "Looks at the model registry, by what they found."),
            refusals: counter("fraud_model_reload_failures", "Models that were not taken, by reason."),
            rollbacks: counter("fraud_model_rollbacks", "Returns to the model before, by reason."),
            scored: counter("fraud_shadow_scored", "Transactions that the challenger scored.").bind(&[]),
            dropped: counter("fraud_shadow_dropped", "Transactions that found the challenger's queue full.").bind(&[]),
            failed: counter("fraud_shadow_failed", "Transactions that the challenger failed on.").bind(&[]),
            difference: difference.bind(&[]),
            flips: DECISIONS
                .map(|from| DECISIONS.map(|to| flips.bind(&[KeyValue::new("from", from), KeyValue::new("to", to)]))),
        };
        models.start_at_zero();
        models
    }

    fn start_at_zero(&self) {
        Look::ALL.into_iter().for_each(|look| self.looks.add(0, &[KeyValue::new("result", look.as_str())]));
        for reason in SourceError::REASONS.into_iter().chain(["policy", "history"]) {
            self.refusals.add(0, &[KeyValue::new("reason", reason)]);
        }
        for reason in RollbackReason::ALL {
            self.rollbacks.add(0, &[KeyValue::new("reason", reason.as_str())]);
        }
        [&self.scored, &self.dropped, &self.failed].into_iter().for_each(|bound| bound.add(0));
        for (from, row) in self.flips.iter().enumerate() {
            row.iter().enumerate().filter(|(to, _)| *to != from).for_each(|(_, bound)| bound.add(0));
        }
    }
}

impl super::Metrics {
    /// Counts a look at the registry.
    pub fn looked_at_registry(&self, look: Look) {
        self.models.looks.add(1, &[KeyValue::new("result", look.as_str())]);
    }

    /// Counts a model that was not taken. `reason` is one of a bounded set of words.
    pub fn model_refused(&self, reason: &'static str) {
        self.models.refusals.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// Counts a return to the model before.
    pub fn rolled_back(&self, reason: RollbackReason) {
        self.models.rollbacks.add(1, &[KeyValue::new("reason", reason.as_str())]);
    }

    /// Counts a transaction that found the challenger's queue full.
    pub fn shadow_dropped(&self) {
        self.models.dropped.add(1);
    }

    /// Counts a transaction that the challenger failed on.
    pub fn shadow_failed(&self) {
        self.models.failed.add(1);
    }

    /// Counts a transaction that the challenger scored: how far its probability was from the served one, and both
    /// decisions.
    pub fn shadow_scored(&self, difference: f64, from: Decision, to: Decision) {
        let models = &self.models;
        models.scored.add(1);
        models.difference.record(difference);
        if from != to {
            models.flips[place(from)][place(to)].add(1);
        }
    }
}

/// Where a decision stands in the order of severity.
pub(crate) fn place(decision: Decision) -> usize {
    match decision {
        Decision::Approve => 0,
        Decision::Review => 1,
        Decision::Decline => 2,
    }
}
