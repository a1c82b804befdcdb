//! The stage that observes: the one place where the order of rows matters.

use std::sync::Arc;

use fraud_core::error::StoreError;
use fraud_core::features::{Label, MemoryStore, Profile, ProfilePlan};
use fraud_core::store::redis::{BlockingRedisStore, Observation};

use super::batch::{Batch, Reject};
use super::error::ReplayError;

/// The store that a replay fills.
pub(super) enum Store {
    /// In this process.
    Embedded(MemoryStore),
    /// In a Redis.
    Shared(BlockingRedisStore),
}

/// Records transactions, and their labels where those are asked for.
pub(super) struct Observer<'a> {
    pub(super) store: &'a Store,
    pub(super) plan: Arc<ProfilePlan>,
    /// Seconds from an event to when its label is known; `None` without labels.
    pub(super) label_delay: Option<u32>,
}

impl Observer<'_> {
    /// Fills the profiles of a batch. A transaction that the store refuses becomes a rejected row.
    pub(super) fn observe(&self, batch: &mut Batch) -> Result<(), ReplayError> {
        let count = batch.len();
        if batch.profiles.len() < count {
            batch.profiles.resize_with(count, Profile::default);
        }
        let mut kept = 0;
        let mut done = 0;
        while done < count {
            let end = self.together(batch, done);
            let results = self.ask(batch, done..end)?;
            for (index, result) in (done..end).zip(results) {
                match result {
                    Ok(()) => {
                        batch.swap(kept, index);
                        batch.profiles.swap(kept, index);
                        kept += 1;
                    }
                    Err(error @ StoreError::Conflict) => {
                        batch.rejects.push(Reject::conflict(batch.numbers[index], &error));
                    }
                    Err(source) => return Err(ReplayError::Store { row: batch.numbers[index], source }),
                }
            }
            done = end;
        }
        batch.truncate(kept);
        Ok(())
    }

    /// How far rows from `start` on can be observed at once: up to the first to which a label among them is known.
    fn together(&self, batch: &Batch, start: usize) -> usize {
        let mut known_from = i64::MAX;
        for (index, transaction) in batch.transactions.iter().enumerate().skip(start) {
            if transaction.time >= known_from {
                return index;
            }
            if let Some(label) = self.label(batch, index) {
                known_from = known_from.min(label.observed_at);
            }
        }
        batch.len()
    }

    fn label(&self, batch: &Batch, index: usize) -> Option<Label> {
        let (delay, fraud) = self.label_delay.zip(batch.labels[index])?;
        Some(Label { fraud, observed_at: batch.transactions[index].time + i64::from(delay) })
    }

    /// Observes some rows and records their labels.
    fn ask(&self, batch: &mut Batch, rows: std::ops::Range<usize>) -> Result<Vec<Result<(), StoreError>>, ReplayError> {
        let (plan, first) = (&*self.plan, rows.start);
        let mut profiles = std::mem::take(&mut batch.profiles);
        let transactions = &batch.transactions[rows.clone()];
        let results: Vec<_> = match self.store {
            Store::Embedded(store) => store.observe_batch(transactions, plan, &mut profiles[rows.clone()]),
            Store::Shared(store) => {
                let observations: Vec<_> = transactions.iter().map(Observation::from).collect();
                store.observe_batch(&observations, plan, &mut profiles[rows.clone()])
            }
        };
        batch.profiles = profiles;
        let labelled = rows.zip(&results).filter(|(_, result)| result.is_ok());
        let labels: Vec<_> = labelled
            .filter_map(|(index, _)| Some((&batch.transactions[index].transaction_id, self.label(batch, index)?)))
            .collect();
        match self.store {
            Store::Embedded(store) => {
                labels.iter().for_each(|(id, label)| _ = store.label(id, *label));
            }
            Store::Shared(store) if !labels.is_empty() => {
                let row = batch.numbers[first];
                store.label_batch(&labels).map_err(|source| ReplayError::Store { row, source })?;
            }
            Store::Shared(_) => {}
        }
        Ok(results)
    }
}
