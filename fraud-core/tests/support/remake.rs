//! A model file with other metadata: the default model made into others that answer otherwise.
#![allow(dead_code)] // Every test uses its part.

#[path = "protobuf.rs"]
mod protobuf;

use protobuf::bytes;

/// The default model.
pub const DEFAULT: &[u8] = include_bytes!("../../models/default.onnx");

/// Field number of `metadata_props` in an ONNX file.
const METADATA: u64 = 14;

/// The file without the entries whose keys are in `without` or `with`, and with those of `with`.
pub fn remade(file: &[u8], without: &[&str], with: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        let whole = rest;
        let tag = number(&mut rest);
        let length = number(&mut rest);
        if tag & 7 == 2 {
            let (body, after) = rest.split_at(usize::try_from(length).unwrap());
            rest = after;
            let names = |key: &&str| tag >> 3 == METADATA && key_of(body) == key.as_bytes();
            if without.iter().any(&names) || with.iter().any(|(key, _)| names(key)) {
                continue;
            }
        }
        out.extend_from_slice(&whole[..whole.len() - rest.len()]);
    }
    for (key, value) in with {
        let mut entry = Vec::new();
        bytes(1, key.as_bytes(), &mut entry);
        bytes(2, value.as_bytes(), &mut entry);
        bytes(METADATA, &entry, &mut out);
    }
    out
}

/// The default model whose probability p is moved to (p − from) / (to − from), cut to [0, 1].
pub fn moved(from: f64, to: f64) -> Vec<u8> {
    let calibration = format!(r#"{{"kind": "linear", "from": {from:?}, "to": {to:?}}}"#);
    remade(DEFAULT, &["fraud.golden"], &[("fraud.calibration", &calibration)])
}

fn key_of(entry: &[u8]) -> &[u8] {
    let mut rest = entry.strip_prefix(&[10]).unwrap_or_default();
    let length = if rest.is_empty() { 0 } else { number(&mut rest) };
    &rest[..usize::try_from(length).unwrap()]
}

fn number(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = rest[0];
        *rest = &rest[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}
