//! From the metrics' families to the figures that the console draws.

use prometheus::proto::{Metric, MetricFamily};
use serde_json::{Map, Value, json};

/// Running totals; the page takes differences.
pub(super) fn totals(families: &[MetricFamily]) -> Value {
    let of =
        |name: &str| families.iter().find(|family| family.name() == name).map_or(&[][..], MetricFamily::get_metric);
    json!({
        "decisions": by_label(of("fraud_decisions_total"), "decision", counter),
        "shed": by_label(of("fraud_requests_shed_total"), "reason", counter),
        "statuses": by_label(of("http_requests_total"), "status_code", counter),
        "errors": by_label(of("ml_model_errors_total"), "error_type", counter),
        "failed": by_label(of("ml_model_failed_predictions_total"), "failure_reason", counter),
        "labels": by_label(of("fraud_labels_total"), "label", counter),
        "latency": histogram(of("http_request_duration_seconds"), |metric| label(metric, "endpoint") == "/predict"),
        "score": histogram(of("ml_model_fraud_probability"), |_| true),
        "in_progress": sum(of("http_requests_in_progress"), gauge),
        "memory_bytes": sum(of("ml_model_memory_usage_bytes"), gauge),
        "cpu_percent": sum(of("ml_model_cpu_usage_percent"), gauge),
        "store": {
            "keys": by_label(of("fraud_store_keys"), "key", gauge),
            "events": sum(of("fraud_store_events"), gauge),
            "bytes": sum(of("fraud_store_bytes"), gauge),
        },
    })
}

fn counter(metric: &Metric) -> f64 {
    metric.get_counter().get_value()
}

fn gauge(metric: &Metric) -> f64 {
    metric.get_gauge().get_value()
}

fn sum(metrics: &[Metric], value: fn(&Metric) -> f64) -> f64 {
    metrics.iter().map(value).sum()
}

fn label<'a>(metric: &'a Metric, name: &str) -> &'a str {
    metric.get_label().iter().find(|pair| pair.name() == name).map_or("", |pair| pair.value())
}

fn by_label(metrics: &[Metric], name: &str, value: fn(&Metric) -> f64) -> Value {
    let mut sums = Map::new();
    for metric in metrics {
        let sum = sums.entry(label(metric, name)).or_insert(json!(0.0));
        *sum = json!(sum.as_f64().unwrap_or_default() + value(metric));
    }
    sums.into()
}

/// Upper bounds and cumulative counts over the metrics of choice.
fn histogram(metrics: &[Metric], chosen: impl Fn(&Metric) -> bool) -> Value {
    let (mut bounds, mut counts, mut count) = (Vec::new(), Vec::new(), 0);
    for metric in metrics.iter().filter(|metric| chosen(metric)) {
        let histogram = metric.get_histogram();
        count += histogram.get_sample_count();
        let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
        for (at, bucket) in finite.enumerate() {
            if at == bounds.len() {
                bounds.push(bucket.upper_bound());
                counts.push(0);
            }
            counts[at] += bucket.cumulative_count();
        }
    }
    json!({ "bounds": bounds, "counts": counts, "count": count })
}
