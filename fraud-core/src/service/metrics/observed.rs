//! Figures that are asked for when the metrics are read.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use opentelemetry::KeyValue;

use super::{Metrics, process};
use crate::scorer::Scorer;

/// What the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Customers known.
    pub customers: u64,
    /// Terminals known.
    pub terminals: u64,
    /// Transactions kept.
    pub events: u64,
    /// Memory in use, in bytes.
    pub bytes: u64,
}

/// A model in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// The file's SHA-256 in hexadecimal.
    pub sha256: Arc<str>,
}

impl ModelInfo {
    /// The model of a scorer, if it has one.
    #[must_use]
    pub fn of(scorer: &Scorer) -> Option<Self> {
        let model = scorer.model()?;
        let version = scorer.model_version().clone();
        Some(Self { name: model.name().into(), version, sha256: model.sha256().into() })
    }
}

impl Metrics {
    pub(super) fn observe_process(&self) {
        let (active, http) = (self.active.clone(), self.http_in_progress.clone());
        self.meter
            .i64_observable_gauge("ml_model_active_requests")
            .with_description("Assessments under way.")
            .with_callback(move |observer| observer.observe(active.load(Ordering::Relaxed), &[]))
            .build();
        self.meter
            .i64_observable_gauge("http_requests_in_progress")
            .with_description("HTTP requests under way.")
            .with_callback(move |observer| observer.observe(http.load(Ordering::Relaxed), &[]))
            .build();
        self.meter
            .u64_observable_gauge("ml_model_memory_usage_bytes")
            .with_description("Memory of this process that is resident.")
            .with_callback(|observer| {
                if let Some(bytes) = process::resident_bytes() {
                    observer.observe(bytes, &[]);
                }
            })
            .build();
        let cpu = process::CpuMeter::default();
        self.meter
            .f64_observable_gauge("ml_model_cpu_usage_percent")
            .with_description("CPU use of this process since the metrics were last read; 100 is one core.")
            .with_callback(move |observer| {
                if let Some(percent) = cpu.percent() {
                    observer.observe(percent, &[]);
                }
            })
            .build();
    }

    /// Shows what the store holds whenever the metrics are read. Call once.
    pub fn observe_store(&self, figures: impl Fn() -> StoreFigures + Send + Sync + 'static) {
        let figures = Arc::new(figures);
        let of_keys = figures.clone();
        self.meter
            .u64_observable_gauge("fraud_store_keys")
            .with_description("Customers and terminals known to the store.")
            .with_callback(move |observer| {
                let StoreFigures { customers, terminals, .. } = of_keys();
                observer.observe(customers, &[KeyValue::new("key", "customer")]);
                observer.observe(terminals, &[KeyValue::new("key", "terminal")]);
            })
            .build();
        let of_events = figures.clone();
        self.meter
            .u64_observable_gauge("fraud_store_events")
            .with_description("Transactions that the store keeps.")
            .with_callback(move |observer| observer.observe(of_events().events, &[]))
            .build();
        self.meter
            .u64_observable_gauge("fraud_store_bytes")
            .with_description("Memory that the store uses.")
            .with_callback(move |observer| observer.observe(figures().bytes, &[]))
            .build();
    }

    /// Shows the model in service. Call once.
    pub fn observe_model(&self, info: impl Fn() -> Option<ModelInfo> + Send + Sync + 'static) {
        self.meter
            .u64_observable_gauge("fraud_model_info")
            .with_description("1 for the model in service.")
            .with_callback(move |observer| {
                if let Some(info) = info() {
                    observer.observe(1, &attributes(info));
                }
            })
            .build();
    }

    /// Shows the challenger beside the model in service. Call once.
    pub fn observe_challenger(&self, info: impl Fn() -> Option<ModelInfo> + Send + Sync + 'static) {
        self.meter
            .u64_observable_gauge("fraud_shadow_model_info")
            .with_description("1 for the challenger that scores beside the model in service.")
            .with_callback(move |observer| {
                if let Some(info) = info() {
                    observer.observe(1, &attributes(info));
                }
            })
            .build();
    }

    /// Shows drift: per feature, and of the score. Call once.
    pub fn observe_drift(
        &self,
        features: impl Fn() -> Vec<(Arc<str>, f64)> + Send + Sync + 'static,
        score: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        self.meter
            .f64_observable_gauge("fraud_feature_drift_psi")
            .with_description("Population stability index of a feature against the training data.")
            .with_callback(move |observer| {
                features().into_iter().for_each(|(name, psi)| observer.observe(psi, &[KeyValue::new("feature", name)]));
            })
            .build();
        self.meter
            .f64_observable_gauge("fraud_score_drift_psi")
            .with_description("Population stability index of the score against the training data.")
            .with_callback(move |observer| {
                if let Some(psi) = score() {
                    observer.observe(psi, &[]);
                }
            })
            .build();
    }

    /// Shows quality over labelled traffic: (metric, label age, value). Call once.
    pub fn observe_quality(
        &self,
        figures: impl Fn() -> Vec<(&'static str, &'static str, f64)> + Send + Sync + 'static,
    ) {
        self.meter
            .f64_observable_gauge("fraud_model_quality")
            .with_description("Quality over traffic whose labels have come, by metric and age of the label.")
            .with_callback(move |observer| {
                for (metric, age, value) in figures() {
                    let attributes = [KeyValue::new("metric", metric), KeyValue::new("label_age", age)];
                    observer.observe(value, &attributes);
                }
            })
            .build();
    }
}

fn attributes(ModelInfo { name, version, sha256 }: ModelInfo) -> [KeyValue; 3] {
    [KeyValue::new("name", name), KeyValue::new("version", version), KeyValue::new("sha256", sha256)]
}
