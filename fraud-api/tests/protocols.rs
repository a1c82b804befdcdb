//! The bare model over the Open Inference Protocol and MLflow's.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Service, request, settings};
use serde_json::{Value, json};

fn rows() -> Vec<Vec<f32>> {
    (0..5_u8).map(|row| (0..15_u8).map(|column| f32::from(row * 15 + column) / 4.0).collect()).collect()
}

fn expected(service: &Service) -> Vec<f32> {
    let scorer = service.shared.life.shared().load();
    let model = scorer.model().unwrap();
    rows().iter().map(|row| model.predict(row).unwrap()).collect()
}

fn numbers(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn version_two_of_the_inference_protocol() {
    let service = Service::start(settings());
    assert_eq!(service.get("/v2").json()["name"], "fraud-api");
    assert_eq!(service.get("/v2/health/live").json(), json!({"live": true}));
    assert_eq!(service.get("/v2/health/ready").json(), json!({"ready": true}));
    let info = service.shared.life.info().unwrap();
    let base = format!("/v2/models/{}", info.name);
    let metadata = service.get(&base).json();
    assert_eq!(
        (metadata["name"].as_str(), metadata["versions"][0].as_str()),
        (Some(&*info.name), Some(&*info.version))
    );
    assert_eq!(metadata["inputs"][0]["shape"], json!([-1, 15]));
    assert_eq!(service.get(&format!("{base}/ready")).json()["ready"], true);
    let flat: Vec<f32> = rows().concat();
    let body = json!({
        "id": "seven", "inputs": [{"name": "features", "shape": [5, 15], "datatype": "FP32", "data": flat}],
        "outputs": [{"name": "fraud_probability"}, {"name": "fraud_label"}],
    });
    for path in [format!("{base}/infer"), format!("{base}/versions/{}/infer", info.version)] {
        let answer = service.post(&path, &body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        let said = answer.json();
        assert_eq!(said["id"], "seven");
        assert_eq!(said["outputs"][0]["shape"], json!([5]));
        assert_eq!(numbers(&said["outputs"][0]["data"]), expected(&service));
        assert_eq!(said["outputs"][1]["datatype"], "INT64");
    }
    let wrong = service.post(
        &format!("{base}/infer"),
        r#"{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}"#,
    );
    assert_eq!(wrong.status, 400);
    assert!(wrong.json()["error"].is_string());
    assert_eq!(service.get(&format!("{base}/versions/none")).status, 404);
}

#[test]
fn the_binary_tensor_extension() {
    let service = Service::start(settings());
    let flat: Vec<u8> = rows().concat().iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect();
    let head = json!({
        "inputs": [{"name": "features", "shape": [5, 15], "datatype": "FP64", "parameters": {"binary_data_size": flat.len()}}],
        "outputs": [{"name": "fraud_probability", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let body = [head.as_bytes(), &flat].concat();
    let length = head.len().to_string();
    let path = format!("/v2/models/{}/infer", service.shared.life.info().unwrap().name);
    let headers = [("content-type", "application/octet-stream"), ("inference-header-content-length", length.as_str())];
    let answer = request(service.address, "POST", &path, &headers, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let json_bytes: usize = answer.header("inference-header-content-length").unwrap().parse().unwrap();
    let said: Value = serde_json::from_slice(&answer.body[..json_bytes]).unwrap();
    assert_eq!(said["outputs"][0]["parameters"]["binary_data_size"], 20);
    let given: Vec<f32> =
        answer.body[json_bytes..].chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(given, expected(&service));
    for length in ["99999999", "x"] {
        let headers = [("inference-header-content-length", length)];
        assert_eq!(request(service.address, "POST", &path, &headers, &body).status, 400);
    }
    assert_eq!(request(service.address, "POST", &path, &headers[..1], &body).status, 400);
}

#[test]
fn mlflow_in_four_formats() {
    let service = Service::start(settings());
    let names: Vec<String> =
        service.shared.life.shared().load().model().unwrap().features().names().map(str::to_owned).collect();
    let records: Vec<Value> = rows()
        .iter()
        .map(|row| {
            names.iter().cloned().zip(row.iter().map(|value| json!(value))).collect::<serde_json::Map<_, _>>().into()
        })
        .collect();
    for body in [
        json!({"dataframe_split": {"columns": names, "data": rows()}}),
        json!({"dataframe_records": records}),
        json!({"inputs": rows()}),
        json!({"instances": rows()}),
    ] {
        let answer = service.post("/invocations", &body.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(numbers(&answer.json()["predictions"]), expected(&service));
    }
    let wrong = service.post("/invocations", r#"{"inputs": "x"}"#);
    assert_eq!((wrong.status, wrong.json()["error_code"].as_str()), (400, Some("BAD_REQUEST")));
    assert_eq!(
        (service.get("/ping").status, service.get("/version").text()),
        (200, env!("CARGO_PKG_VERSION").to_owned())
    );
}
