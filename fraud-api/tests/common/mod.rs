//! A service on free ports, and a client that can also misbehave.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::too_many_arguments)] // Every test file uses its part.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fraud_api::app::Shared;
use fraud_api::server::{Listeners, start};
use fraud_api::settings::{ApiSettings, Management};
use fraud_core::service::settings::Loaded;
use serde_json::Value;

/// A running service; ends in order when dropped.
pub struct Service {
    pub address: SocketAddr,
    pub management: SocketAddr,
    pub shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Settings for tests: free ports, one worker.
pub fn settings() -> ApiSettings {
    let mut settings = ApiSettings::default();
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    settings.server.bind = free;
    settings.server.management = Management(Some(free));
    settings.server.workers = 1;
    settings
}

impl Service {
    pub fn start(settings: ApiSettings) -> Self {
        Self::try_start(settings).unwrap()
    }

    pub fn try_start(settings: ApiSettings) -> Result<Self, String> {
        let loaded = Loaded { settings, given: vec!["server.management".to_owned()] };
        let listeners = Listeners::bind(&loaded).map_err(|error| error.to_string())?;
        let (address, management) = (listeners.public().unwrap(), listeners.management().unwrap());
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                match start(loaded.settings, listeners) {
                    Ok(running) => {
                        tell.send(Ok(running.shared().clone())).unwrap();
                        let _ = stopped.await;
                        running.stop().await.unwrap();
                    }
                    Err(error) => tell.send(Err(error.to_string())).unwrap(),
                }
            });
        });
        let shared = told.recv().unwrap()?;
        Ok(Self { address, management, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Ends in order and waits for it.
    pub fn finish(mut self) {
        self.end();
    }

    /// Begins the end without waiting.
    pub fn begin_end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    fn end(&mut self) {
        self.begin_end();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        request(self.address, "GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        request(self.address, "POST", path, &[("content-type", "application/json")], body.as_bytes())
    }

    pub fn predict(&self, body: &str) -> Answer {
        self.post("/predict", body)
    }

    pub fn metrics(&self) -> String {
        request(self.management, "GET", "/metrics", &[], b"").text()
    }

    /// The value of one sample, by its name with labels; 0 when it is not there.
    pub fn metric(&self, sample: &str) -> f64 {
        let text = self.metrics();
        text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok()).unwrap_or(0.0)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut raw = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        write!(raw, "{name}: {value}\r\n").unwrap();
    }
    if !body.is_empty() || method == "POST" {
        write!(raw, "content-length: {}\r\n", body.len()).unwrap();
    }
    raw.extend_from_slice(b"\r\n");
    raw.extend_from_slice(body);
    exchange(address, &raw).expect("an answer")
}

/// A request as it goes over a connection that stays open: in one piece, since pieces wait for each other.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Sends bytes as they are and reads one answer; `None` when the connection ends without one.
pub fn exchange(address: SocketAddr, raw: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A service that has answered may close before all was sent.
    let _ = stream.write_all(raw);
    read_answer(&mut stream)
}

pub fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8_192];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let status = head.get(9..12)?.parse().ok()?;
            let mut answer = Answer { status, head, body: Vec::new() };
            let length: usize = answer.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                answer.body = bytes[end + 4..end + 4 + length].to_vec();
                return Some(answer);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The statuses of that many answers which come one behind the other.
pub fn read_answers(stream: &mut TcpStream, count: usize) -> Vec<u16> {
    let (mut bytes, mut buffer, mut statuses) = (Vec::new(), [0; 8_192], Vec::new());
    while statuses.len() < count {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return statuses,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
        while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let answer = Answer { status: head[9..12].parse().unwrap(), head, body: Vec::new() };
            let length: usize = answer.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            if bytes.len() < end + 4 + length {
                break;
            }
            bytes.drain(..end + 4 + length);
            statuses.push(answer.status);
        }
    }
    statuses
}

/// The embedded model's file.
pub fn default_model() -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fraud-core/models/default.onnx")).unwrap()
}

/// The embedded model without its metadata: the same probabilities under another version, with the default
/// thresholds and without reasons.
pub fn bare_model() -> Vec<u8> {
    const METADATA: u64 = 14;
    let file = default_model();
    let (mut at, mut kept) = (0, Vec::new());
    while at < file.len() {
        let start = at;
        let tag = varint(&file, &mut at);
        match tag & 7 {
            0 => drop(varint(&file, &mut at)),
            2 => at += usize::try_from(varint(&file, &mut at)).unwrap(),
            other => panic!("wire type {other}"),
        }
        if tag >> 3 != METADATA {
            kept.extend_from_slice(&file[start..at]);
        }
    }
    kept
}

/// A number of a protobuf message.
fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// A transaction of January 2026, as JSON.
pub fn transaction(id: &str, customer: u32, terminal: u32, amount: f64, day: u32) -> String {
    format!(
        r#"{{"transaction_id": "{id}", "customer_id": {customer}, "terminal_id": {terminal}, "tx_amount": {amount},
            "tx_datetime": "2026-01-{day:02} 12:00:00"}}"#
    )
}

/// A file of the reference data, when it is there.
pub fn reference(file: &str) -> Option<std::path::PathBuf> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference").join(file);
    if path.exists() {
        return Some(path);
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference").join(file);
    if !path.exists() {
        eprintln!("skipped: there is no reference data");
        return None;
    }
    Some(path)
}
