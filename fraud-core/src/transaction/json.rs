//! One JSON object → [`RawTransaction`], without a copy of its texts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{RawTransaction, RawValue};
use crate::error::{FieldProblem, ParseError, ValidationError, ValueClass};

/// How the reader goes about one object.
#[derive(Clone, Copy, Default)]
struct Mode {
    /// A field `data` may hold the transaction.
    envelope: bool,
    /// Field names may be written in capitals.
    any_case: bool,
    /// Values are first taken as bare text, so that one number too large to hold is that field's
    /// problem and not the end of the message.
    careful: bool,
}

pub(super) fn read(bytes: &[u8], any_case: bool) -> Result<RawTransaction<'_>, ParseError> {
    read_as(bytes, Mode { any_case, ..Mode::default() })
}

pub(super) fn read_message(bytes: &[u8], any_case: bool) -> Result<RawTransaction<'_>, ParseError> {
    read_as(bytes, Mode { envelope: true, any_case, careful: false })
}

fn read_as(bytes: &[u8], mode: Mode) -> Result<RawTransaction<'_>, ParseError> {
    // Once for all of it: text by text is slower, and would pass over the texts that are not kept.
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    read_once(text, mode)
        .or_else(|error| {
            if error.is_syntax() {
                read_once(text, Mode { careful: true, ..mode }).map_err(|_| error)
            } else {
                Err(error)
            }
        })
        .map_err(|error| explain(&error))
}

fn read_once(text: &str, mode: Mode) -> Result<RawTransaction<'_>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let raw = reader.deserialize_any(ObjectReader(mode))?;
    reader.end()?;
    Ok(raw)
}

fn not_utf8(bytes: &[u8], at: usize) -> ParseError {
    let before = bytes.get(..at).unwrap_or_default();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    ParseError::NotJson {
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: at - line_start + 1,
        reason: "bytes that are not UTF-8".to_owned(),
    }
}

fn explain(error: &serde_json::Error) -> ParseError {
    if error.is_data() {
        let root = FieldProblem {
            field: "",
            rule: "one object with the fields of a transaction",
            found: ValueClass::NotObject,
        };
        return ValidationError { problems: vec![root] }.into();
    }
    let (line, column) = (error.line(), error.column());
    let mut reason = error.to_string();
    if let Some(end) = reason.rfind(" at line ") {
        reason.truncate(end);
    }
    ParseError::NotJson { line, column, reason }
}

struct ObjectReader(Mode);

impl<'de> DeserializeSeed<'de> for ObjectReader {
    type Value = RawTransaction<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ObjectReader {
    type Value = RawTransaction<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a transaction object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut raw = RawTransaction::default();
        let mut inner = None;
        while let Some(NameBuffer(name)) = map.next_key_seed(NameReader { lower: self.0.any_case })? {
            if let Some(field) = raw.field_mut(&name) {
                let first = *field == RawValue::Missing;
                let value = map.next_value_seed(ValueReader { careful: self.0.careful })?;
                *field = if first { value } else { RawValue::Repeated };
            } else if self.0.envelope && name == "data" && inner.is_none() {
                inner = map.next_value_seed(DataReader(Mode { envelope: false, ..self.0 }))?;
                raw.unknown_fields += u32::from(inner.is_none());
            } else {
                map.next_value::<IgnoredAny>()?;
                raw.unknown_fields += 1;
            }
        }
        Ok(match inner {
            Some(inner) if raw.is_empty() => inner,
            Some(_) => RawTransaction { unknown_fields: raw.unknown_fields + 1, ..raw },
            None => raw,
        })
    }
}

struct NameBuffer<'de>(Cow<'de, str>);

struct NameReader {
    lower: bool,
}

impl<'de> DeserializeSeed<'de> for NameReader {
    type Value = NameBuffer<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameReader {
    type Value = NameBuffer<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        let capitals = self.lower && name.bytes().any(|byte| byte.is_ascii_uppercase());
        Ok(NameBuffer(if capitals { name.to_ascii_lowercase().into() } else { name.into() }))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(NameBuffer(if self.lower { name.to_ascii_lowercase() } else { name.to_owned() }.into()))
    }
}

/// The envelope's `data`: a transaction if it is an object, nothing otherwise.
struct DataReader(Mode);

impl<'de> DeserializeSeed<'de> for DataReader {
    type Value = Option<RawTransaction<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

/// Answers for every JSON value that is neither of the interesting ones.
macro_rules! visit_scalars {
    ($($method:ident: $type:ty => $value:expr),* $(,)?) => {
        $(fn $method<E>(self, _: $type) -> Result<Self::Value, E> { Ok($value) })*
    };
}

impl<'de> Visitor<'de> for DataReader {
    type Value = Option<RawTransaction<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    visit_scalars!(visit_bool: bool => None, visit_i64: i64 => None, visit_u64: u64 => None, visit_f64: f64 => None, visit_str: &str => None);

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        ObjectReader(self.0).visit_map(map).map(Some)
    }
}

struct ValueReader {
    careful: bool,
}

impl<'de> DeserializeSeed<'de> for ValueReader {
    type Value = RawValue<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        if !self.careful {
            return reader.deserialize_any(self);
        }
        let text: &'de serde_json::value::RawValue = serde::Deserialize::deserialize(reader)?;
        let mut inner = serde_json::Deserializer::from_str(text.get());
        // The text is JSON by now, so only a number that fits no f64 can fail.
        Ok(inner.deserialize_any(Self { careful: false }).unwrap_or(RawValue::OutOfRange))
    }
}

impl<'de> Visitor<'de> for ValueReader {
    type Value = RawValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(RawValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(RawValue::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(RawValue::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(RawValue::OutOfRange, RawValue::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(RawValue::Float(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(RawValue::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(RawValue::Text(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(RawValue::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(RawValue::Object)
    }
}
