//! The file's `fraud.*` entries. `models/FORMAT.md` is the definition.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tract_onnx::pb::StringStringEntryProto;

use super::baseline::Baseline;
use super::calibration::Calibration;
use crate::error::ModelError;
use crate::features::FeatureSet;

/// The newest version of the format that is read here.
const FORMAT: u32 = 1;
const MAX_GOLDEN_ROWS: usize = 1_000;

/// What a model file says about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelMetadata {
    /// `fraud.name`.
    pub name: Option<String>,
    /// `fraud.version`.
    pub version: Option<String>,
    /// `fraud.thresholds`: (`review_at`, `decline_at`), each in [0, 1], in this order.
    pub thresholds: Option<(f32, f32)>,
    /// `fraud.training`.
    pub training: Option<Training>,
    /// `fraud.metrics`: name → value.
    pub metrics: BTreeMap<String, f64>,
    /// `fraud.baseline`: the training data's distributions.
    pub baseline: Option<Baseline>,
    /// `fraud.golden`: rows, and the probabilities expected of them.
    pub golden: Option<GoldenRows>,
    /// `fraud.calibration`.
    pub calibration: Option<Calibration>,
    /// `fraud.output`.
    pub output: Option<String>,
    /// `fraud.label`.
    pub label: Option<String>,
    /// `fraud.logits`.
    pub logits: Option<bool>,
    pub(super) features: Option<FeatureSet>,
}

/// What a model was trained on.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Training {
    /// First day or time, as written.
    pub from: Option<String>,
    /// Last day or time, as written.
    pub to: Option<String>,
    /// SHA-256 of the training data, 64 hex digits.
    pub data_sha256: Option<String>,
    /// Training rows.
    pub rows: Option<u64>,
    /// Fraudulent ones among them.
    pub frauds: Option<u64>,
    /// Whatever else the file says.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Rows with the probabilities expected of them.
#[derive(Debug, Clone, PartialEq)]
pub struct GoldenRows {
    /// Each as wide as the features; NaN where the file says `null`.
    pub inputs: Vec<Vec<f32>>,
    /// As many, in [0, 1].
    pub probabilities: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGolden {
    inputs: Vec<Vec<Option<f64>>>,
    probabilities: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenThresholds {
    review_at: f32,
    decline_at: f32,
}

fn bad(key: &str, problem: impl Into<String>) -> ModelError {
    ModelError::Metadata { key: key.chars().take(120).collect(), problem: problem.into() }
}

fn json<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, ModelError> {
    serde_json::from_str(text).map_err(|error| bad(key, error.to_string()))
}

fn short(key: &str, text: &str) -> Result<Option<String>, ModelError> {
    if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
        return Err(bad(key, "it must be a text of 1 to 128 bytes"));
    }
    Ok(Some(text.to_owned()))
}

/// Reads the entries; those of other programs are passed over.
pub(super) fn read(entries: &[StringStringEntryProto]) -> Result<ModelMetadata, ModelError> {
    let mut metadata = ModelMetadata::default();
    let mut seen = std::collections::HashSet::new();
    for entry in entries.iter().filter(|entry| entry.key.starts_with("fraud.")) {
        let (key, text) = (entry.key.as_str(), entry.value.as_str());
        if !seen.insert(key) {
            return Err(bad(key, "it is there twice"));
        }
        match key {
            "fraud.format" => format(key, text)?,
            "fraud.name" => metadata.name = short(key, text)?,
            "fraud.version" => metadata.version = short(key, text)?,
            "fraud.features" => metadata.features = Some(FeatureSet::from_json(text)?),
            "fraud.output" => metadata.output = Some(text.to_owned()),
            "fraud.label" => metadata.label = Some(text.to_owned()),
            "fraud.logits" => metadata.logits = Some(json(key, text)?),
            "fraud.calibration" => {
                let calibration: Calibration = json(key, text)?;
                calibration.check().map_err(|problem| bad(key, problem))?;
                metadata.calibration = Some(calibration);
            }
            "fraud.thresholds" => metadata.thresholds = Some(thresholds(key, text)?),
            "fraud.training" => metadata.training = Some(training(key, text)?),
            "fraud.metrics" => metadata.metrics = json(key, text)?,
            "fraud.baseline" => {
                let baseline: Baseline = json(key, text)?;
                baseline.check().map_err(|problem| bad(key, problem))?;
                metadata.baseline = Some(baseline);
            }
            "fraud.golden" => metadata.golden = Some(golden(key, text)?),
            _ => return Err(bad(key, "this key is not known: see models/FORMAT.md for those that are")),
        }
    }
    Ok(metadata)
}

fn format(key: &str, text: &str) -> Result<(), ModelError> {
    match text.parse::<u32>() {
        Ok(1..=FORMAT) => Ok(()),
        Ok(found) if found > FORMAT => {
            Err(bad(key, format!("the file is of format {found}, this version reads up to {FORMAT}: update it")))
        }
        _ => Err(bad(key, "it must be a whole number from 1")),
    }
}

fn thresholds(key: &str, text: &str) -> Result<(f32, f32), ModelError> {
    let WrittenThresholds { review_at, decline_at } = json(key, text)?;
    for (name, value) in [("review_at", review_at), ("decline_at", decline_at)] {
        if !(0.0..=1.0).contains(&value) {
            return Err(bad(key, format!("`{name}` is {value}, it must be a number from 0 to 1")));
        }
    }
    if review_at > decline_at {
        return Err(bad(key, format!("`review_at` {review_at} must not exceed `decline_at` {decline_at}")));
    }
    Ok((review_at, decline_at))
}

fn training(key: &str, text: &str) -> Result<Training, ModelError> {
    let training: Training = json(key, text)?;
    if let Some(hash) = &training.data_sha256
        && (hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Err(bad(key, "`data_sha256` must be 64 hex digits"));
    }
    Ok(training)
}

fn golden(key: &str, text: &str) -> Result<GoldenRows, ModelError> {
    let written: WrittenGolden = json(key, text)?;
    let rows = written.inputs.len();
    if rows == 0 || rows > MAX_GOLDEN_ROWS || rows != written.probabilities.len() {
        return Err(bad(key, format!("`inputs` and `probabilities` must be equally many, 1 to {MAX_GOLDEN_ROWS}")));
    }
    if !written.probabilities.iter().all(|p| (0.0..=1.0).contains(p)) {
        return Err(bad(key, "`probabilities` must be in [0, 1]"));
    }
    #[allow(clippy::cast_possible_truncation)] // The one cast from feature to model input.
    let row = |row: Vec<Option<f64>>| row.into_iter().map(|value| value.unwrap_or(f64::NAN) as f32).collect();
    #[allow(clippy::cast_possible_truncation)]
    let probabilities = written.probabilities.iter().map(|p| *p as f32).collect();
    Ok(GoldenRows { inputs: written.inputs.into_iter().map(row).collect(), probabilities })
}

impl ModelMetadata {
    /// The baseline's medians in the order of these features; `None` unless each has one.
    #[must_use]
    pub fn medians(&self, features: &FeatureSet) -> Option<Vec<f64>> {
        let baseline = self.baseline.as_ref()?;
        features.names().map(|name| baseline.features.get(name)?.median).collect()
    }

    /// What has to fit the features does.
    pub(super) fn check(&self, features: &FeatureSet) -> Result<(), ModelError> {
        if let Some(golden) = &self.golden
            && let Some(row) = golden.inputs.iter().find(|row| row.len() != features.len())
        {
            let problem = format!("a row has {} values, there are {} features", row.len(), features.len());
            return Err(bad("fraud.golden", problem));
        }
        let unknown = self.baseline.iter().flat_map(|baseline| baseline.features.keys());
        match unknown.into_iter().find(|name| features.position(name).is_none()) {
            Some(name) => Err(bad("fraud.baseline", format!("`{name}` is not one of the features"))),
            None => Ok(()),
        }
    }
}
