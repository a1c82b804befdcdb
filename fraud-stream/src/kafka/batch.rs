//! A batch of records, observed and assessed.

use std::time::Instant;

use fraud_core::error::{ModelError, StoreError};
use fraud_core::features::{Label, Profile};
use fraud_core::scorer::Scorer;
use fraud_core::service::fitness::Fitness;
use fraud_core::service::metrics::{ErrorType, Failure, Recorder};
use fraud_core::service::shadow::Beside;
use fraud_core::transaction::{Id, Parsed};
use fraud_core::{Assessment, Transaction};
use rdkafka::message::Message;

use super::error::StreamError;
use super::journal::Entry;
use super::metrics::StreamMetrics;
use super::outputs::Outputs;
use super::reader::Taken;
use super::source::{Positions, Source, Topics};
use super::state::{Known, Reason, Refusal, State};

/// Records that are read before the first of them is observed, so that the waits for what the store knows of them overlap.
const AHEAD: usize = 64;

/// The next offset of each source after some records.
pub(super) fn ends(records: &[Taken<'_>]) -> Positions {
    // A handful of sources: looking through them beats a map for every record.
    let mut last: Vec<(Source, i64)> = Vec::new();
    for taken in records {
        let next = taken.message.offset() + 1;
        match last.iter_mut().find(|(source, _)| *source == taken.source) {
            Some((_, offset)) => *offset = next,
            None => last.push((taken.source, next)),
        }
    }
    last.into_iter().collect()
}

/// Room for a batch, used again and again.
#[derive(Default)]
pub(super) struct Room {
    transactions: Vec<Transaction>,
    /// Which record each transaction came from.
    origins: Vec<usize>,
    profiles: Vec<Profile>,
    results: Vec<Result<Assessment, ModelError>>,
    /// What is in the next records; empty in between.
    parsed: Vec<Option<Result<Parsed, Refusal>>>,
    /// Labels that became known meanwhile.
    known: Known,
}

impl Room {
    pub(super) fn clear(&mut self) {
        self.transactions.clear();
        self.origins.clear();
        self.known.clear();
    }

    /// The next free profile, to be filled in before [`Room::observed`], and the labels that are known.
    fn profile(&mut self) -> (&mut Profile, &mut Known) {
        let slot = self.transactions.len();
        if self.profiles.len() == slot {
            self.profiles.push(Profile::default());
        }
        (&mut self.profiles[slot], &mut self.known)
    }

    /// A transaction is observed; its profile was filled in.
    fn observed(&mut self, (transaction, record): (Transaction, usize)) {
        self.transactions.push(transaction);
        self.origins.push(record);
    }

    /// Adds a transaction of a record with its profile, which is exchanged for another to fill.
    pub(super) fn add(&mut self, of_record: (Transaction, usize), profile: &mut Profile) {
        std::mem::swap(self.profile().0, profile);
        self.observed(of_record);
    }

    /// A label became known.
    pub(super) fn label(&mut self, id: Id, label: Label) {
        self.known.push((id, label));
    }
}

/// What the records of a batch go through.
pub(super) struct Work<'a> {
    pub scorer: &'a Scorer,
    pub topics: &'a Topics,
    pub recorder: &'a mut Recorder,
    pub metrics: &'a StreamMetrics,
    /// Who looks at what is answered.
    pub beside: &'a Beside,
    /// Drift and quality, where they are measured.
    pub fitness: Option<&'a Fitness>,
    /// Called when the store takes nothing; `false` gives the batch up.
    pub wait: &'a mut dyn FnMut(&StoreError) -> bool,
}

impl Work<'_> {
    /// Observes every record in order, then assesses the transactions together. `false` when it was given up.
    ///
    /// # Errors
    /// [`StreamError::Model`] when the model is broken, [`StreamError::Store`].
    pub(super) fn run(
        &mut self,
        records: &[Taken<'_>],
        (state, room): (&mut State, &mut Room),
        (entry, out): (&mut Entry, &mut Outputs),
    ) -> Result<bool, StreamError> {
        let begin = Instant::now();
        if !self.observe(records, (state, room), (entry, out))? {
            return Ok(false);
        }
        self.assess((records, begin), (room, out))?;
        Ok(true)
    }

    /// Assesses what was observed since `begin`.
    ///
    /// # Errors
    /// [`StreamError::Model`] when the model is broken.
    pub(super) fn assess(
        &mut self,
        (records, begin): (&[Taken<'_>], Instant),
        (room, out): (&mut Room, &mut Outputs),
    ) -> Result<(), StreamError> {
        self.scorer.assess_batch(&room.transactions, &room.profiles, &mut room.results);
        let took = begin.elapsed();
        let mut checked = false;
        let known = room.transactions.iter().zip(&room.profiles);
        for ((result, origin), (transaction, profile)) in room.results.iter().zip(&room.origins).zip(known) {
            let Some(taken) = records.get(*origin) else { continue };
            match result {
                Ok(assessment) => {
                    self.recorder.assessed(assessment, took);
                    self.beside.offer(transaction, profile, assessment);
                    if let Some(fitness) = self.fitness {
                        fitness.assessed(self.scorer, (transaction, profile), assessment);
                    }
                    out.prediction(assessment, &taken.message);
                }
                Err(error) => {
                    if !checked {
                        self.check_model(error)?;
                        checked = true;
                    }
                    self.recorder.model_failed();
                    self.beside.failed(self.scorer);
                    let refusal = Refusal::new(Reason::ModelError, error.to_string());
                    self.refuse(taken, &refusal, out);
                }
            }
        }
        // After the transactions, of which some may be among these.
        for (id, label) in &room.known {
            self.beside.labelled(id, label.observed_at, label.fraud);
            if let Some(fitness) = self.fitness {
                fitness.labelled(id, label.observed_at, label.fraud);
            }
        }
        Ok(())
    }

    fn observe(
        &mut self,
        records: &[Taken<'_>],
        (state, room): (&mut State, &mut Room),
        (entry, out): (&mut Entry, &mut Outputs),
    ) -> Result<bool, StreamError> {
        room.clear();
        for (first, some) in (0..).step_by(AHEAD).zip(records.chunks(AHEAD)) {
            let read = |taken: &Taken<'_>| {
                let is_input = taken.source.stream.is_input();
                is_input.then(|| state.reading.read(taken.message.payload(), taken.timestamp))
            };
            let mut parsed = std::mem::take(&mut room.parsed);
            parsed.extend(some.iter().map(read));
            // A few records, as they come when the stream keeps up, are not worth a store's locks.
            if some.len() == AHEAD {
                state.store.look_ahead(parsed.iter().flatten().flatten().map(|parsed| &parsed.transaction));
            }
            for ((index, taken), parsed) in (first..).zip(some).zip(parsed.drain(..)) {
                entry.observed(taken.source);
                if !self.observe_one((index, taken), parsed, (state, room, out))? {
                    return Ok(false);
                }
            }
            room.parsed = parsed;
        }
        out.ends = ends(records);
        entry.ends.clone_from(&out.ends);
        self.metrics.labels_waiting.set(i64::try_from(state.waiting.len()).unwrap_or(i64::MAX));
        Ok(true)
    }

    /// Observes what was read of a record of the input; labels are read here. `false` when it was given up.
    fn observe_one(
        &mut self,
        (index, taken): (usize, &Taken<'_>),
        parsed: Option<Result<Parsed, Refusal>>,
        (state, room, out): (&mut State, &mut Room, &mut Outputs),
    ) -> Result<bool, StreamError> {
        let parsed = match parsed {
            Some(Ok(parsed)) => parsed,
            Some(Err(refusal)) => {
                self.refuse(taken, &refusal, out);
                return Ok(true);
            }
            None => {
                match state.labels((taken.message.payload(), taken.timestamp), &mut room.known) {
                    Ok(done) => {
                        (0..done.frauds).for_each(|_| self.metrics.shared.label(true));
                        (0..done.legitimate).for_each(|_| self.metrics.shared.label(false));
                    }
                    Err(refusal) => self.refuse(taken, &refusal, out),
                }
                return Ok(true);
            }
        };
        let plan = self.scorer.profile_plan();
        let (profile, known) = room.profile();
        let taken_in = loop {
            match state.transaction(&parsed.transaction, plan, (&mut *profile, &mut *known)) {
                Ok(answer) => break answer,
                Err(error @ StoreError::Full { .. }) => {
                    self.metrics.shared.error(ErrorType::Store);
                    if !(self.wait)(&error) {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        };
        match taken_in {
            Ok(()) => {
                self.metrics.shared.ignored_fields(parsed.label_fields, parsed.unknown_fields);
                room.observed((parsed.transaction, index));
            }
            Err(refusal) => self.refuse(taken, &refusal, out),
        }
        Ok(true)
    }

    pub(super) fn refuse(&mut self, taken: &Taken<'_>, refusal: &Refusal, out: &mut Outputs) {
        self.metrics.dead.with_label_values(&[refusal.reason.as_str()]).inc();
        if taken.source.stream.is_input() {
            match refusal.reason {
                Reason::NotJson | Reason::Empty => self.metrics.shared.failed(Failure::NotJson),
                Reason::Invalid | Reason::FutureTime | Reason::BadLabel | Reason::Refused => {
                    self.metrics.shared.failed(Failure::Invalid);
                }
                Reason::TooLarge => self.metrics.shared.failed(Failure::TooLarge),
                Reason::Conflict => self.metrics.shared.failed(Failure::Conflict),
                // Counted where it happened.
                Reason::ModelError => {}
            }
        }
        out.dead_letter(&taken.message, (self.topics, taken.source), refusal);
    }

    /// One transaction that the model cannot answer is a dead letter; a model that fails its own golden rows
    /// would make dead letters of all.
    fn check_model(&self, error: &ModelError) -> Result<(), StreamError> {
        let Some(model) = self.scorer.model() else { return Ok(()) };
        match model.check_golden() {
            Ok(()) => Ok(()),
            Err(_) => Err(StreamError::Model(error.clone())),
        }
    }
}
