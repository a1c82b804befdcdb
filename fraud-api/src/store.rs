//! The store behind the routes: in this process, or shared with others.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use fraud_core::error::{SharedStoreError, StoreError};
use fraud_core::features::{Label, LabelOutcome, MemoryStore, Profile, ProfilePlan};
use fraud_core::service::metrics::{ErrorType, Metrics, StoreFigures};
use fraud_core::service::settings::StoreSection;
use fraud_core::store::redis::{BlockingRedisStore, Observation, RedisStore};
use fraud_core::{Id, Transaction};

/// A shared store that failed for so long makes the service unready.
const GRACE: Duration = Duration::from_secs(5);
/// How often a shared store is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Either kind of store.
#[derive(Debug, Clone)]
pub enum Store {
    /// In this process.
    Embedded(Arc<MemoryStore>),
    /// In a Redis.
    Shared(RedisStore),
}

impl Store {
    /// The store for one thread: the same, over a connection of its own.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        match self {
            Self::Embedded(store) => Self::Embedded(store.clone()),
            Self::Shared(store) => Self::Shared(store.sibling()),
        }
    }

    /// The embedded store, if it is one.
    #[must_use]
    pub fn embedded(&self) -> Option<&Arc<MemoryStore>> {
        match self {
            Self::Embedded(store) => Some(store),
            Self::Shared(_) => None,
        }
    }

    /// Whether its answers have to be waited for.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Whether it can be used, or will be in a moment.
    #[must_use]
    pub fn is_available(&self) -> bool {
        match self {
            Self::Embedded(_) => true,
            Self::Shared(store) => {
                store.epoch().is_some() && store.health().failing.is_none_or(|(span, _)| span < GRACE)
            }
        }
    }

    /// Figures for the metrics.
    #[must_use]
    pub fn figures(&self) -> StoreFigures {
        let stats = match self {
            Self::Embedded(store) => store.stats(),
            Self::Shared(store) => store.stats(),
        };
        StoreFigures {
            customers: stats.customers,
            terminals: stats.terminals,
            events: stats.events,
            bytes: stats.bytes,
        }
    }

    /// Observes many transactions in their order, or only looks. `profiles` has a place for each.
    pub async fn observe_all(
        &self,
        transactions: &[Transaction],
        plan: &ProfilePlan,
        (record, profiles): (bool, &mut [Profile]),
    ) -> Vec<Result<(), StoreError>> {
        match self {
            Self::Embedded(store) => {
                let one = |(tx, out): (&Transaction, &mut Profile)| match record {
                    true => store.observe(tx, plan, out),
                    false => store.peek(tx, plan, out),
                };
                transactions.iter().zip(profiles).map(one).collect()
            }
            Self::Shared(store) => {
                let rows: Vec<_> = transactions.iter().map(Observation::from).collect();
                match record {
                    true => store.observe_batch(&rows, plan, profiles).await,
                    false => store.peek_batch(&rows, plan, profiles).await,
                }
            }
        }
    }

    /// Waits for what earlier calls left to be written after their answers.
    pub async fn settle(&self) {
        match self {
            Self::Embedded(_) => {}
            Self::Shared(store) => store.settle().await,
        }
    }

    /// Records many labels.
    ///
    /// # Errors
    /// [`StoreError::Shared`], [`StoreError::Full`]: send them again.
    pub async fn label_all(&self, labels: &[(&Id, Label)]) -> Result<Vec<LabelOutcome>, StoreError> {
        match self {
            Self::Embedded(store) => Ok(labels.iter().map(|(id, label)| store.label(id, *label)).collect()),
            Self::Shared(store) => store.label_batch(labels).await,
        }
    }
}

/// The shared store of the settings. One that cannot be reached yet is waited for while serving; one that must not be
/// used is refused.
///
/// # Errors
/// [`SharedStoreError`].
pub fn connect(section: &StoreSection) -> Result<RedisStore, SharedStoreError> {
    let settings = section.redis()?;
    let store = RedisStore::new(settings)?;
    let asked = store.clone();
    // In a thread of its own: this one may be a runtime's.
    let first = std::thread::spawn(move || BlockingRedisStore::of(asked)?.look()).join();
    match first.unwrap_or_else(|_| Err(SharedStoreError::Answer { problem: "the first look panicked".to_owned() })) {
        Ok(()) => tracing::info!(epoch = store.epoch(), "the shared store is there"),
        Err(error @ SharedStoreError::Unreachable { .. }) => tracing::warn!(%error, "the shared store is waited for"),
        Err(error) => return Err(error),
    }
    Ok(store.sibling())
}

/// Looks after a shared store until it is dropped: notices when it goes and comes back, and clears what expired.
#[derive(Debug)]
pub struct Watch {
    _stop: mpsc::Sender<()>,
}

impl Watch {
    /// Begins; `None` for an embedded store.
    #[must_use]
    pub fn start(store: &Store, metrics: Arc<Metrics>) -> Option<Self> {
        let Store::Shared(store) = store else { return None };
        let (stop, stopped) = mpsc::channel::<()>();
        let store = store.sibling();
        let run = move || match BlockingRedisStore::of(store) {
            Ok(store) => watch(&store, &metrics, &stopped),
            Err(error) => tracing::error!(%error, "nobody looks after the shared store"),
        };
        if let Err(error) = std::thread::Builder::new().name("store".to_owned()).spawn(run) {
            tracing::error!(%error, "nobody looks after the shared store");
        }
        Some(Self { _stop: stop })
    }
}

fn watch(store: &BlockingRedisStore, metrics: &Metrics, stopped: &mpsc::Receiver<()>) {
    let (mut failing, mut lost, mut cursor) = (false, store.health().lost_writes, 0);
    while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let seen = store.watch().and_then(|()| store.sweep(cursor));
        match seen {
            Ok(next) => {
                cursor = next;
                if std::mem::take(&mut failing) {
                    tracing::info!("the shared store is back");
                }
            }
            Err(error) => {
                metrics.error(ErrorType::Store);
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "the shared store cannot be used");
                }
            }
        }
        let now = store.health().lost_writes;
        if now > lost {
            metrics.error(ErrorType::StoreLostWrites);
            tracing::error!(
                writes = now - lost,
                "the shared store lost writes that it had answered (failover or crash)"
            );
            lost = now;
        }
    }
}
