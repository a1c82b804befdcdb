//! MLflow's model registry over its REST API: which version is meant, its file, and a mark on one that failed.
//!
//! Nothing that a server says is trusted: an answer has a greatest size and a greatest time, redirects are not
//! followed, and a file is handed out only when its SHA-256 is the one in the version's tags and, with a key set,
//! its signature is good.

use std::path::PathBuf;

use serde::Deserialize;
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

mod error;

pub use error::RegistryError;

use super::origin::{Pick, Wanted};
use super::verify::{PublicKey, sha256};
use crate::service::settings::MlflowSettings;

/// Greatest answer but a file that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;
/// How much of a server's own words is repeated, in bytes.
const MAX_WORDS: usize = 200;
/// Where a version's file lies when no tag says so: the place that MLflow's ONNX flavour has for it.
const DEFAULT_FILE: &str = "model.onnx";
/// Begins addresses of files that the tracking server itself hands out.
const PROXIED: &str = "mlflow-artifacts:";

/// The tags of a model version that this project reads and writes.
pub mod tags {
    /// The file's SHA-256, 64 hexadecimal digits. A version without it is refused.
    pub const SHA256: &str = "fraud.sha256";
    /// An ed25519 signature of the file's bytes, in base64.
    pub const SIGNATURE: &str = "fraud.signature";
    /// The file's path below the version's artifacts; left out: `model.onnx`.
    pub const FILE: &str = "fraud.file";
    /// Written when a guard went back from this version: why and when. A version that has it is not taken.
    pub const ROLLED_BACK: &str = "fraud.rolled_back";
}

/// A version of a registered model, as the registry describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The registered model.
    pub name: String,
    /// The version's number.
    pub version: String,
    /// What its file's SHA-256 is said to be.
    pub sha256: Option<String>,
    /// A signature of its file, in base64.
    pub signature: Option<String>,
    /// Where its file lies below its artifacts.
    pub file: String,
    /// Why and when a guard went back from it.
    pub rolled_back: Option<String>,
}

impl Release {
    /// Whether both are the same file of the same version, whatever became of it since.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.name, &self.version, &self.sha256) == (&other.name, &other.version, &other.sha256)
    }
}

#[derive(Deserialize)]
struct VersionAnswer {
    model_version: WrittenVersion,
}

#[derive(Deserialize)]
struct WrittenVersion {
    name: String,
    version: String,
    #[serde(default)]
    tags: Vec<WrittenTag>,
}

#[derive(Deserialize)]
struct WrittenTag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct UriAnswer {
    artifact_uri: String,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    message: String,
}

/// A tracking server.
#[derive(Debug)]
pub struct Registry {
    agent: Agent,
    /// Its address, without a slash at the end.
    base: String,
    host: String,
    token_file: Option<PathBuf>,
    key: Option<PublicKey>,
    /// Greatest file, in bytes.
    max_bytes: u64,
}

impl Registry {
    /// Reads the key; asks the server nothing.
    ///
    /// # Errors
    /// [`RegistryError::Key`].
    pub fn new(settings: &MlflowSettings, max_bytes: u64) -> Result<Self, RegistryError> {
        let base = settings.tracking_uri.clone().unwrap_or_default().trim_end_matches('/').to_owned();
        let config = Agent::config_builder()
            .timeout_global(Some(settings.timeout.0))
            .http_status_as_error(false)
            .max_redirects(0)
            // Where it is, the settings say; no variable of the environment changes the way there.
            .proxy(None)
            .build();
        Ok(Self {
            agent: config.into(),
            host: super::host(&base).to_owned(),
            base,
            token_file: settings.token_file.clone(),
            key: settings.public_key_file.as_deref().map(PublicKey::read).transpose()?,
            max_bytes,
        })
    }

    /// The version that is meant. One small request.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn release(&self, wanted: &Wanted) -> Result<Release, RegistryError> {
        let name = encoded(&wanted.name);
        let path = match &wanted.version {
            Pick::Alias(alias) => {
                format!("/api/2.0/mlflow/registered-models/alias?name={name}&alias={}", encoded(alias))
            }
            Pick::Number(number) => format!("/api/2.0/mlflow/model-versions/get?name={name}&version={number}"),
        };
        let VersionAnswer { model_version } = self.json(&path).map_err(|error| match error {
            RegistryError::Status { host, status: 400 | 404, words, .. } if !words.is_empty() => {
                RegistryError::NoVersion { host, wanted: wanted.to_string(), words }
            }
            other => other,
        })?;
        let malformed = |problem: &str| self.malformed(&path, problem.to_owned());
        if model_version.name != wanted.name {
            return Err(malformed("it is about another model"));
        }
        let number = &model_version.version;
        let is_number = (1..=20).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_asked = match &wanted.version {
            Pick::Alias(_) => true,
            Pick::Number(asked) => asked == number,
        };
        if !is_number || !is_asked {
            return Err(malformed("its version is not a number, or not the one asked for"));
        }
        let tag = |key: &str| {
            let found = model_version.tags.iter().find(|tag| tag.key == key);
            found.map(|tag| tag.value.trim()).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let file = tag(tags::FILE).unwrap_or_else(|| DEFAULT_FILE.to_owned());
        if !is_plain_path(&file) {
            return Err(malformed("its tag `fraud.file` is not a plain path below the version's artifacts"));
        }
        Ok(Release {
            sha256: tag(tags::SHA256).map(|hash| hash.to_ascii_lowercase()),
            signature: tag(tags::SIGNATURE),
            rolled_back: tag(tags::ROLLED_BACK),
            file,
            name: model_version.name,
            version: model_version.version,
        })
    }

    /// The version's file, verified.
    ///
    /// # Errors
    /// [`RegistryError`]; what came is then forgotten.
    pub fn download(&self, release: &Release) -> Result<Vec<u8>, RegistryError> {
        // First what can be known without a download.
        if release.sha256.is_none() {
            let Release { name, version, .. } = release.clone();
            return Err(RegistryError::Untagged { name, version });
        }
        if self.key.is_some() && release.signature.is_none() {
            let Release { name, version, .. } = release.clone();
            return Err(RegistryError::Unsigned { name, version });
        }
        let path = self.path_of(release)?;
        let bytes = self.bytes(&path, self.max_bytes)?;
        self.verify(release, &bytes)?;
        Ok(bytes)
    }

    /// Whether bytes are the version's file.
    ///
    /// # Errors
    /// [`RegistryError::Untagged`], [`RegistryError::Hash`], [`RegistryError::Unsigned`],
    /// [`RegistryError::Signature`].
    pub fn verify(&self, release: &Release, bytes: &[u8]) -> Result<(), RegistryError> {
        let Release { name, version, sha256: expected, signature, .. } = release.clone();
        let Some(expected) = expected else { return Err(RegistryError::Untagged { name, version }) };
        let actual = sha256(bytes);
        if actual != expected {
            return Err(RegistryError::Hash { name, version, expected, actual });
        }
        match (&self.key, signature) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(RegistryError::Unsigned { name, version }),
            (Some(key), Some(signature)) if key.has_signed(bytes, &signature) => Ok(()),
            (Some(_), Some(_)) => Err(RegistryError::Signature { name, version }),
        }
    }

    /// Writes into a version's tag `fraud.rolled_back`.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn mark(&self, release: &Release, why: &str) -> Result<(), RegistryError> {
        let path = "/api/2.0/mlflow/model-versions/set-tag";
        let body = serde_json::json!({
            "name": release.name, "version": release.version, "key": tags::ROLLED_BACK, "value": why,
        });
        let mut request =
            self.agent.post(format!("{}{path}", self.base)).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = self.token()? {
            request = request.header(header::AUTHORIZATION, token);
        }
        let answer = request.send(body.to_string()).map_err(|error| self.failure(path, &error))?;
        self.expect_success(path, answer).map(drop)
    }

    /// What to ask for a version's file.
    fn path_of(&self, release: &Release) -> Result<String, RegistryError> {
        let (name, version) = (encoded(&release.name), &release.version);
        let path = format!("/api/2.0/mlflow/model-versions/get-download-uri?name={name}&version={version}");
        let UriAnswer { artifact_uri } = self.json(&path)?;
        let Some(rest) = artifact_uri.strip_prefix(PROXIED) else {
            // Kept where only the server can read it: it hands out the files of versions there, too.
            let file = encoded(&release.file);
            return Ok(format!("/model-versions/get-artifact?path={file}&name={name}&version={version}"));
        };
        let folder = match rest.strip_prefix("//") {
            None => rest.trim_start_matches('/'),
            Some(rest) => {
                let (host, folder) = rest.split_once('/').unwrap_or((rest, ""));
                if !host.is_empty() && host != self.host {
                    return Err(self.malformed(&path, "the file lies on another server".to_owned()));
                }
                folder
            }
        };
        let folder = folder.trim_end_matches('/');
        if !is_plain_path(folder) {
            return Err(self.malformed(&path, "the place of the file is not a plain path".to_owned()));
        }
        let whole = format!("{folder}/{}", release.file);
        let encoded: Vec<String> = whole.split('/').map(encoded).collect();
        Ok(format!("/api/2.0/mlflow-artifacts/artifacts/{}", encoded.join("/")))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, RegistryError> {
        let bytes = self.bytes(path, MAX_ANSWER)?;
        serde_json::from_slice(&bytes).map_err(|error| self.malformed(path, error.to_string()))
    }

    fn bytes(&self, path: &str, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = self.token()? {
            request = request.header(header::AUTHORIZATION, token);
        }
        let answer = request.call().map_err(|error| self.failure(path, &error))?;
        let mut answer = self.expect_success(path, answer)?;
        let too_large = || RegistryError::TooLarge { host: self.host.clone(), path: bare(path), limit };
        if answer.body().content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        answer.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => too_large(),
            ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
                self.malformed(path, "it ends too early".to_owned())
            }
            error => self.failure(path, &error),
        })
    }

    fn expect_success(
        &self,
        path: &str,
        mut answer: Response<ureq::Body>,
    ) -> Result<Response<ureq::Body>, RegistryError> {
        let (host, status) = (self.host.clone(), answer.status());
        if status == StatusCode::OK {
            return Ok(answer);
        }
        if status.is_redirection() {
            return Err(RegistryError::Redirect { host, path: bare(path) });
        }
        let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().unwrap_or_default();
        let said = serde_json::from_slice::<ErrorAnswer>(&body).map(|error| error.message).unwrap_or_default();
        let words: String = said.chars().filter(|letter| !letter.is_control()).take(MAX_WORDS).collect();
        Err(RegistryError::Status { host, path: bare(path), status: status.as_u16(), words })
    }

    fn token(&self) -> Result<Option<String>, RegistryError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let refuse = |problem: String| RegistryError::Token { path: path.clone(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse("it holds no token".to_owned()));
        }
        Ok(Some(format!("Bearer {token}")))
    }

    fn failure(&self, path: &str, error: &ureq::Error) -> RegistryError {
        let host = self.host.clone();
        match error {
            ureq::Error::Timeout(_) => RegistryError::Timeout { host, path: bare(path) },
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => self.malformed(path, error.to_string()),
            ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::TimedOut => {
                RegistryError::Timeout { host, path: bare(path) }
            }
            _ => RegistryError::Unreachable { host, problem: error.to_string() },
        }
    }

    fn malformed(&self, path: &str, problem: String) -> RegistryError {
        RegistryError::Malformed { host: self.host.clone(), path: bare(path), problem }
    }
}

/// A path without its query: enough for a message.
fn bare(path: &str) -> String {
    path.split('?').next().unwrap_or_default().to_owned()
}

/// Names of folders and a file, none of which leads upwards.
fn is_plain_path(path: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.len() <= 1_024
        && path.split('/').all(plain)
        && !path.contains(|letter: char| letter.is_control() || letter == '\\')
}

/// Everything but what RFC 3986 leaves plain as `%XX`.
fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
