//! Any text is a policy or an error that says why not; a policy fits a scorer or is refused with its reason.
#![no_main]

use fraud_core::{Policy, Scorer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(policy) = Policy::from_toml(text) {
        let _ = Scorer::without_model(&policy);
    }
});
