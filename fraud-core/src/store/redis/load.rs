//! From the embedded store, as a snapshot brought it, to a shared one.

use std::sync::Arc;

use super::link::Link;
use super::names::{Entry, Written};
use super::part::{self, PARTIES, Row};
use super::script::Call;
use super::shared::Shared;
use super::{RedisSettings, RedisStore, answer, guard, link};
use crate::error::{SharedStoreError, StoreError};
use crate::features::MemoryStore;
use crate::features::profile::ProfilePlan;
use crate::features::store::snapshot::Kept;

/// Transactions of one round trip.
const ROWS: usize = 256;

impl RedisStore {
    /// Begins a store on a server that holds none, with everything that an embedded store holds: transactions,
    /// labels, and the profiles given lately. Its epoch is returned. `history` must not be used meanwhile.
    ///
    /// # Errors
    /// As [`RedisStore::begin`]; [`StoreError::Full`]. Where it breaks off, the server holds a part, which nobody takes
    /// for a store ([`SharedStoreError::Filling`]): empty it, or take another
    /// prefix, and begin again.
    pub async fn begin_with(settings: RedisSettings, history: &MemoryStore) -> Result<String, StoreError> {
        let store = Self::to_fill(settings)?;
        let mut connection = link::open(&store.shared).await?;
        let epoch = guard::begin(&store.shared, &mut connection, Some(history.secret().clone())).await?;
        store.ready().await?;
        let mut rows = Vec::new();
        history.each_kept(&mut |kept| rows.push(Loading::of(&store, &kept)));
        let plan = ProfilePlan::nothing();
        let stats = history.stats();
        for rows in rows.chunks(ROWS) {
            let mut calls = Vec::with_capacity(rows.len() * 4);
            for Loading { row, labels, reply } in rows {
                calls.extend(row.calls(&store.shared, &plan));
                if !labels.is_empty() {
                    calls.extend(store.label_calls(row, labels));
                }
                if let Some(reply) = reply {
                    let now = stats.time.unwrap_or(row.written.time);
                    calls.push(part::reply_write(&store.shared, &row.written, (now, reply)));
                }
            }
            store.checked(&calls).await?;
        }
        if let (Some(latest), Some(earliest)) = (stats.time, stats.earliest) {
            let keys = store.shared.names.times();
            let put = |key: &String, time: i64| Call::plain("ZADD").arg(key).arg(time).arg("snapshot");
            store.checked(&[put(&keys[0], latest), put(&keys[1], earliest)]).await?;
        }
        store.filled().await?;
        Ok(epoch)
    }

    /// A store to bring history into by [`RedisStore::observe_batch`] and [`RedisStore::label_batch`]: begun where the
    /// server holds none, and gone on with where it holds one. One that is begun here is nobody else's until
    /// [`RedisStore::filled`].
    ///
    /// # Errors
    /// As [`RedisStore::begin`] and [`RedisStore::connect`].
    pub async fn fill(settings: RedisSettings) -> Result<Self, SharedStoreError> {
        let store = Self::to_fill(settings)?;
        let mut connection = link::open(&store.shared).await?;
        match guard::begin(&store.shared, &mut connection, None).await {
            Ok(_) | Err(SharedStoreError::Exists { .. }) => {}
            Err(error) => return Err(error),
        }
        store.look().await?;
        Ok(store)
    }

    /// All history is in: others may use the store.
    ///
    /// # Errors
    /// [`StoreError::Shared`].
    pub async fn filled(&self) -> Result<(), StoreError> {
        self.checked(&[guard::filled(&self.shared)]).await
    }

    fn to_fill(settings: RedisSettings) -> Result<Self, SharedStoreError> {
        settings.check()?;
        Ok(Self { shared: Arc::new(Shared::new(settings, true)), link: Arc::new(Link::new()) })
    }

    async fn checked(&self, calls: &[Call]) -> Result<(), StoreError> {
        for value in self.call(calls).await? {
            answer::checked(&value).map_err(|problem| self.shared.refused(problem))?;
        }
        Ok(())
    }

    fn label_calls(&self, row: &Row, labels: &[(i64, bool)]) -> Vec<Call> {
        let Written { id, customer, terminal, .. } = &row.written;
        let begin = self.shared.names.tag(id.tag);
        let chunk = format!("{begin}l:{}", row.written.time.div_euclid(super::names::ID_CHUNK));
        let mut packed = Vec::with_capacity(labels.len() * 9);
        for (observed_at, fraud) in labels {
            packed.extend_from_slice(&observed_at.to_be_bytes());
            packed.push(u8::from(*fraud));
        }
        let mut calls = vec![Call::plain("HSET").arg(chunk).arg(id.field()).arg(packed)];
        if labels.iter().any(|(_, fraud)| *fraud) {
            let Written { digest, time, .. } = row.written;
            let entry = Entry { digest, time, customer: customer.key, terminal: terminal.key, origin: 0 };
            calls.extend(PARTIES.map(|kind| self.fraud_call(kind, &entry, &labels.to_vec())));
        }
        calls
    }
}

/// A transaction on its way into Redis.
struct Loading {
    row: Row,
    labels: Vec<(i64, bool)>,
    reply: Option<Vec<u8>>,
}

impl Loading {
    fn of(store: &RedisStore, kept: &Kept<'_>) -> Self {
        let secret = store.shared.identity().map(|known| known.secret.clone());
        let keys = [kept.id, kept.customer, kept.terminal];
        // The store was just begun with the secret of the keys.
        let secret = secret.unwrap_or_else(crate::features::store::key::Secret::random);
        let written = Written::new(&secret, keys, (kept.time, kept.amount));
        let reply = kept.reply.map(|(plan, profile)| [&plan.to_be_bytes(), profile].concat());
        Self { row: Row { written, origin: 0, assumed: None, records: true }, labels: kept.labels.clone(), reply }
    }
}
