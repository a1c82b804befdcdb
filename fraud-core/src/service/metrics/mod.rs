//! Every metric of the services, declared in one place.
//!
//! Counters and histograms are OpenTelemetry instruments, exported into one [`prometheus::Registry`] that
//! an edge may add its own to. No label holds an id of a transaction, customer or terminal; every label's
//! values are bounded.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, Counter, Gauge, Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};

mod observed;
mod process;
mod recorder;

pub use observed::{ModelInfo, StoreFigures};
pub use recorder::Recorder;

use crate::assessment::{Decision, DecisionSource};

/// Upper bounds of latency buckets, in seconds. The first is 50 µs.
pub const LATENCY_BUCKETS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0,
];
const SHARE_BUCKETS: [f64; 13] = [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];

/// The metrics could not be set up: a name is taken twice, or none of the registry's.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be set up: {problem}")]
pub struct MetricsError {
    /// What the metrics library said.
    pub problem: String,
}

/// Why a transaction got no assessment: the values of `failure_reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Its bytes are not JSON.
    NotJson,
    /// It breaks a rule.
    Invalid,
    /// It is too large.
    TooLarge,
    /// Its id was used for another payment.
    Conflict,
    /// The store takes no new keys, or cannot be reached.
    Store,
    /// The model could not answer.
    Model,
    /// Its time was up.
    Deadline,
}

impl Failure {
    const ALL: [Self; 7] =
        [Self::NotJson, Self::Invalid, Self::TooLarge, Self::Conflict, Self::Store, Self::Model, Self::Deadline];

    fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::Conflict => "conflict",
            Self::Store => "store",
            Self::Model => "model",
            Self::Deadline => "deadline",
        }
    }
}

/// What went wrong on our side: the values of `error_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// The model failed on a row.
    Prediction,
    /// A new model or policy was refused.
    ReloadRefused,
    /// The store could not answer.
    Store,
    /// A snapshot could not be written.
    Snapshot,
}

impl ErrorType {
    const ALL: [Self; 4] = [Self::Prediction, Self::ReloadRefused, Self::Store, Self::Snapshot];

    fn as_str(self) -> &'static str {
        match self {
            Self::Prediction => "prediction",
            Self::ReloadRefused => "reload_refused",
            Self::Store => "store",
            Self::Snapshot => "snapshot",
        }
    }
}

/// Why a request was turned away at once: the values of `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shed {
    /// More work waits than can be done in time.
    Overload,
    /// Too many requests are in flight.
    InFlight,
    /// The caller's own rate limit.
    RateLimit,
    /// The service is not ready.
    NotReady,
}

impl Shed {
    const ALL: [Self; 4] = [Self::Overload, Self::InFlight, Self::RateLimit, Self::NotReady];

    fn as_str(self) -> &'static str {
        match self {
            Self::Overload => "overload",
            Self::InFlight => "in_flight",
            Self::RateLimit => "rate_limit",
            Self::NotReady => "not_ready",
        }
    }
}

/// All metrics. Cheap to share; every edge records through it.
pub struct Metrics {
    registry: Registry,
    /// Keeps the instruments' pipeline alive.
    _provider: SdkMeterProvider,
    meter: Meter,
    predictions: Counter<u64>,
    duration: BoundHistogram<f64>,
    probability: BoundHistogram<f64>,
    confidence: BoundHistogram<f64>,
    decisions: [[BoundCounter<u64>; 2]; 3],
    errors: Counter<u64>,
    failed: Counter<u64>,
    shed: [BoundCounter<u64>; 4],
    labels: [BoundCounter<u64>; 2],
    http_errors: Counter<u64>,
    /// By status from 400 on, each bound when it first occurs: refusing must stay cheap.
    http_errors_by_status: Box<[OnceLock<BoundCounter<u64>>]>,
    ignored_fields: [BoundCounter<u64>; 2],
    late: BoundCounter<u64>,
    duplicates: BoundCounter<u64>,
    consumed: Counter<u64>,
    produced: Counter<u64>,
    queue_length: Gauge<i64>,
    consumer_lag: Gauge<i64>,
    active: Arc<AtomicI64>,
    http_in_progress: Arc<AtomicI64>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Declares all metrics in a registry of their own.
    ///
    /// # Errors
    /// [`MetricsError`], which only a mistake in this module can cause.
    pub fn new() -> Result<Arc<Self>, MetricsError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| MetricsError { problem: error.to_string() })?;
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        let meter = provider.meter("fraud");
        let counter = |name: &'static str, help: &'static str| meter.u64_counter(name).with_description(help).build();
        let histogram = |name: &'static str, help: &'static str, bounds: &[f64]| {
            let built = meter.f64_histogram(name).with_description(help).with_boundaries(bounds.to_vec()).build();
            built.bind(&[])
        };
        let gauge = |name: &'static str, help: &'static str| meter.i64_gauge(name).with_description(help).build();
        let decisions = counter("fraud_decisions", "Decisions by what they are and who took them.");
        let decision_of = |decision: &'static str| {
            ["model", "rules"].map(|source| {
                decisions.bind(&[KeyValue::new("decision", decision), KeyValue::new("decision_source", source)])
            })
        };
        let labels = counter("fraud_labels", "Labels recorded, by what they say.");
        let ignored = counter("fraud_ignored_fields", "Fields of transactions that were read over.");
        let shed = counter("fraud_requests_shed", "Requests turned away at once, by reason.");
        let seen = counter("fraud_repeated_or_late", "Transactions that were assessed but not recorded.");
        let metrics = Self {
            predictions: counter("ml_model_predictions", "Predictions by model version and result (fraud from 0.5)."),
            duration: histogram(
                "ml_model_prediction_duration_seconds",
                "Time from the parsed transaction to its assessment.",
                &LATENCY_BUCKETS,
            ),
            probability: histogram("ml_model_fraud_probability", "Fraud probabilities given.", &SHARE_BUCKETS),
            confidence: histogram(
                "ml_model_confidence_score",
                "The greater of the probability of fraud and its complement.",
                &SHARE_BUCKETS,
            ),
            decisions: ["approve", "review", "decline"].map(decision_of),
            errors: counter("ml_model_errors", "Faults on our side, by kind."),
            failed: counter("ml_model_failed_predictions", "Transactions without an assessment, by reason."),
            shed: Shed::ALL.map(|reason| shed.bind(&[KeyValue::new("reason", reason.as_str())])),
            labels: ["legitimate", "fraud"].map(|label| labels.bind(&[KeyValue::new("label", label)])),
            http_errors: counter("http_errors", "Answers with a status from 400, by status."),
            http_errors_by_status: (400..600).map(|_| OnceLock::new()).collect(),
            ignored_fields: ["label", "unknown"].map(|kind| ignored.bind(&[KeyValue::new("kind", kind)])),
            late: seen.bind(&[KeyValue::new("kind", "late")]),
            duplicates: seen.bind(&[KeyValue::new("kind", "duplicate")]),
            consumed: counter("kafka_messages_consumed", "Messages read, by topic."),
            produced: counter("kafka_messages_produced", "Messages written and acknowledged, by topic."),
            queue_length: gauge("kafka_queue_length", "Messages waiting in this process, by topic."),
            consumer_lag: gauge("kafka_consumer_lag", "Messages not yet read, by topic and group."),
            active: Arc::default(),
            http_in_progress: Arc::default(),
            registry,
            _provider: provider,
            meter,
        };
        metrics.start_at_zero();
        metrics.observe_process();
        Ok(Arc::new(metrics))
    }

    /// A counter that was never touched is not exported, and an alert on its increase would miss the first.
    fn start_at_zero(&self) {
        ErrorType::ALL.into_iter().for_each(|kind| self.errors.add(0, &[KeyValue::new("error_type", kind.as_str())]));
        for reason in Failure::ALL {
            self.failed.add(0, &[KeyValue::new("failure_reason", reason.as_str())]);
        }
        self.decisions
            .iter()
            .flatten()
            .chain(&self.labels)
            .chain(&self.shed)
            .chain(&self.ignored_fields)
            .for_each(|bound| bound.add(0));
        self.late.add(0);
        self.duplicates.add(0);
    }

    /// What a thread records assessments with.
    #[must_use]
    pub fn recorder(self: &Arc<Self>) -> Recorder {
        Recorder::new(self.clone())
    }

    /// Counts a transaction without an assessment.
    pub fn failed(&self, reason: Failure) {
        self.failed.add(1, &[KeyValue::new("failure_reason", reason.as_str())]);
    }

    /// Counts a fault on our side.
    pub fn error(&self, kind: ErrorType) {
        self.errors.add(1, &[KeyValue::new("error_type", kind.as_str())]);
    }

    /// Counts a request turned away.
    pub fn shed(&self, reason: Shed) {
        self.shed[reason as usize].add(1);
    }

    /// Counts a recorded label.
    pub fn label(&self, fraud: bool) {
        self.labels[usize::from(fraud)].add(1);
    }

    /// Counts fields that were read over: those that carry a label, and those that are not defined.
    pub fn ignored_fields(&self, label: u32, unknown: u32) {
        for (bound, count) in self.ignored_fields.iter().zip([label, unknown]) {
            if count > 0 {
                bound.add(count.into());
            }
        }
    }

    /// Counts an answer whose status is an error. `status` is an HTTP status, so there are few of them.
    pub fn http_error(&self, status: u16) {
        let Some(bound) = self.http_errors_by_status.get(usize::from(status).wrapping_sub(400)) else { return };
        bound.get_or_init(|| self.http_errors.bind(&[KeyValue::new("status_code", status.to_string())])).add(1);
    }

    /// Counts messages read from a topic.
    pub fn consumed(&self, topic: &Arc<str>, count: u64) {
        self.consumed.add(count, &[KeyValue::new("topic", topic.clone())]);
    }

    /// Counts messages written to a topic.
    pub fn produced(&self, topic: &Arc<str>, count: u64) {
        self.produced.add(count, &[KeyValue::new("topic", topic.clone())]);
    }

    /// Sets how many messages of a topic wait in this process.
    pub fn queue_length(&self, topic: &Arc<str>, messages: i64) {
        self.queue_length.record(messages, &[KeyValue::new("topic", topic.clone())]);
    }

    /// Sets how many messages of a topic a group has not read yet.
    pub fn consumer_lag(&self, topic: &Arc<str>, group: &Arc<str>, messages: i64) {
        let attributes = [KeyValue::new("topic", topic.clone()), KeyValue::new("consumer_group", group.clone())];
        self.consumer_lag.record(messages, &attributes);
    }

    /// Counts one more assessment under way until the guard is dropped.
    #[must_use]
    pub fn active(&self) -> InProgress<'_> {
        InProgress::new(&self.active)
    }

    /// Counts one more HTTP request in progress until the guard is dropped.
    #[must_use]
    pub fn http_in_progress(&self) -> InProgress<'_> {
        InProgress::new(&self.http_in_progress)
    }

    /// HTTP requests in progress.
    #[must_use]
    pub fn http_requests_in_progress(&self) -> i64 {
        self.http_in_progress.load(Ordering::Relaxed)
    }

    /// The registry, for an edge's own metrics.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// [`MetricsError`] when a metric cannot be written as text.
    pub fn render(&self) -> Result<Vec<u8>, MetricsError> {
        let mut text = Vec::with_capacity(16 << 10);
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => Ok(text),
            Err(error) => Err(MetricsError { problem: error.to_string() }),
        }
    }

    fn decision(&self, decision: Decision, source: DecisionSource) -> &BoundCounter<u64> {
        let source = usize::from(source == DecisionSource::Rules);
        match decision {
            Decision::Approve => &self.decisions[0][source],
            Decision::Review => &self.decisions[1][source],
            Decision::Decline => &self.decisions[2][source],
        }
    }
}

/// One more of something, until dropped.
#[derive(Debug)]
pub struct InProgress<'a>(&'a AtomicI64);

impl<'a> InProgress<'a> {
    fn new(count: &'a AtomicI64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
