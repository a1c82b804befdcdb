//! Any bytes are a list of rows in either format, or are refused; every row is a transaction or no transaction.
//!
#![no_main]

use fraud_api::http::body::Media;
use fraud_api::routes::batch::rows;
use fraud_api::routes::predict::Wish;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((media, bytes)) = bytes.split_first() else { return };
    let media = if media % 2 == 0 { Media::Json } else { Media::Lines };
    if let Ok(rows) = rows(media, bytes, LIMIT) {
        assert!(rows.len() <= LIMIT);
        for row in rows {
            let _ = fraud_core::Parsed::from_json(row, fraud_core::ParseOptions::default());
        }
    }
    let _ = Wish::read(&String::from_utf8_lossy(bytes));
});
