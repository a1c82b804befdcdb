//! What a model is trained on is what it is asked with: features that replay writes and features that the service
//! computes are equal, bit for bit.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fmt::Write;

use common::{Service, settings};
use fraud_core::features::Profile;
use fraud_core::{ParseOptions, Parsed};
use fraud_stream::replay::{Labels, Options, run};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

const ROWS: u64 = 1_500;
/// 2026-01-01T00:00:00Z.
const BEGIN: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

/// A number that looks random and is not.
fn mixed(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

struct Row {
    json: String,
    time: i64,
    fraud: bool,
}

/// Sixty days of few customers and terminals, with transactions of the same second, and one in eight a fraud.
fn rows() -> Vec<Row> {
    let mut times: Vec<i64> =
        (0..ROWS).map(|n| BEGIN + (mixed(n) % (60 * 86_400)) as i64 / 600 * 600 + (n % 3) as i64).collect();
    times.sort_unstable();
    let row = |(n, time): (usize, i64)| {
        let seed = mixed(n as u64 + 77);
        let amount = (mixed(seed) % 3_000_000) as f64 / 10_000.0;
        let json = format!(
            r#"{{"transaction_id": {n}, "customer_id": {}, "terminal_id": "t{}", "tx_amount": {amount}, "tx_time_seconds": {time}"#,
            seed % 12,
            seed / 12 % 9
        );
        Row { json, time, fraud: seed % 8 == 3 }
    };
    times.into_iter().enumerate().map(row).collect()
}

#[test]
fn features_in_training_and_in_serving_are_equal_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (input, features) = (folder.path().join("transactions.jsonl"), folder.path().join("features.parquet"));
    let rows = rows();
    let mut text = String::new();
    for row in &rows {
        writeln!(text, "{}, \"tx_fraud\": {}}}", row.json, u8::from(row.fraud)).unwrap();
    }
    std::fs::write(&input, text).unwrap();
    let mut options = Options::new(&input, &folder.path().join("assessments.jsonl"));
    options.labels = Labels::TxFraud;
    options.features = Some(features.clone());
    run(&options).unwrap();
    let trained_on = SerializedFileReader::new(std::fs::File::open(&features).unwrap()).unwrap();

    let service = Service::start(settings());
    let scorer = service.shared.life.shared().load().clone();
    let model = scorer.model().unwrap().clone();
    let names: Vec<String> = model.features().names().map(str::to_owned).collect();
    let (mut compared, mut risk) = (0, 0.0);
    for (row, trained) in rows.iter().zip(trained_on.get_row_iter(None).unwrap()) {
        let body = format!("{}}}", row.json);
        let answer = service.predict(&body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        // A repeat is given the profile that the transaction was assessed with.
        let transaction = Parsed::from_json(body.as_bytes(), ParseOptions::default()).unwrap().transaction;
        let mut profile = Profile::default();
        let fraud_api::store::Store::Embedded(store) = &service.shared.store else { panic!("an embedded store") };
        store.peek(&transaction, scorer.profile_plan(), &mut profile).unwrap();
        assert!(profile.duplicate);
        let mut served = vec![0.0; names.len()];
        scorer.write_features(&transaction, &profile, &mut served);
        let trained = trained.unwrap();
        for (name, served) in names.iter().zip(&served) {
            let column = trained.get_column_iter().position(|(column, _)| column == name).unwrap();
            let trained = trained.get_double(column).unwrap();
            assert_eq!(trained.to_bits(), served.to_bits(), "{name} of {}: {trained}, {served}", row.json);
            compared += 1;
            risk += if name.contains("RISK") { *served } else { 0.0 };
        }
        // And it is what the model was asked with: its answer to that row is the answer given.
        let inputs: Vec<f32> = served.iter().map(|value| *value as f32).collect();
        let given: f32 = answer["fraud_probability"].to_string().parse().unwrap();
        assert_eq!(model.predict(&inputs).unwrap().to_bits(), given.to_bits());
        let observed_at = fraud_core::service::clock::rfc3339_text(((row.time + 7 * DAY) * 1_000) as u64);
        let id = &answer["transaction_id"];
        let label = format!(r#"{{"transaction_id": {id}, "label": {}, "observed_at": "{observed_at}"}}"#, row.fraud);
        assert_eq!(service.post("/labels", &label).json()["recorded"], 1);
    }
    assert_eq!(compared, ROWS as usize * names.len());
    assert!(risk > 0.0, "no label has reached a feature");
}
