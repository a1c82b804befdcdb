//! How a challenger did beside the model in service.

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Seen;
use crate::assessment::Decision;
use crate::scorer::Scorer;
use crate::service::clock;
use crate::service::metrics::place;
use crate::service::quality::{Figures, Quality};
use crate::service::settings::{QualitySettings, ShadowSettings};
use crate::transaction::Id;

/// One pair of models, since they were put beside each other.
#[derive(Debug)]
pub struct Report {
    /// Unix milliseconds.
    since: u64,
    /// The served model's scores, then the challenger's, over the same transactions.
    qualities: [Quality; 2],
    counts: Mutex<Counts>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    scored: u64,
    /// Σ (challenger − served), and of its absolute value.
    difference: f64,
    distance: f64,
    /// By what the served model decided, then by what the challenger would have.
    decisions: [[u64; 3]; 3],
}

impl Report {
    /// An empty one.
    #[must_use]
    pub fn new(settings: &ShadowSettings) -> Self {
        let ShadowSettings { remembered, labels_within, labelled, .. } = *settings;
        Self {
            since: clock::unix_millis(),
            qualities: Quality::pair(&QualitySettings { remembered, labels_within, labelled }),
            counts: Mutex::default(),
        }
    }

    pub(super) fn add(&self, seen: &Seen, (probability, decision): (f32, Decision)) {
        let difference = f64::from(probability) - f64::from(seen.probability);
        let mut counts = self.counts.lock();
        counts.scored += 1;
        counts.difference += difference;
        counts.distance += difference.abs();
        counts.decisions[place(seen.decision)][place(decision)] += 1;
        drop(counts);
        let (id, time) = (&seen.transaction.transaction_id, seen.transaction.time);
        self.qualities[0].scored(id, time, seen.probability);
        self.qualities[1].scored(id, time, probability);
    }

    pub(super) fn labelled(&self, id: &Id, observed_at: i64, fraud: bool) {
        self.qualities.iter().for_each(|quality| quality.labelled(id, observed_at, fraud));
    }

    /// All of it, as JSON: what both scored alike and otherwise, and, over the transactions whose labels have
    /// come, how well.
    #[must_use]
    pub fn json(&self, served: &Scorer, challenger: &Scorer) -> Value {
        let counts = *self.counts.lock();
        let mean = |sum: f64| (counts.scored > 0).then(|| sum / counts.scored as f64);
        let names = ["approve", "review", "decline"];
        let flips: Vec<Value> = (0..3)
            .flat_map(|from| (0..3).map(move |to| (from, to)))
            .filter(|(from, to)| from != to && counts.decisions[*from][*to] > 0)
            .map(|(from, to)| json!({"from": names[from], "to": names[to], "count": counts.decisions[from][to]}))
            .collect();
        json!({
            "since": clock::rfc3339_text(self.since),
            "scored": counts.scored,
            "mean_score_difference": mean(counts.difference),
            "mean_absolute_score_difference": mean(counts.distance),
            "decision_flips": flips,
            "served": side(served, &self.qualities[0]),
            "challenger": side(challenger, &self.qualities[1]),
        })
    }
}

fn side(scorer: &Scorer, quality: &Quality) -> Value {
    let (review_at, decline_at) = scorer.thresholds();
    let figures = |figures: Figures| {
        json!({
            "label_age": figures.label_age,
            "samples": figures.samples,
            "frauds": figures.frauds,
            "average_precision": figures.average_precision,
            "precision": figures.precision,
            "recall": figures.recall,
        })
    };
    json!({
        "name": scorer.model().map(|model| model.name()),
        "version": scorer.model_version(),
        "sha256": scorer.model().map(|model| model.sha256()),
        "review_at": review_at,
        "decline_at": decline_at,
        "labelled": quality.figures(review_at).into_iter().map(figures).collect::<Vec<_>>(),
    })
}
