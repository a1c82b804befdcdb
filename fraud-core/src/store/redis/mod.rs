//! The profile store that several processes share, in Redis 7 or a server that speaks as it does.
//!
//! It gives the same profiles as [`MemoryStore`](crate::features::MemoryStore), to the bit: the same tests run
//! against both. What differs is stated here.
//!
//! # What a call does
//!
//! [`RedisStore::observe`] sends one script to the transaction's id, one to its customer, one to its terminal and one
//! to the store's times, all at once, and waits for all: one round trip. Each part is idempotent by the transaction's
//! id and content, and a profile counts only when every part answered. Where one did not, the call fails
//! ([`StoreError::Shared`]), parts of the transaction may be recorded, and the same transaction sent again completes
//! them: nothing is counted twice. The profile given is put away behind the answer, for the case that the
//! transaction is sent again; a process that dies in that instant leaves a repeat to get a profile made anew.
//!
//! Scripts move sets; every sum of amounts is made here, of exact integers. A key with few events sends them one by
//! one. From a busy one come sums by day, hour and minute ("cells"), made by whoever read the events first and kept
//! beside them, and single events only at the edges of windows. So what a call moves grows with how dense a key's
//! events are within a minute, not with how many it has.
//!
//! [`RedisStore::observe_batch`] does the same for many transactions, in pipelines of up to 256, with what single
//! calls in that order would give; what it gives is recorded for repeats when it returns.
//!
//! # What is refused
//!
//! Before a connection is used, and again every [`RedisStore::watch`]: a server whose `maxmemory-policy` is not
//! `noeviction`; one without the store's epoch, or with another one than this process knew first or was told
//! ([`RedisSettings::epoch`]); one whose history is still being brought in ([`RedisStore::fill`]). Every script compares the epoch with the marker of its hash tag in the same step in
//! which it reads and writes. So an emptied or exchanged server never passes for customers without history.
//!
//! # What can be lost
//!
//! Redis answers before its replicas and its disk have a write. After a failover the last writes that the old
//! master had answered (as a rule those of the last moments), and after a crash those since the last `fsync`
//! (`appendfsync everysec`: two seconds at most), may be gone: transactions that were scored are then missing in later windows. The
//! client counts the writes under each hash tag, and a server that has fewer than it had is noticed: on every
//! reconnection for all tags, and with each call. [`StoreHealth::lost_writes`] says how many are gone. What the old
//! master took from a client that saw no answer cannot be told from what was never sent.
//!
//! # What differs from the embedded store
//!
//! - Memory is the server's: at its `maxmemory` every recording call gets [`StoreError::Full`], for known keys too.
//!   [`StoreSettings::max_cells_per_key`](crate::features::StoreSettings) has no effect: nothing is merged, and no
//!   profile is approximate.
//! - A transaction that is refused for its id (conflict) or found to be late only by another process's clock is, for
//!   the time of one round trip, in sight of other processes.
//! - Ids are forgotten ten days at a time; until then they are passed over as if they were not there.

mod answer;
mod blocking;
mod cells;
mod guard;
mod health;
mod labels;
mod link;
mod load;
mod names;
mod observe;
mod part;
mod script;
mod settings;
mod shared;
mod sweep;
mod windows;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::Value;

pub use blocking::BlockingRedisStore;
pub use health::StoreHealth;
pub use settings::RedisSettings;

use crate::error::{SharedStoreError, StoreError};
use crate::features::profile::{Profile, ProfilePlan};
use crate::transaction::Transaction;
use link::Link;
use script::Call;
use shared::{Shared, Unawaited};

/// How long it may take to begin a store.
const BEGINNING: Duration = Duration::from_secs(30);

/// A transaction to observe, with where it came from.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// A number that stands for the place the transaction was read from (a hash of topic, partition and offset, say);
    /// 0 for none. A repeat from the same place is the same reading, not a duplicate: it gets the profile given first,
    /// with [`Profile::duplicate`] false, for as long as that is held.
    pub origin: u64,
}

impl<'a> From<&'a Transaction> for Observation<'a> {
    fn from(transaction: &'a Transaction) -> Self {
        Self { transaction, origin: 0 }
    }
}

/// Profiles of customers and terminals, in Redis. Clones share one connection.
///
/// All methods want a Tokio runtime with time and I/O. [`BlockingRedisStore`] brings its own.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
    link: Arc<Link>,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RedisStore").field(&self.shared.settings).finish()
    }
}

impl RedisStore {
    /// A store that connects when it is first used.
    ///
    /// # Errors
    /// [`SharedStoreError::Settings`].
    pub fn new(settings: RedisSettings) -> Result<Self, SharedStoreError> {
        settings.check()?;
        Ok(Self { shared: Arc::new(Shared::new(settings, false)), link: Arc::new(Link::new()) })
    }

    /// A store on a server that could be reached and holds one.
    ///
    /// # Errors
    /// Any [`SharedStoreError`].
    pub async fn connect(settings: RedisSettings) -> Result<Self, SharedStoreError> {
        let store = Self::new(settings)?;
        store.look().await?;
        Ok(store)
    }

    /// Connects unless connected.
    async fn look(&self) -> Result<(), SharedStoreError> {
        self.ready().await.map_err(|error| match error {
            StoreError::Shared(error) => error,
            error => SharedStoreError::Answer { problem: error.to_string() },
        })
    }

    /// Begins a store on a server that holds none, with the epoch set or a random one, which it returns.
    ///
    /// # Errors
    /// [`SharedStoreError::Exists`] where one is, and any other [`SharedStoreError`].
    pub async fn begin(settings: RedisSettings) -> Result<String, SharedStoreError> {
        settings.check()?;
        let shared = Shared::new(settings, false);
        let beginning = async {
            let mut connection = link::open(&shared).await?;
            guard::begin(&shared, &mut connection, None).await
        };
        match tokio::time::timeout(BEGINNING, beginning).await {
            Ok(begun) => begun,
            Err(_) => Err(shared.away(format!("no answer within {} s", BEGINNING.as_secs()))),
        }
    }

    /// The same store by another connection: one for each thread keeps them out of each other's way.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self { shared: self.shared.clone(), link: Arc::new(Link::new()) }
    }

    /// Fills in the transaction's profile and records it. See
    /// [`MemoryStore::observe`](crate::features::MemoryStore::observe).
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Feature`], and nothing is changed; [`StoreError::Full`] and
    /// [`StoreError::Shared`], and sending it again completes what may have been recorded. `out` means nothing then.
    pub async fn observe(&self, tx: &Transaction, plan: &ProfilePlan, out: &mut Profile) -> Result<(), StoreError> {
        let observed = self.run(&[tx.into()], (plan, true), std::slice::from_mut(out)).await;
        self.send_later(observed.later);
        observed.results.into_iter().next().unwrap_or_else(|| Err(self.nothing()))
    }

    /// Fills in the profile that [`RedisStore::observe`] would, and records nothing.
    ///
    /// # Errors
    /// As [`RedisStore::observe`], but never [`StoreError::Full`].
    pub async fn peek(&self, tx: &Transaction, plan: &ProfilePlan, out: &mut Profile) -> Result<(), StoreError> {
        let observed = self.run(&[tx.into()], (plan, false), std::slice::from_mut(out)).await;
        self.send_later(observed.later);
        observed.results.into_iter().next().unwrap_or_else(|| Err(self.nothing()))
    }

    /// Observes many transactions in their order, as single calls would, in few round trips: up to 256 transactions
    /// share one. `profiles` has a place for each; where the result is an error, the place means nothing.
    ///
    /// Fails for a row alone where the row is at fault ([`StoreError::Conflict`]). Where the store is, that row and
    /// all after it have the error: send them again, in the same order.
    pub async fn observe_batch(
        &self,
        rows: &[Observation<'_>],
        plan: &ProfilePlan,
        profiles: &mut [Profile],
    ) -> Vec<Result<(), StoreError>> {
        let observed = self.run(rows, (plan, true), profiles).await;
        self.finish(observed).await
    }

    /// The profiles that [`RedisStore::observe_batch`] would give if each transaction were the only one; records
    /// nothing.
    pub async fn peek_batch(
        &self,
        rows: &[Observation<'_>],
        plan: &ProfilePlan,
        profiles: &mut [Profile],
    ) -> Vec<Result<(), StoreError>> {
        let observed = self.run(rows, (plan, false), profiles).await;
        self.finish(observed).await
    }

    async fn finish(&self, mut observed: observe::Observed) -> Vec<Result<(), StoreError>> {
        if !observed.later.is_empty()
            && let Err(error) = self.call(&observed.later).await
        {
            observed.results.iter_mut().filter(|result| result.is_ok()).for_each(|result| *result = Err(error.clone()));
        }
        observed.results
    }

    /// The store's time: the greatest event time recorded, in Unix seconds, as last seen by this process.
    #[must_use]
    pub fn time(&self) -> Option<i64> {
        self.shared.times().latest
    }

    /// The epoch of the store, once a connection was made.
    #[must_use]
    pub fn epoch(&self) -> Option<&str> {
        self.shared.identity().map(|known| known.epoch.as_str())
    }

    /// Connects unless connected.
    ///
    /// # Errors
    /// [`StoreError::Shared`].
    pub async fn ready(&self) -> Result<(), StoreError> {
        if self.shared.identity().is_some() {
            return Ok(());
        }
        let connected = self.in_time(1, async { self.link.connection(&self.shared).await.map(drop) }).await;
        self.ended(connected)
    }

    /// Sends commands at once and waits for all answers. Every command may be sent twice without harm, so a
    /// connection that turns out to be broken is made anew and they are sent again.
    async fn call(&self, calls: &[Call]) -> Result<Vec<Value>, StoreError> {
        let used = AtomicU64::new(u64::MAX);
        let outcome = self.in_time(calls.len(), self.attempts(calls, &used)).await;
        if let Err(StoreError::Shared(error @ SharedStoreError::Unreachable { .. })) = &outcome {
            // Nothing may ever come again over a connection whose other end is gone without a word.
            self.link.given_up(used.load(Ordering::Relaxed), error);
        }
        self.ended(outcome)
    }

    async fn attempts(&self, calls: &[Call], used: &AtomicU64) -> Result<Vec<Value>, StoreError> {
        let mut again = true;
        loop {
            let (mut connection, generation) = self.link.connection(&self.shared).await?;
            used.store(generation, Ordering::Relaxed);
            let error = match connection.send(calls, self.shared.settings.time_of(calls.len())).await {
                Ok(values) if again && values.iter().any(answer::lacks_script) => {
                    link::load_scripts(&self.shared, &mut connection).await?;
                    again = false;
                    continue;
                }
                Ok(values) => match values.iter().find_map(answer::foreign) {
                    None => return Ok(values),
                    Some(found) => {
                        let expected = self.shared.epoch().unwrap_or_default().to_owned();
                        SharedStoreError::OtherStore { expected, found }
                    }
                },
                Err(error) => self.shared.unreachable(&error),
            };
            self.link.lost(generation, &error).await;
            if !again || !matches!(error, SharedStoreError::Unreachable { .. }) {
                return Err(error.into());
            }
            again = false;
        }
    }

    async fn in_time<T>(
        &self,
        commands: usize,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let timeout = self.shared.settings.time_of(commands);
        match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.shared.away(format!("no answer within {} ms", timeout.as_millis())).into()),
        }
    }

    fn ended<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        self.shared.ended(match &outcome {
            Err(StoreError::Shared(error)) => Some(error),
            _ => None,
        });
        outcome
    }

    /// Waits for what earlier calls left to be written after their answers, such as the profiles given, for a process
    /// that is to end. One that ends without it leaves repeats of its last transactions to be answered from what is
    /// recorded by then.
    pub async fn settle(&self) {
        self.shared.unawaited.none().await;
    }

    /// Sends commands that nobody waits for.
    fn send_later(&self, calls: Vec<Call>) {
        if calls.is_empty() {
            return;
        }
        let (store, task) = (self.clone(), Unawaited::begin(&self.shared));
        // What cannot be written here is made anew when it is missed.
        tokio::spawn(async move {
            let _ = store.call(&calls).await;
            drop(task);
        });
    }

    fn nothing(&self) -> StoreError {
        SharedStoreError::Answer { problem: "nothing came".to_owned() }.into()
    }
}
