//! The files that a replay writes. None stands under its name before the replay is through.

mod pending;
mod table;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fraud_core::Scorer;
use fraud_core::files::Format;

use self::pending::PendingFile;
use self::table::{AssessmentTable, FeatureTable};
use super::batch::{Batch, Reject};
use super::error::ReplayError;
use super::options::{Options, is_special};

/// Where assessments, features and rejected rows go.
pub(super) struct Outputs {
    assessments: Assessments,
    features: Option<FeatureTable>,
    rejected: Rejected,
}

enum Assessments {
    Json(PendingFile),
    Table(Box<AssessmentTable>),
}

/// Whether the assessments are wanted as JSON lines.
pub(super) fn wants_json(output: &Path) -> bool {
    is_special(output) || !matches!(Format::of(output), Ok(Format::Parquet | Format::Csv))
}

impl Outputs {
    pub(super) fn create(options: &Options, scorer: &Scorer) -> Result<Self, ReplayError> {
        let assessments = if wants_json(&options.output) {
            Assessments::Json(PendingFile::create(&options.output)?)
        } else {
            Assessments::Table(Box::new(AssessmentTable::create(&options.output)?))
        };
        let names = || scorer.features().names().map(str::to_owned).collect();
        let features = options.features.as_ref().map(|path| FeatureTable::new(path, names()));
        let rejected = Rejected::new(options)?;
        Ok(Self { assessments, features, rejected })
    }

    /// Writes an assessed batch.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), ReplayError> {
        match &mut self.assessments {
            Assessments::Json(file) => file.write(&batch.json)?,
            Assessments::Table(table) => table.write(batch)?,
        }
        if let Some(features) = &mut self.features {
            features.write(batch)?;
        }
        self.rejected.write(&batch.rejects)
    }

    /// Puts the files in their places.
    pub(super) fn finish(self) -> Result<(), ReplayError> {
        match self.assessments {
            Assessments::Json(file) => file.finish()?,
            Assessments::Table(table) => table.finish()?,
        }
        if let Some(features) = self.features {
            features.finish()?;
        }
        self.rejected.finish()
    }

    /// Puts only the rejected rows in their place.
    pub(super) fn finish_rejected(self) -> Result<(), ReplayError> {
        self.rejected.finish()
    }
}

/// The file of rejected rows; there is none when no row is, nor beside a device such as `/dev/null`.
struct Rejected {
    path: Option<PathBuf>,
    file: Option<PendingFile>,
    line: Vec<u8>,
}

impl Rejected {
    fn new(options: &Options) -> Result<Self, ReplayError> {
        let path = options.rejected();
        if let Some(path) = &path {
            // One of an earlier replay would be taken for this one's.
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(ReplayError::io(path, "remove")(error));
                }
                _ => {}
            }
        }
        Ok(Self { path, file: None, line: Vec::new() })
    }

    fn write(&mut self, rejects: &[Reject]) -> Result<(), ReplayError> {
        let (Some(path), false) = (&self.path, rejects.is_empty()) else { return Ok(()) };
        self.line.clear();
        for reject in rejects {
            serde_json::to_writer(&mut self.line, reject).map_err(|error| ReplayError::internal(&error))?;
            self.line.push(b'\n');
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(PendingFile::create(path)?),
        };
        file.write(&self.line)
    }

    fn finish(self) -> Result<(), ReplayError> {
        self.file.map_or(Ok(()), PendingFile::finish)
    }
}
