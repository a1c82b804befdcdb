//! The store for callers without a runtime.

use super::{Observation, RedisSettings, RedisStore, StoreHealth};
use crate::error::{SharedStoreError, StoreError};
use crate::features::profile::{Profile, ProfilePlan};
use crate::features::{Label, LabelOutcome, MemoryStore, StoreStats};
use crate::transaction::Id;

/// A [`RedisStore`] with a runtime of its own: each call waits for its end. One connection; a second thread makes a
/// second store with [`BlockingRedisStore::sibling`].
#[derive(Debug)]
pub struct BlockingRedisStore {
    store: RedisStore,
    runtime: tokio::runtime::Runtime,
}

fn runtime() -> Result<tokio::runtime::Runtime, SharedStoreError> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| SharedStoreError::Unreachable {
        address: "the system's event queue".to_owned(),
        problem: error.to_string(),
    })
}

impl BlockingRedisStore {
    /// A store on a server that could be reached and holds one.
    ///
    /// # Errors
    /// Any [`SharedStoreError`].
    pub fn connect(settings: RedisSettings) -> Result<Self, SharedStoreError> {
        let runtime = runtime()?;
        let store = runtime.block_on(RedisStore::connect(settings))?;
        Ok(Self { store, runtime })
    }

    /// Waits for the calls of a store that was made elsewhere. Calls that it made under another runtime must have
    /// ended.
    ///
    /// # Errors
    /// [`SharedStoreError::Unreachable`] when the system gives no runtime.
    pub fn of(store: RedisStore) -> Result<Self, SharedStoreError> {
        Ok(Self { store, runtime: runtime()? })
    }

    /// Connects unless connected.
    ///
    /// # Errors
    /// Any [`SharedStoreError`].
    pub fn look(&self) -> Result<(), SharedStoreError> {
        self.runtime.block_on(self.store.look())
    }

    /// As [`RedisStore::begin`].
    ///
    /// # Errors
    /// As there.
    pub fn begin(settings: RedisSettings) -> Result<String, SharedStoreError> {
        runtime()?.block_on(RedisStore::begin(settings))
    }

    /// As [`RedisStore::begin_with`].
    ///
    /// # Errors
    /// As there.
    pub fn begin_with(settings: RedisSettings, history: &MemoryStore) -> Result<String, StoreError> {
        runtime()?.block_on(RedisStore::begin_with(settings, history))
    }

    /// As [`RedisStore::fill`].
    ///
    /// # Errors
    /// As there.
    pub fn fill(settings: RedisSettings) -> Result<Self, SharedStoreError> {
        let runtime = runtime()?;
        let store = runtime.block_on(RedisStore::fill(settings))?;
        Ok(Self { store, runtime })
    }

    /// As [`RedisStore::filled`].
    ///
    /// # Errors
    /// As there.
    pub fn filled(&self) -> Result<(), StoreError> {
        self.runtime.block_on(self.store.filled())
    }

    /// As [`RedisStore::sibling`].
    ///
    /// # Errors
    /// [`SharedStoreError::Unreachable`] when the system gives no runtime.
    pub fn sibling(&self) -> Result<Self, SharedStoreError> {
        Ok(Self { store: self.store.sibling(), runtime: runtime()? })
    }

    /// The store, for what needs no waiting.
    #[must_use]
    pub fn store(&self) -> &RedisStore {
        &self.store
    }

    /// As [`RedisStore::observe_batch`].
    pub fn observe_batch(
        &self,
        rows: &[Observation<'_>],
        plan: &ProfilePlan,
        profiles: &mut [Profile],
    ) -> Vec<Result<(), StoreError>> {
        self.runtime.block_on(self.store.observe_batch(rows, plan, profiles))
    }

    /// As [`RedisStore::peek_batch`].
    pub fn peek_batch(
        &self,
        rows: &[Observation<'_>],
        plan: &ProfilePlan,
        profiles: &mut [Profile],
    ) -> Vec<Result<(), StoreError>> {
        self.runtime.block_on(self.store.peek_batch(rows, plan, profiles))
    }

    /// As [`RedisStore::label_batch`].
    ///
    /// # Errors
    /// As there.
    pub fn label_batch(&self, labels: &[(&Id, Label)]) -> Result<Vec<LabelOutcome>, StoreError> {
        self.runtime.block_on(self.store.label_batch(labels))
    }

    /// As [`RedisStore::watch`].
    ///
    /// # Errors
    /// As there.
    pub fn watch(&self) -> Result<(), StoreError> {
        self.runtime.block_on(self.store.watch())
    }

    /// As [`RedisStore::sweep`].
    ///
    /// # Errors
    /// As there.
    pub fn sweep(&self, cursor: u64) -> Result<u64, StoreError> {
        self.runtime.block_on(self.store.sweep(cursor))
    }

    /// As [`RedisStore::health`].
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        self.store.health()
    }

    /// As [`RedisStore::stats`].
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        self.store.stats()
    }
}
