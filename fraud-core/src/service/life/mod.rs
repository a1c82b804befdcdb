//! The life of the model in service: load, watch or follow, swap, compare, roll back. Whatever is refused, what
//! served before serves on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

mod card;
mod follow;
mod standing;
mod watch;

pub use watch::Watch;

use super::clock;
use super::metrics::{ErrorType, Metrics, ModelInfo, RollbackReason};
use super::settings::{ModelSettings, PolicySettings};
use super::shadow::{Beside, Worker};
use super::source::{self, Cache, Fingerprint, Origin, Registry, Release, SourceError};
use crate::error::{FeatureError, PolicyError};
use crate::model::Model;
use crate::policy::Policy;
use crate::scorer::{Scorer, SharedScorer};
use follow::Followed;
use standing::Standing;

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
    /// The model before is one that was left.
    #[error(
        "the model before was itself rolled back ({mark}): there is nothing to go back to; to have it again, remove its \
         mark in the registry, or start anew"
    )]
    PreviousBarred {
        /// Why and when.
        mark: String,
    },
    /// The model was rolled back.
    #[error("this model was rolled back ({mark}) and is not taken again: give another one, or start anew")]
    Barred {
        /// Why and when.
        mark: String,
    },
}

impl LifeError {
    /// The kind of failure in a word: a metric's label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Source(error) => error.reason(),
            Self::Policy(_) => "policy",
            Self::History(_) => "history",
            Self::NoPrevious | Self::PreviousBarred { .. } | Self::Barred { .. } => "rolled_back",
        }
    }

    /// Whether the same may succeed at another time: the registry's trouble, or a file cut on its way.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Source(SourceError::Registry(error)) if error.is_passing())
    }

    /// Whether it is a model that was refused, and not the way to it that failed.
    pub(super) fn is_of_model(&self) -> bool {
        match self {
            Self::Source(SourceError::Registry(error)) => error.is_of_version(),
            _ => true,
        }
    }
}

/// What became of the last attempt to change the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Unix milliseconds.
    pub at: u64,
    /// The reason of a refusal or a return; none when a model was taken.
    pub refused: Option<String>,
}

/// Holds the scorer in service and exchanges it.
#[derive(Debug)]
pub struct ModelLife {
    shared: SharedScorer,
    model: ModelSettings,
    policy: PolicySettings,
    origin: Origin,
    /// What the store keeps, in seconds.
    history: u32,
    metrics: Arc<Metrics>,
    registry: Option<Registry>,
    cache: Option<Cache>,
    /// Models are loaded one at a time, which takes a while,
    loading: Mutex<()>,
    /// and change places one at a time, which does not. Whoever takes several takes them in this order.
    followed: [Mutex<Followed>; 2],
    challenging: Mutex<Option<Release>>,
    standing: Mutex<Standing>,
    beside: Arc<Beside>,
    last: ArcSwap<Attempt>,
    /// How long the last exchange took, in nanoseconds.
    swap_pause: AtomicU64,
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
        let origin = model.origin().map_err(|problem| SourceError::Origin { problem })?;
        let registry = match model.mlflow.tracking_uri {
            Some(_) => Some(Registry::new(&model.mlflow, model.max_bytes).map_err(SourceError::from)?),
            None => None,
        };
        let cache = match (&origin, &model.cache_dir) {
            (Origin::Registry(wanted), Some(folder)) => Some(Cache::new(folder, wanted)),
            _ => None,
        };
        let fit_first = |model| fit(model, &policy, history);
        let first = match (&origin, &registry) {
            (Origin::Registry(wanted), Some(registry)) => {
                let options = source::options(&model).map_err(SourceError::from)?;
                let first = follow::First { registry, cache: cache.as_ref(), options: &options, metrics: &metrics };
                first.of(wanted, &fit_first).map(|(scorer, release)| (scorer, Some(release)))
            }
            _ => load(&origin, &model).map_err(LifeError::from).and_then(|model| Ok((fit_first(model)?, None))),
        };
        let (scorer, serving) = match first {
            Err(LifeError::Source(error)) if model.optional => {
                tracing::error!(%error, "no model could be loaded: only rules marked `without_model` answer");
                metrics.error(ErrorType::ReloadRefused);
                metrics.model_refused(error.reason());
                (Scorer::without_model(&read_policy(&policy)?)?, None)
            }
            other => other?,
        };
        let life = Arc::new(Self {
            shared: SharedScorer::new(scorer),
            beside: Arc::new(Beside::new(&model.shadow, metrics.clone())),
            last: ArcSwap::from_pointee(Attempt { at: clock::unix_millis(), refused: None }),
            standing: Mutex::new(Standing { serving, ..Standing::default() }),
            followed: Default::default(),
            challenging: Mutex::default(),
            loading: Mutex::new(()),
            swap_pause: AtomicU64::new(0),
            model,
            policy,
            origin,
            history,
            metrics,
            registry,
            cache,
        });
        let (served, challenger) = (Arc::downgrade(&life), Arc::downgrade(&life));
        life.metrics.observe_model(move || served.upgrade()?.info());
        life.metrics.observe_challenger(move || challenger.upgrade()?.beside.challenger());
        Ok(life)
    }

    /// The scorer in service.
    #[must_use]
    pub fn shared(&self) -> &SharedScorer {
        &self.shared
    }

    /// Who looks at the same transactions: edges offer them what they have answered.
    #[must_use]
    pub fn beside(&self) -> &Beside {
        &self.beside
    }

    /// The model in service; none while only rules answer.
    #[must_use]
    pub fn info(&self) -> Option<ModelInfo> {
        ModelInfo::of(&self.shared.load())
    }

    /// The registry's version in service, where it came from there.
    #[must_use]
    pub fn release(&self) -> Option<Release> {
        self.standing.lock().serving.clone()
    }

    /// Whether the model in service is new and still compared with the one before.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.standing.lock().guard.is_some()
    }

    /// How long the last exchange of the scorer took.
    #[must_use]
    pub fn swap_pause(&self) -> Duration {
        Duration::from_nanos(self.swap_pause.load(Ordering::Relaxed))
    }

    /// The last attempt to change the model.
    #[must_use]
    pub fn last_attempt(&self) -> Arc<Attempt> {
        self.last.load_full()
    }

    /// Loads model and policy anew from where the settings say and puts them in service. Where the model is the one
    /// that serves, only the policy is exchanged: the model before and the guards stay what they are.
    ///
    /// # Errors
    /// [`LifeError`]; then nothing has changed.
    pub fn reload(&self) -> Result<(), LifeError> {
        if let Origin::Registry(wanted) = &self.origin {
            self.look_for_served(wanted, true)?;
            return self.reload_policy();
        }
        let one = self.loading.lock();
        let loaded = load(&self.origin, &self.model).map_err(LifeError::from);
        let placed = match loaded {
            Ok(model) if Some(model.sha256()) == self.info().as_ref().map(|info| &*info.sha256) => {
                drop(one);
                self.noted(None);
                return self.reload_policy();
            }
            Ok(model) => self.fit(model).and_then(|scorer| self.put_in_service(scorer, (None, true))),
            Err(error) => Err(error),
        };
        match &placed {
            Ok(()) => self.noted(None),
            Err(error) => self.refuse(error, "the new model is refused, the old one serves on"),
        }
        placed
    }

    /// Reads the policy anew and keeps the model.
    fn reload_policy(&self) -> Result<(), LifeError> {
        if self.policy.path.is_none() {
            return Ok(());
        }
        let _one = self.loading.lock();
        let Some(model) = self.shared.load().model().cloned() else { return Ok(()) };
        let fitted = read_policy(&self.policy).and_then(|policy| Scorer::new(model, &policy)).map_err(LifeError::from);
        let fitted = fitted.and_then(|scorer| {
            scorer.features().check_history(self.history)?;
            Ok(scorer)
        });
        match fitted {
            Ok(scorer) => {
                self.exchange_policy(scorer);
                self.noted(None);
                Ok(())
            }
            Err(error) => {
                self.refuse(&error, "the new policy is refused, the old one stays");
                Err(error)
            }
        }
    }

    /// Goes back to the model before, at an operator's word. Asked for twice, where the model came from a registry, it
    /// is refused the second time: what was left is marked.
    ///
    /// # Errors
    /// [`LifeError::NoPrevious`], [`LifeError::PreviousBarred`].
    pub fn rollback(&self) -> Result<(), LifeError> {
        self.go_back((RollbackReason::Operator, "asked for"), |_| true)?;
        self.tell_marks();
        Ok(())
    }

    fn fit(&self, model: Model) -> Result<Scorer, LifeError> {
        fit(model, &self.policy, self.history)
    }

    fn refuse(&self, error: &LifeError, then: &'static str) {
        tracing::error!(%error, reason = error.reason(), "{then}");
        self.metrics.error(ErrorType::ReloadRefused);
        self.metrics.model_refused(error.reason());
        self.noted(Some(error.to_string()));
    }

    fn noted(&self, refused: Option<String>) {
        self.last.store(Arc::new(Attempt { at: clock::unix_millis(), refused }));
    }

    /// Begins all that goes on by itself: watching files, following the registry, comparing models. It ends when
    /// the value is dropped.
    #[must_use]
    pub fn follow(self: &Arc<Self>) -> Following {
        let mut watches = Vec::new();
        // Each file by itself: a change of the policy must not bring back a model that was left.
        let file = match &self.origin {
            Origin::File(path) => Some((path, Self::reload as fn(&Self) -> Result<(), LifeError>)),
            _ => None,
        };
        let policy = self.policy.path.as_ref().map(|path| (path, Self::reload_policy as _));
        for (path, reload) in file.into_iter().chain(policy).filter(|_| !self.model.watch.is_zero()) {
            let life = self.clone();
            watches.push(Watch::start(vec![path.clone()], self.model.watch.0, move || {
                // The refusal is logged and counted where it happens.
                let _ = reload(&life);
            }));
        }
        if let Origin::Registry(wanted) = self.origin.clone() {
            let life = self.clone();
            let look = move || {
                let _ = life.look_for_served(&wanted, false);
            };
            watches.push(Watch::every(self.model.mlflow.poll.0, look).detached());
        }
        watches.extend(self.follow_challenger());
        let life = Arc::downgrade(self);
        let worker = self.beside.start(move || {
            if let Some(life) = life.upgrade() {
                life.look_after_guards();
            }
        });
        Following { _watches: watches, _worker: worker }
    }

    fn follow_challenger(self: &Arc<Self>) -> Option<Watch> {
        // The settings were checked when they were read.
        let origin = Origin::parse(self.model.shadow.source.as_deref()?).ok()?;
        let life = self.clone();
        let every = match origin {
            Origin::Registry(_) => self.model.mlflow.poll.0,
            _ if self.model.watch.is_zero() => Duration::from_secs(2),
            _ => self.model.watch.0,
        };
        let mut known = None;
        // The first look is the thread's, too: no challenger keeps a service from starting.
        let look = move || match &origin {
            Origin::Registry(_) => life.look_for_challenger(&origin),
            Origin::File(path) => {
                let now = Fingerprint::of(path);
                if known.as_ref() != Some(&now) && (known.is_none() || !life.model.watch.is_zero()) {
                    known = Some(now);
                    life.look_for_challenger(&origin);
                }
            }
            Origin::Embedded | Origin::Address(_) => {
                if known.is_none() {
                    known = Some(Fingerprint::default());
                    life.look_for_challenger(&origin);
                }
            }
        };
        Some(Watch::every(every, look).detached())
    }
}

/// The threads of a model's life; they end when it is dropped.
#[derive(Debug)]
pub struct Following {
    _watches: Vec<Watch>,
    _worker: Option<Worker>,
}

fn read_policy(settings: &PolicySettings) -> Result<Policy, PolicyError> {
    settings.path.as_deref().map_or_else(|| Ok(Policy::default()), Policy::from_path)
}

fn load(origin: &Origin, settings: &ModelSettings) -> Result<Model, SourceError> {
    source::load(origin, settings.sha256.as_deref(), &source::options(settings)?)
}

fn fit(model: Model, policy: &PolicySettings, history: u32) -> Result<Scorer, LifeError> {
    let policy = read_policy(policy)?;
    let scorer = Scorer::new(Arc::new(model), &policy)?;
    scorer.features().check_history(history)?;
    Ok(scorer)
}
