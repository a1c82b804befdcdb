//! A scorer that can be exchanged while others score.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use super::Scorer;

/// Holds the scorer in service and the one before it.
///
/// Take one [`SharedScorer::load`] per request and use it for the profile and the assessment: then no
/// answer mixes two models.
#[derive(Debug)]
pub struct SharedScorer {
    serving: ArcSwap<Scorer>,
    previous: ArcSwapOption<Scorer>,
}

impl SharedScorer {
    /// Puts a scorer in service.
    #[must_use]
    pub fn new(scorer: Scorer) -> Self {
        Self { serving: ArcSwap::from_pointee(scorer), previous: ArcSwapOption::empty() }
    }

    /// The scorer in service. Never blocks.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Scorer>> {
        self.serving.load()
    }

    /// Puts another scorer in service and keeps the present one for [`SharedScorer::rollback`].
    pub fn swap(&self, scorer: Arc<Scorer>) {
        self.previous.store(Some(self.serving.swap(scorer)));
    }

    /// Exchanges the scorer in service with the previous one. `false` when there is no previous one.
    pub fn rollback(&self) -> bool {
        match self.previous.load_full() {
            Some(previous) => {
                self.swap(previous);
                true
            }
            None => false,
        }
    }
}
