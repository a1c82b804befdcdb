//! `.npy` files: numpy's arrays of float32 and float64, versions 1 to 3, in C or Fortran order.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

/// A matrix of f32, row by row. A file of one dimension is a column.
#[derive(Debug, PartialEq)]
pub struct Matrix {
    pub rows: usize,
    pub columns: usize,
    pub values: Vec<f32>,
}

fn bad(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

/// Reads a file. Memory is bounded by the file's size, whatever its header claims.
pub fn read(path: &Path) -> io::Result<Matrix> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    parse(&bytes)
}

/// Reads a file's bytes.
pub fn parse(bytes: &[u8]) -> io::Result<Matrix> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(|| bad("this is not a .npy file"))?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err(bad("this version of .npy is not known")),
    };
    let header = rest.get(..length).ok_or_else(|| bad("the header is cut off"))?;
    let header = std::str::from_utf8(header).map_err(|_| bad("the header is not text"))?;
    let data = &rest[length..];

    let descr = entry(header, "descr")?.trim_matches(['\'', '"']);
    let fortran = match entry(header, "fortran_order")? {
        "False" => false,
        "True" => true,
        _ => return Err(bad("`fortran_order` must be True or False")),
    };
    let shape = entry(header, "shape")?.trim_matches(['(', ')']);
    let dims: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|dim| !dim.is_empty())
        .map(|dim| dim.parse().map_err(|_| bad(format!("the shape ({shape}) is not one of whole numbers"))))
        .collect::<io::Result<_>>()?;
    let (rows, columns) = match dims[..] {
        [rows] => (rows, 1),
        [rows, columns] => (rows, columns),
        _ => return Err(bad(format!("the shape ({shape}) is not that of a matrix"))),
    };
    let size = match descr {
        "<f4" | "=f4" => 4,
        "<f8" | "=f8" => 8,
        other => return Err(bad(format!("the element type {other} is neither float32 nor float64"))),
    };
    let claimed = rows.checked_mul(columns).and_then(|count| count.checked_mul(size));
    if claimed != Some(data.len()) {
        return Err(bad(format!("the shape ({shape}) does not fit {} bytes of data", data.len())));
    }
    #[allow(clippy::cast_possible_truncation)] // The one cast from feature to model input.
    let mut values: Vec<f32> = if size == 4 {
        data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    } else {
        data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect()
    };
    if fortran && rows > 1 && columns > 1 {
        let by_column = values;
        values = (0..rows * columns).map(|at| by_column[at % columns * rows + at / columns]).collect();
    }
    Ok(Matrix { rows, columns, values })
}

/// The value of one key of the header, a Python dict.
fn entry<'a>(header: &'a str, key: &str) -> io::Result<&'a str> {
    let missing = || bad(format!("the header has no `{key}`"));
    let start = header.find(&format!("'{key}'")).ok_or_else(missing)?;
    let value = header[start + key.len() + 2..].trim_start().strip_prefix(':').ok_or_else(missing)?.trim_start();
    let end = if value.starts_with('(') { value.find(')').map(|end| end + 1) } else { value.find([',', '}']) };
    value.get(..end.ok_or_else(missing)?).map(str::trim).ok_or_else(missing)
}

/// Writes a list of float32.
pub fn write(path: &Path, values: &[f32]) -> io::Result<()> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", values.len());
    // Magic, version and length are 10 bytes; the data begins at a multiple of 64, after a newline.
    let padded = (header.len() + 11).next_multiple_of(64) - 11;
    header.push_str(&" ".repeat(padded - header.len()));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(|_| bad("the header is too long"))?;
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for value in values {
        file.write_all(&value.to_le_bytes())?;
    }
    file.flush()
}
