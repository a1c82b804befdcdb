//! Tensors as numbers: their types, their JSON and their bytes.

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

/// Element types that can hold a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Datatype {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Fp32,
    Fp64,
}

impl Datatype {
    pub(super) fn read(name: &str) -> Option<Self> {
        Some(match name {
            "BOOL" => Self::Bool,
            "INT8" => Self::Int8,
            "INT16" => Self::Int16,
            "INT32" => Self::Int32,
            "INT64" => Self::Int64,
            "UINT8" => Self::Uint8,
            "UINT16" => Self::Uint16,
            "UINT32" => Self::Uint32,
            "UINT64" => Self::Uint64,
            "FP32" => Self::Fp32,
            "FP64" => Self::Fp64,
            _ => return None,
        })
    }

    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::Int8 | Self::Uint8 => 1,
            Self::Int16 | Self::Uint16 => 2,
            Self::Int32 | Self::Uint32 | Self::Fp32 => 4,
            Self::Int64 | Self::Uint64 | Self::Fp64 => 8,
        }
    }

    fn is_integer(self) -> bool {
        !matches!(self, Self::Fp32 | Self::Fp64)
    }

    /// Little-endian bytes as f32: one cast, as everywhere on the path.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        fn each<const N: usize>(bytes: &[u8], out: &mut Vec<f32>, value: impl Fn([u8; N]) -> f32) {
            out.extend(bytes.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)));
        }
        match self {
            Self::Bool | Self::Uint8 => each(bytes, out, |bytes: [u8; 1]| f32::from(bytes[0])),
            Self::Int8 => each(bytes, out, |bytes| f32::from(i8::from_le_bytes(bytes))),
            Self::Int16 => each(bytes, out, |bytes| f32::from(i16::from_le_bytes(bytes))),
            Self::Uint16 => each(bytes, out, |bytes| f32::from(u16::from_le_bytes(bytes))),
            Self::Int32 => each(bytes, out, |bytes| i32::from_le_bytes(bytes) as f32),
            Self::Uint32 => each(bytes, out, |bytes| u32::from_le_bytes(bytes) as f32),
            Self::Int64 => each(bytes, out, |bytes| i64::from_le_bytes(bytes) as f32),
            Self::Uint64 => each(bytes, out, |bytes| u64::from_le_bytes(bytes) as f32),
            Self::Fp32 => each(bytes, out, f32::from_le_bytes),
            Self::Fp64 => each(bytes, out, |bytes| f64::from_le_bytes(bytes) as f32),
        }
    }
}

/// Reads numbers from JSON: flat or nested lists, in row order.
pub(super) struct Numbers {
    pub(super) datatype: Datatype,
    /// More numbers than this are not read.
    pub(super) limit: usize,
}

/// Deepest nesting of a list.
const MAX_DEPTH: u8 = 8;

impl<'de> DeserializeSeed<'de> for Numbers {
    type Value = Vec<f32>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<f32>, D::Error> {
        let mut numbers = Vec::new();
        deserializer.deserialize_any(Level { into: &mut numbers, of: &self, depth: 0 })?;
        Ok(numbers)
    }
}

struct Level<'a> {
    into: &'a mut Vec<f32>,
    of: &'a Numbers,
    depth: u8,
}

impl Level<'_> {
    fn push<E: serde::de::Error>(self, value: f32) -> Result<(), E> {
        if self.depth == 0 {
            return Err(E::custom("`data` must be a list"));
        }
        if self.into.len() >= self.of.limit {
            return Err(E::custom("`data` has more elements than `shape` says"));
        }
        self.into.push(value);
        Ok(())
    }

    fn integral<E: serde::de::Error>(&self, is_integer: bool) -> Result<(), E> {
        if self.of.datatype.is_integer() && !is_integer {
            return Err(E::custom("`data` must be whole numbers for this datatype"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number or a list of numbers")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        if self.of.datatype == Datatype::Bool {
            return self.push(f32::from(u8::from(value)));
        }
        Err(E::custom("`data` must be numbers for this datatype"))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.push(value as f32)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.push(value as f32)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.integral(false)?;
        #[allow(clippy::cast_possible_truncation)] // The one cast to the model's f32.
        self.push(value as f32)
    }

    /// JSON has no NaN; `null` is how exporters write it.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.integral(false)?;
        self.push(f32::NAN)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(A::Error::custom("`data` is nested too deeply"));
        }
        while items.next_element_seed(Level { into: self.into, of: self.of, depth: self.depth + 1 })?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(json: &str, datatype: Datatype) -> Result<Vec<f32>, String> {
        let mut reader = serde_json::Deserializer::from_str(json);
        Numbers { datatype, limit: 6 }.deserialize(&mut reader).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_read_flat_and_nested() {
        assert_eq!(numbers("[1, 2.5, -3]", Datatype::Fp32).unwrap(), [1.0, 2.5, -3.0]);
        assert_eq!(numbers("[[1, 2], [3, 4]]", Datatype::Int64).unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(numbers("[true, false]", Datatype::Bool).unwrap(), [1.0, 0.0]);
        assert!(numbers("[null]", Datatype::Fp64).unwrap()[0].is_nan());
        for (json, datatype) in [
            ("3", Datatype::Fp32),
            ("[1.5]", Datatype::Int64),
            ("[\"1\"]", Datatype::Fp32),
            ("[true]", Datatype::Fp32),
            ("[1,2,3,4,5,6,7]", Datatype::Fp32),
            ("[[[[[[[[[1]]]]]]]]]", Datatype::Fp32),
            ("[{}]", Datatype::Fp32),
        ] {
            assert!(numbers(json, datatype).is_err(), "{json}");
        }
    }

    #[test]
    fn bytes_are_little_endian() {
        let mut out = Vec::new();
        Datatype::Int16.decode(&[0xff, 0xff, 1, 0], &mut out);
        Datatype::Fp64.decode(&1.5_f64.to_le_bytes(), &mut out);
        Datatype::Uint8.decode(&[200], &mut out);
        assert_eq!(out, [-1.0, 1.0, 1.5, 200.0]);
    }
}
