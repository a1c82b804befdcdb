//! A batch of records, observed in the store that instances share.
//!
//! Transactions go to the store many at a time. A call may break off in the middle and is made again then, also by
//! another process. So it ends where a transaction lies in a window of one before it in the same call: that one
//! would see it the second time, and had not the first time.

use std::time::{Duration, Instant};

use fraud_core::Transaction;
use fraud_core::error::StoreError;
use fraud_core::features::{KeyKind, Label, LabelOutcome, Profile, ProfilePlan};
use fraud_core::service::metrics::{ErrorType, StoreFigures};
use fraud_core::store::redis::{BlockingRedisStore, Observation};
use fraud_core::transaction::Id;
use hashbrown::HashMap;
use rdkafka::message::Message;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::batch::{Room, Work};
use super::error::StreamError;
use super::outputs::Outputs;
use super::reader::Taken;
use super::settings::StreamSettings;
use super::source::{Source, Stream};
use super::state::{Reading, Reason, Refusal};
use super::waiting::Waiting;

/// Transactions of one call at most.
const MOST: usize = 1_024;
/// How often the store is looked after.
const LOOK: Duration = Duration::from_secs(1);

/// The shared store, and the labels that wait.
pub(super) struct Keeper {
    store: BlockingRedisStore,
    waiting: Waiting,
    reading: Reading,
    /// Tells records of another topic's same partition and offset apart.
    topic: u64,
    call: Call,
    looked: Option<Instant>,
    cursor: u64,
}

/// What the next call to the store observes.
#[derive(Default)]
struct Call {
    rows: Vec<Row>,
    profiles: Vec<Profile>,
    /// The latest event of each customer and each terminal in it.
    latest: [HashMap<Id, i64>; 2],
}

struct Row {
    transaction: Transaction,
    /// Which record of the batch it came from.
    record: usize,
    origin: u64,
}

/// Which records this instance answers for.
pub(super) type Answers<'a> = &'a dyn Fn(Source, i64) -> bool;

impl Keeper {
    /// Connects to the store of the settings.
    ///
    /// # Errors
    /// [`StreamError::Store`]; a store that does not answer yet may do so later.
    pub(super) fn new(settings: &StreamSettings) -> Result<Self, StreamError> {
        let store = settings.store.redis().and_then(BlockingRedisStore::connect).map_err(StoreError::from)?;
        Ok(Self {
            store,
            waiting: Waiting::of(settings),
            reading: Reading::new(settings),
            topic: xxh3_64(settings.kafka.input_topic.as_bytes()),
            call: Call::default(),
            looked: None,
            cursor: 0,
        })
    }

    /// Observes every record in order. `false` when it was given up.
    ///
    /// # Errors
    /// [`StreamError::Store`] for a plan that looks further back than the store keeps.
    pub(super) fn observe(
        &mut self,
        (records, answers): (&[Taken<'_>], Answers<'_>),
        work: &mut Work<'_>,
        (room, out): (&mut Room, &mut Outputs),
    ) -> Result<bool, StreamError> {
        room.clear();
        self.call.clear();
        let plan = work.scorer.profile_plan().clone();
        let delays = [KeyKind::Customer, KeyKind::Terminal].map(|kind| {
            let of_kind = plan.windows().iter().filter(|window| window.key == kind);
            of_kind.map(|window| i64::from(window.delay)).min()
        });
        for (index, taken) in records.iter().enumerate() {
            if taken.source.stream == Stream::Labels {
                // What came before it must not know it.
                if !self.flush((records, &plan), work, (room, out))?
                    || !self.labels(taken, answers, (work, room, out))?
                {
                    return Ok(false);
                }
                continue;
            }
            let transaction = match self.reading.read(taken.message.payload(), taken.timestamp) {
                Ok(parsed) => {
                    work.metrics.shared.ignored_fields(parsed.label_fields, parsed.unknown_fields);
                    parsed.transaction
                }
                Err(refusal) => {
                    work.refuse(taken, &refusal, out);
                    continue;
                }
            };
            if self.call.is_seen_by_earlier(&transaction, delays) && !self.flush((records, &plan), work, (room, out))? {
                return Ok(false);
            }
            let place = [i64::from(taken.source.partition).to_le_bytes(), taken.message.offset().to_le_bytes()];
            // 0 would mean that it is not told.
            let origin = xxh3_64_with_seed(place.as_flattened(), self.topic).max(1);
            let awaited = self.waiting.holds(&transaction.transaction_id);
            self.call.add(Row { transaction, record: index, origin });
            // Labels that waited for it count for the next one.
            if (awaited || self.call.rows.len() >= MOST) && !self.flush((records, &plan), work, (room, out))? {
                return Ok(false);
            }
        }
        work.metrics.labels_waiting.set(i64::try_from(self.waiting.len()).unwrap_or(i64::MAX));
        self.flush((records, &plan), work, (room, out))
    }

    /// Has everything collected observed, however long it takes. `false` when it was given up.
    fn flush(
        &mut self,
        (records, plan): (&[Taken<'_>], &ProfilePlan),
        work: &mut Work<'_>,
        (room, out): (&mut Room, &mut Outputs),
    ) -> Result<bool, StreamError> {
        let mut call = std::mem::take(&mut self.call);
        call.profiles.resize_with(call.rows.len(), Profile::default);
        let mut done = 0;
        while let Some(rest) = call.rows.get(done..).filter(|rest| !rest.is_empty()) {
            let observations: Vec<_> =
                rest.iter().map(|row| Observation { transaction: &row.transaction, origin: row.origin }).collect();
            let results = self.store.observe_batch(&observations, plan, &mut call.profiles[done..]);
            let mut trouble = None;
            for result in results {
                let (row, profile) = (&call.rows[done], &mut call.profiles[done]);
                match result {
                    Ok(()) => room.add((row.transaction.clone(), row.record), profile),
                    Err(error @ StoreError::Conflict) => {
                        work.refuse(&records[row.record], &Refusal::new(Reason::Conflict, error.to_string()), out);
                    }
                    Err(error @ StoreError::Feature(_)) => return Err(error.into()),
                    Err(error) => {
                        trouble = Some(error);
                        break;
                    }
                }
                done += 1;
            }
            if let Some(error) = trouble {
                work.metrics.shared.error(ErrorType::Store);
                if !(work.wait)(&error) {
                    return Ok(false);
                }
            }
        }
        let joined = call.rows.iter().filter(|_| !self.waiting.is_empty());
        let ids: Vec<Id> = joined.map(|row| row.transaction.transaction_id.clone()).collect();
        call.clear();
        self.call = call;
        for id in ids {
            let labels = self.waiting.join(&id);
            let labels: Vec<_> = labels.into_iter().map(|label| (id.clone(), label)).collect();
            if self.enter(&labels, work)?.is_none() {
                return Ok(false);
            }
            labels.into_iter().for_each(|(id, label)| room.label(id, label));
        }
        Ok(true)
    }

    /// Takes in a record of labels. `false` when it was given up.
    fn labels(
        &mut self,
        taken: &Taken<'_>,
        answers: Answers<'_>,
        (work, room, out): (&mut Work<'_>, &mut Room, &mut Outputs),
    ) -> Result<bool, StreamError> {
        self.waiting.pass(taken.timestamp);
        let ours = answers(taken.source, taken.message.offset());
        let labels = match self.reading.labels((taken.message.payload(), taken.timestamp)) {
            Ok(labels) => labels,
            Err(refusal) => {
                if ours {
                    work.refuse(taken, &refusal, out);
                }
                return Ok(true);
            }
        };
        let Some(outcomes) = self.enter(&labels, work)? else { return Ok(false) };
        for ((id, label), outcome) in labels.into_iter().zip(outcomes) {
            if ours {
                work.metrics.shared.label(label.fraud);
            }
            match outcome {
                LabelOutcome::UnknownTransaction => {
                    self.waiting.keep(id, label, taken.timestamp);
                }
                // Unchanged: another instance was first, but only this one may have scored the transaction.
                LabelOutcome::Applied | LabelOutcome::Unchanged => room.label(id, label),
            }
        }
        Ok(true)
    }

    /// Adds labels to the store, however long it takes; none when it was given up.
    fn enter(&mut self, labels: &[(Id, Label)], work: &mut Work<'_>) -> Result<Option<Vec<LabelOutcome>>, StreamError> {
        let borrowed: Vec<_> = labels.iter().map(|(id, label)| (id, *label)).collect();
        loop {
            match self.store.label_batch(&borrowed) {
                Ok(outcomes) => return Ok(Some(outcomes)),
                Err(error @ (StoreError::Feature(_) | StoreError::Conflict)) => return Err(error.into()),
                Err(error) => {
                    work.metrics.shared.error(ErrorType::Store);
                    if !(work.wait)(&error) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Looks after the store now and then; what it holds, when it was looked at.
    pub(super) fn look(&mut self) -> Option<StoreFigures> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return None;
        }
        self.looked = Some(Instant::now());
        let watched = self.store.watch().and_then(|()| self.store.sweep(self.cursor));
        match watched {
            Ok(cursor) => self.cursor = cursor,
            Err(error) => tracing::warn!(%error, "looking after the store"),
        }
        let stats = self.store.stats();
        let (customers, terminals) = (stats.customers, stats.terminals);
        Some(StoreFigures { customers, terminals, events: stats.events, bytes: stats.bytes })
    }
}

impl Call {
    fn clear(&mut self) {
        self.rows.clear();
        self.latest.iter_mut().for_each(HashMap::clear);
    }

    /// Whether a transaction lies in a window of one before it; `delays`: the shortest of each kind's windows.
    fn is_seen_by_earlier(&self, transaction: &Transaction, delays: [Option<i64>; 2]) -> bool {
        let keys = [&transaction.customer_id, &transaction.terminal_id];
        keys.into_iter().zip(&self.latest).zip(delays).any(|((key, latest), delay)| {
            delay.is_some_and(|delay| latest.get(key).is_some_and(|latest| transaction.time <= latest - delay))
        })
    }

    fn add(&mut self, row: Row) {
        let transaction = &row.transaction;
        for (key, latest) in [&transaction.customer_id, &transaction.terminal_id].into_iter().zip(&mut self.latest) {
            match latest.get_mut(key) {
                Some(latest) => *latest = (*latest).max(transaction.time),
                None => drop(latest.insert(key.clone(), transaction.time)),
            }
        }
        self.rows.push(row);
    }
}
