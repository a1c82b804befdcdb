//! What one thread records assessments with.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::BoundCounter;

use super::{ErrorType, Failure, Metrics};
use crate::assessment::Assessment;
use crate::error::{ParseError, StoreError};

/// From here on a probability counts as fraud in `prediction_result`.
const FRAUD_FROM: f32 = 0.5;

/// Records assessments, with the instruments of the model in service at hand. One per thread.
#[derive(Debug)]
pub struct Recorder {
    metrics: Arc<Metrics>,
    version: Arc<str>,
    /// Predictions of that version: legitimate, fraud.
    predictions: Option<[BoundCounter<u64>; 2]>,
}

impl Recorder {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, version: "".into(), predictions: None }
    }

    /// Counts one assessment and the time it took.
    pub fn assessed(&mut self, assessment: &Assessment, took: Duration) {
        let metrics = &self.metrics;
        metrics.duration.record(took.as_secs_f64());
        metrics.decision(assessment.decision, assessment.decision_source).add(1);
        if assessment.duplicate {
            metrics.duplicates.add(1);
        }
        if assessment.late {
            metrics.late.add(1);
        }
        let (Some(p), Some(confidence)) = (assessment.fraud_probability, assessment.confidence_score) else { return };
        metrics.probability.record(p.into());
        metrics.confidence.record(confidence.into());
        // The version's text is shared by all answers of one scorer, so its address tells scorers apart.
        if !Arc::ptr_eq(&self.version, &assessment.model_version) {
            self.version = assessment.model_version.clone();
            self.predictions = None;
        }
        let version = &self.version;
        let bound = self.predictions.get_or_insert_with(|| {
            ["legitimate", "fraud"].map(|result| {
                metrics.predictions.bind(&[
                    KeyValue::new("model_version", version.clone()),
                    KeyValue::new("prediction_result", result),
                ])
            })
        });
        bound[usize::from(p >= FRAUD_FROM)].add(1);
    }

    /// Counts a transaction that could not be read.
    pub fn unreadable(&self, error: &ParseError) {
        self.metrics.failed(match error {
            ParseError::NotJson { .. } => Failure::NotJson,
            ParseError::Invalid(_) => Failure::Invalid,
        });
    }

    /// Counts a transaction that the store did not take.
    pub fn not_stored(&self, error: &StoreError) {
        if let StoreError::Conflict = error {
            return self.metrics.failed(Failure::Conflict);
        }
        self.metrics.failed(Failure::Store);
        self.metrics.error(ErrorType::Store);
    }

    /// Counts a transaction that the model could not assess.
    pub fn model_failed(&self) {
        self.metrics.failed(Failure::Model);
        self.metrics.error(ErrorType::Prediction);
    }

    /// The metrics recorded into.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}
