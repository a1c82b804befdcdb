//! What a batch sends: kept until it is committed, so that a failed transaction is sent again as it was.

use std::ops::Range;
use std::sync::Arc;

use fraud_core::Assessment;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};

use super::source::{Positions, Source, Topics};
use super::state::Refusal;

/// The version of what predictions look like.
pub(super) const SCHEMA_VERSION: &str = "1";
/// The headers of the trace context, passed on as they came.
const TRACE: [&str; 2] = ["traceparent", "tracestate"];
/// What is left of a dead letter that the broker takes for too large.
const CUT: usize = 16 << 10;

/// Everything a batch sends.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// Keys and values, one after the other.
    bytes: Vec<u8>,
    predictions: Vec<Prediction>,
    dead: Vec<DeadLetter>,
    /// The journal's message; empty where there is none.
    pub journal: Vec<u8>,
    /// Positions after the batch, of the sources that moved.
    pub ends: Positions,
    /// Goes with the offsets.
    pub note: String,
}

#[derive(Debug)]
struct Prediction {
    key: Range<usize>,
    value: Range<usize>,
    model_version: Arc<str>,
    source: (i32, i64),
    /// The time of the record answered, in milliseconds.
    record_time: i64,
    trace: Option<Vec<(&'static str, Vec<u8>)>>,
}

/// A record as it came, and why it goes back.
#[derive(Debug)]
struct DeadLetter {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: OwnedHeaders,
}

/// One message to send.
pub(super) struct Outgoing<'a> {
    pub dead: bool,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: OwnedHeaders,
}

impl Outputs {
    /// The predictions, each with the partition and offset of the record answered.
    pub(super) fn answers(&self) -> impl Iterator<Item = ((i32, i64), &[u8])> {
        self.predictions.iter().map(|prediction| (prediction.source, &self.bytes[prediction.value.clone()]))
    }

    /// Times of the records answered, in milliseconds.
    pub(super) fn record_times(&self) -> impl Iterator<Item = i64> {
        self.predictions.iter().map(|prediction| prediction.record_time)
    }

    /// Nothing to send, positions to commit.
    pub(super) fn positions(ends: Positions, note: String) -> Self {
        Self { ends, note, ..Self::default() }
    }

    /// Predictions and dead letters.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.predictions.len() as u64, self.dead.len() as u64)
    }

    /// Empties it and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.predictions.clear();
        self.dead.clear();
        self.journal.clear();
        self.ends.clear();
        self.note.clear();
    }

    /// Adds an assessment: the bytes that `replay` writes for it.
    pub(super) fn prediction(&mut self, assessment: &Assessment, message: &BorrowedMessage<'_>) {
        use std::io::Write;
        let start = self.bytes.len();
        // Writing to memory does not fail.
        let _ = write!(self.bytes, "{}", assessment.transaction_id);
        let middle = self.bytes.len();
        assessment.write_json(&mut self.bytes);
        self.predictions.push(Prediction {
            key: start..middle,
            value: middle..self.bytes.len(),
            model_version: assessment.model_version.clone(),
            source: (message.partition(), message.offset()),
            record_time: message.timestamp().to_millis().unwrap_or(0),
            trace: trace(message),
        });
    }

    /// Adds an answer that another service gave, as it gave it.
    pub(super) fn foreign(
        &mut self,
        key: &str,
        (value, model_version): (&[u8], Arc<str>),
        message: &BorrowedMessage<'_>,
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.as_bytes());
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.predictions.push(Prediction {
            key: start..middle,
            value: middle..self.bytes.len(),
            model_version,
            source: (message.partition(), message.offset()),
            record_time: message.timestamp().to_millis().unwrap_or(0),
            trace: trace(message),
        });
    }

    /// Adds a record that cannot be scored: its own bytes and headers, and why, from where and when.
    pub(super) fn dead_letter(
        &mut self,
        message: &BorrowedMessage<'_>,
        (topics, source): (&Topics, Source),
        refusal: &Refusal,
    ) {
        let mut headers = OwnedHeaders::new();
        if let Some(own) = message.headers() {
            for header in own.iter() {
                headers = headers.insert(Header { key: header.key, value: header.value });
            }
        }
        let text = |headers: OwnedHeaders, key: &str, value: &str| headers.insert(Header { key, value: Some(value) });
        headers = text(headers, "dead-letter-reason", refusal.reason.as_str());
        headers = text(headers, "dead-letter-detail", &refusal.detail);
        headers = text(headers, "dead-letter-topic", topics.name(source.stream));
        headers = text(headers, "dead-letter-partition", &source.partition.to_string());
        headers = text(headers, "dead-letter-offset", &message.offset().to_string());
        let time = message.timestamp().to_millis().unwrap_or(-1);
        headers = text(headers, "dead-letter-record-time", &time.to_string());
        let copy = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        self.dead.push(DeadLetter { key: copy(message.key()), value: copy(message.payload()), headers });
    }

    /// All messages, predictions first; dead letters cut short where `cut` says so.
    pub(super) fn messages(&self, cut: bool) -> impl Iterator<Item = Outgoing<'_>> {
        let predictions = self.predictions.iter().map(|prediction| {
            let mut headers = OwnedHeaders::new_with_capacity(4)
                .insert(Header { key: "model-version", value: Some(prediction.model_version.as_ref()) })
                .insert(Header { key: "schema-version", value: Some(SCHEMA_VERSION) });
            let mut place = [0_u8; 32];
            let place = write_place(&mut place, prediction.source);
            headers = headers.insert(Header { key: "input", value: Some(place) });
            let mut time = [0_u8; 20];
            let time = write_number(&mut time, prediction.record_time);
            headers = headers.insert(Header { key: "record-time", value: Some(time) });
            for (key, value) in prediction.trace.iter().flatten() {
                headers = headers.insert(Header { key, value: Some(value.as_slice()) });
            }
            Outgoing {
                dead: false,
                key: Some(&self.bytes[prediction.key.clone()]),
                value: Some(&self.bytes[prediction.value.clone()]),
                headers,
            }
        });
        predictions.chain(self.dead.iter().map(move |letter| letter.outgoing(cut)))
    }
}

impl DeadLetter {
    fn outgoing(&self, cut: bool) -> Outgoing<'_> {
        let whole = self.value.as_deref();
        let long = whole.filter(|value| cut && value.len() > CUT);
        let headers = match long {
            Some(value) => {
                let size = value.len().to_string();
                self.headers.clone().insert(Header { key: "dead-letter-cut-from-bytes", value: Some(size.as_str()) })
            }
            None => self.headers.clone(),
        };
        Outgoing { dead: true, key: self.key.as_deref(), value: long.map(|value| &value[..CUT]).or(whole), headers }
    }
}

/// `partition:offset` of the record answered.
fn write_place(buffer: &mut [u8; 32], (partition, offset): (i32, i64)) -> &[u8] {
    use std::io::Write;
    let mut rest = &mut buffer[..];
    let written = match write!(rest, "{partition}:{offset}") {
        Ok(()) => 32 - rest.len(),
        Err(_) => 0,
    };
    &buffer[..written]
}

fn write_number(buffer: &mut [u8; 20], number: i64) -> &[u8] {
    use std::io::Write;
    let mut rest = &mut buffer[..];
    let written = match write!(rest, "{number}") {
        Ok(()) => 20 - rest.len(),
        Err(_) => 0,
    };
    &buffer[..written]
}

fn trace(message: &BorrowedMessage<'_>) -> Option<Vec<(&'static str, Vec<u8>)>> {
    let headers = message.headers()?;
    let mut found = Vec::new();
    for header in headers.iter() {
        if let Some(key) = TRACE.iter().find(|key| key.eq_ignore_ascii_case(header.key)) {
            found.push((*key, header.value.unwrap_or_default().to_vec()));
        }
    }
    (!found.is_empty()).then_some(found)
}
