//! Any bytes are a transaction, no JSON, or a list of broken rules; a good one is read the same again.
#![no_main]

use fraud_core::{ParseOptions, Parsed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let plain = Parsed::from_json(bytes, ParseOptions::default());
    let message = Parsed::from_message(bytes, ParseOptions::default());
    if let Ok(parsed) = &plain {
        // What stands at the top of a message wins over what an envelope in it holds.
        assert!(message.is_ok_and(|message| message.transaction == parsed.transaction));
    }
    let files = ParseOptions { labels: true, any_case: true, ..ParseOptions::default() };
    let _ = Parsed::from_json(bytes, files);
});
