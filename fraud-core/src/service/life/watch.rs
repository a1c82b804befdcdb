//! Threads that look at something now and then, until they are dropped.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::service::source::Fingerprint;

/// A thread that does something once every so often.
#[derive(Debug)]
pub struct Watch {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// The same, but dropping it does not wait for a look under way: for looks that may hang on somebody else.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.thread.take();
        self
    }

    /// Calls back when one of some files has changed and has then stayed as it is for one interval, so that a
    /// file still being written is left alone.
    #[must_use]
    pub fn start(paths: Vec<PathBuf>, interval: Duration, mut changed: impl FnMut() + Send + 'static) -> Self {
        let look = move || paths.iter().map(|path| Fingerprint::of(path)).collect::<Vec<_>>();
        let mut known = look();
        let mut last = known.clone();
        Self::every(interval, move || {
            let now = look();
            if now != known && now == last && now.iter().all(Fingerprint::exists) {
                known.clone_from(&now);
                changed();
            }
            last = now;
        })
    }

    /// Calls `look` once every `interval`, the first time after one.
    #[must_use]
    pub fn every(interval: Duration, mut look: impl FnMut() + Send + 'static) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let run = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                look();
            }
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(run).ok();
        if thread.is_none() {
            tracing::error!("no thread for watching: changes need a reload by hand");
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
