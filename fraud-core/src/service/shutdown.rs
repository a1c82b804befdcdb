//! Where a service stands between start and end, for probes and edges.

use std::sync::atomic::{AtomicU8, Ordering};

/// A service's stage of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Not all is there yet.
    Starting = 0,
    /// Taking work.
    Ready = 1,
    /// About to end: still taking work, but asking for no more.
    Draining = 2,
}

/// The stage, shared between threads. It only moves forward.
#[derive(Debug)]
pub struct Lifecycle(AtomicU8);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(AtomicU8::new(Stage::Starting as u8))
    }
}

impl Lifecycle {
    /// The present stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.0.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            _ => Stage::Draining,
        }
    }

    /// Moves on; going back is not possible.
    pub fn advance(&self, to: Stage) {
        self.0.fetch_max(to as u8, Ordering::AcqRel);
    }

    /// Whether the end has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.stage() == Stage::Draining
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let life = Lifecycle::default();
        assert_eq!(life.stage(), Stage::Starting);
        life.advance(Stage::Draining);
        life.advance(Stage::Ready);
        assert!(life.is_draining());
    }
}
