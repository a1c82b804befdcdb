//! Metrics and health over HTTP, and for operators `/admin/model` and `/admin/shadow`, as fraud-api shows them: GET
//! only, one request a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use fraud_core::service::clock;
use fraud_core::service::keys::{self, KeyRefusal, Keys, Role};
use fraud_core::service::shutdown::Stage;

use super::error::StreamError;
use super::run::Shared;

/// A client that is slower than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Greatest request head that is read, in bytes.
const MAX_HEAD: u64 = 8 << 10;
const PATHS: &str = "/metrics /health /health/live /health/ready /admin/model /admin/shadow\n";

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
    let (shared, is_local) = (shared.clone(), address.ip().is_loopback());
    let run = move || {
        for connection in listener.incoming().flatten() {
            // A client that goes away is its own affair.
            let _ = answer(&connection, (&shared, is_local));
        }
    };
    std::thread::Builder::new().name("metrics".to_owned()).spawn(run).map_err(listen())?;
    Ok(Some(address))
}

/// What of a request's head is looked at. No `Debug`: it holds a key.
#[derive(Default)]
struct Head {
    method: String,
    path: String,
    authorization: Option<String>,
    x_api_key: Option<String>,
}

impl Head {
    fn read(from: impl BufRead) -> std::io::Result<Self> {
        let mut lines = from.lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut words = first.split_ascii_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let mut head = Self { method: word().to_owned(), ..Self::default() };
        head.path = word().split('?').next().unwrap_or_default().to_owned();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = || Some(value.trim().to_owned());
            if name.eq_ignore_ascii_case("authorization") {
                head.authorization = value();
            } else if name.eq_ignore_ascii_case("x-api-key") {
                head.x_api_key = value();
            }
        }
        Ok(head)
    }

    /// Whether it may be answered what only operators see; if not, with which status and words instead.
    fn may_operate(&self, keys: Option<&Keys>, is_local: bool) -> Result<(), (u16, String)> {
        let Some(keys) = keys else {
            let words = "beyond loopback this needs `server.keys_file`\n";
            return if is_local { Ok(()) } else { Err((403, words.to_owned())) };
        };
        let [authorization, x_api_key] =
            [&self.authorization, &self.x_api_key].map(|header| header.as_deref().map(str::as_bytes));
        let presented = keys::presented(authorization, x_api_key);
        match keys.check(presented, Role::Operate) {
            Ok(_) => Ok(()),
            Err(refusal) => {
                let status = if refusal == KeyRefusal::Unknown { 401 } else { 403 };
                Err((status, format!("{refusal}\n")))
            }
        }
    }
}

fn answer(mut connection: &TcpStream, (shared, is_local): (&Shared, bool)) -> std::io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let head = Head::read(BufReader::new(connection.take(MAX_HEAD)))?;
    let (status, kind, body) = match (head.method.as_str(), head.path.as_str()) {
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
        ("GET", path @ ("/admin/model" | "/admin/shadow")) => {
            match head.may_operate(shared.keys.as_deref(), is_local).and_then(|()| told(path, shared)) {
                Ok(told) => (200, "application/json", told.to_string().into_bytes()),
                Err((status, words)) => (status, "text/plain", words.into_bytes()),
            }
        }
        ("GET", _) => (404, "text/plain", PATHS.as_bytes().to_vec()),
        _ => (405, "text/plain", b"GET only\n".to_vec()),
    };
    let reason = if status == 200 { "OK" } else { "No" };
    let ask = if status == 401 { "WWW-Authenticate: Bearer\r\n" } else { "" };
    write!(
        connection,
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\n{ask}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    connection.write_all(&body)
}

/// What operators are told; if nothing, with which status and words instead.
fn told(path: &str, shared: &Shared) -> Result<serde_json::Value, (u16, String)> {
    let nothing = |words: &str| (404, words.to_owned());
    let life = shared.life.as_ref().ok_or_else(|| nothing("another service scores: ask that one\n"))?;
    match path {
        "/admin/model" => Ok(life.card()),
        _ => life.shadow_report().ok_or_else(|| nothing("nobody challenges the model in service\n")),
    }
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

#[cfg(test)]
mod tests {
    use fraud_core::service::source::sha256;

    use super::*;

    fn head(text: &str) -> Head {
        Head::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn heads_are_read_as_they_come() {
        let found = head("GET /admin/model?x=1 HTTP/1.1\r\nHost: a:1\r\nX-API-Key:  one \r\n\r\nX-API-Key: two\r\n");
        assert_eq!((found.method.as_str(), found.path.as_str()), ("GET", "/admin/model"));
        assert_eq!((found.authorization, found.x_api_key.as_deref()), (None, Some("one")));
        let found = head("GET /\nauthorization: Bearer a:b");
        assert_eq!((found.path.as_str(), found.authorization.as_deref()), ("/", Some("Bearer a:b")));
        assert_eq!(head("").method, "");
        assert!(Head::read(&b"GET /\xff HTTP/1.1\r\n"[..]).is_err());
    }

    #[test]
    fn operators_have_a_key_or_are_on_this_machine() {
        let plain = head("GET /admin/shadow HTTP/1.1\r\n\r\n");
        assert_eq!(plain.may_operate(None, true), Ok(()));
        assert_eq!(plain.may_operate(None, false).unwrap_err().0, 403);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.toml");
        let entry = |name: &str, role: &str| {
            let hash = sha256(name.as_bytes());
            format!("[[keys]]\nname = \"{name}\"\nsha256 = \"{hash}\"\nroles = [\"{role}\"]\n")
        };
        std::fs::write(&file, entry("one", "operate") + &entry("two", "score")).unwrap();
        let keys = Keys::load(&file).unwrap();
        let status = |header: &str, is_local| {
            let head = head(&format!("GET /admin/shadow HTTP/1.1\r\n{header}\r\n\r\n"));
            head.may_operate(Some(&keys), is_local).map_or_else(|(status, _)| status, |()| 200)
        };
        for is_local in [true, false] {
            assert_eq!(status("Authorization: Bearer one", is_local), 200);
            assert_eq!(status("x-api-key: one", is_local), 200);
            assert_eq!(status("x-api-key: two", is_local), 403);
            assert_eq!(status("x-api-key: three", is_local), 401);
            assert_eq!(status("x: y", is_local), 401);
        }
    }
}
