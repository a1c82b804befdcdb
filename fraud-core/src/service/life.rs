//! The life of the model in service: load, watch, swap, roll back. Whatever is refused, what served before
//! serves on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::clock;
use super::metrics::{ErrorType, Metrics, ModelInfo};
use super::settings::{ModelSettings, PolicySettings};
use super::source::{self, Fingerprint, SourceError};
use crate::error::{FeatureError, PolicyError};
use crate::policy::Policy;
use crate::scorer::{Scorer, SharedScorer};

/// Why a scorer was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifeError {
    /// The model.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The store keeps less history than the features look back.
    #[error(transparent)]
    History(#[from] FeatureError),
    /// There is nothing to go back to.
    #[error("there is no previous model: none was exchanged since the start")]
    NoPrevious,
}

/// What became of the last attempt to change the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Unix milliseconds.
    pub at: u64,
    /// The reason of a refusal; none when it went through.
    pub refused: Option<String>,
}

/// Holds the scorer in service and exchanges it.
#[derive(Debug)]
pub struct ModelLife {
    shared: SharedScorer,
    model: ModelSettings,
    policy: PolicySettings,
    /// What the store keeps, in seconds.
    history: u32,
    metrics: Arc<Metrics>,
    /// Changes come one at a time.
    changing: Mutex<()>,
    last: ArcSwap<Attempt>,
}

impl ModelLife {
    /// Loads the first scorer.
    ///
    /// # Errors
    /// [`LifeError`]: a service does not start without what it was told to serve (unless `model.optional`).
    pub fn start(
        (model, policy): (ModelSettings, PolicySettings),
        history: u32,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, LifeError> {
        let scorer = match build(&model, &policy, history) {
            Err(LifeError::Source(error)) if model.optional => {
                tracing::error!(%error, "no model could be loaded: only rules marked `without_model` answer");
                metrics.error(ErrorType::ReloadRefused);
                Scorer::without_model(&read_policy(&policy)?)?
            }
            other => other?,
        };
        let last = ArcSwap::from_pointee(Attempt { at: clock::unix_millis(), refused: None });
        let shared = SharedScorer::new(scorer);
        let life = Arc::new(Self { shared, model, policy, history, metrics, changing: Mutex::new(()), last });
        let of_metrics = Arc::downgrade(&life);
        life.metrics.observe_model(move || of_metrics.upgrade()?.info());
        Ok(life)
    }

    /// The scorer in service.
    #[must_use]
    pub fn shared(&self) -> &SharedScorer {
        &self.shared
    }

    /// The model in service; none while only rules answer.
    #[must_use]
    pub fn info(&self) -> Option<ModelInfo> {
        let scorer = self.shared.load();
        let model = scorer.model()?;
        Some(ModelInfo { name: model.name().into(), version: model.version().into(), sha256: model.sha256().into() })
    }

    /// The last attempt to change the model.
    #[must_use]
    pub fn last_attempt(&self) -> Arc<Attempt> {
        self.last.load_full()
    }

    /// Loads model and policy anew from where the settings say and puts them in service.
    ///
    /// # Errors
    /// [`LifeError`]; then nothing has changed.
    pub fn reload(&self) -> Result<(), LifeError> {
        let _one = self.changing.lock();
        let built = build(&self.model, &self.policy, self.history);
        self.note(built.as_ref().err());
        self.shared.swap(Arc::new(built?));
        tracing::info!(model = ?self.info().map(|info| info.version), "a new model is in service");
        Ok(())
    }

    /// Goes back to the model before.
    ///
    /// # Errors
    /// [`LifeError::NoPrevious`].
    pub fn rollback(&self) -> Result<(), LifeError> {
        let _one = self.changing.lock();
        if !self.shared.rollback() {
            return Err(LifeError::NoPrevious);
        }
        self.note(None);
        tracing::warn!(model = ?self.info().map(|info| info.version), "went back to the model before");
        Ok(())
    }

    fn note(&self, refused: Option<&LifeError>) {
        if let Some(error) = refused {
            tracing::error!(%error, "the new model is refused, the old one serves on");
            self.metrics.error(ErrorType::ReloadRefused);
        }
        let refused = refused.map(ToString::to_string);
        self.last.store(Arc::new(Attempt { at: clock::unix_millis(), refused }));
    }

    /// Watches the files for changes until the watch is dropped. `None` when there is nothing to watch.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Option<Watch> {
        let paths: Vec<PathBuf> = self.model.path.iter().chain(&self.policy.path).cloned().collect();
        if paths.is_empty() || self.model.watch.is_zero() {
            return None;
        }
        let life = self.clone();
        Some(Watch::start(paths, self.model.watch.0, move || {
            // The refusal is logged and counted where it happens.
            let _ = life.reload();
        }))
    }
}

fn read_policy(settings: &PolicySettings) -> Result<Policy, PolicyError> {
    settings.path.as_deref().map_or_else(|| Ok(Policy::default()), Policy::from_path)
}

fn build(model: &ModelSettings, policy: &PolicySettings, history: u32) -> Result<Scorer, LifeError> {
    let policy = read_policy(policy)?;
    let scorer = Scorer::new(Arc::new(source::load(model)?), &policy)?;
    scorer.features().check_history(history)?;
    Ok(scorer)
}

/// Calls back when one of some files has changed and has then stayed as it is for one interval, so that a
/// file still being written is left alone.
#[derive(Debug)]
pub struct Watch {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Looks at the files once every `interval`.
    #[must_use]
    pub fn start(
        paths: Vec<PathBuf>,
        interval: std::time::Duration,
        mut changed: impl FnMut() + Send + 'static,
    ) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let look = move || paths.iter().map(|path| Fingerprint::of(path)).collect::<Vec<_>>();
        let mut known = look();
        let mut last = known.clone();
        let run = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let now = look();
                if now != known && now == last && now.iter().all(Fingerprint::exists) {
                    known.clone_from(&now);
                    changed();
                }
                last = now;
            }
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(run).ok();
        if thread.is_none() {
            tracing::error!("no thread for watching files: changes need a reload by hand");
        }
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
