//! What observing a record does: the functions that both the live stream and recovery call.
//!
//! Nothing in here looks at a clock, at the broker or at what is in flight. The same records in the same order
//! leave the same state, and give the same profiles.

use fraud_core::error::{ParseError, StoreError};
use fraud_core::features::{Label, LabelOutcome, MemoryStore, Profile, ProfilePlan};
use fraud_core::transaction::{Id, ParseOptions, Parsed, Transaction};

use super::format;
use super::settings::StreamSettings;
use super::waiting::Waiting;

/// Why a record went to the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No bytes at all (a tombstone).
    Empty,
    /// More bytes than a message may have.
    TooLarge,
    /// Not JSON.
    NotJson,
    /// JSON, but no valid transaction.
    Invalid,
    /// The event time is too far after the record's own.
    FutureTime,
    /// The id was used for another payment.
    Conflict,
    /// The model failed on it.
    ModelError,
    /// Not a label.
    BadLabel,
    /// The API refused it.
    Refused,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Empty,
        Self::TooLarge,
        Self::NotJson,
        Self::Invalid,
        Self::FutureTime,
        Self::Conflict,
        Self::ModelError,
        Self::BadLabel,
        Self::Refused,
    ];

    /// As headers and metrics say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::NotJson => "not_json",
            Self::Invalid => "invalid",
            Self::FutureTime => "future_time",
            Self::Conflict => "conflict",
            Self::ModelError => "model_error",
            Self::BadLabel => "bad_label",
            Self::Refused => "refused",
        }
    }
}

/// A record that cannot be scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, in a word.
    pub reason: Reason,
    /// Why, for a person; names no person.
    pub detail: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// Labels that the store took, each with its transaction.
pub(super) type Known = Vec<(Id, Label)>;

/// What a record of labels did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Labelled {
    /// Labels that say fraud, and that say legitimate.
    pub frauds: u64,
    pub legitimate: u64,
    /// Labels that wait for their transaction.
    pub waiting: u64,
}

/// How records are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub parse: ParseOptions,
    /// Seconds that an event time may lie after the record's own time.
    pub max_skew: i64,
    pub max_bytes: usize,
}

impl Reading {
    pub(super) fn new(settings: &StreamSettings) -> Self {
        Self {
            parse: ParseOptions { epoch: settings.time.epoch_seconds(), labels: false, any_case: false },
            max_skew: settings.time.max_future_skew.whole_seconds().into(),
            max_bytes: settings.kafka.max_message_bytes,
        }
    }

    /// The transaction in a record.
    pub(super) fn read(&self, payload: Option<&[u8]>, millis: i64) -> Result<Parsed, Refusal> {
        let payload = payload.ok_or_else(|| Refusal::new(Reason::Empty, "the record has no value"))?;
        self.check_size(payload)?;
        let bytes = format::without_registry_header(payload);
        let parsed = Parsed::from_message(bytes, self.parse).map_err(|error| {
            let reason = match &error {
                ParseError::NotJson { .. } => Reason::NotJson,
                _ => Reason::Invalid,
            };
            Refusal::new(reason, error.to_string())
        })?;
        let ahead = parsed.transaction.time - millis.div_euclid(1_000);
        if ahead > self.max_skew {
            let detail = format!("the event time is {ahead} s after the record's, at most {} s are", self.max_skew);
            return Err(Refusal::new(Reason::FutureTime, detail));
        }
        Ok(parsed)
    }

    /// The labels in a record.
    pub(super) fn labels(&self, (payload, millis): (Option<&[u8]>, i64)) -> Result<Vec<(Id, Label)>, Refusal> {
        let payload = payload.ok_or_else(|| Refusal::new(Reason::Empty, "the record has no value"))?;
        self.check_size(payload)?;
        let seconds = millis.div_euclid(1_000);
        let labels = format::labels(payload, seconds).map_err(|problem| Refusal::new(Reason::BadLabel, problem))?;
        if labels.iter().any(|(_, label)| label.observed_at - seconds > self.max_skew) {
            let detail = format!("`observed_at` is more than {} s after the record's time", self.max_skew);
            return Err(Refusal::new(Reason::FutureTime, detail));
        }
        Ok(labels)
    }

    fn check_size(&self, payload: &[u8]) -> Result<(), Refusal> {
        if payload.len() <= self.max_bytes {
            return Ok(());
        }
        let detail = format!("{} bytes, at most {} are read", payload.len(), self.max_bytes);
        Err(Refusal::new(Reason::TooLarge, detail))
    }
}

/// The state that records change.
#[derive(Debug)]
pub(super) struct State {
    pub store: MemoryStore,
    pub waiting: Waiting,
    pub reading: Reading,
}

impl State {
    /// A state around a store.
    pub(super) fn new(store: MemoryStore, settings: &StreamSettings) -> Self {
        Self { store, waiting: Waiting::of(settings), reading: Reading::new(settings) }
    }

    /// Observes a transaction, with its profile in `out`, or says why not. Labels that waited for it are added to
    /// `known`.
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Feature`]: the store takes nothing, and nothing is changed.
    pub(super) fn transaction(
        &mut self,
        transaction: &Transaction,
        plan: &ProfilePlan,
        (out, known): (&mut Profile, &mut Known),
    ) -> Result<Result<(), Refusal>, StoreError> {
        match self.store.observe(transaction, plan, out) {
            Ok(()) => {}
            Err(error @ StoreError::Conflict) => {
                return Ok(Err(Refusal::new(Reason::Conflict, error.to_string())));
            }
            Err(error) => return Err(error),
        }
        if !self.waiting.is_empty() {
            let id = &transaction.transaction_id;
            for label in self.waiting.join(id) {
                if self.store.label(id, label) == LabelOutcome::Applied {
                    known.push((id.clone(), label));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Takes in a record of labels, all or none of them; those that say something new are added to `known`.
    pub(super) fn labels(
        &mut self,
        (payload, millis): (Option<&[u8]>, i64),
        known: &mut Known,
    ) -> Result<Labelled, Refusal> {
        self.waiting.pass(millis);
        let labels = self.reading.labels((payload, millis))?;
        let mut done = Labelled::default();
        for (id, label) in labels {
            done.frauds += u64::from(label.fraud);
            done.legitimate += u64::from(!label.fraud);
            match self.store.label(&id, label) {
                LabelOutcome::Applied => known.push((id, label)),
                LabelOutcome::Unchanged => {}
                LabelOutcome::UnknownTransaction => {
                    self.waiting.keep(id, label, millis);
                    done.waiting += 1;
                }
            }
        }
        Ok(done)
    }
}
