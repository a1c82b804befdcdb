//! HTTPS by rustls.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The server's part of TLS, from a certificate chain and its key in PEM files.
///
/// # Errors
/// What is wrong with which file.
pub fn config(certificate: &Path, key: &Path) -> Result<rustls::ServerConfig, String> {
    let refuse = |file: &Path, problem: String| format!("{}: {problem}", file.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| refuse(certificate, error.to_string()))?;
    let key_of = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse(key, error.to_string()))?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse(certificate, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key_of)
        .map_err(|error| refuse(certificate, error.to_string()))
}
