//! Names, types and labels of all metrics are a promise to dashboards and alerts.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;

use common::{Service, settings, transaction};

/// `name type labels…` of every metric, without values.
fn declared(text: &str) -> BTreeSet<String> {
    let mut declared = BTreeSet::new();
    let mut family = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            family = (name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let mut names: Vec<&str> =
                labels.split("\",").filter_map(|pair| pair.split_once('=')).map(|(name, _)| name).collect();
            names.retain(|name| *name != "le");
            names.sort_unstable();
            declared.insert(format!("{} {} {}", family.0, family.1, names.join(",")).trim().to_owned());
        }
    }
    declared
}

#[test]
fn the_metrics_are_those_of_the_snapshot() {
    let service = Service::start(settings());
    service.predict(&transaction("a", 1, 2, 3.0, 1));
    service.predict("{}");
    service.post("/labels", r#"{"transaction_id": "a", "label": 1}"#);
    service.get("/nope");
    let text = service.metrics();
    let found: Vec<String> = declared(&text).into_iter().collect();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/metrics.txt");
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let expected: Vec<&str> = expected.lines().collect();
    if expected != found {
        let actual = path.with_extension("actual.txt");
        std::fs::write(&actual, found.join("\n") + "\n").unwrap();
        panic!("the metrics have changed: compare {} and {}", path.display(), actual.display());
    }
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
}

#[test]
fn the_hot_endpoint_is_counted_like_the_others() {
    let service = Service::start(settings());
    for n in 0..7 {
        service.predict(&transaction(&n.to_string(), 1, 2, 3.0, 1));
    }
    service.predict("nonsense");
    let text = service.metrics();
    for sample in [
        "http_requests_total{endpoint=\"/predict\",method=\"POST\",status_code=\"200\"} 7",
        "http_requests_total{endpoint=\"/predict\",method=\"POST\",status_code=\"400\"} 1",
        "http_request_duration_seconds_count{endpoint=\"/predict\",method=\"POST\",status_code=\"200\"} 7",
        "http_request_duration_seconds_bucket{endpoint=\"/predict\",method=\"POST\",status_code=\"200\",le=\"+Inf\"} 7",
        "http_errors_total{status_code=\"400\"} 1",
        "ml_model_failed_predictions_total{failure_reason=\"not_json\"} 1",
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample} in\n{text}");
    }
    assert_eq!(text.matches("# TYPE http_requests_total ").count(), 1);
}
