//! The main job over real sockets.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Service, request, settings, transaction};
use serde_json::{Value, json};

#[test]
fn the_request_of_the_courses_is_answered_in_full() {
    let service = Service::start(settings());
    let answer = service.predict(
        r#"{"transaction_id": 1, "customer_id": 596, "terminal_id": 3156, "tx_amount": 57.16,
            "tx_time_seconds": 31, "tx_time_days": 0, "tx_fraud_scenario": 0}"#,
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let said = answer.json();
    let p = said["fraud_probability"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&p));
    assert_eq!(said["transaction_id"], "1");
    assert_eq!(said["model_type"], "onnx");
    assert_eq!(said["history_complete"], false);
    for field in [
        "risk_level",
        "decision",
        "decision_source",
        "reasons",
        "duplicate",
        "late",
        "model_version",
        "policy_version",
        "prediction_time",
        "confidence_score",
    ] {
        assert!(!said[field].is_null(), "{field}");
    }
    assert_eq!(service.metric("fraud_ignored_fields_total{kind=\"label\"} "), 1.0);
}

#[test]
fn the_same_payment_twice_is_told_and_another_payment_under_its_id_refused() {
    let service = Service::start(settings());
    let first = service.predict(&transaction("a", 1, 2, 10.0, 1)).json();
    let again = service.predict(&transaction("a", 1, 2, 10.0, 1)).json();
    assert_eq!((first["duplicate"].clone(), again["duplicate"].clone()), (json!(false), json!(true)));
    assert_eq!(first["fraud_probability"], again["fraud_probability"]);
    let other = service.predict(&transaction("a", 1, 2, 11.0, 1));
    assert_eq!(other.status, 409);
    assert_eq!(other.header("content-type"), Some("application/problem+json"));
    assert_eq!(other.json()["type"], "urn:fraud-api:problem:conflict");
    assert_eq!(service.metric("fraud_store_events "), 1.0);
}

#[test]
fn scoring_without_recording_leaves_no_trace() {
    let service = Service::start(settings());
    for _ in 0..3 {
        let answer = service.post("/predict?record=false", &transaction("a", 1, 2, 10.0, 1));
        assert_eq!((answer.status, answer.json()["duplicate"].clone()), (200, json!(false)));
    }
    assert_eq!(service.metric("fraud_store_events "), 0.0);
    assert_eq!(service.post("/predict?record=perhaps", &transaction("a", 1, 2, 10.0, 1)).status, 400);
}

#[test]
fn reasons_come_on_request() {
    let service = Service::start(settings());
    let answer = service.post("/predict?explain=true", &transaction("a", 1, 2, 900.0, 1));
    assert!(answer.json()["reasons"].is_array());
}

#[test]
fn a_batch_answers_what_single_requests_answer() {
    let rows: Vec<String> =
        (0..200).map(|n| transaction(&format!("t{n}"), n % 7, n % 5, f64::from(n) + 0.5, 1 + n / 10)).collect();
    let stable = |mut answer: Value| {
        answer.as_object_mut().unwrap().remove("prediction_time");
        answer
    };
    let singles: Vec<Value> = {
        let service = Service::start(settings());
        rows.iter().map(|row| stable(service.predict(row).json())).collect()
    };
    let array: Vec<Value> = {
        let service = Service::start(settings());
        let answer = service.post("/predict/batch", &format!("[{}]", rows.join(",")));
        answer.json().as_array().unwrap().iter().cloned().map(stable).collect()
    };
    let lines: Vec<Value> = {
        let service = Service::start(settings());
        let body = rows.iter().map(|row| row.replace('\n', " ") + "\n").collect::<String>();
        let headers = [("content-type", "application/x-ndjson")];
        let answer = request(service.address, "POST", "/predict/batch", &headers, body.as_bytes());
        assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
        answer.text().lines().map(|line| stable(serde_json::from_str(line).unwrap())).collect()
    };
    assert_eq!(singles.len(), 200);
    assert_eq!(singles, array);
    assert_eq!(singles, lines);
}

#[test]
fn one_bad_row_fails_alone() {
    let service = Service::start(settings());
    let body = format!("[{}, 7, {{}}, {}]", transaction("a", 1, 2, 1.0, 1), transaction("b", 1, 2, 1.0, 1));
    let answers = service.post("/predict/batch", &body).json();
    let statuses: Vec<Value> = answers.as_array().unwrap().iter().map(|one| one["error"]["status"].clone()).collect();
    assert_eq!(statuses, [Value::Null, json!(422), json!(422), Value::Null]);
    assert_eq!(service.post("/predict/batch", "[]").json(), json!([]));
    assert_eq!(service.post("/predict/batch", "{}").status, 400);
}

#[test]
fn the_far_future_is_refused_and_the_near_one_taken() {
    let service = Service::start(settings());
    let at = |seconds: i64| {
        let time = fraud_core::service::clock::unix_seconds() + seconds;
        format!(
            r#"{{"transaction_id": "{time}", "customer_id": 1, "terminal_id": 1, "tx_amount": 1, "tx_time_seconds": {time}}}"#
        )
    };
    assert_eq!(service.predict(&at(240)).status, 200);
    let refused = service.predict(&at(400));
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/tx_datetime");
}

#[test]
fn labels_are_recorded_and_reach_the_terminals_risk() {
    let service = Service::start(settings());
    // The share of fraud at terminal 2, as a payment on the 20th sees it.
    let risk = |service: &Service| {
        let options = fraud_core::ParseOptions::default();
        let payment =
            fraud_core::Parsed::from_json(transaction("x", 9, 2, 10.0, 20).as_bytes(), options).unwrap().transaction;
        let scorer = service.shared.life.shared().load();
        let mut profile = fraud_core::features::Profile::default();
        service.shared.store.embedded().unwrap().peek(&payment, scorer.profile_plan(), &mut profile).unwrap();
        let mut row = vec![0.0; scorer.features().len()];
        scorer.write_features(&payment, &profile, &mut row);
        row[scorer.features().position("TERMINAL_ID_RISK_30DAY_WINDOW").unwrap()]
    };
    for n in 0..5 {
        service.predict(&transaction(&format!("f{n}"), n, 2, 10.0, 5));
    }
    assert_eq!(risk(&service), 0.0);
    let labels: Vec<Value> = (0..4)
        .map(|n| json!({"transaction_id": format!("f{n}"), "label": 1, "observed_at": "2026-01-06T00:00:00Z"}))
        .collect();
    let answer = service.post("/labels", &Value::from(labels).to_string());
    assert_eq!((answer.status, answer.json()["recorded"].clone()), (200, json!(4)));
    assert_eq!(risk(&service), 0.8);

    let one = |body: Value| service.post("/labels", &body.to_string());
    let unknown = one(json!({"transaction_id": "never", "label": "fraud"})).json();
    assert_eq!(unknown["results"][0]["status"], "unknown");
    assert_eq!(one(json!({"transaction_id": "f1", "label": 2})).status, 422);
    assert_eq!(one(json!({"label": 1})).status, 422);
    let soon = fraud_core::service::clock::rfc3339_text(fraud_core::service::clock::unix_millis() + 600_000);
    assert_eq!(one(json!({"transaction_id": "f1", "label": 1, "observed_at": soon})).status, 422);
    assert_eq!(service.post("/labels", "[").status, 400);
    assert_eq!(service.metric("fraud_labels_total{label=\"fraud\"} "), 4.0);
    assert!(service.metric("fraud_model_quality{label_age=\"all\",metric=\"average_precision\"} ") > 0.0);
}

#[test]
fn answers_have_the_fields_that_the_document_says() {
    let service = Service::start(settings());
    let document: Value = serde_json::from_str(&service.get("/openapi.json").text()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let schema = &document["components"]["schemas"]["AssessmentBody"];
    let mut required: Vec<&str> =
        schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    required.sort_unstable();
    let said = service.predict(&transaction("a", 1, 2, 10.0, 1)).json();
    let mut fields: Vec<&str> = said.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(required, fields);
    for path in ["/predict", "/predict/batch", "/labels", "/v2/models/{name}/infer", "/invocations", "/health"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    assert_eq!(service.get("/docs").status, 308);
    let page = service.get("/docs/");
    assert!(page.text().contains("swagger-ui") && !page.text().contains("https://"));
}
