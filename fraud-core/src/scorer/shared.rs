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

    /// Puts another scorer in service and keeps the present one for [`SharedScorer::rollback`]. What was kept until
    /// now is handed out: giving a large model's memory back takes a while.
    pub fn swap(&self, scorer: Arc<Scorer>) -> Option<Arc<Scorer>> {
        self.previous.swap(Some(self.serving.swap(scorer)))
    }

    /// Puts another form of the model in service; what [`SharedScorer::rollback`] goes back to stays.
    pub fn refit(&self, scorer: Arc<Scorer>) {
        self.serving.store(scorer);
    }

    /// Makes another form of the model the one that [`SharedScorer::rollback`] goes back to.
    pub fn refit_previous(&self, scorer: Arc<Scorer>) {
        self.previous.store(Some(scorer));
    }

    /// The scorer that [`SharedScorer::rollback`] would put in service.
    #[must_use]
    pub fn previous(&self) -> Option<Arc<Scorer>> {
        self.previous.load_full()
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
