//! What a message of the streams may look like.

use fraud_core::features::Label;
use fraud_core::transaction::Id;
use serde::Deserialize;

/// The message without the five bytes that a schema registry's serialiser puts before it: a zero byte and the
/// schema's number. JSON never begins with a zero byte, so there is no doubt.
pub(super) fn without_registry_header(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0, _, _, _, _, rest @ ..] => rest,
        _ => bytes,
    }
}

/// What somebody found out about a payment, as a message says it.
#[derive(Debug, Deserialize)]
struct RawLabel {
    transaction_id: Id,
    label: RawVerdict,
    observed_at: Option<RawTime>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawVerdict {
    Flag(bool),
    Number(u8),
    Word(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawTime {
    Seconds(i64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(RawLabel),
    Many(Vec<RawLabel>),
}

/// Reads `{transaction_id, label, observed_at}`, one or an array of them. `label` is a boolean, 0 or 1, or
/// `fraud` or `legitimate`; `observed_at` RFC 3339 or Unix seconds, by default the record's own time.
///
/// # Errors
/// What is wrong, without any value of the message.
pub(super) fn labels(bytes: &[u8], record_seconds: i64) -> Result<Vec<(Id, Label)>, String> {
    const SHAPE: &str = "a label is {\"transaction_id\", \"label\", \"observed_at\"}, or an array of such";
    let raw: OneOrMany = serde_json::from_slice(without_registry_header(bytes)).map_err(|error| {
        if error.is_data() { SHAPE.to_owned() } else { format!("not JSON at line {}: {SHAPE}", error.line()) }
    })?;
    let raw = match raw {
        OneOrMany::One(label) => vec![label],
        OneOrMany::Many(labels) => labels,
    };
    raw.into_iter().map(|label| label.read(record_seconds)).collect()
}

impl RawLabel {
    fn read(self, record_seconds: i64) -> Result<(Id, Label), String> {
        let fraud = match self.label {
            RawVerdict::Flag(fraud) => fraud,
            RawVerdict::Number(0) => false,
            RawVerdict::Number(1) => true,
            RawVerdict::Word(word) if word == "fraud" => true,
            RawVerdict::Word(word) if word == "legitimate" => false,
            RawVerdict::Number(_) | RawVerdict::Word(_) => {
                return Err("`label` must be true, false, 1, 0, `fraud` or `legitimate`".to_owned());
            }
        };
        let observed_at = match self.observed_at {
            None => record_seconds,
            Some(RawTime::Seconds(seconds)) => seconds,
            Some(RawTime::Text(text)) => text
                .parse::<jiff::Timestamp>()
                .map_err(|_| "`observed_at` must be RFC 3339 or Unix seconds".to_owned())?
                .as_second(),
        };
        Ok((self.transaction_id, Label { fraud, observed_at }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_header_is_skipped() {
        assert_eq!(without_registry_header(b"\0\0\0\0\x07{}"), b"{}");
        assert_eq!(without_registry_header(b"{}"), b"{}");
        assert_eq!(without_registry_header(b"\0\0\0"), b"\0\0\0");
        assert_eq!(without_registry_header(b""), b"");
    }

    #[test]
    fn labels_come_in_several_dresses() {
        let one = labels(br#"{"transaction_id": 7, "label": 1, "observed_at": 50}"#, 9).unwrap();
        assert_eq!(one, [(Id::from(7), Label { fraud: true, observed_at: 50 })]);
        let many = br#"[{"transaction_id":"a","label":"legitimate","observed_at":"1970-01-01T00:01:00Z"},
                        {"transaction_id":"b","label":true,"more":[]}]"#;
        let many = labels(many, 9).unwrap();
        assert_eq!(many[0].1, Label { fraud: false, observed_at: 60 });
        assert_eq!(many[1].1, Label { fraud: true, observed_at: 9 });
        let framed = b"\0\0\0\0\x01{\"transaction_id\":1,\"label\":false}";
        assert_eq!(labels(framed, 3).unwrap()[0].1, Label { fraud: false, observed_at: 3 });
        for bad in ["", "{", "[1]", r#"{"transaction_id":1}"#, r#"{"transaction_id":1,"label":2}"#] {
            assert!(labels(bad.as_bytes(), 0).is_err(), "{bad}");
        }
        let secret = labels(br#"{"transaction_id":"someone","label":"someword"}"#, 0).unwrap_err();
        assert!(!secret.contains("some"), "{secret}");
    }
}
