//! The embedded profile store: in process, sharded, exact.
//!
//! Its source of truth is the recorded transactions, found by id; the series of customers and terminals are an
//! index of them. It has no clock: its time is the greatest event time that it recorded. What is older than
//! history + lateness before that does not exist for any answer, whether it was cleared away yet or not.

mod frauds;
mod ids;
pub(crate) mod key;
mod keys;
pub(crate) mod labels;
mod observe;
pub(crate) mod replies;
mod series;
mod settings;
pub(crate) mod snapshot;
mod stats;
pub(crate) mod sums;
mod tree;
pub(crate) mod varint;
pub(crate) mod windows;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

pub use labels::{Label, LabelOutcome};
pub use settings::StoreSettings;
pub use snapshot::SnapshotInfo;
pub use stats::StoreStats;

use ids::Ids;
use key::Secret;
use keys::Keys;

/// Stands for "no transaction yet" in [`MemoryStore::time`] and below.
const NEVER: i64 = i64::MIN;

/// Profiles of customers and terminals, in memory, for many threads at once.
///
/// ```
/// use fraud_core::features::{FeaturePlan, FeatureSet, MemoryStore, Profile, StoreSettings};
/// use fraud_core::transaction::{Amount, Id, Transaction};
///
/// let plan = FeaturePlan::compile(&FeatureSet::handbook());
/// let store = MemoryStore::new(StoreSettings::default());
/// let transaction = Transaction {
///     transaction_id: Id::from(1),
///     customer_id: Id::from(17),
///     terminal_id: Id::from(4),
///     amount: Amount::from_major(12.5).ok_or("amount")?,
///     time: 1_522_540_800,
/// };
/// let mut profile = Profile::default();
/// store.observe(&transaction, plan.profile(), &mut profile)?;
/// let mut row = vec![0.0; plan.width()];
/// plan.write(&transaction, &profile, &mut row);
/// assert_eq!(row[3..5], [1.0, 12.5]); // one payment of that customer today, 12.50 on average
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Locks are taken in one order: core, id shard, customer shard, terminal shard. The last three are all held
/// while a profile is read and its transaction recorded, so that this is one step.
#[derive(Debug)]
pub struct MemoryStore {
    settings: StoreSettings,
    secret: Secret,
    core: RwLock<Core>,
    /// Held for a whole snapshot: one at a time, and no new base meanwhile.
    snapshots: Mutex<()>,
    ids: Box<[Shard<Ids>]>,
    customers: Box<[Shard<Keys>]>,
    terminals: Box<[Shard<Keys>]>,
    /// Greatest event time recorded, or [`NEVER`].
    time: AtomicI64,
    /// Where complete history begins: the smallest event time recorded; `i64::MAX` before the first.
    earliest: AtomicI64,
    bytes: AtomicU64,
    counters: Counters,
}

/// What changes only while nobody observes.
#[derive(Debug, Clone, Copy, Default)]
struct Core {
    /// Unix second of second 0 of all shards, a multiple of a minute; `None` before the first transaction.
    base: Option<i64>,
    /// A snapshot reads the keys: none is freed.
    frozen: bool,
}

/// Each on cache lines of its own: threads on different shards do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard<T>(Mutex<T>);

#[derive(Debug, Default)]
struct Counters {
    late: AtomicU64,
    duplicates: AtomicU64,
    conflicts: AtomicU64,
    refused: AtomicU64,
}

impl Core {
    /// Seconds after the base that shards can hold.
    const REACH: i64 = 3 << 30;

    /// Whether a transaction of this time can be recorded without a new base.
    fn reaches(&self, time: i64) -> bool {
        self.base.is_some_and(|base| time - base <= Self::REACH)
    }

    /// A base for a store whose time is `time`: 34 years of room before it, 68 after.
    fn base_for(time: i64) -> i64 {
        (time - (1 << 30)).div_euclid(60) * 60
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(settings: StoreSettings) -> Self {
        Self::with_secret(settings, Secret::random())
    }

    fn with_secret(settings: StoreSettings, secret: Secret) -> Self {
        fn shards<T: Default>(count: usize) -> Box<[Shard<T>]> {
            (0..count).map(|_| Shard::default()).collect()
        }
        let settings = settings.in_range();
        let store = Self {
            secret,
            core: RwLock::default(),
            snapshots: Mutex::default(),
            ids: shards(settings.shards * 4),
            customers: shards(settings.shards),
            terminals: shards(settings.shards),
            time: AtomicI64::new(NEVER),
            earliest: AtomicI64::new(i64::MAX),
            bytes: AtomicU64::new(0),
            counters: Counters::default(),
            settings,
        };
        store.bytes.store(store.empty_bytes(), Ordering::Relaxed);
        store
    }

    /// Memory of a store without any transaction, in bytes.
    fn empty_bytes(&self) -> u64 {
        let shards = self.ids.len() * size_of::<Shard<Ids>>() + 2 * self.customers.len() * size_of::<Shard<Keys>>();
        (size_of::<Self>() + shards) as u64
    }

    /// The settings in force: those given, moved into range.
    #[must_use]
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// What is mixed into every key.
    #[cfg(feature = "redis")]
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The store's time: the greatest event time recorded, in Unix seconds.
    #[must_use]
    pub fn time(&self) -> Option<i64> {
        Some(self.time.load(Ordering::Acquire)).filter(|time| *time != NEVER)
    }

    /// Last Unix second that is not kept any more when the store's time is `now`.
    fn floor(&self, now: i64) -> i64 {
        now.saturating_sub(self.settings.kept())
    }

    /// The number over all shards of a key that has `number` in its shard.
    fn over_all(&self, shard: usize, number: u32) -> u32 {
        number << self.shard_bits() | u32::try_from(shard).unwrap_or_default()
    }

    /// The shard and the number therein of a number over all shards.
    fn in_shard(&self, over_all: u32) -> (usize, u32) {
        (over_all as usize & (self.customers.len() - 1), over_all >> self.shard_bits())
    }

    fn shard_bits(&self) -> u32 {
        self.customers.len().trailing_zeros()
    }
}

/// What an allocation of that size takes from the system, in bytes: allocators round up and keep a word.
fn heap_bytes(size: usize) -> usize {
    if size == 0 { 0 } else { (size + 8).next_multiple_of(16) }
}
