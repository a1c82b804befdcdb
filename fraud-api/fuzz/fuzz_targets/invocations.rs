//! Any bytes are rows of features in one of MLflow's four formats, or are refused.
#![no_main]

use fraud_api::routes::invocations::rows;
use libfuzzer_sys::fuzz_target;

const FEATURES: [&str; 3] = ["A", "B", "C"];
const LIMIT: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(rows) = rows(bytes, &FEATURES, LIMIT) {
        assert_eq!(rows.len() % FEATURES.len(), 0);
        assert!(rows.len() <= LIMIT * FEATURES.len());
    }
});
