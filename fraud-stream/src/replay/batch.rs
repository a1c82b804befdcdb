//! What travels through the stages.

use fraud_core::Assessment;
use fraud_core::Transaction;
use fraud_core::error::StoreError;
use fraud_core::features::Profile;
use fraud_core::files::RowError;
use serde::Serialize;

/// A transaction with its place in the input and its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) transaction: Transaction,
    pub(super) label: Option<bool>,
}

/// A row without an assessment, as it stands in the file of rejected rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reject {
    /// Line of a text file, row of a Parquet file, from 1.
    pub(super) line: u64,
    pub(super) reason: String,
    /// The offending fields, lower case.
    pub(super) fields: Vec<&'static str>,
    /// What the summary counts it under, without anything that differs from row to row.
    #[serde(skip)]
    pub(super) kinds: Vec<String>,
}

impl Reject {
    pub(super) fn row(line: u64, error: &RowError) -> Self {
        let kinds = match error {
            RowError::Invalid(invalid) => invalid.problems.iter().map(ToString::to_string).collect(),
            RowError::Parse(_) => vec!["the line is not a JSON object".to_owned()],
            RowError::Ragged { .. } => vec!["the row has another number of cells than the header".to_owned()],
            other => vec![other.to_string()],
        };
        Self { line, reason: error.to_string(), fields: error.fields(), kinds }
    }

    pub(super) fn conflict(line: u64, error: &StoreError) -> Self {
        let reason = error.to_string();
        Self { line, kinds: vec![reason.clone()], reason, fields: vec!["transaction_id"] }
    }

    pub(super) fn model(line: u64, error: &fraud_core::error::ModelError) -> Self {
        let reason = error.to_string();
        Self { line, kinds: vec!["the model failed on the row".to_owned()], reason, fields: Vec::new() }
    }
}

/// Some rows on their way. The vectors keep their memory from one use to the next.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Which one it is, from 0, in the order of observation.
    pub(super) index: u64,
    /// Every transaction id is an integer, as far as is known when the rows go out.
    pub(super) integer_ids: bool,
    /// Row numbers, transactions and labels: one entry per transaction each.
    pub(super) numbers: Vec<u64>,
    pub(super) transactions: Vec<Transaction>,
    pub(super) labels: Vec<Option<bool>>,
    /// At least as many as transactions; filled by the store.
    pub(super) profiles: Vec<Profile>,
    pub(super) rejects: Vec<Reject>,
    /// One per transaction, once assessed.
    pub(super) results: Vec<Result<Assessment, fraud_core::error::ModelError>>,
    /// The assessments as JSON lines, where they go out as such.
    pub(super) json: Vec<u8>,
    /// The feature matrix by columns, one after the other, where it is asked for.
    pub(super) features: Vec<f64>,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.transactions.clear();
        self.labels.clear();
        self.rejects.clear();
        self.results.clear();
        self.json.clear();
        self.features.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.transactions.len()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.numbers.push(entry.number);
        self.transactions.push(entry.transaction);
        self.labels.push(entry.label);
    }

    /// Moves what belongs to a transaction to an earlier place.
    pub(super) fn swap(&mut self, one: usize, other: usize) {
        self.numbers.swap(one, other);
        self.transactions.swap(one, other);
        self.labels.swap(one, other);
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.numbers.truncate(length);
        self.transactions.truncate(length);
        self.labels.truncate(length);
    }
}
