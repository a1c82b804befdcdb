//! Where a model file comes from, and whether it is the one that is meant.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod cache;
mod fingerprint;
mod mlflow;
mod origin;
mod verify;

pub use cache::Cache;
pub use fingerprint::Fingerprint;
pub use mlflow::{Registry, RegistryError, Release, tags};
pub use origin::{Origin, Pick, Wanted};
pub use verify::{KeyError, PublicKey, hex, sha256};

use super::settings::ModelSettings;
use crate::error::{FeatureError, ModelError};
use crate::features::FeatureSet;
use crate::model::{LoadOptions, Model, OutputKind, OutputOptions};

/// How long fetching a model may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);

/// Why no model came from its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file cannot be read.
    #[error("model file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The address did not give it.
    #[error("model from {host}: {problem}")]
    Fetch {
        /// The address without path, query and credentials.
        host: String,
        /// What came instead.
        problem: String,
    },
    /// It is not the file that was named.
    #[error("the model's SHA-256 is {actual}, `model.sha256` says {expected}")]
    Hash {
        /// The hash set.
        expected: String,
        /// The hash found.
        actual: String,
    },
    /// The source cannot be understood.
    #[error("`model.source`: {problem}")]
    Origin {
        /// What would be right.
        problem: String,
    },
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The file came, but is no model to use.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl SourceError {
    /// The kind of failure in a word: a metric's label, one of [`SourceError::REASONS`].
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Fetch { .. } => "fetch",
            Self::Hash { .. } => "hash",
            Self::Origin { .. } => "settings",
            Self::Registry(error) => error.reason(),
            Self::Model(_) => "model",
        }
    }

    /// All words of [`SourceError::reason`].
    pub const REASONS: [&'static str; 16] = [
        "file",
        "fetch",
        "hash",
        "settings",
        "model",
        "unreachable",
        "timeout",
        "status",
        "no_version",
        "redirect",
        "malformed",
        "too_large",
        "untagged",
        "unsigned",
        "signature",
        "rolled_back",
    ];
}

/// Gets and checks the model of a source that is asked only when somebody wants it: any but the registry.
///
/// # Errors
/// [`SourceError`].
pub fn load(origin: &Origin, hash: Option<&str>, options: &LoadOptions) -> Result<Model, SourceError> {
    let bytes = match origin {
        Origin::Embedded => return Ok(Model::embedded()?),
        Origin::File(path) => read(path, options.max_bytes)?,
        Origin::Address(url) => fetch(url, options.max_bytes)?,
        Origin::Registry(wanted) => {
            return Err(SourceError::Origin { problem: format!("{wanted} is followed, not loaded once") });
        }
    };
    if let Some(expected) = hash {
        let actual = sha256(&bytes);
        if !actual.eq_ignore_ascii_case(expected) {
            return Err(SourceError::Hash { expected: expected.to_owned(), actual });
        }
    }
    Ok(Model::from_bytes(&bytes, options)?)
}

/// How the settings want the served model's file read.
///
/// # Errors
/// [`ModelError::Signature`] for feature names that are none.
pub fn options(settings: &ModelSettings) -> Result<LoadOptions, ModelError> {
    let names = settings.features.iter().map(String::as_str);
    let features = if settings.features.is_empty() {
        None
    } else {
        let refuse = |error: FeatureError| ModelError::Signature { problem: format!("`model.features`: {error}") };
        Some(FeatureSet::from_names(names).map_err(refuse)?)
    };
    Ok(LoadOptions {
        features,
        output: OutputOptions { name: settings.output.clone(), label: settings.label.clone(), logits: settings.logits },
        kind: OutputKind::Probability,
        version: None,
        max_bytes: settings.max_bytes,
    })
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// [`SourceError::File`], [`ModelError::TooLarge`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, SourceError> {
    let refuse = |source| SourceError::File { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(refuse)?;
    let bytes = file.metadata().map_err(refuse)?.len();
    let too_large = |bytes| SourceError::Model(ModelError::TooLarge { bytes, limit });
    if bytes > limit {
        return Err(too_large(bytes));
    }
    // A file may grow, or be no file at all: the limit holds for what is read, too.
    let mut into = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
    file.take(limit + 1).read_to_end(&mut into).map_err(refuse)?;
    if into.len() as u64 > limit { Err(too_large(into.len() as u64)) } else { Ok(into) }
}

fn fetch(url: &str, limit: u64) -> Result<Vec<u8>, SourceError> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(FETCH_TIMEOUT)).build().into();
    let refuse = |error: ureq::Error| SourceError::Fetch { host: host(url).to_owned(), problem: error.to_string() };
    let mut answer = agent.get(url).call().map_err(refuse)?;
    answer.body_mut().with_config().limit(limit).read_to_vec().map_err(refuse)
}

/// The host of an address: paths and queries may hold what is not for a log.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_sees_no_more_of_an_address_than_its_host() {
        assert_eq!(host("https://user:secret@models.example:8443/a/b?token=x"), "models.example:8443");
        assert_eq!(host("http://h"), "h");
    }

    #[test]
    fn a_wrong_hash_and_a_large_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, [0; 100]).unwrap();
        let origin = Origin::File(path);
        let zeros = "0".repeat(64);
        let refused = load(&origin, Some(&zeros), &LoadOptions::default());
        assert!(matches!(refused, Err(SourceError::Hash { .. })));
        let small = LoadOptions { max_bytes: 99, ..LoadOptions::default() };
        assert!(matches!(
            load(&origin, None, &small),
            Err(SourceError::Model(ModelError::TooLarge { bytes: 100, limit: 99 }))
        ));
    }
}
