//! The stage that observes: the one place where the order of rows matters.

use std::sync::Arc;

use fraud_core::error::StoreError;
use fraud_core::features::{Label, MemoryStore, Profile, ProfilePlan};

use super::batch::{Batch, Reject};
use super::error::ReplayError;

/// Records transactions, and their labels where those are asked for.
pub(super) struct Observer<'a> {
    pub(super) store: &'a MemoryStore,
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
        for index in 0..count {
            let transaction = &batch.transactions[index];
            let row = batch.numbers[index];
            match self.store.observe(transaction, &self.plan, &mut batch.profiles[kept]) {
                Ok(()) => {
                    if let (Some(delay), Some(fraud)) = (self.label_delay, batch.labels[index]) {
                        let observed_at = transaction.time + i64::from(delay);
                        self.store.label(&transaction.transaction_id, Label { fraud, observed_at });
                    }
                    batch.swap(kept, index);
                    kept += 1;
                }
                Err(error @ StoreError::Conflict) => batch.rejects.push(Reject::conflict(row, &error)),
                Err(source) => return Err(ReplayError::Store { row, source }),
            }
        }
        batch.truncate(kept);
        Ok(())
    }
}
