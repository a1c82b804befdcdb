//! The ground truth: what was sent, and what is known of it.

use std::path::Path;

use fraud_core::files::write::{Column, FileError, TableWriter, Texts, Values, Written};

const ROWS: usize = 4_096;

/// A line of the ground truth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) id: &'a str,
    /// Event time in Unix seconds.
    pub(super) time: i64,
    /// Seconds from the start of the run to the intended start.
    pub(super) due: f64,
    pub(super) fraud: bool,
    pub(super) scenario_number: u8,
    pub(super) scenario: &'a str,
    pub(super) malformed: &'a str,
}

/// Writes the ground truth as Parquet, CSV or JSON lines. Its `transaction_id` is what assessments are joined with.
pub struct TruthFile {
    writer: TableWriter,
    id: Texts,
    time: Vec<i64>,
    due: Vec<f64>,
    fraud: Vec<i64>,
    number: Vec<i64>,
    scenario: Texts,
    malformed: Texts,
}

impl TruthFile {
    /// Creates the file; its ending chooses the format.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let columns = [
            Column::text("transaction_id"),
            Column::timestamp("tx_datetime"),
            Column::float("due_seconds"),
            Column::integer("tx_fraud"),
            Column::integer("tx_fraud_scenario"),
            Column::text("scenario"),
            Column::text("malformed"),
        ];
        Ok(Self {
            writer: TableWriter::create(path, &columns)?,
            id: Texts::new(),
            time: Vec::new(),
            due: Vec::new(),
            fraud: Vec::new(),
            number: Vec::new(),
            scenario: Texts::new(),
            malformed: Texts::new(),
        })
    }

    pub(super) fn push(&mut self, line: &Line<'_>) -> Result<(), FileError> {
        self.id.push(line.id);
        self.time.push(line.time.saturating_mul(1_000_000));
        self.due.push(line.due);
        self.fraud.push(line.fraud.into());
        self.number.push(line.scenario_number.into());
        self.scenario.push(line.scenario);
        self.malformed.push(line.malformed);
        if self.time.len() >= ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), FileError> {
        self.writer.write(&[
            Values::Texts(&self.id),
            Values::Timestamps(&self.time),
            Values::Floats(&self.due),
            Values::Integers(&self.fraud),
            Values::Integers(&self.number),
            Values::Texts(&self.scenario),
            Values::Texts(&self.malformed),
        ])?;
        self.id.clear();
        self.time.clear();
        self.due.clear();
        self.fraud.clear();
        self.number.clear();
        self.scenario.clear();
        self.malformed.clear();
        Ok(())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// [`FileError`]; the file is then what it was before.
    pub fn finish(mut self) -> Result<Written, FileError> {
        self.flush()?;
        self.writer.finish()
    }
}
