//! Any bytes are a model that answers with probabilities, or are refused.
#![no_main]

use fraud_core::Model;
use fraud_core::model::LoadOptions;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::from_bytes(bytes, &LoadOptions::default()) {
        let rows = vec![0.5; 3 * model.features().len()];
        let mut out = [0.0; 3];
        if model.predict_batch(&rows, &mut out).is_ok() {
            assert!(out.iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }
});
