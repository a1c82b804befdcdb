//! Any bytes are a file of transactions, row by row valid or not, or refused as a whole. The first byte
//! chooses the format.
#![no_main]

use fraud_core::files::{Format, ReadOptions, TransactionReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let format = match first % 3 {
        0 => Format::Parquet,
        1 => Format::Csv,
        _ => Format::JsonLines,
    };
    let Ok(mut reader) = TransactionReader::from_bytes(bytes.to_vec(), format, ReadOptions::default()) else { return };
    let mut rows = Vec::new();
    while reader.read(&mut rows, 64).is_ok_and(|count| count > 0) {
        rows.clear();
    }
});
