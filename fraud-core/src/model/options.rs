//! How a model is loaded.

use crate::features::FeatureSet;

/// What the caller of [`Model::from_bytes`](super::Model::from_bytes) knows about the model.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The features, in order, where the file names none. Where both name them they must agree.
    pub features: Option<FeatureSet>,
    /// Which output to read, and how. Wins over the file's metadata.
    pub output: OutputOptions,
    /// What the answers are to be.
    pub kind: OutputKind,
    /// The model's version, over the file's own word: a registry's number.
    pub version: Option<String>,
    /// Files greater than this many bytes are not read.
    pub max_bytes: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            features: None,
            output: OutputOptions::default(),
            kind: OutputKind::Probability,
            version: None,
            max_bytes: 256 << 20,
        }
    }
}

/// Which output to read, and how; what is left out is taken from the file's metadata, then from the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// The output's name. Default: found by type and name.
    pub name: Option<String>,
    /// The class that means fraud, as text. Default: `1`, or where classes are texts and none is called so, the one
    /// that is called fraud.
    pub label: Option<String>,
    /// The output is a log-odds. Default: no.
    pub logits: Option<bool>,
}

/// What a model's answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputKind {
    /// Probabilities of fraud; anything outside of [0, 1] is an error.
    #[default]
    Probability,
    /// Any numbers: regressors and anomaly scores, for offline scoring only. Of two classes that are texts, with no
    /// label named, the second is read, as scikit-learn has it: nothing decides on these numbers.
    Score,
}
