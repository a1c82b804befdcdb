//! What the benchmarks share: reading rows and tree models without the library's own loader.

#![deny(unsafe_code)]

pub mod payments;
pub mod trees_file;

use std::path::Path;

use anyhow::{Context, ensure};

/// Reads a two-dimensional little-endian float32 `.npy` file: the values row by row, and the width of a row.
///
/// # Errors
/// When the file cannot be read or is of another kind.
pub fn read_npy(path: &Path) -> anyhow::Result<(Vec<f32>, usize)> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    ensure!(bytes.len() > 10 && &bytes[..8] == b"\x93NUMPY\x01\x00", "{}: not a .npy file", path.display());
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    ensure!(start <= bytes.len(), "{}: torn header", path.display());
    let header = String::from_utf8_lossy(&bytes[10..start]).into_owned();
    ensure!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "float32 rows wanted: {header}");
    let width = header.split(',').filter_map(|part| part.trim().trim_end_matches([')', '}', ' ']).parse().ok()).next();
    let width = width.with_context(|| format!("two dimensions wanted: {header}"))?;
    let values = bytes[start..].as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok((values, width))
}
