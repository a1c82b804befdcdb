//! TLS and SASL towards the broker. Secrets come from files and are never printed.

use std::path::PathBuf;

use fraud_core::service::settings::Problems;
use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};

use super::error::StreamError;

/// Greatest secret that is read, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// What the connection is protected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Nothing.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// A password, in the open.
    SaslPlaintext,
    /// A password, within TLS.
    SaslSsl,
}

/// How a password is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Mechanism {
    /// The password itself.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A challenge, SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A challenge, SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// TLS and SASL.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecuritySettings {
    /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    pub protocol: Protocol,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: Mechanism,
    /// The name to sign in with.
    pub username: String,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) that the broker's is checked against; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate (PEM), where the broker wants one.
    pub certificate_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
    /// A file that holds the key's password.
    pub key_password_file: Option<PathBuf>,
}

impl SecuritySettings {
    fn tls(&self) -> bool {
        matches!(self.protocol, Protocol::Ssl | Protocol::SaslSsl)
    }

    fn sasl(&self) -> bool {
        matches!(self.protocol, Protocol::SaslPlaintext | Protocol::SaslSsl)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if self.sasl() {
            problems.require(!self.username.is_empty(), "kafka.security.username", "is needed for SASL");
            problems.require(self.password_file.is_some(), "kafka.security.password_file", "is needed for SASL");
        }
        let built = cfg!(feature = "kafka-tls") || self.protocol == Protocol::Plaintext;
        problems.require(
            built,
            "kafka.security.protocol",
            "this build has no TLS and SASL: build with `--features kafka-tls`",
        );
        let pair = self.certificate_file.is_some() == self.key_file.is_some();
        problems.require(pair, "kafka.security.key_file", "certificate and key come together");
        let idle = self.ca_file.is_none() && self.certificate_file.is_none();
        problems.require(self.tls() || idle, "kafka.security.protocol", "certificates are set, but it is without TLS");
    }

    /// Adds what the client library needs.
    ///
    /// # Errors
    /// [`StreamError::Secret`] when a file cannot be read.
    pub(super) fn apply(&self, config: &mut ClientConfig) -> Result<(), StreamError> {
        let protocol = match self.protocol {
            Protocol::Plaintext => return Ok(()),
            Protocol::Ssl => "ssl",
            Protocol::SaslPlaintext => "sasl_plaintext",
            Protocol::SaslSsl => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if self.sasl() {
            let mechanism = match self.mechanism {
                Mechanism::Plain => "PLAIN",
                Mechanism::ScramSha256 => "SCRAM-SHA-256",
                Mechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            config.set("sasl.mechanism", mechanism).set("sasl.username", &self.username);
            if let Some(path) = &self.password_file {
                config.set("sasl.password", secret(path)?);
            }
        }
        for (key, path) in [
            ("ssl.ca.location", &self.ca_file),
            ("ssl.certificate.location", &self.certificate_file),
            ("ssl.key.location", &self.key_file),
        ] {
            if let Some(path) = path {
                config.set(key, path.to_string_lossy());
            }
        }
        if let Some(path) = &self.key_password_file {
            config.set("ssl.key.password", secret(path)?);
        }
        Ok(())
    }
}

/// A file's text without the line break at its end.
pub(super) fn secret(path: &std::path::Path) -> Result<String, StreamError> {
    let refuse = |source| StreamError::Secret { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(refuse)?.len();
    if size > MAX_SECRET {
        return Err(refuse(std::io::Error::other(format!("{size} bytes are too many for a secret"))));
    }
    Ok(std::fs::read_to_string(path).map_err(refuse)?.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_and_stay_out_of_debug() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "open sesame\r\n").unwrap();
        let settings = SecuritySettings {
            protocol: Protocol::SaslSsl,
            username: "stream".to_owned(),
            password_file: Some(path),
            ca_file: Some("ca.pem".into()),
            ..SecuritySettings::default()
        };
        let mut config = ClientConfig::new();
        settings.apply(&mut config).unwrap();
        for (key, value) in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "stream"),
            ("sasl.password", "open sesame"),
            ("ssl.ca.location", "ca.pem"),
        ] {
            assert_eq!(config.get(key), Some(value));
        }
        assert!(!format!("{settings:?}").contains("sesame"));
        let missing = SecuritySettings { password_file: Some("/nowhere".into()), ..settings };
        assert!(matches!(missing.apply(&mut ClientConfig::new()), Err(StreamError::Secret { .. })));
        let mut plain = ClientConfig::new();
        SecuritySettings::default().apply(&mut plain).unwrap();
        assert_eq!(plain.get("security.protocol"), None);
    }
}
