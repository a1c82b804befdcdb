//! Where a model file comes from, and whether it is the one that is meant.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

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
    /// The file came, but is no model to use.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Gets and checks the model that the settings name.
///
/// # Errors
/// [`SourceError`].
pub fn load(settings: &ModelSettings) -> Result<Model, SourceError> {
    let bytes = match (&settings.path, &settings.url) {
        (Some(path), _) => read(path, settings.max_bytes)?,
        (None, Some(url)) => fetch(url, settings.max_bytes)?,
        // The embedded model has its own hash; one of another file would be a mistake worth hearing of.
        (None, None) if settings.sha256.is_none() => return Ok(Model::embedded()?),
        (None, None) => Vec::new(),
    };
    if let Some(expected) = &settings.sha256 {
        let actual = hex(&Sha256::digest(&bytes));
        if !actual.eq_ignore_ascii_case(expected) {
            return Err(SourceError::Hash { expected: expected.clone(), actual });
        }
    }
    Ok(Model::from_bytes(&bytes, &options(settings)?)?)
}

fn options(settings: &ModelSettings) -> Result<LoadOptions, ModelError> {
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
        max_bytes: settings.max_bytes,
    })
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, SourceError> {
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

/// Tells whether a file is another one than last time. Renames over it, which is how files are replaced
/// safely, and the link exchange of a mounted config map are both seen, since they change what is asked for here.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    modified: Option<SystemTime>,
    bytes: u64,
    file: u64,
}

impl Fingerprint {
    /// The file's present state; that of no file when there is none.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let Ok(metadata) = std::fs::metadata(path) else { return Self::default() };
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let file = 0;
        Self { modified: metadata.modified().ok(), bytes: metadata.len(), file }
    }

    /// Whether there was a file.
    #[must_use]
    pub fn exists(&self) -> bool {
        *self != Self::default()
    }
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
    fn a_replaced_file_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        assert!(!Fingerprint::of(&path).exists());
        std::fs::write(&path, b"one").unwrap();
        let first = Fingerprint::of(&path);
        assert_eq!(first, Fingerprint::of(&path));
        std::fs::write(folder.path().join("n"), b"two").unwrap();
        std::fs::rename(folder.path().join("n"), &path).unwrap();
        assert_ne!(first, Fingerprint::of(&path));
    }

    #[test]
    fn a_wrong_hash_and_a_large_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, [0; 100]).unwrap();
        let hash = ModelSettings { path: Some(path.clone()), sha256: Some("0".repeat(64)), ..ModelSettings::default() };
        assert!(matches!(load(&hash), Err(SourceError::Hash { .. })));
        let small = ModelSettings { path: Some(path), max_bytes: 99, ..ModelSettings::default() };
        assert!(matches!(load(&small), Err(SourceError::Model(ModelError::TooLarge { bytes: 100, limit: 99 }))));
    }
}
