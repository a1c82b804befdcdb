//! The unchecked transaction, and the one place where its rules stand.

use std::borrow::Cow;

use super::{Amount, Id, MAX_AMOUNT, MAX_ID_BYTES, MAX_TIME, MIN_TIME, ParseOptions, Parsed, Transaction};
use crate::error::{FieldProblem, ValidationError, ValueClass};

/// A field as the format gave it, before any rule.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum RawValue<'a> {
    /// Not there.
    #[default]
    Missing,
    /// JSON `null`, an empty cell, a Parquet null.
    Null,
    /// A boolean.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// Any other finite or non-finite number.
    Float(f64),
    /// A number too large to hold.
    OutOfRange,
    /// A text.
    Text(Cow<'a, str>),
    /// A point in time in Unix seconds (a Parquet timestamp, floored).
    Instant(i64),
    /// A list.
    Array,
    /// An object.
    Object,
    /// The field stood there more than once.
    Repeated,
    /// Bytes that are not UTF-8.
    NotUtf8,
}

impl RawValue<'_> {
    fn class(&self) -> ValueClass {
        match self {
            Self::Missing => ValueClass::Missing,
            Self::Null => ValueClass::Null,
            Self::Boolean(_) => ValueClass::Boolean,
            Self::Integer(value) if *value < 0 => ValueClass::Negative,
            Self::Integer(_) | Self::Instant(_) => ValueClass::Integer,
            Self::Float(value) if !value.is_finite() => ValueClass::NotFinite,
            Self::Float(value) if *value < 0.0 => ValueClass::Negative,
            Self::Float(_) => ValueClass::Float,
            Self::OutOfRange => ValueClass::OutOfRange,
            Self::Text(text) if text.is_empty() => ValueClass::EmptyText,
            Self::Text(text) if text.len() > MAX_ID_BYTES => ValueClass::LongText,
            Self::Text(_) => ValueClass::Text,
            Self::Array => ValueClass::Array,
            Self::Object => ValueClass::Object,
            Self::Repeated => ValueClass::Repeated,
            Self::NotUtf8 => ValueClass::NotUtf8,
        }
    }

    fn is_absent(&self) -> bool {
        matches!(self, Self::Missing | Self::Null)
    }

    /// The whole number in it, also where a format wrote it with a zero fraction (`86400.0`).
    fn as_integer(&self) -> Option<i64> {
        /// Beyond this a float no longer tells neighbouring integers apart.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Self::Integer(value) => Some(*value),

            Self::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT => Some(*value as i64),
            _ => None,
        }
    }
}

/// The fields of a transaction, read but not yet checked.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)] // The fields are the ones of the transaction's table, by name.
pub struct RawTransaction<'a> {
    pub transaction_id: RawValue<'a>,
    pub customer_id: RawValue<'a>,
    pub terminal_id: RawValue<'a>,
    pub tx_amount: RawValue<'a>,
    pub tx_datetime: RawValue<'a>,
    pub tx_time_seconds: RawValue<'a>,
    pub tx_time_days: RawValue<'a>,
    pub tx_fraud: RawValue<'a>,
    pub tx_fraud_scenario: RawValue<'a>,
    /// How many other fields there were.
    pub unknown_fields: u32,
}

const ID_RULE: &str = "a text of 1 to 128 bytes or an integer within 64 bits";
const AMOUNT_RULE: &str = "a finite number from 0 to 1e9";
const DATETIME_RULE: &str = "RFC 3339 (2026-01-31T12:00:00Z) or `YYYY-MM-DD HH:MM:SS` in UTC, years 1 to 9999";
const SECONDS_RULE: &str = "an integer of at least 0, within the years 1 to 9999 (or give tx_datetime)";
const LABEL_RULE: &str = "0 or 1";

impl<'a> RawTransaction<'a> {
    /// The field of this lower-case name, or `None` for one that is not defined.
    pub fn field_mut(&mut self, name: &str) -> Option<&mut RawValue<'a>> {
        Some(match name {
            "transaction_id" => &mut self.transaction_id,
            "customer_id" => &mut self.customer_id,
            "terminal_id" => &mut self.terminal_id,
            "tx_amount" => &mut self.tx_amount,
            "tx_datetime" => &mut self.tx_datetime,
            "tx_time_seconds" => &mut self.tx_time_seconds,
            "tx_time_days" => &mut self.tx_time_days,
            "tx_fraud" => &mut self.tx_fraud,
            "tx_fraud_scenario" => &mut self.tx_fraud_scenario,
            _ => return None,
        })
    }

    /// Whether not one defined field is there.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self { unknown_fields: self.unknown_fields, ..Self::default() }
    }

    /// Applies every rule.
    ///
    /// # Errors
    /// All broken rules at once.
    pub fn validate(self, options: ParseOptions) -> Result<Parsed, ValidationError> {
        let mut problems = Problems(Vec::new());
        let transaction_id = problems.id("transaction_id", &self.transaction_id);
        let customer_id = problems.id("customer_id", &self.customer_id);
        let terminal_id = problems.id("terminal_id", &self.terminal_id);
        let amount = problems.amount(&self.tx_amount);
        let time = problems.time(&self, options.epoch);
        let label = if options.labels { problems.label(&self.tx_fraud) } else { None };
        let (Some(transaction_id), Some(customer_id), Some(terminal_id), Some(amount), Some(time), true) =
            (transaction_id, customer_id, terminal_id, amount, time, problems.0.is_empty())
        else {
            return Err(ValidationError { problems: problems.0 });
        };
        Ok(Parsed {
            transaction: Transaction { transaction_id, customer_id, terminal_id, amount, time },
            label,
            label_fields: u32::from(!self.tx_fraud.is_absent()) + u32::from(!self.tx_fraud_scenario.is_absent()),
            unknown_fields: self.unknown_fields,
        })
    }
}

struct Problems(Vec<FieldProblem>);

impl Problems {
    fn add<T>(&mut self, field: &'static str, rule: &'static str, found: ValueClass) -> Option<T> {
        self.0.push(FieldProblem { field, rule, found });
        None
    }

    fn id(&mut self, field: &'static str, value: &RawValue<'_>) -> Option<Id> {
        let id = match value {
            RawValue::Text(text) => Id::from_text(text),
            other => other.as_integer().map(Id::from),
        };
        id.or_else(|| self.add(field, ID_RULE, value.class()))
    }

    fn amount(&mut self, value: &RawValue<'_>) -> Option<Amount> {
        let major = match value {
            RawValue::Integer(value) => Some(*value as f64),
            RawValue::Float(value) => Some(*value),
            _ => None,
        };
        let found = match major {
            Some(major) if major > MAX_AMOUNT && major.is_finite() => ValueClass::OutOfRange,
            _ => value.class(),
        };
        major.and_then(Amount::from_major).or_else(|| self.add("tx_amount", AMOUNT_RULE, found))
    }

    fn time(&mut self, raw: &RawTransaction<'_>, epoch: i64) -> Option<i64> {
        if raw.tx_datetime.is_absent() {
            let value = &raw.tx_time_seconds;
            return value
                .as_integer()
                .filter(|seconds| *seconds >= 0)
                .and_then(|seconds| seconds.checked_add(epoch))
                .filter(|time| (MIN_TIME..=MAX_TIME).contains(time))
                .or_else(|| match value.as_integer() {
                    Some(0..) => self.add("tx_time_seconds", SECONDS_RULE, ValueClass::OutOfRange),
                    _ => self.add("tx_time_seconds", SECONDS_RULE, value.class()),
                });
        }
        match &raw.tx_datetime {
            RawValue::Text(text) => parse_datetime(text),
            RawValue::Instant(seconds) => Some(*seconds),
            _ => None,
        }
        .filter(|time| (MIN_TIME..=MAX_TIME).contains(time))
        .or_else(|| self.add("tx_datetime", DATETIME_RULE, raw.tx_datetime.class()))
    }

    fn label(&mut self, value: &RawValue<'_>) -> Option<bool> {
        match (value, value.as_integer()) {
            (RawValue::Missing | RawValue::Null, _) => None,
            (RawValue::Boolean(label), _) => Some(*label),
            (_, Some(0)) => Some(false),
            (_, Some(1)) => Some(true),
            _ => self.add("tx_fraud", LABEL_RULE, value.class()),
        }
    }
}

/// Unix seconds, floored, of RFC 3339 or of a date and time without an offset, which is read as UTC.
fn parse_datetime(text: &str) -> Option<i64> {
    /// Longer than any form that is meant, short enough that no time is lost on one that is not.
    const LONGEST: usize = 40;
    let shaped = (19..=LONGEST).contains(&text.len()) && text.is_ascii() && !text.contains('[');
    if !shaped {
        return None;
    }
    // Without an offset only the form with a blank is meant: `2026-01-31T12:00:00` could be any zone.
    let timestamp = match text.parse::<jiff::Timestamp>() {
        Ok(timestamp) => timestamp,
        Err(_) if text.as_bytes()[10] == b' ' => {
            let civil: jiff::civil::DateTime = text.parse().ok()?;
            jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?
        }
        Err(_) => return None,
    };
    i64::try_from(timestamp.as_nanosecond().div_euclid(1_000_000_000)).ok()
}
