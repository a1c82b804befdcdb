//! Where the time of one `/predict` goes: each part alone, in nanoseconds, on distinct transactions.
//!
//! `http_parts [MODEL.onnx]`. What actix-web itself takes is the bare service's figure in `http.sh`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use fraud_api::http::hot::HotMetrics;
use fraud_api::routes::predict;
use fraud_core::features::{MemoryStore, Profile, StoreSettings};
use fraud_core::model::LoadOptions;
use fraud_core::service::clock;
use fraud_core::service::drift::Drift;
use fraud_core::service::metrics::Metrics;
use fraud_core::service::quality::Quality;
use fraud_core::service::settings::{DriftSettings, QualitySettings};
use fraud_core::{Assessment, Model, ParseOptions, Parsed, Policy, Scorer, Transaction};

const COUNT: usize = 200_000;

fn time<T>(name: &str, count: usize, mut each: impl FnMut(usize) -> T) {
    let start = Instant::now();
    for at in 0..count {
        black_box(each(at));
    }
    println!("{name:32} {:8.0} ns", start.elapsed().as_nanos() as f64 / count as f64);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = match std::env::args().nth(1) {
        Some(path) => Model::from_path(path.as_ref(), &LoadOptions::default())?,
        None => Model::embedded()?,
    };
    let scorer = Scorer::new(Arc::new(model), &Policy::default())?;
    let store = MemoryStore::new(StoreSettings::default());
    let body = |at: usize| {
        let (customer, terminal) = (at * 7_919 % 5_000, at * 104_729 % 10_000);
        format!(
            "{{\"transaction_id\": \"run-{at}\", \"customer_id\": {customer}, \"terminal_id\": {terminal}, \
             \"tx_amount\": {}.{:02}, \"tx_datetime\": \"2026-01-31 12:{:02}:{:02}\"}}",
            at % 200,
            at % 100,
            at / 6_000 % 60,
            at / 100 % 60
        )
    };
    let bodies: Vec<String> = (0..COUNT).map(body).collect();
    let options = ParseOptions::default();
    time("parse and validate", COUNT, |at| Parsed::from_json(bodies[at].as_bytes(), options));
    let transactions: Vec<Transaction> =
        bodies.iter().filter_map(|body| Some(Parsed::from_json(body.as_bytes(), options).ok()?.transaction)).collect();
    let mut profile = Profile::default();
    time("observe", COUNT, |at| store.observe(&transactions[at], scorer.profile_plan(), &mut profile));
    let mut profiles = Vec::with_capacity(COUNT);
    for transaction in &transactions {
        store.peek(transaction, scorer.profile_plan(), &mut profile)?;
        profiles.push(profile.clone());
    }
    time("features, model, policy", COUNT, |at| scorer.assess(&transactions[at], &profiles[at]));
    let assessments: Vec<Assessment> =
        transactions.iter().zip(&profiles).filter_map(|(tx, profile)| scorer.assess(tx, profile).ok()).collect();
    let flagged = assessments.iter().filter(|assessment| !assessment.reasons.is_empty()).count();
    println!("{:32} {:8.2} %", "  of them with reasons", 100.0 * flagged as f64 / COUNT as f64);
    let metrics = Metrics::new()?;
    let mut recorder = metrics.recorder();
    let took = std::time::Duration::from_micros(3);
    time("OpenTelemetry instruments", COUNT, |at| recorder.assessed(&assessments[at], took));
    let hot = HotMetrics::new(metrics.registry())?.endpoint("/predict", "POST");
    time("HTTP instruments", COUNT, |_| hot.observe(actix_web::http::StatusCode::OK, took));
    let quality = Quality::new(&QualitySettings::default());
    time("remember the score", COUNT, |at| quality.scored(&transactions[at].transaction_id, 0, 0.5));
    let drift = Drift::of(&scorer, &DriftSettings::default());
    let mut row = vec![0.0; scorer.features().len()];
    time("drift, one in eight", COUNT, |at| {
        if at % 8 == 0 {
            scorer.write_features(&transactions[at], &profiles[at], &mut row);
            drift.add(&row, assessments[at].fraud_probability);
        }
    });
    time("write the answer", COUNT, |at| predict::written(&assessments[at], clock::unix_millis()));
    time("clock, four times", COUNT, |_| [Instant::now(), Instant::now(), Instant::now(), Instant::now()]);
    Ok(())
}
