//! What a test does to a store, whichever it is: the embedded one, or the shared one in a real Redis.
#![allow(dead_code)] // Each test uses a part of it.

use fraud_core::error::StoreError;
use fraud_core::features::{Label, LabelOutcome, MemoryStore, Profile, ProfilePlan, StoreSettings};
use fraud_core::transaction::{Id, Transaction};

/// A store of either kind.
pub trait Driver {
    fn observe(&self, tx: &Transaction, plan: &ProfilePlan, out: &mut Profile) -> Result<(), StoreError>;
    fn peek(&self, tx: &Transaction, plan: &ProfilePlan, out: &mut Profile) -> Result<(), StoreError>;
    fn label(&self, id: &Id, label: Label) -> LabelOutcome;
    fn time(&self) -> Option<i64>;
    /// Transactions that were late, and conflicts.
    fn refusals(&self) -> (u64, u64);
    /// Customers, terminals and events held.
    fn counts(&self) -> (u64, u64, u64);
    /// The store as the next process finds it, under other settings where it takes such.
    fn restarted(&self, settings: &StoreSettings) -> Option<Box<dyn Driver>>;
}

impl Driver for MemoryStore {
    fn observe(&self, tx: &Transaction, plan: &ProfilePlan, out: &mut Profile) -> Result<(), StoreError> {
        Self::observe(self, tx, plan, out)
    }

    fn peek(&self, tx: &Transaction, plan: &ProfilePlan, out: &mut Profile) -> Result<(), StoreError> {
        Self::peek(self, tx, plan, out)
    }

    fn label(&self, id: &Id, label: Label) -> LabelOutcome {
        Self::label(self, id, label)
    }

    fn time(&self) -> Option<i64> {
        Self::time(self)
    }

    fn refusals(&self) -> (u64, u64) {
        (self.stats().late, self.stats().conflicts)
    }

    fn counts(&self) -> (u64, u64, u64) {
        let stats = self.stats();
        (stats.customers, stats.terminals, stats.events)
    }

    fn restarted(&self, settings: &StoreSettings) -> Option<Box<dyn Driver>> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store");
        self.snapshot(&path, b"meta").expect("a snapshot");
        let (store, found) = Self::restore(&path, settings.clone()).expect("a store");
        assert_eq!(found, b"meta");
        Some(Box::new(store))
    }
}

/// Which store a test runs on.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Embedded,
    #[cfg(feature = "redis")]
    Redis,
    /// Three clients of one Redis, which take turns.
    #[cfg(feature = "redis")]
    Replicas,
    /// Two clients of a cluster, which take turns.
    #[cfg(feature = "redis")]
    Cluster,
}

/// A new store without transactions.
pub fn store(kind: Kind, settings: &StoreSettings) -> Box<dyn Driver> {
    match kind {
        Kind::Embedded => Box::new(MemoryStore::new(settings.clone())),
        #[cfg(feature = "redis")]
        Kind::Redis => Box::new(shared::Clients::new(&shared::url(), settings, 1)),
        #[cfg(feature = "redis")]
        Kind::Replicas => Box::new(shared::Clients::new(&shared::url(), settings, 3)),
        #[cfg(feature = "redis")]
        Kind::Cluster => Box::new(shared::Clients::new(&shared::cluster(), settings, 2)),
    }
}

/// Makes a test for each kind of store out of a function of the kind.
#[macro_export]
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod on_embedded {
            $(#[test] fn $test() { super::$test($crate::store_driver::Kind::Embedded); })+
        }
        #[cfg(feature = "redis")]
        mod on_redis {
            $(#[test] fn $test() { super::$test($crate::store_driver::Kind::Redis); })+
        }
        #[cfg(feature = "redis")]
        mod on_replicas {
            $(#[test] fn $test() { super::$test($crate::store_driver::Kind::Replicas); })+
        }
        #[cfg(feature = "redis")]
        mod on_a_cluster {
            $(#[test] fn $test() { super::$test($crate::store_driver::Kind::Cluster); })+
        }
    };
}

#[cfg(feature = "redis")]
#[path = "../support/redis.rs"]
pub mod redis;

#[cfg(feature = "redis")]
pub mod shared {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Mutex, OnceLock};
    use std::time::Duration;

    use fraud_core::store::redis::{RedisSettings, RedisStore};
    use tokio::runtime::{Builder, Runtime};

    use super::redis::{Cluster, Redis};
    use super::{Driver, Id, Label, LabelOutcome, Profile, ProfilePlan, StoreError, StoreSettings, Transaction};

    /// The server that the tests of one file share, each with a prefix of its own.
    pub fn server() -> &'static Mutex<Redis> {
        static SERVER: OnceLock<Mutex<Redis>> = OnceLock::new();
        SERVER.get_or_init(|| Mutex::new(Redis::start()))
    }

    /// Where it is.
    pub fn url() -> String {
        server().lock().unwrap_or_else(|broken| broken.into_inner()).url()
    }

    /// Where the cluster is that the tests of one file share.
    pub fn cluster() -> String {
        static CLUSTER: OnceLock<Mutex<Cluster>> = OnceLock::new();
        let cluster = CLUSTER.get_or_init(|| Mutex::new(Cluster::start()));
        cluster.lock().unwrap_or_else(|broken| broken.into_inner()).url()
    }

    /// Settings of a new store on a server.
    pub fn settings(url: &str, store: &StoreSettings) -> RedisSettings {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut settings = RedisSettings::new(url);
        settings.prefix = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        settings.store = store.clone();
        // A machine under load must not fail a test.
        settings.timeout = Duration::from_secs(20);
        settings
    }

    pub fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    /// Clients of one store, each as a process of its own would be; every call goes to the next.
    pub struct Clients {
        runtime: Runtime,
        settings: RedisSettings,
        clients: Vec<RedisStore>,
        turn: Cell<usize>,
    }

    impl Clients {
        pub fn new(url: &str, store: &StoreSettings, count: usize) -> Self {
            let (runtime, settings) = (runtime(), settings(url, store));
            runtime.block_on(RedisStore::begin(settings.clone())).expect("a store");
            Self::connect(runtime, settings, count)
        }

        fn connect(runtime: Runtime, settings: RedisSettings, count: usize) -> Self {
            let connect = |_| runtime.block_on(RedisStore::connect(settings.clone())).expect("a client");
            let clients = (0..count).map(connect).collect();
            Self { runtime, settings, clients, turn: Cell::new(0) }
        }

        fn next(&self) -> &RedisStore {
            self.turn.set(self.turn.get() + 1);
            &self.clients[self.turn.get() % self.clients.len()]
        }
    }

    impl Driver for Clients {
        fn observe(&self, tx: &Transaction, plan: &ProfilePlan, out: &mut Profile) -> Result<(), StoreError> {
            self.runtime.block_on(self.next().observe(tx, plan, out))
        }

        fn peek(&self, tx: &Transaction, plan: &ProfilePlan, out: &mut Profile) -> Result<(), StoreError> {
            self.runtime.block_on(self.next().peek(tx, plan, out))
        }

        fn label(&self, id: &Id, label: Label) -> LabelOutcome {
            self.runtime.block_on(self.next().label(id, label)).expect("the store answers")
        }

        fn time(&self) -> Option<i64> {
            // Each knows the time that it saw last: the greatest is the store's.
            self.clients.iter().filter_map(RedisStore::time).max()
        }

        fn refusals(&self) -> (u64, u64) {
            let stats = self.clients.iter().map(RedisStore::stats);
            stats.fold((0, 0), |(late, conflicts), stats| (late + stats.late, conflicts + stats.conflicts))
        }

        fn counts(&self) -> (u64, u64, u64) {
            self.runtime.block_on(self.clients[0].watch()).expect("a server");
            let stats = self.clients[0].stats();
            (stats.customers, stats.terminals, stats.events)
        }

        fn restarted(&self, settings: &StoreSettings) -> Option<Box<dyn Driver>> {
            let store = StoreSettings { shards: settings.shards, ..self.settings.store.clone() };
            if store != *settings {
                return None;
            }
            self.clients.iter().for_each(|client| self.runtime.block_on(client.settle()));
            Some(Box::new(Self::connect(runtime(), self.settings.clone(), self.clients.len())))
        }
    }
}
