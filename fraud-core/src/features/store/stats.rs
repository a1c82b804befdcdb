//! What a store says about itself.

use std::sync::atomic::Ordering;

use super::{MemoryStore, Shard};

/// Figures of a store at one moment. Keys and events that expired count until they are cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Customers with a transaction that is kept.
    pub customers: u64,
    /// Terminals with a transaction that is kept.
    pub terminals: u64,
    /// Transactions kept.
    pub events: u64,
    /// Memory in use, in bytes.
    pub bytes: u64,
    /// Customers and terminals a part of whose history is kept by the minute only.
    pub approximate_keys: u64,
    /// Transactions older than the lateness, not recorded, since the store was made or restored.
    pub late: u64,
    /// Transactions seen again, likewise.
    pub duplicates: u64,
    /// Transactions refused because their id was used for another payment, likewise.
    pub conflicts: u64,
    /// Transactions refused because memory was full, likewise.
    pub refused: u64,
    /// Smallest event time recorded (or what a restored history reaches back to), in Unix seconds.
    pub earliest: Option<i64>,
    /// Greatest event time recorded, in Unix seconds.
    pub time: Option<i64>,
}

impl MemoryStore {
    /// Figures for metrics. Visits every shard, none for long.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = StoreStats {
            bytes: count(&self.bytes),
            late: count(&self.counters.late),
            duplicates: count(&self.counters.duplicates),
            conflicts: count(&self.counters.conflicts),
            refused: count(&self.counters.refused),
            earliest: Some(self.earliest.load(Ordering::Acquire)).filter(|earliest| *earliest != i64::MAX),
            time: self.time(),
            ..StoreStats::default()
        };
        for Shard(ids) in &self.ids {
            stats.events += ids.lock().len() as u64;
        }
        for Shard(keys) in &self.customers {
            let keys = keys.lock();
            stats.customers += keys.len() as u64;
            stats.approximate_keys += keys.merged as u64;
        }
        for Shard(keys) in &self.terminals {
            let keys = keys.lock();
            stats.terminals += keys.len() as u64;
            stats.approximate_keys += keys.merged as u64;
        }
        stats
    }
}
