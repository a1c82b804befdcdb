//! A payment: parsed and validated once at the edge, trusted after that.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod json;
mod raw;

pub use raw::{RawTransaction, RawValue};

use crate::error::ParseError;

/// Longest identifier, in bytes of its text.
pub const MAX_ID_BYTES: usize = 128;
/// Greatest amount, in major currency units.
pub const MAX_AMOUNT: f64 = 1e9;
const MAX_UNITS: i64 = 1_000_000_000 * AMOUNT_SCALE;
/// How many parts of a major currency unit an [`Amount`] counts.
pub const AMOUNT_SCALE: i64 = 10_000;
/// Earliest event time read, in Unix seconds: 0001-01-01T00:00:00Z.
pub const MIN_TIME: i64 = -62_135_596_800;
/// Latest event time read, in Unix seconds: 9999-12-31T23:59:59Z.
pub const MAX_TIME: i64 = 253_402_300_799;

/// Identifier of a payment, customer or terminal: 1 to 128 bytes as text.
///
/// An integer and its usual decimal text are the same identifier (`123` and `"123"`; `"0123"` is
/// another one). Answered and serialised as text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Integer(i64),
    Text(Box<str>),
}

/// An [`Id`] seen from outside, for hashing and storing it without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdRef<'a> {
    /// The canonical form of every identifier that is a 64-bit integer.
    Integer(i64),
    /// Any other text.
    Text(&'a str),
}

impl Id {
    /// The identifier of a text, or `None` when it is empty or longer than [`MAX_ID_BYTES`].
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_ID_BYTES {
            return None;
        }
        Some(canonical_integer(text).map_or_else(|| Self(Repr::Text(text.into())), Self::from))
    }

    /// The identifier without its ownership.
    #[must_use]
    pub fn as_ref(&self) -> IdRef<'_> {
        match &self.0 {
            Repr::Integer(value) => IdRef::Integer(*value),
            Repr::Text(text) => IdRef::Text(text),
        }
    }
}

/// The integer whose usual decimal text this is, if it is one: no plus, no leading zero, no `-0`.
fn canonical_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = match digits.as_bytes() {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { text.parse().ok() } else { None }
}

impl From<i64> for Id {
    fn from(value: i64) -> Self {
        Self(Repr::Integer(value))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Integer(value) => value.fmt(f),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

/// Shows the length only, so that a log line of a transaction names nobody.
impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Integer(_) => f.write_str("Id(integer)"),
            Repr::Text(text) => write!(f, "Id(text of {} bytes)", text.len()),
        }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Repr::Integer(_) => serializer.collect_str(self),
            Repr::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdReader)
    }
}

struct IdReader;

impl serde::de::Visitor<'_> for IdReader {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text of 1 to 128 bytes or an integer within 64 bits")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Id, E> {
        Ok(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Id, E> {
        i64::try_from(value).map(Id::from).map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(value), &self))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
        Id::from_text(text).ok_or_else(|| E::invalid_length(text.len(), &self))
    }
}

/// An amount in 1/10,000 of a major currency unit, 0 to 10¹³. Sums of it are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Amount(i64);

impl Amount {
    /// The amount nearest to `value` major units (ties to even), or `None` outside of 0 to [`MAX_AMOUNT`].
    #[must_use]
    pub fn from_major(value: f64) -> Option<Self> {
        if !(0.0..=MAX_AMOUNT).contains(&value) {
            return None;
        }
        // A product would round before the rounding: 0.00015 × 10,000 is 1.4999…. So the value is compared
        // with the number that its neighbours meet at, which is the f64 that a written tie reads as.
        let below = (value * AMOUNT_SCALE as f64).floor();
        let tie = (below + 0.5) / AMOUNT_SCALE as f64;
        let up = match value.total_cmp(&tie) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => below % 2.0 != 0.0,
            std::cmp::Ordering::Greater => true,
        };
        // At most 1e13, far inside of i64.
        Some(Self(below as i64 + i64::from(up)))
    }

    /// The amount of `units` ten-thousandths, or `None` outside of the range.
    #[must_use]
    pub fn from_units(units: i64) -> Option<Self> {
        (0..=MAX_UNITS).contains(&units).then_some(Self(units))
    }

    /// Ten-thousandths of a major unit.
    #[must_use]
    pub fn units(self) -> i64 {
        self.0
    }

    /// Major units, one correctly rounded division.
    #[must_use]
    pub fn major(self) -> f64 {
        self.0 as f64 / AMOUNT_SCALE as f64
    }
}

/// A payment whose every field keeps its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Identifies the payment: the same id twice is the same payment.
    pub transaction_id: Id,
    /// Who pays.
    pub customer_id: Id,
    /// Who is paid.
    pub terminal_id: Id,
    /// How much.
    pub amount: Amount,
    /// Event time in whole Unix seconds, UTC, [`MIN_TIME`] to [`MAX_TIME`].
    pub time: i64,
}

/// A transaction with what else its message said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The payment.
    pub transaction: Transaction,
    /// `tx_fraud`, where it was there and is 0 or 1: a label, never an input of the model.
    pub label: Option<bool>,
    /// How many label fields (`tx_fraud`, `tx_fraud_scenario`) the message carried.
    pub label_fields: u32,
    /// How many fields the message carried that are not defined.
    pub unknown_fields: u32,
}

/// How to read a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParseOptions {
    /// Unix seconds of `tx_time_seconds` 0 (the setting `time.epoch`; default 1970-01-01T00:00:00Z).
    pub epoch: i64,
    /// Read `tx_fraud` as the label and hold it to its rule. Replay does, the online edges do not.
    pub labels: bool,
    /// Accept field names in capitals, as files have them.
    pub any_case: bool,
}

impl Parsed {
    /// Reads one JSON object of UTF-8 bytes.
    ///
    /// # Errors
    /// [`ParseError::NotJson`] for bytes that are not a JSON object, [`ParseError::Invalid`] with every
    /// broken rule otherwise.
    pub fn from_json(bytes: &[u8], options: ParseOptions) -> Result<Self, ParseError> {
        Ok(json::read(bytes, options.any_case)?.validate(options)?)
    }

    /// Reads one JSON object, or an envelope whose field `data` holds it (as Kafka messages may).
    ///
    /// # Errors
    /// As [`Parsed::from_json`].
    pub fn from_message(bytes: &[u8], options: ParseOptions) -> Result<Self, ParseError> {
        Ok(json::read_message(bytes, options.any_case)?.validate(options)?)
    }
}

#[cfg(test)]
mod tests;
