//! Each step of the path, and the whole of it, on warm state.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fraud_benches::payments::{Payments, WARM};
use fraud_core::features::{FeaturePlan, FeatureSet, MemoryStore, Profile, StoreSettings};
use fraud_core::{Model, ParseOptions, Parsed, Policy, Scorer};

fn path(c: &mut Criterion) {
    let scorer = Scorer::new(Arc::new(Model::embedded().expect("the embedded model loads")), &Policy::default())
        .expect("the default policy fits");
    let store = MemoryStore::new(StoreSettings::default());
    let mut payments = Payments::default();
    let mut profile = Profile::default();
    for payment in payments.by_ref().take(WARM) {
        store.observe(&payment, scorer.profile_plan(), &mut profile).expect("observed");
    }
    let payment = payments.next().expect("endless");
    store.peek(&payment, scorer.profile_plan(), &mut profile).expect("peeked");
    let json = format!(
        r#"{{"transaction_id":"{}","customer_id":"{}","terminal_id":"{}","tx_amount":{},"tx_time_seconds":{},"tx_time_days":1,"tx_fraud_scenario":0}}"#,
        payment.transaction_id,
        payment.customer_id,
        payment.terminal_id,
        payment.amount.major(),
        payment.time
    );

    let mut group = c.benchmark_group("path");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse JSON", |b| {
        b.iter(|| Parsed::from_json(black_box(json.as_bytes()), ParseOptions::default()));
    });
    let with_date =
        json.replace(&format!("\"tx_time_seconds\":{}", payment.time), "\"tx_datetime\":\"2023-12-24T22:13:20Z\"");
    group.bench_function("parse JSON with a date", |b| {
        b.iter(|| Parsed::from_json(black_box(with_date.as_bytes()), ParseOptions::default()));
    });
    let plan = FeaturePlan::compile(&FeatureSet::handbook());
    let mut row = [0.0; 15];
    group.bench_function("features from a profile", |b| {
        b.iter(|| plan.write(black_box(&payment), black_box(&profile), &mut row));
    });
    group.bench_function("assess", |b| b.iter(|| scorer.assess(black_box(&payment), black_box(&profile))));
    group.bench_function("observe", |b| {
        b.iter(|| {
            let payment = payments.next().expect("endless");
            store.observe(&payment, scorer.profile_plan(), &mut profile)
        });
    });
    group.bench_function("observe and assess", |b| {
        b.iter(|| {
            let payment = payments.next().expect("endless");
            store.observe(&payment, scorer.profile_plan(), &mut profile).expect("observed");
            scorer.assess(&payment, &profile)
        });
    });
    let payments: Vec<_> = payments.take(256).collect();
    let profiles: Vec<_> = payments
        .iter()
        .map(|payment| {
            let mut profile = Profile::default();
            store.peek(payment, scorer.profile_plan(), &mut profile).expect("peeked");
            profile
        })
        .collect();
    let mut assessments = Vec::new();
    group.throughput(Throughput::Elements(256));
    group.bench_function("assess a batch of 256", |b| {
        b.iter(|| scorer.assess_batch(black_box(&payments), black_box(&profiles), &mut assessments));
    });
    group.finish();
}

criterion_group!(benches, path);
criterion_main!(benches);
