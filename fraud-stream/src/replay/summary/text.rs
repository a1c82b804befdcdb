//! The summary as a person would want to read it.

use std::fmt;

use indicatif::{HumanBytes, HumanCount, HumanFloatCount};

use super::{Decision, Sorting, Summary};
use crate::replay::quality::{Confusion, Quality};

/// Lines of reasons shown; the JSON has all of them.
const SHOWN: usize = 8;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = HumanCount;
        writeln!(f, "Transactions   {} assessed with model {}", count(self.transactions), self.model_version)?;
        if let (Some(first), Some(last)) = (&self.first_time, &self.last_time) {
            let order = match self.order {
                Sorting::AlreadySorted => "in order of event time",
                Sorting::Sorted => "sorted by event time",
                Sorting::AsTheyCame => "as they came",
            };
            writeln!(f, "Event times    {first} to {last}, {order}")?;
        }
        let flags = [
            (self.duplicates, "duplicates"),
            (self.late, "too late to be recorded"),
            (self.approximate, "with approximate windows"),
            (self.history_incomplete, "before the history was complete"),
        ];
        for (number, what) in flags.into_iter().filter(|(number, _)| *number > 0) {
            writeln!(f, "               {} {what}", count(number))?;
        }
        writeln!(f, "Rejected rows  {}", count(self.rejected))?;
        for (reason, number) in most(&self.rejected_reasons) {
            writeln!(f, "               {}  {reason}", count(number))?;
        }
        if let Some(file) = &self.rejected_file {
            writeln!(f, "               see {}", file.display())?;
        }
        write!(f, "Decisions     ")?;
        for (decision, number) in &self.decisions {
            let name = match decision {
                Decision::Approve => "approve",
                Decision::Review => "review",
                Decision::Decline => "decline",
            };
            let percent = *number as f64 * 100.0 / (self.transactions.max(1)) as f64;
            write!(f, " {name} {} ({percent:.2} %) ", count(*number))?;
        }
        writeln!(f)?;
        if self.decided_by_rules > 0 {
            writeln!(f, "               {} by rules", count(self.decided_by_rules))?;
        }
        for (reason, number) in most(&self.first_reasons).into_iter().take(3) {
            writeln!(f, "               {}  first reason {reason}", count(number))?;
        }
        if let Some(quality) = &self.quality {
            quality_lines(quality, f)?;
        }
        let rate = HumanFloatCount(self.transactions_per_second.round());
        write!(f, "Time           {:.2} s, {rate} transactions/s", self.seconds)?;
        match self.peak_memory_bytes {
            Some(bytes) => writeln!(f, ", {} at most", HumanBytes(bytes)),
            None => writeln!(f),
        }
    }
}

/// The most frequent first.
fn most(counts: &std::collections::BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut sorted: Vec<_> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sorted.truncate(SHOWN);
    sorted
}

fn quality_lines(quality: &Quality, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Quality { transactions, frauds, roc_auc, average_precision, exact, card_precision_at_100: cards, .. } = quality;
    let number = |value: &Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    let about = if *exact { "" } else { " (from a histogram)" };
    writeln!(f, "Labels         {} labelled, {} frauds", HumanCount(*transactions), HumanCount(*frauds))?;
    writeln!(f, "               ROC AUC {}, average precision {}{about}", number(roc_auc), number(average_precision))?;
    writeln!(
        f,
        "               card precision at 100 a day {}; found cards left out later {} ({} days, known cards not removed)",
        number(&cards.each_day),
        number(&cards.found_left_out),
        cards.days
    )?;
    for (name, confusion) in [("review", &quality.at_review), ("decline", &quality.at_decline)] {
        confusion_line(name, confusion, f)?;
    }
    let total = quality.fraud_amount_caught + quality.fraud_amount_missed;
    let percent = if total > 0.0 { quality.fraud_amount_caught * 100.0 / total } else { 0.0 };
    writeln!(
        f,
        "               amount of fraud: {:.2} caught ({percent:.1} %; {:.2} declined), {:.2} missed",
        quality.fraud_amount_caught, quality.fraud_amount_declined, quality.fraud_amount_missed
    )
}

fn confusion_line(name: &str, confusion: &Confusion, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let percent = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0));
    writeln!(
        f,
        "               at {name} (p ≥ {}): {} frauds flagged, {} missed; {} others flagged, {} not; precision {}, recall {}",
        confusion.threshold,
        HumanCount(confusion.true_positives),
        HumanCount(confusion.false_negatives),
        HumanCount(confusion.false_positives),
        HumanCount(confusion.true_negatives),
        percent(confusion.precision()),
        percent(confusion.recall())
    )
}
