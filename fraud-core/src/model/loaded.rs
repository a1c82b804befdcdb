//! A loaded model.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::calibration::logistic;
use super::engine::Engine;
use super::metadata::{self, ModelMetadata};
use super::onnx::{self, Wanted};
use super::options::{LoadOptions, OutputKind};
use super::{ops, plan};
use crate::error::ModelError;
use crate::features::FeatureSet;

/// How far a golden row's probability may be off.
const GOLDEN_TOLERANCE: f32 = 1e-5;
/// How far beyond [0, 1] rounding may carry a probability.
const ROUNDING: f32 = 1e-5;
/// Features of a model, at most: an explanation is a batch of as many rows as there are features.
const MAX_FEATURES: usize = 1_024;
const ADVICE: &str = ": set `fraud.logits` where it is a log-odds, declare a `fraud.calibration` where it is a score, \
                      or export the model with its probabilities";

/// A fraud model: rows of features in, probabilities out. Shared between threads as it is.
#[derive(Debug)]
pub struct Model {
    engine: Engine,
    features: FeatureSet,
    metadata: ModelMetadata,
    kind: OutputKind,
    logits: bool,
    sha256: String,
    name: String,
    version: String,
}

impl Model {
    /// Loads a file.
    ///
    /// # Errors
    /// As [`Model::from_bytes`], and [`ModelError::Io`].
    pub fn from_path(path: &Path, options: &LoadOptions) -> Result<Self, ModelError> {
        let io = |error: std::io::Error| ModelError::Io { path: path.to_owned(), problem: error.to_string() };
        let file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        if size > options.max_bytes {
            return Err(ModelError::TooLarge { bytes: size, limit: options.max_bytes });
        }
        let mut bytes = Vec::new();
        // One byte more than allowed, should the file have grown or not be a regular one.
        file.take(options.max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
        Self::from_bytes(&bytes, options)
    }

    /// Loads a file's bytes: checks them, prepares the graph, runs the golden rows.
    ///
    /// # Errors
    /// Every variant of [`ModelError`] but those of running; each says what to change. Nothing is left behind.
    pub fn from_bytes(bytes: &[u8], options: &LoadOptions) -> Result<Self, ModelError> {
        if bytes.len() as u64 > options.max_bytes {
            return Err(ModelError::TooLarge { bytes: bytes.len() as u64, limit: options.max_bytes });
        }
        let reader = ops::reader();
        let proto = onnx::decode(bytes, &reader)?;
        let metadata = metadata::read(&proto.metadata_props)?;
        let features = features(&metadata, options)?;
        metadata.check(&features)?;
        let output = options.output.name.as_deref().or(metadata.output.as_deref());
        let label = options.output.label.as_deref().or(metadata.label.as_deref());
        let declared = metadata.features.is_some() || options.features.is_some();
        let wanted = Wanted { features: &features, declared, output, label };
        let prepared = onnx::prepare(proto, &reader, &wanted)?;
        let second = options.kind == OutputKind::Score;
        let width = features.len();
        let explained = |error| onnx::width::explained(error, &prepared, width);
        let engine =
            plan::build(&reader, &prepared.proto, (&prepared.chosen, (label, second), width)).map_err(explained)?;
        let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let model = Self {
            engine,
            kind: options.kind,
            logits: options.output.logits.or(metadata.logits).unwrap_or(false),
            name: metadata.name.clone().unwrap_or_else(|| "model".to_owned()),
            version: options.version.clone().or(metadata.version.clone()).unwrap_or_else(|| sha256[..12].to_owned()),
            sha256,
            features,
            metadata,
        };
        model.probe().map_err(explained)?;
        model.check_golden()?;
        Ok(model)
    }

    /// The default model, which is part of the library.
    ///
    /// # Errors
    /// As [`Model::from_bytes`]; none for a library as released.
    pub fn embedded() -> Result<Self, ModelError> {
        Self::from_bytes(include_bytes!("../../models/default.onnx"), &LoadOptions::default())
    }

    /// The features, in the order of a row.
    #[must_use]
    pub fn features(&self) -> &FeatureSet {
        &self.features
    }

    /// What the file says about itself.
    #[must_use]
    pub fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    /// SHA-256 of the file, 64 hex digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The file's name for the model; `model` where it gives none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// [`LoadOptions::version`], else the file's version, else the first 12 hex digits of [`Model::sha256`].
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What runs it: `trees` (the evaluator alone), `program` (steps of our own over blocks of rows: most networks and
    /// pipelines) or `plan` (tract, one row at a time).
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.engine.name()
    }

    /// The probability of fraud, in [0, 1], of one row (with [`OutputKind::Score`] the score). A model of trees
    /// alone allocates nothing, a program nothing after a thread's first call.
    ///
    /// # Errors
    /// [`ModelError::RowWidth`], [`ModelError::NotAProbability`], [`ModelError::UnknownCategory`], [`ModelError::Run`].
    pub fn predict(&self, row: &[f32]) -> Result<f32, ModelError> {
        let mut out = [0.0];
        self.predict_batch(row, &mut out)?;
        Ok(out[0])
    }

    /// The probabilities of `out.len()` rows that stand one after another in `rows`.
    ///
    /// # Errors
    /// As [`Model::predict`]; `out` is then of no meaning.
    pub fn predict_batch(&self, rows: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
        let width = self.features.len();
        if rows.len() != out.len() * width {
            return Err(ModelError::RowWidth { expected: width, found: rows.len() / out.len().max(1) });
        }
        self.engine.run(rows, width, out)?;
        out.iter_mut().try_for_each(|value| {
            *value = self.finish(*value)?;
            Ok(())
        })
    }

    /// Runs the file's golden rows, one by one and as a batch.
    ///
    /// # Errors
    /// [`ModelError::GoldenRow`], or those of [`Model::predict`].
    pub fn check_golden(&self) -> Result<(), ModelError> {
        let Some(golden) = &self.metadata.golden else { return Ok(()) };
        let mut batch = vec![0.0; golden.inputs.len()];
        self.predict_batch(&golden.inputs.concat(), &mut batch)?;
        for (row, (input, expected)) in golden.inputs.iter().zip(&golden.probabilities).enumerate() {
            for actual in [self.predict(input)?, batch[row]] {
                if (actual - expected).abs().is_nan() || (actual - expected).abs() > GOLDEN_TOLERANCE {
                    let (expected, tolerance) = (*expected, GOLDEN_TOLERANCE);
                    return Err(ModelError::GoldenRow { row, expected, actual, tolerance });
                }
            }
        }
        Ok(())
    }

    fn finish(&self, raw: f32) -> Result<f32, ModelError> {
        let mut value = raw;
        #[allow(clippy::cast_possible_truncation)] // Computed in f64, given as the f32 that thresholds are.
        if self.logits {
            value = logistic(f64::from(value)) as f32;
        }
        #[allow(clippy::cast_possible_truncation)]
        if let Some(calibration) = &self.metadata.calibration {
            value = calibration.probability(f64::from(value)) as f32;
        }
        if self.kind == OutputKind::Score || (0.0..=1.0).contains(&value) {
            return Ok(value);
        }
        if (-ROUNDING..=1.0 + ROUNDING).contains(&value) {
            return Ok(value.clamp(0.0, 1.0));
        }
        Err(ModelError::NotAProbability { value, advice: if value.is_nan() { "" } else { ADVICE } })
    }

    /// Runs one ordinary row, so that a model that cannot run, or that answers no probabilities, is refused at once.
    fn probe(&self) -> Result<(), ModelError> {
        let medians = self.metadata.medians(&self.features);
        #[allow(clippy::cast_possible_truncation)]
        let row: Vec<f32> = match medians {
            Some(medians) => medians.into_iter().map(|median| median as f32).collect(),
            None => vec![0.0; self.features.len()],
        };
        match self.predict(&row) {
            // The row is made up: a ratio of two zeros is no reason to refuse a model, nor is a zero that is none of
            // an encoder's categories.
            Err(ModelError::NotAProbability { value, .. }) if value.is_nan() => Ok(()),
            Err(ModelError::UnknownCategory { .. }) => Ok(()),
            answer => answer.map(drop),
        }
    }
}

fn features(metadata: &ModelMetadata, options: &LoadOptions) -> Result<FeatureSet, ModelError> {
    let features = match (&metadata.features, &options.features) {
        (Some(file), Some(setting)) if file != setting => {
            return Err(ModelError::Metadata {
                key: "fraud.features".to_owned(),
                problem: "the file names other features than the settings: remove one of the two lists".to_owned(),
            });
        }
        (Some(features), _) | (None, Some(features)) => features.clone(),
        (None, None) => FeatureSet::handbook(),
    };
    match features.len() {
        1..=MAX_FEATURES => Ok(features),
        found => Err(ModelError::Signature {
            problem: format!("the feature list names {found} features, a model takes 1 to {MAX_FEATURES}"),
        }),
    }
}
