//! Asks a service on this machine for its health: what an image's health check runs, where there is no other client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ureq::tls::TlsConfig;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The service is not ready, or does not answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It answered that it is not ready.
    #[error("{url} answered {status}: the service takes no work now; its log says why")]
    NotReady {
        /// What was asked.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// There was no answer.
    #[error("{url} did not answer: {problem}; is the service running with these settings?")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// What went wrong.
        problem: String,
    },
}

/// Asks `/health/ready` of the service that listens on `bind`.
///
/// An unspecified address (`0.0.0.0`, `::`) is asked on loopback. With `tls` the certificate is not verified: it is
/// made out to the name that clients use, and the question does not leave the machine.
///
/// # Errors
/// [`ProbeError`] unless the answer is 200 within two seconds.
pub fn ready(bind: SocketAddr, tls: bool) -> Result<(), ProbeError> {
    let address = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, bind.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, bind.port())),
        _ => bind,
    };
    let url = format!("{}://{address}/health/ready", if tls { "https" } else { "http" });
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .proxy(None)
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .build()
        .into();
    match agent.get(&url).call() {
        Ok(answer) if answer.status() == 200 => Ok(()),
        Ok(answer) => Err(ProbeError::NotReady { url, status: answer.status().as_u16() }),
        Err(error) => Err(ProbeError::NoAnswer { url, problem: error.to_string() }),
    }
}
