//! How well the probabilities and decisions agree with the labels.

mod cards;
mod curve;

use fraud_core::{Assessment, Decision, Transaction};
use serde::Serialize;

pub use cards::CardPrecision;
use cards::Cards;
use curve::Scores;

/// Counts of decisions against labels, at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Confusion {
    /// The probability from which a transaction counts as flagged.
    pub threshold: f32,
    /// Frauds flagged.
    pub true_positives: u64,
    /// Legitimate transactions flagged.
    pub false_positives: u64,
    /// Frauds not flagged.
    pub false_negatives: u64,
    /// Legitimate transactions not flagged.
    pub true_negatives: u64,
}

impl Confusion {
    fn add(&mut self, probability: f32, fraud: bool) {
        *match (probability >= self.threshold, fraud) {
            (true, true) => &mut self.true_positives,
            (true, false) => &mut self.false_positives,
            (false, true) => &mut self.false_negatives,
            (false, false) => &mut self.true_negatives,
        } += 1;
    }

    /// The share of frauds among what was flagged; `None` where nothing was.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    /// The share of frauds that was flagged; `None` where there are none.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// How well probabilities and decisions agree with the labels, over every labelled transaction that is not a
/// duplicate and has a probability.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// Labelled transactions.
    pub transactions: u64,
    /// Frauds among them.
    pub frauds: u64,
    /// Area under the ROC curve, ties counted half; `None` unless there are frauds and others.
    pub roc_auc: Option<f64>,
    /// Average precision, as scikit-learn defines it: the sum over thresholds of (recall gained × precision).
    pub average_precision: Option<f64>,
    /// False where there were so many transactions that the two areas come from a fine histogram.
    pub exact: bool,
    /// What investigators see who can look at a hundred cards a day.
    pub card_precision_at_100: CardPrecision,
    /// Flagged is what is reviewed or declined by the thresholds.
    pub at_review: Confusion,
    /// Flagged is what is declined by the thresholds.
    pub at_decline: Confusion,
    /// Amount of the frauds that were reviewed or declined, in major currency units.
    pub fraud_amount_caught: f64,
    /// Amount of the frauds that were declined; part of the above.
    pub fraud_amount_declined: f64,
    /// Amount of the frauds that were approved.
    pub fraud_amount_missed: f64,
}

/// Gathers what [`Quality`] is computed from: 4 bytes a transaction, up to fifty million of them.
pub(super) struct Gauge {
    scores: Scores,
    cards: Cards,
    at_review: Confusion,
    at_decline: Confusion,
    /// In ten-thousandths: approved, reviewed, declined.
    amounts: [i128; 3],
}

impl Gauge {
    pub(super) fn new((review_at, decline_at): (f32, f32)) -> Self {
        let at = |threshold| Confusion { threshold, ..Confusion::default() };
        Self {
            scores: Scores::default(),
            cards: Cards::default(),
            at_review: at(review_at),
            at_decline: at(decline_at),
            amounts: [0; 3],
        }
    }

    pub(super) fn add(&mut self, transaction: &Transaction, assessment: &Assessment, fraud: bool) {
        if assessment.duplicate {
            return;
        }
        if fraud {
            let index = match assessment.decision {
                Decision::Approve => 0,
                Decision::Review => 1,
                Decision::Decline => 2,
            };
            self.amounts[index] += i128::from(transaction.amount.units());
        }
        let Some(probability) = assessment.fraud_probability else { return };
        self.scores.add(probability, fraud);
        self.cards.add(transaction, probability, fraud);
        self.at_review.add(probability, fraud);
        self.at_decline.add(probability, fraud);
    }

    /// `None` where no transaction had a label.
    pub(super) fn finish(self) -> Option<Quality> {
        let areas = self.scores.finish();
        let Confusion { true_positives, false_positives, false_negatives, true_negatives, .. } = self.at_review;
        let frauds = true_positives + false_negatives;
        let transactions = frauds + false_positives + true_negatives;
        let major = |units: i128| units as f64 / fraud_core::transaction::AMOUNT_SCALE as f64;
        let [missed, reviewed, declined] = self.amounts;
        (transactions > 0).then(|| Quality {
            transactions,
            frauds,
            roc_auc: areas.roc_auc,
            average_precision: areas.average_precision,
            exact: areas.exact,
            card_precision_at_100: self.cards.finish(),
            at_review: self.at_review,
            at_decline: self.at_decline,
            fraud_amount_caught: major(reviewed + declined),
            fraud_amount_declined: major(declined),
            fraud_amount_missed: major(missed),
        })
    }
}
