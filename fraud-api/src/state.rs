//! The store's life: what it begins with, when it is saved.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use fraud_core::error::SnapshotError;
use fraud_core::features::MemoryStore;
use fraud_core::service::metrics::{ErrorType, Metrics, StoreFigures};
use fraud_core::service::settings::StoreSection;

/// The store to begin with: the last snapshot, else the state to load, else an empty one.
///
/// # Errors
/// [`SnapshotError`]: a state that is named but cannot be had is no reason to begin without history.
pub fn open(section: &StoreSection) -> Result<MemoryStore, SnapshotError> {
    let snapshot = section.snapshot_path.as_ref().filter(|path| path.exists());
    let Some(path) = snapshot.or(section.load_state.as_ref()) else {
        return Ok(MemoryStore::new(section.settings()));
    };
    let (store, _) = MemoryStore::restore(path, section.settings())?;
    let stats = store.stats();
    tracing::info!(
        path = %path.display(),
        events = stats.events,
        customers = stats.customers,
        terminals = stats.terminals,
        "the store begins with a saved state"
    );
    Ok(store)
}

/// Shows what the store holds in the metrics.
pub fn observe(store: &Arc<MemoryStore>, metrics: &Metrics) {
    let store = store.clone();
    metrics.observe_store(move || {
        let stats = store.stats();
        StoreFigures {
            customers: stats.customers,
            terminals: stats.terminals,
            events: stats.events,
            bytes: stats.bytes,
        }
    });
}

/// Saves the store now and then, and once more at the end.
#[derive(Debug)]
pub struct Snapshots {
    saver: Saver,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
struct Saver {
    store: Arc<MemoryStore>,
    metrics: Arc<Metrics>,
    path: PathBuf,
}

impl Saver {
    fn save(&self) {
        match self.store.snapshot(&self.path, &[]) {
            Ok(info) => tracing::debug!(events = info.events, bytes = info.bytes, "the store is saved"),
            Err(error) => {
                self.metrics.error(ErrorType::Snapshot);
                tracing::error!(%error, "the store could not be saved");
            }
        }
    }
}

impl Snapshots {
    /// Begins; `None` when nothing is to be saved.
    #[must_use]
    pub fn start(section: &StoreSection, store: Arc<MemoryStore>, metrics: Arc<Metrics>) -> Option<Self> {
        let saver = Saver { store, metrics, path: section.snapshot_path.clone()? };
        let (stop, stopped) = mpsc::channel::<()>();
        let mut snapshots = Self { saver: saver.clone(), stop: Some(stop), thread: None };
        let every: Duration = section.snapshot_every.0;
        if !every.is_zero() {
            let run = move || {
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    saver.save();
                }
            };
            snapshots.thread = std::thread::Builder::new().name("snapshot".to_owned()).spawn(run).ok();
            if snapshots.thread.is_none() {
                tracing::error!("no thread for snapshots: the store is saved at shutdown only");
            }
        }
        Some(snapshots)
    }

    /// Saves once more and ends.
    pub fn finish(mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.saver.save();
    }
}
