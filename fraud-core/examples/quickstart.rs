//! JSON in, decision out: `cargo run --example quickstart`

use std::sync::Arc;

use fraud_core::features::{MemoryStore, Profile, StoreSettings};
use fraud_core::{Model, ParseOptions, Parsed, Policy, Scorer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scorer = Scorer::new(Arc::new(Model::embedded()?), &Policy::default())?;
    let store = MemoryStore::new(StoreSettings::default());
    let mut profile = Profile::default();

    let json = br#"{"transaction_id": "t-1", "customer_id": 596, "terminal_id": 3156,
                    "tx_amount": 257.16, "tx_datetime": "2026-11-21T03:14:15Z"}"#;
    let transaction = Parsed::from_json(json, ParseOptions::default())?.transaction;
    store.observe(&transaction, scorer.profile_plan(), &mut profile)?;
    let assessment = scorer.assess(&transaction, &profile)?;

    println!("{}", serde_json::to_string_pretty(&assessment)?);
    Ok(())
}
