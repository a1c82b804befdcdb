//! Any bytes are an inference request whose rows are as wide as the features, or are refused. The first two
//! say how many of the rest are JSON; what follows is the binary tensor extension's.
#![no_main]

use fraud_api::routes::inference::read_request;
use libfuzzer_sys::fuzz_target;

const FEATURES: [&str; 3] = ["A", "B", "C"];
const LIMIT: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let json = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    if let Ok(request) = read_request(rest.split_at(json), &FEATURES, LIMIT) {
        assert!((1..=LIMIT).contains(&request.count));
        assert_eq!(request.rows.len(), request.count * FEATURES.len());
        assert!(!request.outputs.is_empty());
    }
});
