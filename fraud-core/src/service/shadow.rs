//! What looks at the same transactions beside the response path: a challenger, and after a swap the model before.
//!
//! An edge offers what it has answered; the offer costs one load where nobody looks, and else a copy into a bounded
//! queue. When the queue is full the offer is dropped and counted: the path never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::guards::Guard;
use super::metrics::{Metrics, ModelInfo};
use super::settings::ShadowSettings;
use crate::assessment::{Assessment, Decision};
use crate::features::Profile;
use crate::scorer::Scorer;
use crate::transaction::{Id, Transaction};

mod report;

pub use report::Report;

const CHALLENGER: u8 = 1;
const GUARD: u8 = 2;
/// How long the worker waits for a transaction before it looks after the guards.
const TICK: Duration = Duration::from_millis(200);

/// A transaction and how it was answered.
#[derive(Debug)]
pub struct Seen {
    /// The transaction.
    pub transaction: Transaction,
    /// Its profile, as the served model read it.
    pub profile: Profile,
    /// The served model's probability.
    pub probability: f32,
    /// The decision given.
    pub decision: Decision,
    /// The served model's version; its address tells models apart.
    version: Arc<str>,
}

/// A model that scores what another one has answered.
#[derive(Debug)]
pub struct Challenger {
    /// The model, reading the served one's profiles.
    pub scorer: Scorer,
    /// What was seen of both.
    pub report: Arc<Report>,
}

/// What waits to be looked at.
#[derive(Debug)]
// The queue has its places from the start, each as large as the larger one.
#[allow(clippy::large_enum_variant)]
enum Waiting {
    Seen(Seen),
    Label { id: Id, observed_at: i64, fraud: bool },
}

/// Who looks.
#[derive(Debug, Default)]
pub struct Members {
    /// The model that must have answered; what another one answered is passed over.
    pub served: Option<Arc<Scorer>>,
    /// The challenger, if there is one.
    pub challenger: Option<Challenger>,
    /// The guard over a new model, while there is one.
    pub guard: Option<Arc<Guard>>,
}

impl Members {
    fn wanted(&self) -> u8 {
        let challenger = if self.challenger.is_some() { CHALLENGER } else { 0 };
        challenger | if self.guard.is_some() { GUARD } else { 0 }
    }

    fn is_served(&self, version: &Arc<str>) -> bool {
        self.served.as_ref().is_some_and(|served| Arc::ptr_eq(served.model_version(), version))
    }

    fn look_at(&self, seen: &Seen, metrics: &Metrics) {
        if !self.is_served(&seen.version) {
            return;
        }
        if let Some(challenger) = &self.challenger {
            match challenger.scorer.verdict(&seen.transaction, &seen.profile) {
                Ok((Some(probability), decision)) => {
                    let difference = f64::from(probability) - f64::from(seen.probability);
                    metrics.shadow_scored(difference.abs(), seen.decision, decision);
                    challenger.report.add(seen, (probability, decision));
                }
                Ok((None, _)) | Err(_) => metrics.shadow_failed(),
            }
        }
        if let Some(guard) = &self.guard {
            guard.compare(seen);
        }
    }

    fn labelled(&self, id: &Id, observed_at: i64, fraud: bool) {
        if let Some(challenger) = &self.challenger {
            challenger.report.labelled(id, observed_at, fraud);
        }
    }

    /// How the challenger did beside the served model, if there is one.
    #[must_use]
    pub fn report(&self) -> Option<serde_json::Value> {
        let (served, challenger) = self.served.as_ref().zip(self.challenger.as_ref())?;
        Some(challenger.report.json(served, &challenger.scorer))
    }
}

/// The queue, and who looks at what comes out of it.
#[derive(Debug)]
pub struct Beside {
    queue: SyncSender<Waiting>,
    waiting: Mutex<Option<Receiver<Waiting>>>,
    /// Whether anybody looks, at hand for the path.
    wanted: AtomicU8,
    members: ArcSwap<Members>,
    sample_every: u32,
    turn: AtomicU32,
    metrics: Arc<Metrics>,
}

impl Beside {
    /// Nobody looks yet.
    #[must_use]
    pub fn new(settings: &ShadowSettings, metrics: Arc<Metrics>) -> Self {
        let (queue, waiting) = sync_channel(settings.queue);
        Self {
            queue,
            waiting: Mutex::new(Some(waiting)),
            wanted: AtomicU8::new(0),
            members: ArcSwap::default(),
            sample_every: settings.sample_every.max(1),
            turn: AtomicU32::new(0),
            metrics,
        }
    }

    /// Offers a transaction that was answered and recorded. Never waits.
    pub fn offer(&self, transaction: &Transaction, profile: &Profile, assessment: &Assessment) {
        let wanted = self.wanted.load(Ordering::Relaxed);
        if wanted == 0 || assessment.duplicate {
            return;
        }
        self.offer_to(wanted, (transaction, profile), assessment);
    }

    #[cold]
    fn offer_to(&self, wanted: u8, (transaction, profile): (&Transaction, &Profile), assessment: &Assessment) {
        let version = &assessment.model_version;
        if wanted & GUARD != 0 {
            let members = self.members.load();
            match (&members.guard, assessment.fraud_probability) {
                (Some(guard), Some(_)) if members.is_served(version) => guard.answered(),
                // A rule stood in for the model.
                (Some(guard), None) => guard.failed(),
                _ => {}
            }
        }
        let Some(probability) = assessment.fraud_probability else { return };
        if self.sample_every > 1 && !self.turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.sample_every) {
            return;
        }
        let seen = Seen {
            transaction: transaction.clone(),
            profile: profile.clone(),
            probability,
            decision: assessment.decision,
            version: version.clone(),
        };
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Waiting::Seen(seen))
            && wanted & CHALLENGER != 0
        {
            self.metrics.shadow_dropped();
        }
    }

    /// Says that the model of a scorer could not assess a transaction.
    pub fn failed(&self, scorer: &Scorer) {
        if self.wanted.load(Ordering::Relaxed) & GUARD == 0 {
            return;
        }
        let members = self.members.load();
        if let Some(guard) = members.guard.as_ref().filter(|_| members.is_served(scorer.model_version())) {
            guard.failed();
        }
    }

    /// Tells what a transaction turned out to be: in its turn, so that a label that comes right behind its
    /// transaction finds the scores. Never waits; when the queue is full it is not dropped, but comes before its turn.
    pub fn labelled(&self, id: &Id, observed_at: i64, fraud: bool) {
        if self.wanted.load(Ordering::Relaxed) & CHALLENGER == 0 {
            return;
        }
        let label = Waiting::Label { id: id.clone(), observed_at, fraud };
        if self.queue.try_send(label).is_err() {
            self.members.load().labelled(id, observed_at, fraud);
        }
    }

    /// Who looks now.
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        self.members.load_full()
    }

    /// The challenger's model, if there is one.
    #[must_use]
    pub fn challenger(&self) -> Option<ModelInfo> {
        self.members.load().challenger.as_ref().and_then(|challenger| ModelInfo::of(&challenger.scorer))
    }

    /// Exchanges who looks.
    pub(super) fn set(&self, members: Members) {
        let wanted = members.wanted();
        self.members.store(Arc::new(members));
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Begins to work the queue off on a thread of its own, calling `look_after` now and then. `None` when it
    /// was begun before, or there is no thread to be had.
    pub(super) fn start(self: &Arc<Self>, look_after: impl Fn() + Send + 'static) -> Option<Worker> {
        let waiting = self.waiting.lock().take()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (beside, stopped) = (self.clone(), stop.clone());
        let run = move || {
            let mut looked = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                match waiting.recv_timeout(TICK) {
                    Ok(Waiting::Seen(seen)) => beside.members.load().look_at(&seen, &beside.metrics),
                    Ok(Waiting::Label { id, observed_at, fraud }) => {
                        beside.members.load().labelled(&id, observed_at, fraud);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                if looked.elapsed() >= TICK {
                    look_after();
                    looked = Instant::now();
                }
            }
        };
        let thread = std::thread::Builder::new().name("beside".to_owned()).spawn(run);
        match thread {
            Ok(thread) => Some(Worker { stop, thread: Some(thread) }),
            Err(error) => {
                tracing::error!(%error, "no thread for comparing models: no challenger scores, no guard watches");
                None
            }
        }
    }
}

/// The thread that works the queue off; ends when dropped.
#[derive(Debug)]
pub struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
