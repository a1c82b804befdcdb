//! Transactions as the bytes of HTTP requests.

use std::io::Write;

use fraud_core::transaction::{AMOUNT_SCALE, IdRef};
use fraud_core::{Amount, Id};
use jiff::Timestamp;

use super::draft::StreamError;
use super::malformed::Malformed;
use crate::target::Target;

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// One transaction a request.
    Predict,
    /// An array of transactions a request.
    Batch,
    /// An array of labels a request.
    Labels,
}

impl Endpoint {
    fn path(self) -> &'static str {
        match self {
            Self::Predict => "/predict",
            Self::Batch => "/predict/batch",
            Self::Labels => "/labels",
        }
    }
}

/// A transaction as it goes out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) id: &'a str,
    pub(super) customer: &'a Id,
    pub(super) terminal: &'a Id,
    pub(super) amount: Amount,
    pub(super) time: &'a str,
}

/// Writes requests to one kind of endpoint.
#[derive(Debug, Clone)]
pub struct Encoder {
    frame: Frame,
    body: Vec<u8>,
}

/// What stands around a body.
#[derive(Debug, Clone)]
enum Frame {
    /// An HTTP head, here up to the length of the body.
    Http(Vec<u8>),
    /// Key and transaction id of a Kafka message.
    #[cfg(feature = "kafka")]
    Kafka,
}

impl Encoder {
    /// An encoder for an endpoint of a target. A key goes into `X-API-Key`.
    #[must_use]
    pub fn new(target: &Target, endpoint: Endpoint, key: Option<&str>) -> Self {
        let key = key.map_or(String::new(), |key| format!("X-API-Key: {key}\r\n"));
        let head = format!(
            "POST {}{} HTTP/1.1\r\nHost: {}\r\n{key}Content-Type: application/json\r\nContent-Length: ",
            target.prefix,
            endpoint.path(),
            target.authority()
        );
        Self { frame: Frame::Http(head.into_bytes()), body: Vec::new() }
    }

    /// An encoder of Kafka messages; see [`crate::load::kafka::frame`].
    #[cfg(feature = "kafka")]
    #[must_use]
    pub fn kafka() -> Self {
        Self { frame: Frame::Kafka, body: Vec::new() }
    }

    /// Writes a request whose body `write` makes. Over Kafka its message has this key, and is known by this transaction id.
    pub(super) fn request(&mut self, out: &mut Vec<u8>, names: (&str, &str), write: impl FnOnce(&mut Vec<u8>)) {
        self.body.clear();
        write(&mut self.body);
        match &self.frame {
            Frame::Http(head) => {
                let _ = names;
                out.extend_from_slice(head);
                // Writing into memory does not fail.
                let _ = write!(out, "{}\r\n\r\n", self.body.len());
            }
            #[cfg(feature = "kafka")]
            Frame::Kafka => crate::load::kafka::frame(names.0.as_bytes(), names.1.as_bytes(), out),
        }
        out.extend_from_slice(&self.body);
    }
}

/// The JSON object of a transaction.
pub(super) fn row(row: &Row<'_>, out: &mut Vec<u8>) {
    let _ = write!(out, "{{\"transaction_id\":\"{}\",\"customer_id\":", row.id);
    id(row.customer, out);
    out.extend_from_slice(b",\"terminal_id\":");
    id(row.terminal, out);
    out.extend_from_slice(b",\"tx_amount\":");
    amount(row.amount, out);
    let _ = write!(out, ",\"tx_datetime\":\"{}\"}}", row.time);
}

/// The same, broken in the way asked for.
pub(super) fn malformed(row: &Row<'_>, how: Malformed, out: &mut Vec<u8>) {
    let begin = out.len();
    match how {
        Malformed::NotJson => out.extend_from_slice(b"transaction=1&amount=2"),
        Malformed::Torn => {
            self::row(row, out);
            out.truncate(begin + (out.len() - begin) / 2);
        }
        _ => {
            let (long, mut text) = ("x".repeat(129), Vec::new());
            let id = match how {
                Malformed::EmptyId => "",
                Malformed::LongId => &long,
                _ => row.id,
            };
            let _ = write!(out, "{{\"transaction_id\":\"{id}\"");
            if how != Malformed::NoCustomer {
                out.extend_from_slice(b",\"customer_id\":");
                self::id(row.customer, out);
            }
            out.extend_from_slice(b",\"terminal_id\":");
            self::id(row.terminal, out);
            amount(row.amount, &mut text);
            let text = String::from_utf8_lossy(&text);
            let _ = match how {
                Malformed::NegativeAmount => write!(out, ",\"tx_amount\":-1{text}"),
                Malformed::TextAmount => write!(out, ",\"tx_amount\":\"{text} EUR\""),
                _ => write!(out, ",\"tx_amount\":{text}"),
            };
            let time = if how == Malformed::BadTime { "yesterday" } else { row.time };
            let _ = write!(out, ",\"tx_datetime\":\"{time}\"}}");
        }
    }
}

fn id(id: &Id, out: &mut Vec<u8>) {
    match id.as_ref() {
        IdRef::Integer(number) => {
            let _ = write!(out, "{number}");
        }
        IdRef::Text(text) => text_json(text, out),
    }
}

/// A text in quotes, escaped.
pub(super) fn text_json(text: &str, out: &mut Vec<u8>) {
    // A text always has a JSON form, and memory takes it.
    let _ = serde_json::to_writer(out, text);
}

/// An amount with as many decimals as it needs, up to its four.
fn amount(amount: Amount, out: &mut Vec<u8>) {
    let (whole, part) = (amount.units() / AMOUNT_SCALE, amount.units() % AMOUNT_SCALE);
    let _ = match part {
        0 => write!(out, "{whole}"),
        _ if part % 100 == 0 => write!(out, "{whole}.{:02}", part / 100),
        _ => write!(out, "{whole}.{part:04}"),
    };
}

/// Unix seconds as RFC 3339, remembered from one call to the next: thousands of transactions share a second.
#[derive(Debug, Default)]
pub(super) struct Dates {
    last: Option<(i64, String)>,
}

impl Dates {
    pub(super) fn text(&mut self, seconds: i64) -> Result<&str, StreamError> {
        if self.last.as_ref().is_none_or(|last| last.0 != seconds) {
            let time = Timestamp::from_second(seconds).map_err(|_| StreamError::Time { seconds })?;
            self.last = Some((seconds, time.to_string()));
        }
        Ok(self.last.as_ref().map_or("", |last| &last.1))
    }
}

#[cfg(test)]
mod tests {
    use fraud_core::{ParseOptions, Parsed};

    use super::*;

    fn row_of(customer: &Id, amount: i64) -> Row<'_> {
        let amount = Amount::from_units(amount).unwrap();
        Row { id: "lg-1", customer, terminal: customer, amount, time: "2026-01-31T12:00:00Z" }
    }

    #[test]
    fn rows_are_read_as_what_they_were() {
        for customer in [Id::from(-7), Id::from_text("a\"b\\c\u{1}é").unwrap()] {
            for units in [0, 1, 100, 12_300, 12_345, 99_990_000, 10_000_000_000_000] {
                let mut json = Vec::new();
                row(&row_of(&customer, units), &mut json);
                let parsed = Parsed::from_json(&json, ParseOptions::default()).unwrap();
                assert_eq!(parsed.transaction.customer_id, customer);
                assert_eq!(parsed.transaction.amount.units(), units, "{}", String::from_utf8_lossy(&json));
                assert_eq!((parsed.transaction.time, parsed.unknown_fields), (1_769_860_800, 0));
            }
        }
    }

    #[test]
    fn nothing_malformed_is_a_transaction() {
        let customer = Id::from(1);
        for how in Malformed::ALL {
            let mut json = Vec::new();
            malformed(&row_of(&customer, 0), how, &mut json);
            assert!(Parsed::from_json(&json, ParseOptions::default()).is_err(), "{how:?}");
            let is_json = serde_json::from_slice::<serde_json::Value>(&json).is_ok();
            assert_eq!(is_json, !matches!(how, Malformed::Torn | Malformed::NotJson), "{how:?}");
        }
    }

    #[test]
    fn requests_have_their_length_and_key() {
        let target = Target::parse("http://127.0.0.1:8000/base", &[]).unwrap();
        let mut out = Vec::new();
        Encoder::new(&target, Endpoint::Batch, Some("k"))
            .request(&mut out, ("", ""), |body| body.extend_from_slice(b"[]"));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "POST /base/predict/batch HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nX-API-Key: k\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
        );
    }
}
