//! `fraud-stream run`: one session after another, until somebody ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use fraud_core::service::fitness::Fitness;
use fraud_core::service::keys::Keys;
use fraud_core::service::life::ModelLife;
use fraud_core::service::metrics::StoreFigures;
use fraud_core::service::shutdown::{Lifecycle, Stage};
use fraud_core::service::telemetry;
use parking_lot::Mutex;

use super::crash::Crash;
use super::error::StreamError;
use super::group;
use super::metrics::{Lag, StreamMetrics};
use super::server;
use super::session;
use super::settings::{ScorerKind, StreamSettings};
use super::source::Topics;

/// After so long a shutdown no longer waits for a broker that does not answer,
const HURRY: Duration = Duration::from_secs(4);
/// and after so long it no longer waits for anything. What is not committed then is done again by the next.
const GIVE_UP: Duration = Duration::from_millis(9_500);
/// Longest pause between two sessions.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A session that lasted this long was a good one.
const GOOD: Duration = Duration::from_mins(1);

/// What can keep records from being answered; several may at a time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    /// Between sessions.
    Session = 1,
    /// Nothing can be committed.
    Commit = 2,
    /// The store takes nothing.
    Store = 4,
    /// The API does not answer.
    Api = 8,
}

/// What all parts of the process look at.
#[derive(Debug)]
pub struct Shared {
    /// The metrics.
    pub metrics: Arc<StreamMetrics>,
    /// The lag.
    pub lag: Arc<Lag>,
    /// The model's life; none when another service scores.
    pub life: Option<Arc<ModelLife>>,
    /// Its drift and quality.
    pub(super) fitness: Option<Arc<Fitness>>,
    /// Who may see `/admin`; none where nobody needs a key.
    pub keys: Option<Arc<Keys>>,
    pub(super) crash: Arc<Crash>,
    lifecycle: Lifecycle,
    /// The troubles there are, each a bit.
    troubles: AtomicU8,
    stop: Arc<AtomicBool>,
    pub(super) hurry: Arc<AtomicBool>,
    /// What the store of the present session holds.
    pub(super) figures: Mutex<StoreFigures>,
}

impl Shared {
    /// Loads what the settings name.
    ///
    /// # Errors
    /// [`StreamError::Life`] for a model or policy that cannot be used, [`StreamError::Keys`].
    pub fn new(settings: &StreamSettings) -> Result<Arc<Self>, StreamError> {
        let metrics = StreamMetrics::new()?;
        let life = match settings.scorer.kind {
            ScorerKind::Http => None,
            ScorerKind::Local => Some(ModelLife::start(
                (settings.model.clone(), settings.policy.clone()),
                settings.store_settings().history,
                metrics.shared.clone(),
            )?),
        };
        let measured = (&settings.drift, &settings.quality);
        let fitness = life.as_ref().map(|life| Fitness::start(life, &metrics.shared, measured));
        let lag = Arc::new(Lag::new(metrics.clone(), Topics::new(settings), &settings.kafka.group));
        Ok(Arc::new(Self {
            crash: Arc::new(Crash::new(&settings.test.crash_at, settings.test.crash_after)),
            lifecycle: Lifecycle::default(),
            troubles: AtomicU8::new(Trouble::Session as u8),
            stop: Arc::default(),
            hurry: Arc::default(),
            figures: Mutex::default(),
            keys: settings.server.keys_file.as_deref().map(Keys::load).transpose()?.map(Arc::new),
            metrics,
            lag,
            life,
            fitness,
        }))
    }

    /// The stage of life.
    pub fn stage(&self) -> Stage {
        self.lifecycle.stage()
    }

    /// Whether nothing is answered just now.
    pub fn is_troubled(&self) -> bool {
        self.troubles.load(Ordering::Acquire) != 0
    }

    /// Notes that a trouble begins, at its first sign, or that it is over, once what failed succeeded.
    pub(super) fn trouble(&self, trouble: Trouble, begins: bool) {
        let bit = trouble as u8;
        if begins {
            self.troubles.fetch_or(bit, Ordering::AcqRel);
        } else if self.troubles.fetch_and(!bit, Ordering::AcqRel) == bit {
            self.lifecycle.advance(Stage::Ready);
        }
    }

    /// Between sessions: what troubled the last one went with it.
    fn between_sessions(&self) {
        self.troubles.store(Trouble::Session as u8, Ordering::Release);
    }

    /// Whether the process is to end.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Ends the process in order, as SIGTERM does.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`StreamError`] for what does not pass by itself; its exit code says whose fault it is.
pub fn run(settings: &StreamSettings) -> Result<(), StreamError> {
    telemetry::start_log(&settings.telemetry, std::io::stderr);
    let shared = Shared::new(settings)?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, shared.stop.clone()).map_err(StreamError::io("watch for signals"))?;
    }
    run_shared(settings, &shared)
}

/// The same with a state that somebody else looks at too.
///
/// # Errors
/// As [`run`].
pub fn run_shared(settings: &StreamSettings, shared: &Arc<Shared>) -> Result<(), StreamError> {
    watch_the_end(shared);
    if let Some(address) = server::start(&settings.server.bind, shared)? {
        tracing::info!(%address, "metrics and health");
    }
    let weak = Arc::downgrade(shared);
    shared
        .metrics
        .shared
        .observe_store(move || weak.upgrade().map(|shared| *shared.figures.lock()).unwrap_or_default());
    let _following = shared.life.as_ref().map(ModelLife::follow);
    let _keys = shared.keys.as_ref().map(Keys::watch);
    let mut pause = Duration::from_millis(500);
    loop {
        let begin = Instant::now();
        let ended = if settings.shares_store() { group::run(settings, shared) } else { session::run(settings, shared) };
        shared.between_sessions();
        let error = match ended {
            Ok(()) => {
                tracing::info!("ended in order");
                return Ok(());
            }
            Err(error) => error,
        };
        if !error.is_passing() {
            return Err(error);
        }
        if shared.stopping() {
            tracing::warn!(%error, "ended before the session did; the next start does what is left");
            return Ok(());
        }
        shared.metrics.sessions_lost.inc();
        if begin.elapsed() > GOOD {
            pause = Duration::from_millis(500);
        }
        tracing::error!(%error, pause = pause.as_secs_f64(), "the session is over, the next begins after a pause");
        let until = Instant::now() + pause;
        while Instant::now() < until && !shared.stopping() {
            std::thread::sleep(Duration::from_millis(50));
        }
        if shared.stopping() {
            return Ok(());
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Sees to it that a shutdown takes no longer than it may.
fn watch_the_end(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    std::thread::spawn(move || {
        let mut since: Option<Instant> = None;
        while let Some(shared) = shared.upgrade() {
            if shared.stopping() {
                shared.lifecycle.advance(Stage::Draining);
                let elapsed = since.get_or_insert_with(Instant::now).elapsed();
                shared.hurry.store(elapsed > HURRY, Ordering::Release);
                if elapsed > GIVE_UP {
                    tracing::error!("the shutdown takes too long; what is not committed is done again by the next");
                    std::process::exit(75);
                }
            }
            drop(shared);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}
