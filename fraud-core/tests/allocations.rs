//! What a transaction costs in allocations once the store is warm.

use std::sync::Arc;

use allocation_counter::measure;
use fraud_core::features::{MemoryStore, Profile, StoreSettings};
use fraud_core::model::LoadOptions;
use fraud_core::{Amount, Assessment, Decision, Id, Model, Policy, Scorer, Transaction};

/// The `n`-th payment: 50 customers at 40 terminals, a payment a minute, small amounts.
fn payment(n: i64) -> Transaction {
    Transaction {
        transaction_id: Id::from(n),
        customer_id: Id::from(n * 7 % 50),
        terminal_id: Id::from(n * 11 % 40),
        amount: Amount::from_units(100_000 + n % 977 * 100).expect("in range"),
        time: 1_700_000_000 + n * 60,
    }
}

/// Forty days: every window is full, and what falls out makes room for what comes.
const WARM: i64 = 40 * 1_440;

#[test]
fn a_warm_store_allocates_rarely_and_an_assessment_only_for_itself() {
    let scorer = Scorer::new(Arc::new(Model::embedded().expect("loads")), &Policy::default()).expect("fits");
    let store = MemoryStore::new(StoreSettings { shards: 4, ..StoreSettings::default() });
    let plan = scorer.profile_plan();
    let mut profile = Profile::default();
    for n in 0..WARM {
        store.observe(&payment(n), plan, &mut profile).expect("observed");
    }
    // The first call may set things up (pools of evaluators).
    scorer.assess(&payment(0), &profile).expect("assessed");

    let count = 4_000;
    let payments: Vec<_> = (WARM..WARM + count).map(payment).collect();
    let mut profiles = vec![profile; payments.len()];
    let observing = measure(|| {
        for (payment, profile) in payments.iter().zip(&mut profiles) {
            store.observe(payment, plan, profile).expect("observed");
        }
    });
    // Blocks of history are taken and given back now and then, for many payments at a time.
    assert!(observing.count_total < 1 + payments.len() as u64 / 10, "{observing:?} for {count} payments");

    let mut assessments: Vec<Assessment> = Vec::with_capacity(payments.len());
    let mut explained = 0;
    for (payment, profile) in payments.iter().zip(&profiles) {
        let mut made = None;
        let assessing = measure(|| made = scorer.assess(payment, profile).ok());
        let made = made.expect("assessed");
        if made.decision == Decision::Approve {
            assert_eq!(assessing.count_total, 0, "an approval needs no memory");
        } else {
            explained += 1;
            // The list of reasons; what it points to is shared.
            assert!(assessing.count_total <= 2, "{assessing:?}");
        }
        assessments.push(made);
    }
    assert!(explained < payments.len(), "some payments are approved");
}

#[test]
fn a_network_allocates_nothing_after_the_first_call() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/models/skl_mlp_relu.onnx");
    let model = Model::from_path(&file, &LoadOptions::default()).expect("loads");
    let (rows, mut out) = (vec![1.0; 500 * 15], vec![0.0; 500]);
    model.predict_batch(&rows, &mut out).expect("answers");
    let after = measure(|| {
        model.predict_batch(&rows, &mut out).expect("answers");
        model.predict(&rows[..15]).expect("answers");
    });
    assert_eq!((model.engine(), after.count_total), ("program", 0));
}
