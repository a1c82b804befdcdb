//! What a batch sends: kept until it is committed, so that a failed transaction is sent again as it was.

use std::ops::Range;
use std::sync::Arc;

use fraud_core::Assessment;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};

use super::headers;
use super::source::{Positions, Source, Topics};
use super::state::Refusal;

/// The version of what predictions look like.
pub(super) const SCHEMA_VERSION: &str = "1";
/// The headers of the trace context, passed on as they came.
const TRACE: [&str; 2] = ["traceparent", "tracestate"];
/// Bytes of each of them that are passed on, names included; the standard asks for 512 of `tracestate`.
const MOST_TRACE: usize = 600;
/// Begins the names of our headers of dead letters.
pub(super) const OURS: &str = "dead-letter-";
/// On a dead letter that is not whole: the bytes of the record.
pub(super) const CUT_FROM: &str = "dead-letter-cut-from-bytes";
/// What is left of the value of a dead letter that the broker takes for too large,
const CUT: usize = 16 << 10;
/// and of its key. Its own headers stay up to so many bytes, or go.
const CUT_BESIDE: usize = 1 << 10;

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
    /// The record's own, then ours.
    headers: OwnedHeaders,
    /// How many of them are the record's own.
    own: usize,
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
        let (mut headers, mut own) = (OwnedHeaders::new(), 0);
        // Ours say where `redrive` puts the record: a sender must not.
        for (key, value) in headers::of(message).filter(|(key, _)| !key.starts_with(OURS)) {
            headers = headers.insert(Header { key: &key, value });
            own += 1;
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
        self.dead.push(DeadLetter { key: copy(message.key()), value: copy(message.payload()), headers, own });
    }

    /// What dead letters may have at most, in bytes, after the broker took one that was within `limit` for too large:
    /// half of the largest. So those that are no part of the trouble stay whole.
    pub(super) fn next_limit(&self, limit: usize) -> usize {
        let whole = self.dead.iter().map(DeadLetter::size).filter(|size| *size <= limit);
        whole.max().map_or(limit, |size| size / 2)
    }

    /// All messages, predictions first; dead letters of more than `limit` bytes cut short.
    pub(super) fn messages(&self, limit: usize) -> impl Iterator<Item = Outgoing<'_>> {
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
        predictions.chain(self.dead.iter().map(move |letter| letter.outgoing(limit)))
    }
}

impl DeadLetter {
    fn size(&self) -> usize {
        let headers = self.headers.iter().map(size);
        [&self.key, &self.value].into_iter().flatten().map(Vec::len).chain(headers).sum()
    }

    fn outgoing(&self, limit: usize) -> Outgoing<'_> {
        let (mut key, mut value) = (self.key.as_deref(), self.value.as_deref());
        let (mut headers, mut parts) = (self.headers.clone(), Vec::new());
        let whole = self.size();
        if whole > limit {
            for (name, part, most) in [("value", &mut value, CUT), ("key", &mut key, CUT_BESIDE)] {
                if let Some(long) = part.filter(|part| part.len() > most) {
                    *part = Some(&long[..most]);
                    parts.push(name);
                }
            }
            if self.headers.iter().take(self.own).map(size).sum::<usize>() > CUT_BESIDE {
                headers = self.headers.iter().skip(self.own).fold(OwnedHeaders::new(), OwnedHeaders::insert);
                parts.push("headers");
            }
        }
        if !parts.is_empty() {
            let (whole, parts) = (whole.to_string(), parts.join(","));
            headers = headers
                .insert(Header { key: CUT_FROM, value: Some(whole.as_str()) })
                .insert(Header { key: "dead-letter-cut", value: Some(parts.as_str()) });
        }
        Outgoing { dead: true, key, value, headers }
    }
}

/// Bytes of a header.
fn size(header: Header<'_, &[u8]>) -> usize {
    header.key.len() + header.value.map_or(0, <[u8]>::len)
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
    let found = trace_of(headers::of(message));
    (!found.is_empty()).then_some(found)
}

/// The headers of the trace context. What is longer than it may be is left out, not cut: half a context is none.
fn trace_of<'a>(
    headers: impl Iterator<Item = (std::borrow::Cow<'a, str>, Option<&'a [u8]>)>,
) -> Vec<(&'static str, Vec<u8>)> {
    let (mut found, mut left) = (Vec::new(), [MOST_TRACE; TRACE.len()]);
    for (name, value) in headers {
        let Some(kind) = TRACE.iter().position(|key| key.eq_ignore_ascii_case(&name)) else { continue };
        let value = value.unwrap_or_default();
        if let Some(rest) = left[kind].checked_sub(name.len() + value.len()) {
            left[kind] = rest;
            found.push((TRACE[kind], value.to_vec()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(value: usize, (key, header): (usize, usize)) -> DeadLetter {
        let own = OwnedHeaders::new().insert(Header { key: "own", value: Some(&vec![b'h'; header]) });
        let headers = own.insert(Header { key: "dead-letter-reason", value: Some("invalid") });
        DeadLetter { key: Some(vec![b'k'; key]), value: Some(vec![b'v'; value]), headers, own: 1 }
    }

    fn header(outgoing: &Outgoing<'_>, name: &str) -> Option<String> {
        let found = outgoing.headers.iter().find(|header| header.key == name)?;
        Some(String::from_utf8_lossy(found.value?).into_owned())
    }

    #[test]
    fn what_makes_a_letter_too_large_is_cut_whatever_it_is() {
        const LARGE: usize = 1_000_000;
        for (value, beside, cut) in [
            (LARGE, (9, 9), "value"),
            (9, (LARGE, 9), "key"),
            (9, (9, LARGE), "headers"),
            (LARGE, (LARGE, LARGE), "value,key,headers"),
        ] {
            let letter = letter(value, beside);
            let whole = letter.outgoing(LARGE * 4);
            assert_eq!((whole.value.unwrap().len(), header(&whole, CUT_FROM)), (value, None));
            let outgoing = letter.outgoing(LARGE / 2);
            assert_eq!(header(&outgoing, "dead-letter-cut").as_deref(), Some(cut));
            assert_eq!(header(&outgoing, CUT_FROM), Some(letter.size().to_string()));
            assert_eq!(header(&outgoing, "dead-letter-reason").as_deref(), Some("invalid"));
            let headers = outgoing.headers.iter().map(size).sum::<usize>();
            assert!(outgoing.key.unwrap().len() + outgoing.value.unwrap().len() + headers < 20_000, "{cut}");
        }
    }

    #[test]
    fn letters_that_are_not_to_blame_stay_whole() {
        let sizes = [1_100_000, 100_000, 100, 90_000];
        let dead = sizes.iter().map(|size| letter(*size, (9, 9))).collect();
        let outputs = Outputs { dead, ..Outputs::default() };
        let cut = |limit| -> Vec<bool> {
            outputs.messages(limit).map(|outgoing| header(&outgoing, CUT_FROM).is_some()).collect()
        };
        let mut limit = usize::MAX;
        for expected in [[false; 4], [true, false, false, false], [true, true, false, true]] {
            assert_eq!(cut(limit), expected, "{limit}");
            limit = outputs.next_limit(limit);
        }
        // There is nothing to gain from a small one.
        (0..50).for_each(|_| limit = outputs.next_limit(limit));
        assert_eq!(cut(limit), [true, true, false, true]);
    }

    #[test]
    fn a_trace_is_passed_on_unless_it_is_too_long() {
        let long = vec![b'x'; MOST_TRACE];
        let given: [(&str, &[u8]); 5] = [
            ("tracestate", &long),
            ("TraceParent", b"00-1-2-01"),
            ("tracestate", b"a=1"),
            ("own", b"1"),
            ("traceparent", &long),
        ];
        let found = trace_of(given.into_iter().map(|(name, value)| (name.into(), Some(value))));
        assert_eq!(found, [("traceparent", b"00-1-2-01".to_vec()), ("tracestate", b"a=1".to_vec())]);
    }
}
