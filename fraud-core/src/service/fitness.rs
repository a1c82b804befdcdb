//! How well the model in service still fits what comes in: the drift of its inputs and scores, and its quality once
//! labels are in. Both services measure it, and show it in their metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;

use super::drift::{Drift, Psi};
use super::life::ModelLife;
use super::metrics::Metrics;
use super::quality::{Figures, Quality};
use super::settings::{DriftSettings, QualitySettings};
use crate::assessment::Assessment;
use crate::features::Profile;
use crate::scorer::Scorer;
use crate::transaction::{Id, Transaction};

/// Drift and quality of one service.
#[derive(Debug)]
pub struct Fitness {
    settings: DriftSettings,
    /// Drift, with the address of the scorer that it is of.
    drift: ArcSwap<(usize, Drift)>,
    quality: Quality,
    turn: AtomicU32,
}

impl Fitness {
    /// Begins to measure, and to show the figures in the metrics. Call once.
    #[must_use]
    pub fn start(
        life: &Arc<ModelLife>,
        metrics: &Metrics,
        (drift, quality): (&DriftSettings, &QualitySettings),
    ) -> Arc<Self> {
        let scorer = life.shared().load();
        let fitness = Arc::new(Self {
            settings: drift.clone(),
            drift: ArcSwap::from_pointee((address(&scorer), Drift::of(&scorer, drift))),
            quality: Quality::new(quality),
            turn: AtomicU32::new(0),
        });
        let (of_features, of_score) = (fitness.clone(), fitness.clone());
        metrics.observe_drift(
            move || of_features.drift.load().1.features().into_iter().map(|psi| (psi.name, psi.psi)).collect(),
            move || of_score.drift.load().1.score().map(|psi| psi.psi),
        );
        let (of_quality, life) = (fitness.clone(), Arc::downgrade(life));
        metrics.observe_quality(move || {
            let Some(life) = life.upgrade() else { return Vec::new() };
            let (review_at, _) = life.shared().load().thresholds();
            let named = |figures: Figures| {
                [
                    ("precision", figures.precision),
                    ("recall", figures.recall),
                    ("average_precision", figures.average_precision),
                ]
                .into_iter()
                .filter_map(move |(metric, value)| Some((metric, figures.label_age, value?)))
            };
            of_quality.quality(review_at).into_iter().flat_map(named).collect()
        });
        fitness
    }

    /// Takes an assessment in: one in `drift.sample_every` for the drift, and its score until its label comes.
    pub fn assessed(&self, scorer: &Scorer, (transaction, profile): (&Transaction, &Profile), assessment: &Assessment) {
        let every = self.settings.sample_every;
        if every > 0 && self.turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(every) {
            let mut row = vec![0.0; scorer.features().len()];
            scorer.write_features(transaction, profile, &mut row);
            self.add(scorer, &row, assessment.fraud_probability);
        }
        self.scored(transaction, assessment);
    }

    /// Adds one transaction's features and probability to the drift of the scorer that assessed it. After a swap the
    /// first one to come here begins the new model's drift.
    pub fn add(&self, scorer: &Scorer, row: &[f64], probability: Option<f32>) {
        let drift = self.drift.load();
        if drift.0 == address(scorer) {
            drift.1.add(row, probability);
        } else {
            let fresh = Drift::of(scorer, &self.settings);
            fresh.add(row, probability);
            self.drift.store(Arc::new((address(scorer), fresh)));
        }
    }

    /// Remembers a score until its label comes; the one given first, where a transaction is repeated.
    pub fn scored(&self, transaction: &Transaction, assessment: &Assessment) {
        if let (Some(p), false) = (assessment.fraud_probability, assessment.duplicate) {
            self.quality.scored(&transaction.transaction_id, transaction.time, p);
        }
    }

    /// Tells what a transaction turned out to be. `observed_at` in Unix seconds.
    pub fn labelled(&self, id: &Id, observed_at: i64, fraud: bool) {
        self.quality.labelled(id, observed_at, fraud);
    }

    /// Drift of the features with enough samples, and of the score, if it has.
    #[must_use]
    pub fn drift(&self) -> (Vec<Psi>, Option<Psi>) {
        let drift = self.drift.load();
        (drift.1.features(), drift.1.score())
    }

    /// Quality for a threshold from which on a transaction is flagged; see [`Quality::figures`].
    #[must_use]
    pub fn quality(&self, threshold: f32) -> Vec<Figures> {
        self.quality.figures(threshold)
    }
}

fn address(scorer: &Scorer) -> usize {
    std::ptr::from_ref(scorer).addr()
}
