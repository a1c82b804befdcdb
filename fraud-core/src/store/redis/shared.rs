//! What all handles of one store in this process share: who the store is, and what is known of it.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::names::{Names, TAGS};
use super::settings::RedisSettings;
use crate::error::SharedStoreError;
use crate::features::StoreSettings;
use crate::features::store::key::Secret;

/// Stands for "no time yet".
const NONE: i64 = i64::MIN;

/// Who the store is: fixed with the first connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub epoch: String,
    pub secret: Secret,
}

/// The store's greatest and smallest event times, `None` for a store without transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Times {
    pub latest: Option<i64>,
    pub earliest: Option<i64>,
}

/// A time that nothing is going to take back. A transaction that is refused in the end moves the store's time on for
/// one round trip; what is deleted for good must not go by that.
#[derive(Debug, Default)]
struct Settled {
    time: Option<i64>,
    next: Option<(i64, Instant)>,
}

impl Settled {
    const AFTER: Duration = Duration::from_secs(1);

    fn seen(&mut self, time: i64) {
        match self.next {
            Some((next, at)) if at.elapsed() < Self::AFTER => self.next = Some((next.min(time), at)),
            next => {
                self.time = next.map(|(next, _)| next.min(time)).max(self.time);
                self.next = Some((time, Instant::now()));
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub late: AtomicU64,
    pub duplicates: AtomicU64,
    pub conflicts: AtomicU64,
    pub refused: AtomicU64,
}

pub(super) struct Shared {
    pub settings: RedisSettings,
    /// Those of `settings`, moved into range.
    pub store: StoreSettings,
    pub names: Names,
    /// This one brings history in, so it may use a store that others must wait for.
    pub fills: bool,
    identity: OnceLock<Identity>,
    latest: AtomicI64,
    earliest: AtomicI64,
    settled: Mutex<Settled>,
    /// The greatest number of writes seen under each tag.
    marks: Box<[AtomicU64]>,
    lost: AtomicU64,
    generations: AtomicU64,
    failing: Mutex<Option<(Instant, SharedStoreError)>>,
    pub counters: Counters,
    /// The server's memory in use and its limit, in bytes, when last looked at.
    pub memory: [AtomicU64; 2],
    /// Customers, terminals and events, when last counted.
    pub counts: [AtomicU64; 3],
    /// Calls that nobody waits for and that have not ended.
    pub unawaited: Unawaited,
}

/// How many tasks there are, and who waits for their end.
#[derive(Debug, Default)]
pub(super) struct Unawaited {
    tasks: AtomicUsize,
    ended: tokio::sync::Notify,
}

impl Unawaited {
    pub fn begin(shared: &Arc<Shared>) -> Task {
        shared.unawaited.tasks.fetch_add(1, Ordering::AcqRel);
        Task(Arc::clone(shared))
    }

    pub async fn none(&self) {
        loop {
            // Before the look, or an end in between would be missed.
            let ended = self.ended.notified();
            if self.tasks.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// One of them; it ends when it is dropped, also where its runtime ends before it.
pub(super) struct Task(Arc<Shared>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.unawaited.tasks.fetch_sub(1, Ordering::AcqRel);
        self.0.unawaited.ended.notify_waiters();
    }
}

impl Shared {
    pub fn new(settings: RedisSettings, fills: bool) -> Self {
        Self {
            fills,
            store: settings.store.clone().in_range(),
            names: Names::new(&settings.prefix),
            settings,
            identity: OnceLock::new(),
            latest: AtomicI64::new(NONE),
            earliest: AtomicI64::new(NONE),
            settled: Mutex::default(),
            marks: (0..TAGS).map(|_| AtomicU64::new(0)).collect(),
            lost: AtomicU64::new(0),
            generations: AtomicU64::new(0),
            failing: Mutex::new(None),
            counters: Counters::default(),
            memory: Default::default(),
            counts: Default::default(),
            unawaited: Unawaited::default(),
        }
    }

    /// Who the store is, once a connection was made.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    /// Takes a store for the one of this process, or finds that it is another.
    pub fn recognise(&self, found: Identity) -> Result<(), SharedStoreError> {
        let other =
            |expected: &str, found: String| SharedStoreError::OtherStore { expected: expected.to_owned(), found };
        if let Some(pinned) = self.settings.epoch.as_ref().filter(|pinned| **pinned != found.epoch) {
            return Err(other(pinned, found.epoch));
        }
        let known = self.identity.get_or_init(|| found.clone());
        if *known == found { Ok(()) } else { Err(other(&known.epoch, found.epoch)) }
    }

    /// The epoch that is known, or the one that is expected.
    pub fn epoch(&self) -> Option<&str> {
        self.identity().map(|known| known.epoch.as_str()).or(self.settings.epoch.as_deref())
    }

    pub fn connected(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn times(&self) -> Times {
        let some = |time: &AtomicI64| Some(time.load(Ordering::Acquire)).filter(|time| *time != NONE);
        Times { latest: some(&self.latest), earliest: some(&self.earliest) }
    }

    /// Last second of which everything may be deleted.
    pub fn deletable(&self) -> Option<i64> {
        self.settled.lock().time.map(|time| time - self.store.kept())
    }

    pub fn set_times(&self, times: Times) {
        if let Some(latest) = times.latest {
            self.settled.lock().seen(latest);
        }
        self.latest.store(times.latest.unwrap_or(NONE), Ordering::Release);
        self.earliest.store(times.earliest.unwrap_or(NONE), Ordering::Release);
    }

    pub fn mark(&self, tag: usize) -> u64 {
        self.marks.get(tag).map_or(0, |mark| mark.load(Ordering::Acquire))
    }

    /// Takes note of the number of writes under a tag, where `before` was known when it was asked for. Fewer mean
    /// that writes which were answered are gone.
    pub fn note_writes(&self, tag: usize, (before, found): (u64, u64)) {
        let Some(mark) = self.marks.get(tag) else { return };
        if found >= before {
            mark.fetch_max(found, Ordering::AcqRel);
        } else if mark.compare_exchange(before, found, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // Whoever takes the mark back counts the loss, once.
            self.lost.fetch_add(before - found, Ordering::AcqRel);
        }
    }

    /// Writes that were answered and are gone.
    pub fn lost_writes(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    pub fn unreachable(&self, error: &redis::RedisError) -> SharedStoreError {
        match error.code() {
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => SharedStoreError::Settings {
                key: "password_file",
                problem: format!("the server refuses user or password ({error}): set `username` and `password_file`"),
            },
            _ => self.away(error.to_string()),
        }
    }

    pub fn away(&self, problem: String) -> SharedStoreError {
        SharedStoreError::Unreachable { address: self.settings.address(), problem }
    }

    /// A call ended; the error is why the store could not be used.
    pub fn ended(&self, error: Option<&SharedStoreError>) {
        let mut failing = self.failing.lock();
        match (error, &mut *failing) {
            (None, Some(_)) => *failing = None,
            (None, None) => {}
            (Some(error), Some((_, last))) => *last = error.clone(),
            (Some(error), None) => *failing = Some((Instant::now(), error.clone())),
        }
    }

    /// For how long no call succeeded, and why the last one failed.
    pub fn failing(&self) -> Option<(Duration, SharedStoreError)> {
        self.failing.lock().as_ref().map(|(since, error)| (since.elapsed(), error.clone()))
    }
}
