//! The file's metadata, the choice of output, and what is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fraud_core::error::ModelError;
use fraud_core::features::FeatureSet;
use fraud_core::model::{Calibration, LoadOptions, Model, OutputKind, OutputOptions};

#[path = "support/npy.rs"]
#[allow(dead_code)]
mod npy;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/models")
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.onnx"))).unwrap()
}

/// The bytes of one protobuf field of a length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 127 {
        bytes.push(length as u8 | 128);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

/// A file with metadata: entries appended to a protobuf message join those that are there.
fn with(name: &str, entries: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = file(name);
    for (key, value) in entries {
        bytes.extend(field(14, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat()));
    }
    bytes
}

fn load(bytes: &[u8]) -> Result<Model, ModelError> {
    Model::from_bytes(bytes, &LoadOptions::default())
}

fn row() -> Vec<f32> {
    let inputs = npy::read(&folder().join("inputs.npy")).unwrap();
    inputs.values[5 * inputs.columns..][..inputs.columns].to_vec()
}

#[test]
fn a_file_without_metadata_gets_the_default_features_and_a_version() {
    let model = load(&file("lgbm_default")).unwrap();
    assert_eq!(model.features(), &FeatureSet::handbook());
    assert_eq!(model.version(), &model.sha256()[..12]);
    assert_eq!((model.name(), model.sha256().len()), ("model", 64));
    assert_eq!(model.engine(), "trees");
    assert!(model.metadata().golden.is_none());
}

#[test]
fn the_embedded_model_loads() {
    let model = Model::embedded().unwrap();
    let p = model.predict(&vec![1.0; model.features().len()]).unwrap();
    assert!((0.0..=1.0).contains(&p));
}

#[test]
fn metadata_is_read() {
    let p = load(&file("lgbm_default")).unwrap().predict(&row()).unwrap();
    let golden = serde_json::json!({"inputs": [row()], "probabilities": [p]}).to_string();
    let features = FeatureSet::handbook();
    let one = serde_json::json!({"edges": [10.0, 20.0], "counts": [1, 2, 3], "median": 12.0});
    let all: serde_json::Map<String, serde_json::Value> =
        features.names().map(|name| (name.to_owned(), one.clone())).collect();
    let baseline = serde_json::json!({"features": all, "score": {"edges": [0.5], "counts": [9, 1]}}).to_string();
    let bytes = with(
        "lgbm_default",
        &[
            ("fraud.format", "1"),
            ("fraud.name", "boosted"),
            ("fraud.version", "2026-01"),
            ("fraud.features", &features.to_json()),
            ("fraud.thresholds", r#"{"review_at": 0.25, "decline_at": 0.5}"#),
            ("fraud.training", r#"{"from": "2018-07-25", "to": "2018-07-31", "rows": 10, "seeds": [1, 2]}"#),
            ("fraud.metrics", r#"{"roc_auc": 0.88}"#),
            ("fraud.baseline", &baseline),
            ("fraud.golden", &golden),
            ("another.key", "passed over"),
        ],
    );
    let model = load(&bytes).unwrap();
    let metadata = model.metadata();
    assert_eq!((model.name(), model.version()), ("boosted", "2026-01"));
    assert_eq!(metadata.thresholds, Some((0.25, 0.5)));
    assert_eq!(metadata.medians(model.features()), Some(vec![12.0; 15]));
    assert_eq!(metadata.metrics["roc_auc"], 0.88);
    let training = metadata.training.as_ref().unwrap();
    assert_eq!((training.rows, training.other.contains_key("seeds")), (Some(10), true));
    assert!(model.check_golden().is_ok());
}

#[test]
fn metadata_that_cannot_be_used_is_refused_by_key() {
    let cases = [
        ("fraud.format", "2"),
        ("fraud.format", "x"),
        ("fraud.name", ""),
        ("fraud.colour", "red"),
        ("fraud.logits", "maybe"),
        ("fraud.thresholds", r#"{"review_at": 0.8, "decline_at": 0.7}"#),
        ("fraud.thresholds", r#"{"review_at": -1, "decline_at": 0.7}"#),
        ("fraud.calibration", r#"{"kind": "linear", "from": 1, "to": 1}"#),
        ("fraud.calibration", r#"{"kind": "magic"}"#),
        ("fraud.baseline", r#"{"features": {"TX_AMOUNT": {"edges": [2, 1], "counts": [1, 1, 1]}}}"#),
        ("fraud.baseline", r#"{"features": {"NOT_A_FEATURE": {"edges": [], "counts": [1]}}}"#),
        ("fraud.golden", r#"{"inputs": [], "probabilities": []}"#),
        ("fraud.golden", r#"{"inputs": [[1, 2]], "probabilities": [0.5]}"#),
        ("fraud.training", r#"{"data_sha256": "abc"}"#),
    ];
    for (key, value) in cases {
        match load(&with("lgbm_default", &[(key, value)])) {
            Err(ModelError::Metadata { key: named, .. }) => assert_eq!(named, key),
            other => panic!("{key} = {value}: {other:?}"),
        }
    }
    let twice = with("lgbm_default", &[("fraud.name", "a"), ("fraud.name", "b")]);
    assert!(matches!(load(&twice), Err(ModelError::Metadata { .. })));
    assert!(matches!(
        load(&with("lgbm_default", &[("fraud.features", r#"["TX_COLOUR"]"#)])),
        Err(ModelError::Feature(_))
    ));
}

#[test]
fn a_golden_row_that_differs_refuses_the_file() {
    let p = load(&file("lgbm_default")).unwrap().predict(&row()).unwrap();
    let golden = serde_json::json!({"inputs": [row(), row()], "probabilities": [p, p + 1e-3]}).to_string();
    match load(&with("lgbm_default", &[("fraud.golden", &golden)])) {
        Err(ModelError::GoldenRow { row: 1, actual, .. }) => assert_eq!(actual, p),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signature_that_does_not_fit_is_refused() {
    let five: Vec<String> = FeatureSet::handbook().names().take(5).map(str::to_owned).collect();
    let features = serde_json::to_string(&five).unwrap();
    match load(&with("lgbm_default", &[("fraud.features", &features)])) {
        Err(ModelError::Signature { problem }) => assert!(problem.contains("15") && problem.contains('5'), "{problem}"),
        other => panic!("{other:?}"),
    }
    let other = LoadOptions { features: FeatureSet::from_json(&features).ok(), ..LoadOptions::default() };
    let handbook = with("lgbm_default", &[("fraud.features", &FeatureSet::handbook().to_json())]);
    assert!(matches!(Model::from_bytes(&handbook, &other), Err(ModelError::Metadata { .. })));
    let model = load(&file("lgbm_default")).unwrap();
    assert!(matches!(model.predict(&[1.0; 3]), Err(ModelError::RowWidth { expected: 15, found: 3 })));
}

#[test]
fn the_label_names_the_column() {
    let named = |label: &str| LoadOptions {
        output: OutputOptions { label: Some(label.to_owned()), ..OutputOptions::default() },
        ..LoadOptions::default()
    };
    let bytes = file("skl_lr_words");
    let of = |options: &LoadOptions| Model::from_bytes(&bytes, options).unwrap().predict(&row()).unwrap();
    let fraud = of(&named("fraud"));
    assert!((fraud + of(&named("genuine")) - 1.0).abs() < 1e-6);
    assert_eq!(of(&LoadOptions::default()), fraud, "a class that is called fraud is found");
    let score = LoadOptions { kind: OutputKind::Score, ..LoadOptions::default() };
    assert!((of(&score) - (1.0 - fraud)).abs() < 1e-6, "a score is the second class");
    match Model::from_bytes(&bytes, &named("stolen")) {
        Err(ModelError::Output { problem }) => assert!(problem.contains("`genuine`"), "{problem}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(load(&with("skl_lr_words", &[("fraud.label", "fraud")])).unwrap().predict(&row()).unwrap(), fraud);
    // The option wins over the file.
    let genuine = Model::from_bytes(&with("skl_lr_words", &[("fraud.label", "fraud")]), &named("genuine")).unwrap();
    assert!((genuine.predict(&row()).unwrap() - (1.0 - fraud)).abs() < 1e-6);
}

#[test]
fn scores_are_refused_unless_calibrated() {
    let bytes = with("skl_isolation_forest", &[]);
    match load(&bytes).and_then(|model| model.predict(&row())) {
        Err(ModelError::NotAProbability { advice, .. }) => assert!(advice.contains("fraud.calibration")),
        Ok(p) => assert!((0.0..=1.0).contains(&p)),
        Err(other) => panic!("{other}"),
    }
    let raw = Model::from_bytes(&bytes, &LoadOptions { kind: OutputKind::Score, ..LoadOptions::default() }).unwrap();
    let raw = f64::from(raw.predict(&row()).unwrap());
    let declared = r#"{"kind": "linear", "from": 0.3, "to": -0.3}"#;
    let calibration: Calibration = serde_json::from_str(declared).unwrap();
    let calibrated = load(&with("skl_isolation_forest", &[("fraud.calibration", declared)])).unwrap();
    assert!((f64::from(calibrated.predict(&row()).unwrap()) - calibration.probability(raw)).abs() < 1e-7);
    let logits = load(&file("torch_logits")).map(|model| model.predict(&row()));
    assert!(!matches!(logits, Ok(Ok(p)) if !(0.0..=1.0).contains(&p)));
    assert!(load(&with("torch_logits", &[("fraud.logits", "true")])).unwrap().predict(&row()).is_ok());
}

#[test]
fn an_output_can_be_named() {
    let named = |name: &str| LoadOptions {
        output: OutputOptions { name: Some(name.to_owned()), ..OutputOptions::default() },
        ..LoadOptions::default()
    };
    let bytes = file("lgbm_default");
    assert!(Model::from_bytes(&bytes, &named("probabilities")).is_ok());
    assert!(matches!(Model::from_bytes(&bytes, &named("label")), Err(ModelError::Output { .. })));
    match Model::from_bytes(&bytes, &named("score")) {
        Err(ModelError::Output { problem }) => assert!(problem.contains("`probabilities`"), "{problem}"),
        other => panic!("{other:?}"),
    }
}

/// Many threads on few states, models that come and go: the same bits everywhere.
#[test]
fn a_model_is_shared_between_threads() {
    let inputs = Arc::new(npy::read(&folder().join("inputs.npy")).unwrap());
    for name in ["torch_relu", "skl_standard_lr", "lgbm_default", "torch_batch1"] {
        let model = Arc::new(load(&file(name)).unwrap());
        let mut expected = vec![0.0; inputs.rows];
        model.predict_batch(&inputs.values, &mut expected).unwrap();
        let threads: Vec<_> = (0..24)
            .map(|start| {
                let (model, inputs) = (Arc::clone(&model), Arc::clone(&inputs));
                std::thread::spawn(move || {
                    let mut answers = vec![0.0; inputs.rows];
                    for at in 0..inputs.rows {
                        let at = (at + start) % inputs.rows;
                        answers[at] = model.predict(&inputs.values[at * 15..][..15]).unwrap();
                    }
                    answers
                })
            })
            .collect();
        for thread in threads {
            let answers = thread.join().unwrap();
            assert!(answers.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
        }
    }
}

#[test]
fn npy_headers_that_lie_are_refused() {
    let file = |descr: &str, order: &str, shape: &str, data: usize| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    };
    assert!(npy::parse(&file("<f4", "False", "(2, 3)", 24)).is_ok());
    assert_eq!(npy::parse(&file("<f8", "True", "(2, 3)", 48)).unwrap().columns, 3);
    for (descr, order, shape, data) in [
        ("<f4", "False", "(2, 3)", 23),
        ("<f4", "False", "(4611686018427387904, 4)", 0),
        ("<f4", "False", "(18446744073709551616,)", 8),
        ("<f4", "False", "(2, -3)", 24),
        ("<f4", "False", "(2, 3, 1)", 24),
        ("<i8", "False", "(2, 3)", 48),
        ("<f4", "Maybe", "(2, 3)", 24),
    ] {
        assert!(npy::parse(&file(descr, order, shape, data)).is_err(), "{descr} {order} {shape}");
    }
    for bytes in [&b""[..], b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{}", b"\x93NUMPY\x03\x00\xff\xff\xff\xff"] {
        assert!(npy::parse(bytes).is_err());
    }
    let mut fortran = file("<f4", "True", "(2, 3)", 0);
    fortran.extend([1.0_f32, 4.0, 2.0, 5.0, 3.0, 6.0].iter().flat_map(|value| value.to_le_bytes()));
    assert_eq!(npy::parse(&fortran).unwrap().values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}
