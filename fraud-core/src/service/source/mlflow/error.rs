//! What can go wrong between the registry and a verified file.

use std::path::PathBuf;

use crate::service::source::verify::KeyError;

/// Why the registry gave no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No answer came.
    #[error("MLflow at {host} cannot be reached: {problem}; see `model.mlflow.tracking_uri`")]
    Unreachable {
        /// The server.
        host: String,
        /// The system's answer.
        problem: String,
    },
    /// The answer took too long.
    #[error("MLflow at {host} did not answer {path} within `model.mlflow.timeout`: raise it where models are large")]
    Timeout {
        /// The server.
        host: String,
        /// What was asked for.
        path: String,
    },
    /// The server refused.
    #[error("MLflow at {host} answered {path} with status {status}: {words}")]
    Status {
        /// The server.
        host: String,
        /// What was asked for.
        path: String,
        /// The HTTP status.
        status: u16,
        /// Its own words, cut.
        words: String,
    },
    /// The server knows no such version.
    #[error("MLflow at {host} knows no {wanted}: register the model, or set the alias ({words})")]
    NoVersion {
        /// The server.
        host: String,
        /// What was asked for.
        wanted: String,
        /// Its own words, cut.
        words: String,
    },
    /// The server wants it asked elsewhere.
    #[error(
        "MLflow at {host} redirects {path}, which is not followed: give the final address as \
         `model.mlflow.tracking_uri`"
    )]
    Redirect {
        /// The server.
        host: String,
        /// What was asked for.
        path: String,
    },
    /// The answer is not MLflow's.
    #[error("MLflow at {host} answered {path} with something else than expected: {problem}")]
    Malformed {
        /// The server.
        host: String,
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The answer is too large.
    #[error("MLflow at {host} answered {path} with more than {limit} bytes: raise `model.max_bytes` if it is a model")]
    TooLarge {
        /// The server.
        host: String,
        /// What was asked for.
        path: String,
        /// Greatest size.
        limit: u64,
    },
    /// The version says nothing of its file's hash.
    #[error("{name} version {version} has no tag `fraud.sha256`: set it to the SHA-256 of the model file")]
    Untagged {
        /// The registered model.
        name: String,
        /// The version.
        version: String,
    },
    /// The file is another one.
    #[error("{name} version {version}: the file's SHA-256 is {actual}, its tag `fraud.sha256` says {expected}")]
    Hash {
        /// The registered model.
        name: String,
        /// The version.
        version: String,
        /// The hash in the tag.
        expected: String,
        /// The hash found.
        actual: String,
    },
    /// There is no signature, and one is wanted.
    #[error(
        "{name} version {version} has no tag `fraud.signature`, which `model.mlflow.public_key_file` asks for: sign \
         the file's bytes with the private key"
    )]
    Unsigned {
        /// The registered model.
        name: String,
        /// The version.
        version: String,
    },
    /// The signature is not by the key, or not of this file.
    #[error(
        "{name} version {version}: `fraud.signature` is no signature of the file by the key in \
         `model.mlflow.public_key_file`"
    )]
    Signature {
        /// The registered model.
        name: String,
        /// The version.
        version: String,
    },
    /// A guard went back from this version.
    #[error(
        "{name} version {version} was rolled back ({why}): register a better one, or remove its tag \
         `fraud.rolled_back` to have it taken again"
    )]
    RolledBack {
        /// The registered model.
        name: String,
        /// The version.
        version: String,
        /// Why and when.
        why: String,
    },
    /// The key of signatures.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The token.
    #[error("`model.mlflow.token_file` {}: {problem}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl RegistryError {
    /// The kind of failure in a word, one of those of a source.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::Status { .. } => "status",
            Self::NoVersion { .. } => "no_version",
            Self::Redirect { .. } => "redirect",
            Self::Malformed { .. } => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::Untagged { .. } => "untagged",
            Self::Hash { .. } => "hash",
            Self::Unsigned { .. } => "unsigned",
            Self::Signature { .. } => "signature",
            Self::RolledBack { .. } => "rolled_back",
            Self::Key(_) | Self::Token { .. } => "settings",
        }
    }

    /// Whether it is the version that was refused, and not the way to it that failed.
    #[must_use]
    pub fn is_of_version(&self) -> bool {
        matches!(
            self,
            Self::Untagged { .. }
                | Self::Hash { .. }
                | Self::Unsigned { .. }
                | Self::Signature { .. }
                | Self::RolledBack { .. }
        )
    }

    /// Whether the same version may be had at another time: the server's trouble, or a file cut on its way.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        !matches!(
            self,
            Self::Unsigned { .. } | Self::Signature { .. } | Self::RolledBack { .. } | Self::Untagged { .. }
        )
    }
}
