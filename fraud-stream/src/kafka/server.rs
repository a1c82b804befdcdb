//! Metrics and health over HTTP: four paths, GET only, one request a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use fraud_core::service::clock;
use fraud_core::service::shutdown::Stage;

use super::error::StreamError;
use super::run::Shared;

/// A client that is slower than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Greatest request head that is read, in bytes.
const MAX_HEAD: u64 = 8 << 10;

/// Starts answering. The address, with the port that was free where 0 was asked for.
///
/// # Errors
/// [`StreamError::Io`] when the address cannot be had.
pub(super) fn start(bind: &str, shared: &Arc<Shared>) -> Result<Option<SocketAddr>, StreamError> {
    if bind.is_empty() {
        return Ok(None);
    }
    let listen = || StreamError::io(format!("listen on {bind}"));
    let listener = TcpListener::bind(bind).map_err(listen())?;
    let address = listener.local_addr().map_err(listen())?;
    let shared = shared.clone();
    let run = move || {
        for connection in listener.incoming().flatten() {
            // A client that goes away is its own affair.
            let _ = answer(&connection, &shared);
        }
    };
    std::thread::Builder::new().name("metrics".to_owned()).spawn(run).map_err(listen())?;
    Ok(Some(address))
}

fn answer(mut connection: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(connection.take(MAX_HEAD));
    let mut first = String::new();
    lines.read_line(&mut first)?;
    let mut line = String::new();
    while lines.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = first.split_ascii_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let (status, kind, body) = match (method, path) {
        ("GET", "/metrics") => match shared.metrics.shared.render() {
            Ok(text) => (200, "text/plain; version=0.0.4", text),
            Err(error) => (500, "text/plain", error.to_string().into_bytes()),
        },
        ("GET", "/health/live") => (200, "application/json", b"{\"status\":\"live\"}".to_vec()),
        ("GET", "/health/ready") => {
            let ready = shared.stage() == Stage::Ready && !shared.is_troubled();
            (if ready { 200 } else { 503 }, "application/json", health(shared))
        }
        ("GET", "/health") => (200, "application/json", health(shared)),
        ("GET", _) => (404, "text/plain", b"/metrics /health /health/live /health/ready\n".to_vec()),
        _ => (405, "text/plain", b"GET only\n".to_vec()),
    };
    let reason = if status == 200 { "OK" } else { "No" };
    write!(
        connection,
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    connection.write_all(&body)
}

fn health(shared: &Shared) -> Vec<u8> {
    let status = match shared.stage() {
        Stage::Starting => "starting",
        Stage::Ready if shared.is_troubled() => "waiting",
        Stage::Ready => "ready",
        Stage::Draining => "draining",
    };
    let info = shared.life.as_ref().and_then(|life| life.info());
    let text = serde_json::json!({
        "status": status,
        "model_loaded": info.is_some(),
        "model_version": info.map(|info| info.version.to_string()),
        "lag": shared.lag.total(),
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": clock::rfc3339_text(clock::unix_millis()),
    });
    text.to_string().into_bytes()
}
