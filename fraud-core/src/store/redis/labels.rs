//! Labels: kept with the id, and, where one calls the transaction fraud, with its customer and terminal.

use redis::Value;

use super::names::{Entry, Placed, label_member};
use super::observe::MOST;
use super::part::{self, Chunks, PARTIES};
use super::script::{Call, Script};
use super::{RedisStore, answer, guard};
use crate::error::StoreError;
use crate::features::store::labels::History;
use crate::features::{KeyKind, Label, LabelOutcome};
use crate::transaction::Id;

impl RedisStore {
    /// Adds what somebody found out about a transaction. See
    /// [`MemoryStore::label`](crate::features::MemoryStore::label). Sent again, a label that broke off on its way
    /// reaches what it had not reached.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Shared`].
    pub async fn label(&self, id: &Id, label: Label) -> Result<LabelOutcome, StoreError> {
        let outcomes = self.label_batch(&[(id, label)]).await?;
        Ok(outcomes.first().copied().unwrap_or(LabelOutcome::UnknownTransaction))
    }

    /// Adds many labels, in two or three round trips for each 256; those of one transaction in their order. One outcome
    /// for each.
    ///
    /// # Errors
    /// As [`RedisStore::label`], for all of them: send them all again.
    pub async fn label_batch(&self, labels: &[(&Id, Label)]) -> Result<Vec<LabelOutcome>, StoreError> {
        if labels.is_empty() {
            return Ok(Vec::new());
        }
        self.ready().await?;
        let mut outcomes = Vec::with_capacity(labels.len());
        for labels in labels.chunks(MOST) {
            outcomes.append(&mut self.label_round(labels).await?);
        }
        Ok(outcomes)
    }

    async fn label_round(&self, labels: &[(&Id, Label)]) -> Result<Vec<LabelOutcome>, StoreError> {
        let assumed = self.shared.times().latest;
        let (now, mut answers) = self.ask_ids(labels, assumed).await?;
        if now != assumed {
            // Where the store's time turns out to be another, other chunks may hold the ids that were not found.
            let (_, again) = self.ask_ids(labels, now).await?;
            for (first, again) in answers.iter_mut().zip(again) {
                if read(first).is_ok_and(|found| found.is_none()) {
                    *first = again;
                }
            }
        }
        let mut later = Vec::new();
        let mut outcomes = Vec::with_capacity(labels.len());
        let floor = part::floor(&self.shared, now);
        for value in &answers {
            let read = read(value).map_err(|problem| self.shared.refused(problem))?;
            outcomes.push(match read {
                Some((_, entry, _)) if floor.is_some_and(|floor| entry.time <= floor) => {
                    LabelOutcome::UnknownTransaction
                }
                Some((outcome, entry, history)) => {
                    if history.iter().any(|(_, fraud)| *fraud) {
                        later.extend(PARTIES.map(|kind| self.fraud_call(kind, &entry, &history)));
                    }
                    outcome
                }
                None => LabelOutcome::UnknownTransaction,
            });
        }
        if !later.is_empty() {
            for value in self.call(&later).await? {
                answer::checked(&value).map_err(|problem| self.shared.refused(problem))?;
            }
        }
        Ok(outcomes)
    }

    /// The store's time, and what each id answered to its label.
    async fn ask_ids(
        &self,
        labels: &[(&Id, Label)],
        now: Option<i64>,
    ) -> Result<(Option<i64>, Vec<Value>), StoreError> {
        let shared = &self.shared;
        let secret = &shared.identity().ok_or_else(|| guard::no_store(shared))?.secret;
        let [latest, earliest] = shared.names.times();
        let epoch = shared.epoch().unwrap_or_default();
        let mut calls = Vec::with_capacity(labels.len() + 1);
        calls.push(Call::script(Script::Meta, &[shared.names.meta(), latest, earliest]).arg(epoch).arg(1));
        for (id, label) in labels {
            let placed = Placed::new(secret, secret.key(id));
            let begin = shared.names.tag(placed.tag);
            let chunks = now.map(|now| Chunks::of(shared, now, Some(now)));
            let numbers = chunks.into_iter().flat_map(|chunks| (chunks.first..=chunks.last).rev());
            let mut keys = vec![shared.names.marker(placed.tag)];
            for kind in ["i", "l"] {
                keys.extend(numbers.clone().map(|number| format!("{begin}{kind}:{number}")));
            }
            let call = Call::script(Script::Label, &keys).arg(epoch).arg(placed.field());
            let call = call.number(part::floor(shared, now)).arg(&label.observed_at.to_be_bytes());
            calls.push(call.arg(&[u8::from(label.fraud)]));
        }
        let mut values = self.call(&calls).await?;
        let ids = values.split_off(1.min(values.len()));
        let times = values.first().and_then(answer::list).unwrap_or_default();
        Ok((times.first().and_then(answer::integer), ids))
    }

    pub(super) fn fraud_call(&self, kind: KeyKind, entry: &Entry, history: &History) -> Call {
        let shared = &self.shared;
        let key = if kind == KeyKind::Customer { entry.customer } else { entry.terminal };
        let placed = match shared.identity() {
            Some(known) => Placed::new(&known.secret, key),
            None => Placed { key, tag: 0 },
        };
        let [_, frauds, cells] = shared.names.party(kind, &placed);
        let mut call = Call::script(Script::Fraud, &[shared.names.marker(placed.tag), frauds, cells])
            .arg(shared.epoch().unwrap_or_default())
            .arg(entry.time);
        for label in history {
            call = call.arg(label_member(entry, *label));
        }
        call
    }
}

/// Outcome, entry and all labels of an id; `None` where the id is not known.
fn read(value: &Value) -> Result<Option<(LabelOutcome, Entry, History)>, String> {
    let read = |values: &[Value]| {
        let [_, outcome, entry, labels] = values else { return None };
        let outcome = match answer::integer(outcome)? {
            0 => return Some(None),
            1 => LabelOutcome::Unchanged,
            _ => LabelOutcome::Applied,
        };
        let mut history: History = Vec::new();
        for label in answer::bytes(labels)?.as_chunks::<9>().0 {
            let (observed_at, fraud) = label.split_first_chunk::<8>()?;
            history.push((i64::from_be_bytes(*observed_at), fraud == [1]));
        }
        history.sort_unstable();
        Some(Some((outcome, Entry::read(answer::bytes(entry)?)?, history)))
    };
    answer::list(answer::checked(value)?).and_then(read).ok_or_else(|| "a label gave something else".to_owned())
}
