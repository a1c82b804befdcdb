//! Places at which a test ends the process, as `kill -9` would.

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// A place worth crashing at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// The store observed a batch, nothing was produced.
    AfterObserve,
    /// The predictions of a batch are with the broker, in an open transaction.
    AfterProduce,
    /// The offsets are too; the transaction is still open.
    BeforeCommit,
    /// The transaction is committed, this process has not noted it.
    AfterCommit,
    /// A snapshot is being written.
    MidSnapshot,
    /// A snapshot is written and has not replaced the one before.
    BeforeRename,
}

impl FromStr for CrashPoint {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Ok(match name {
            "after_observe" => Self::AfterObserve,
            "after_produce" => Self::AfterProduce,
            "before_commit" => Self::BeforeCommit,
            "after_commit" => Self::AfterCommit,
            "mid_snapshot" => Self::MidSnapshot,
            "before_rename" => Self::BeforeRename,
            _ => return Err(()),
        })
    }
}

/// The crash that was asked for, if any.
#[derive(Debug)]
pub struct Crash {
    at: Option<CrashPoint>,
    left: AtomicU32,
}

impl Crash {
    /// A crash at the named point, once it was passed `after` times.
    #[must_use]
    pub fn new(name: &str, after: u32) -> Self {
        Self { at: name.parse().ok(), left: AtomicU32::new(after) }
    }

    /// Ends the process when this is the point and the time.
    pub fn pass(&self, point: CrashPoint) {
        if self.due(point) {
            kill();
        }
    }

    /// Whether the point is to strike now; for one that needs more than a place in the code.
    pub fn due(&self, point: CrashPoint) -> bool {
        self.at == Some(point)
            && self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_err()
    }
}

/// Ends this process without a word, as from outside.
pub(super) fn kill() {
    use rustix::process::{Signal, getpid, kill_process};
    // Should the signal be refused, this is the next best.
    let _refused = kill_process(getpid(), Signal::KILL);
    std::process::abort();
}
