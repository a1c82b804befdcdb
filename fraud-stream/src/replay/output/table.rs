//! Assessments as CSV or Parquet, and the feature matrix in any format.

use std::path::{Path, PathBuf};

use fraud_core::files::write::{Column, TableWriter, Texts, Values};
use fraud_core::transaction::IdRef;
use fraud_core::{Assessment, Decision, DecisionSource, ModelType, RiskLevel};

use crate::replay::batch::Batch;
use crate::replay::error::ReplayError;

/// The columns of an assessment, under the names that it has in JSON; the reasons are JSON inside of a text.
const TEXTS: [&str; 8] = [
    "transaction_id",
    "risk_level",
    "decision",
    "decision_source",
    "reasons",
    "model_version",
    "model_type",
    "policy_version",
];
const NUMBERS: [&str; 2] = ["fraud_probability", "confidence_score"];
const FLAGS: [&str; 4] = ["duplicate", "late", "history_complete", "approximate"];

pub(super) struct AssessmentTable {
    writer: TableWriter,
    texts: [Texts; TEXTS.len()],
    numbers: [Vec<f64>; NUMBERS.len()],
    flags: [Vec<bool>; FLAGS.len()],
}

impl AssessmentTable {
    pub(super) fn create(path: &Path) -> Result<Self, ReplayError> {
        let texts = TEXTS.iter().map(|name| Column::text(name));
        let numbers = NUMBERS.iter().map(|name| Column::float(name));
        let flags = FLAGS.iter().map(|name| Column::boolean(name));
        let columns: Vec<_> = texts.chain(numbers).chain(flags).collect();
        let writer = TableWriter::create(path, &columns)?;
        Ok(Self { writer, texts: Default::default(), numbers: Default::default(), flags: Default::default() })
    }

    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), ReplayError> {
        self.texts.iter_mut().for_each(Texts::clear);
        self.numbers.iter_mut().for_each(Vec::clear);
        self.flags.iter_mut().for_each(Vec::clear);
        for assessment in batch.results.iter().flatten() {
            self.push(assessment)?;
        }
        let texts = self.texts.iter().map(Values::Texts);
        let numbers = self.numbers.iter().map(|values| Values::Floats(values));
        let flags = self.flags.iter().map(|values| Values::Booleans(values));
        let values: Vec<_> = texts.chain(numbers).chain(flags).collect();
        Ok(self.writer.write(&values)?)
    }

    fn push(&mut self, assessment: &Assessment) -> Result<(), ReplayError> {
        let [id, risk_level, decision, source, reasons, model_version, model_type, policy_version] = &mut self.texts;
        id.push_display(&assessment.transaction_id);
        risk_level.push(match assessment.risk_level {
            RiskLevel::Low => "low",
            RiskLevel::Medium => "medium",
            RiskLevel::High => "high",
        });
        decision.push(decision_name(assessment.decision));
        source.push(match assessment.decision_source {
            DecisionSource::Model => "model",
            DecisionSource::Rules => "rules",
        });
        reasons.push(&serde_json::to_string(&assessment.reasons).map_err(|error| ReplayError::internal(&error))?);
        model_version.push(&assessment.model_version);
        model_type.push(match assessment.model_type {
            ModelType::Onnx => "onnx",
            ModelType::Rules => "rules",
        });
        policy_version.push(&assessment.policy_version);
        let [probability, confidence] = &mut self.numbers;
        probability.push(as_written(assessment.fraud_probability));
        confidence.push(as_written(assessment.confidence_score));
        let [duplicate, late, history_complete, approximate] = &mut self.flags;
        duplicate.push(assessment.duplicate);
        late.push(assessment.late);
        history_complete.push(assessment.history_complete);
        approximate.push(assessment.approximate);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), ReplayError> {
        self.writer.finish()?;
        Ok(())
    }
}

pub(in crate::replay) fn decision_name(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approve",
        Decision::Review => "review",
        Decision::Decline => "decline",
    }
}

/// The f64 of the shortest decimal that names the f32, which is what JSON shows: 0.1, not 0.10000000149.
fn as_written(value: Option<f32>) -> f64 {
    value.and_then(|value| value.to_string().parse().ok()).unwrap_or(f64::NAN)
}

/// The feature matrix: the transaction id, then each feature under its name.
pub(super) struct FeatureTable {
    path: PathBuf,
    names: Vec<String>,
    /// Made with the first rows: they tell the type of the ids.
    writer: Option<(TableWriter, Ids)>,
}

enum Ids {
    Integers(Vec<i64>),
    Texts(Texts),
}

impl FeatureTable {
    pub(super) fn new(path: &Path, names: Vec<String>) -> Self {
        Self { path: path.to_owned(), names, writer: None }
    }

    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), ReplayError> {
        if batch.len() == 0 {
            return Ok(());
        }
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.create(batch.integer_ids)?,
        };
        match &mut writer.1 {
            Ids::Texts(texts) => {
                texts.clear();
                batch.transactions.iter().for_each(|transaction| texts.push_display(&transaction.transaction_id));
            }
            Ids::Integers(integers) => {
                integers.clear();
                for (transaction, row) in batch.transactions.iter().zip(&batch.numbers) {
                    let IdRef::Integer(id) = transaction.transaction_id.as_ref() else {
                        return Err(ReplayError::MixedIds { path: self.path.clone(), row: *row });
                    };
                    integers.push(id);
                }
            }
        }
        let ids = match &writer.1 {
            Ids::Integers(integers) => Values::Integers(integers),
            Ids::Texts(texts) => Values::Texts(texts),
        };
        let columns = batch.features.chunks_exact(batch.len()).map(Values::Floats);
        let values: Vec<_> = std::iter::once(ids).chain(columns).collect();
        writer.0.write(&values)?;
        self.writer = Some(writer);
        Ok(())
    }

    fn create(&self, integer_ids: bool) -> Result<(TableWriter, Ids), ReplayError> {
        let name = "transaction_id";
        let (id, ids) = if integer_ids {
            (Column::integer(name), Ids::Integers(Vec::new()))
        } else {
            (Column::text(name), Ids::Texts(Texts::new()))
        };
        let features = self.names.iter().map(|name| Column::float(name));
        let columns: Vec<_> = std::iter::once(id).chain(features).collect();
        Ok((TableWriter::create(&self.path, &columns)?, ids))
    }

    pub(super) fn finish(mut self) -> Result<(), ReplayError> {
        let (writer, _) = match self.writer.take() {
            Some(writer) => writer,
            None => self.create(true)?,
        };
        writer.finish()?;
        Ok(())
    }
}
