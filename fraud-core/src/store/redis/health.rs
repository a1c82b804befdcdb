//! How a shared store is doing, for readiness and metrics.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{RedisStore, guard};
use crate::error::{SharedStoreError, StoreError};
use crate::features::StoreStats;

/// How a store is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    /// For how long no call succeeded, and why the last one failed. `None` while calls succeed.
    pub failing: Option<(Duration, SharedStoreError)>,
    /// Writes that the server had answered and does not have any more, since this process knows the store.
    pub lost_writes: u64,
}

impl RedisStore {
    /// How the store is doing, as far as this process knows: asks nobody.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        StoreHealth { failing: self.shared.failing(), lost_writes: self.shared.lost_writes() }
    }

    /// Figures for metrics: keys and events as last counted by [`RedisStore::watch`], the server's memory, and what this
    /// process saw of repeated, late, conflicting and refused transactions.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let shared = &self.shared;
        let [customers, terminals, events] = [0, 1, 2].map(|at: usize| shared.counts[at].load(Ordering::Relaxed));
        let times = shared.times();
        StoreStats {
            customers,
            terminals,
            events,
            bytes: shared.memory[0].load(Ordering::Relaxed),
            late: shared.counters.late.load(Ordering::Relaxed),
            duplicates: shared.counters.duplicates.load(Ordering::Relaxed),
            conflicts: shared.counters.conflicts.load(Ordering::Relaxed),
            refused: shared.counters.refused.load(Ordering::Relaxed),
            earliest: times.earliest,
            time: times.latest,
            ..StoreStats::default()
        }
    }

    /// Looks at the server: that it is there, does not evict, is the store known, and has all the writes that it had.
    /// To be called every second or so, also where nothing else is asked: it is how a store that went away, and one
    /// that came back, is noticed without traffic.
    ///
    /// # Errors
    /// [`StoreError::Shared`]; [`RedisStore::health`] then says so as well.
    pub async fn watch(&self) -> Result<(), StoreError> {
        let look = async {
            let (mut connection, generation) = self.link.connection(&self.shared).await?;
            let seen = async {
                guard::check_memory(&self.shared, &mut connection).await?;
                guard::check_writes(&self.shared, &mut connection).await
            };
            match seen.await {
                Ok(()) => Ok(()),
                Err(error) => {
                    self.link.lost(generation, &error).await;
                    Err(error.into())
                }
            }
        };
        let outcome = self.in_time(1, look).await;
        self.ended(outcome)
    }
}
