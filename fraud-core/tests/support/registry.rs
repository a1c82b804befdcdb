//! A stand-in for MLflow's REST API on a free port, which can also misbehave as no real server does on request.
//! The real server is used by the test of the whole loop.
#![allow(dead_code)] // Every test uses its part.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fraud_core::service::source::sha256;

/// How requests are answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Manner {
    /// As they should be.
    Good,
    /// The connection is closed at once.
    Away,
    /// The answer comes one byte at a time, so long apart.
    Slow(Duration),
    /// With a redirect to a place that would answer.
    Redirect(String),
    /// With this status.
    Status(u16),
    /// With bytes that are not JSON, or another file.
    Garbage,
    /// With as many bytes as are taken.
    Endless,
    /// With a length that is not reached.
    Truncated,
}

#[derive(Debug, Default, Clone)]
pub struct Version {
    pub tags: BTreeMap<String, String>,
    pub file: Vec<u8>,
}

#[derive(Debug)]
pub struct State {
    pub versions: HashMap<String, Version>,
    pub aliases: HashMap<String, String>,
    /// How questions, and how files, are answered.
    pub manners: [Manner; 2],
    /// Where files are said to lie.
    pub place: String,
    /// The `Authorization` that is asked for.
    pub token: Option<String>,
    /// Requests, oldest first.
    pub requests: Vec<String>,
}

pub struct Registry {
    pub address: SocketAddr,
    pub state: Arc<Mutex<State>>,
}

impl Registry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            versions: HashMap::new(),
            aliases: HashMap::new(),
            manners: [Manner::Good, Manner::Good],
            place: "mlflow-artifacts:/1/models/m-{version}/artifacts".to_owned(),
            token: None,
            requests: Vec::new(),
        }));
        let shared = state.clone();
        // Ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        Self { address, state }
    }

    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Registers a version with its hash.
    pub fn register(&self, version: u32, file: &[u8]) {
        let tags = BTreeMap::from([("fraud.sha256".to_owned(), sha256(file))]);
        let entry = Version { tags, file: file.to_vec() };
        self.state.lock().unwrap().versions.insert(version.to_string(), entry);
    }

    pub fn alias(&self, alias: &str, version: u32) {
        self.state.lock().unwrap().aliases.insert(alias.to_owned(), version.to_string());
    }

    pub fn tag(&self, version: u32, key: &str, value: Option<&str>) {
        let mut state = self.state.lock().unwrap();
        let tags = &mut state.versions.get_mut(&version.to_string()).unwrap().tags;
        match value {
            Some(value) => tags.insert(key.to_owned(), value.to_owned()),
            None => tags.remove(key),
        };
    }

    pub fn tag_of(&self, version: u32, key: &str) -> Option<String> {
        self.state.lock().unwrap().versions[&version.to_string()].tags.get(key).cloned()
    }

    pub fn behave(&self, questions: Manner, files: Manner) {
        self.state.lock().unwrap().manners = [questions, files];
    }

    pub fn requests(&self, containing: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|request| request.contains(containing)).count()
    }
}

fn answer(stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let (mut length, mut authorization, mut line) = (0, None, String::new());
    while reader.read_line(&mut line).ok()? > 2 {
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = first.split_ascii_whitespace();
    let (method, target) = (words.next()?, words.next()?);
    let mut state = state.lock().unwrap();
    state.requests.push(format!("{method} {target}"));
    let file = target.contains("artifacts/") || target.contains("get-artifact");
    let manner = state.manners[usize::from(file)].clone();
    let allowed = state.token.is_none() || state.token == authorization;
    let answered = if allowed { found(&mut state, (method, target), &body) } else { Err((401, "no")) };
    drop(state);
    let (status, bytes) = match answered {
        Ok(bytes) => (200, bytes),
        Err((status, words)) => (status, format!(r#"{{"error_code": "X", "message": "{words}"}}"#).into_bytes()),
    };
    behave(stream, manner, (status, bytes));
    Some(())
}

fn behave(mut stream: TcpStream, manner: Manner, (status, bytes): (u16, Vec<u8>)) {
    let head = |status: u16, length: usize| {
        format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
    };
    let whole = |status, bytes: &[u8]| [head(status, bytes.len()).as_bytes(), bytes].concat();
    // A client that has had enough goes away.
    let _ = match manner {
        Manner::Good => stream.write_all(&whole(status, &bytes)),
        Manner::Away => Ok(()),
        Manner::Slow(apart) => whole(status, &bytes).iter().try_for_each(|byte| {
            std::thread::sleep(apart);
            stream.write_all(&[*byte])
        }),
        Manner::Redirect(to) => {
            let head = format!("HTTP/1.1 302 X\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes())
        }
        Manner::Status(status) => stream.write_all(&whole(status, b"<html>no</html>")),
        Manner::Garbage => stream.write_all(&whole(200, &[b'x'; 4_000])),
        Manner::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n");
            // Bounded for a client that would take it all.
            (0..4_096).try_for_each(|_| stream.write_all(&[b'x'; 1 << 16]))
        }
        Manner::Truncated => {
            let bytes = whole(status, &bytes);
            stream.write_all(&bytes[..bytes.len() - (bytes.len() / 3).max(1)])
        }
    };
}

type Found = Result<Vec<u8>, (u16, &'static str)>;

fn found(state: &mut State, (method, target): (&str, &str), body: &[u8]) -> Found {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query: HashMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let asked = |key: &str| query.get(key).copied().unwrap_or_default();
    if let Some(rest) = path.strip_prefix("/api/2.0/mlflow-artifacts/artifacts/1/models/m-") {
        let (version, file) = rest.split_once("/artifacts/").ok_or((404, "no place"))?;
        let version = state.versions.get(version).ok_or((404, "no version"))?;
        let named = version.tags.get("fraud.file").map_or("model.onnx", String::as_str);
        return if file.replace("%20", " ") == named { Ok(version.file.clone()) } else { Err((404, "no file")) };
    }
    let json = |value: serde_json::Value| Ok(value.to_string().into_bytes());
    match (method, path) {
        ("GET", "/api/2.0/mlflow/registered-models/alias") => {
            let version = state.aliases.get(asked("alias")).ok_or((400, "Registered model alias not found"))?;
            described(state, version)
        }
        ("GET", "/api/2.0/mlflow/model-versions/get") => described(state, asked("version")),
        ("GET", "/api/2.0/mlflow/model-versions/get-download-uri") => {
            json(serde_json::json!({"artifact_uri": state.place.replace("{version}", asked("version"))}))
        }
        ("GET", "/model-versions/get-artifact") => {
            state.versions.get(asked("version")).map(|version| version.file.clone()).ok_or((404, "no version"))
        }
        ("POST", "/api/2.0/mlflow/model-versions/set-tag") => {
            let tag: serde_json::Value = serde_json::from_slice(body).map_err(|_| (400, "no JSON"))?;
            let text = |key: &str| tag[key].as_str().unwrap_or_default().to_owned();
            let version = state.versions.get_mut(&text("version")).ok_or((404, "no version"))?;
            version.tags.insert(text("key"), text("value"));
            Ok(b"{}".to_vec())
        }
        _ => Err((404, "no such endpoint")),
    }
}

fn described(state: &State, version: &str) -> Found {
    let known = state.versions.get(version).ok_or((404, "no version"))?;
    let tags: Vec<_> = known.tags.iter().map(|(key, value)| serde_json::json!({"key": key, "value": value})).collect();
    let version = serde_json::json!({"model_version": {"name": "fraud", "version": version, "tags": tags}});
    Ok(version.to_string().into_bytes())
}
