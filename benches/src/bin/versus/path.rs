//! `observe` and `assess` with the model of 100 trees, on a store with forty days of payments.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fraud_benches::payments::{Payments, WARM};
use fraud_core::features::{MemoryStore, Profile, StoreSettings};
use fraud_core::model::LoadOptions;
use fraud_core::{Model, Policy, Scorer};

const ROUNDS: usize = 301;
/// Payments in a round: about as long as a turn of the evaluators.
const TURN: usize = 200;

pub fn measure(onnx: &Path) -> anyhow::Result<()> {
    let scorer = Scorer::new(Arc::new(Model::from_path(onnx, &LoadOptions::default())?), &Policy::default())?;
    let store = MemoryStore::new(StoreSettings::default());
    let mut payments = Payments::default();
    let mut profile = Profile::default();
    for payment in payments.by_ref().take(WARM) {
        store.observe(&payment, scorer.profile_plan(), &mut profile)?;
    }
    let mut times: [Vec<f64>; 2] = Default::default();
    for _ in 0..ROUNDS {
        let batch: Vec<_> = payments.by_ref().take(TURN).collect();
        let mut profiles = vec![Profile::default(); batch.len()];
        let started = Instant::now();
        for (payment, profile) in batch.iter().zip(&mut profiles) {
            store.observe(payment, scorer.profile_plan(), profile)?;
        }
        let observed = started.elapsed();
        for (payment, profile) in batch.iter().zip(&profiles) {
            black_box(scorer.assess(payment, profile)?);
        }
        times[0].push(observed.as_secs_f64() * 1e6 / batch.len() as f64);
        times[1].push(started.elapsed().as_secs_f64() * 1e6 / batch.len() as f64);
    }
    println!();
    println!("| the path, {TURN} payments a round, store of {WARM} payments | µs/payment | quickest round |");
    println!("|---|---|---|");
    for (name, mut times) in ["observe", "observe + assess (features, model, policy)"].into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        println!("| {name} | {:.2} | {:.2} |", times[ROUNDS / 2], times[0]);
    }
    Ok(())
}
