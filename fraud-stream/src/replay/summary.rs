//! What a replay came to, for people and for machines.

mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fraud_core::{Assessment, Decision, DecisionSource, Reason, Scorer};
use serde::Serialize;

use super::batch::Batch;
use super::options::Options;
use super::quality::{Gauge, Quality};
use super::source::{Sorting, format_of};

/// Most kinds of problems that are told apart; the rest is counted together.
const KINDS: usize = 50;

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)] // The fields of its parts are named as the files and flags they speak of.
pub struct Summary {
    /// The input file.
    pub input: PathBuf,
    /// Its format.
    pub format: &'static str,
    /// How the rows came into their order.
    pub order: Sorting,
    /// Where the assessments are.
    pub output: PathBuf,
    /// Where the rejected rows are, if there are any.
    pub rejected_file: Option<PathBuf>,
    /// Transactions assessed.
    pub transactions: u64,
    /// Event time of the earliest, RFC 3339.
    pub first_time: Option<String>,
    /// Event time of the latest, RFC 3339.
    pub last_time: Option<String>,
    /// Rows without an assessment.
    pub rejected: u64,
    /// How often each rule was broken by them; a row can break several.
    pub rejected_reasons: BTreeMap<String, u64>,
    /// Transactions that repeated an earlier one.
    pub duplicates: u64,
    /// Transactions that came too late to be recorded.
    pub late: u64,
    /// Transactions from before the store had seen all the time that features look back.
    pub history_incomplete: u64,
    /// Transactions with windows known by the minute only.
    pub approximate: u64,
    /// How many of each decision.
    pub decisions: BTreeMap<Decision, u64>,
    /// Decisions made by rules.
    pub decided_by_rules: u64,
    /// How often each feature or rule was the first reason.
    pub first_reasons: BTreeMap<String, u64>,
    /// The model's version.
    pub model_version: String,
    /// The policy's version.
    pub policy_version: String,
    /// Agreement with the labels, where there are any.
    pub quality: Option<Quality>,
    /// Wall-clock time from reading the first byte to the last byte written.
    pub seconds: f64,
    /// Transactions per second of that time.
    pub transactions_per_second: f64,
    /// Greatest resident memory of the process so far, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// Counts while batches go by.
pub(super) struct Tally {
    transactions: u64,
    times: Option<(i64, i64)>,
    rejected: u64,
    kinds: BTreeMap<String, u64>,
    first_problem: Option<(u64, String)>,
    duplicates: u64,
    late: u64,
    history_incomplete: u64,
    approximate: u64,
    decisions: [u64; 3],
    by_rules: u64,
    first_reasons: BTreeMap<std::sync::Arc<str>, u64>,
    gauge: Gauge,
    versions: (String, String),
}

const DECISIONS: [Decision; 3] = [Decision::Approve, Decision::Review, Decision::Decline];

impl Tally {
    pub(super) fn new(scorer: &Scorer) -> Self {
        let model = scorer.model().map_or("none", |model| model.version()).to_owned();
        Self {
            transactions: 0,
            times: None,
            rejected: 0,
            kinds: BTreeMap::new(),
            first_problem: None,
            duplicates: 0,
            late: 0,
            history_incomplete: 0,
            approximate: 0,
            decisions: [0; 3],
            by_rules: 0,
            first_reasons: BTreeMap::new(),
            gauge: Gauge::new(scorer.thresholds()),
            versions: (model, scorer.policy_version().to_string()),
        }
    }

    pub(super) fn add(&mut self, batch: &Batch) {
        for reject in &batch.rejects {
            self.rejected += 1;
            self.first_problem.get_or_insert_with(|| (reject.line, reject.reason.clone()));
            for kind in &reject.kinds {
                let known = self.kinds.contains_key(kind) || self.kinds.len() < KINDS;
                *self.kinds.entry(if known { kind.clone() } else { "others".to_owned() }).or_default() += 1;
            }
        }
        self.transactions += batch.len() as u64;
        for ((transaction, assessment), label) in
            batch.transactions.iter().zip(batch.results.iter().flatten()).zip(&batch.labels)
        {
            let time = transaction.time;
            self.times = Some(self.times.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
            self.count(assessment);
            if let Some(fraud) = label {
                self.gauge.add(transaction, assessment, *fraud);
            }
        }
    }

    fn count(&mut self, assessment: &Assessment) {
        self.duplicates += u64::from(assessment.duplicate);
        self.late += u64::from(assessment.late);
        self.history_incomplete += u64::from(!assessment.history_complete);
        self.approximate += u64::from(assessment.approximate);
        self.by_rules += u64::from(assessment.decision_source == DecisionSource::Rules);
        for (decision, count) in DECISIONS.iter().zip(&mut self.decisions) {
            *count += u64::from(assessment.decision == *decision);
        }
        if let Some(Reason::Feature { feature: name, .. } | Reason::Rule { rule: name }) = assessment.reasons.first() {
            match self.first_reasons.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(self.first_reasons.insert(name.clone(), 1)),
            }
        }
    }

    pub(super) fn rejected(&self) -> u64 {
        self.rejected
    }

    /// The first problem, where every row has one.
    pub(super) fn nothing_valid(&self) -> Option<(u64, String)> {
        if self.transactions == 0 { self.first_problem.clone() } else { None }
    }

    pub(super) fn finish(self, options: &Options, order: Sorting, elapsed: Duration) -> Summary {
        let seconds = elapsed.as_secs_f64();
        let (first, last) = self.times.unzip();
        Summary {
            input: options.input.clone(),
            format: format_of(&options.input),
            order,
            output: options.output.clone(),
            rejected_file: options.rejected().filter(|_| self.rejected > 0),
            transactions: self.transactions,
            first_time: first.and_then(rfc3339),
            last_time: last.and_then(rfc3339),
            rejected: self.rejected,
            rejected_reasons: self.kinds,
            duplicates: self.duplicates,
            late: self.late,
            history_incomplete: self.history_incomplete,
            approximate: self.approximate,
            decisions: DECISIONS.into_iter().zip(self.decisions).collect(),
            decided_by_rules: self.by_rules,
            first_reasons: self.first_reasons.into_iter().map(|(name, count)| (name.to_string(), count)).collect(),
            model_version: self.versions.0,
            policy_version: self.versions.1,
            quality: self.gauge.finish(),
            seconds,
            transactions_per_second: self.transactions as f64 / seconds,
            peak_memory_bytes: peak_memory(),
        }
    }
}

fn rfc3339(time: i64) -> Option<String> {
    jiff::Timestamp::from_second(time).ok().map(|time| time.to_string())
}

/// `VmHWM` of Linux.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1_024)
}
