//! A small HTTP server for tests: blocking, one thread a connection, as slow or rude as asked.
#![allow(dead_code)] // Each test file uses its part.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fraud_core::{ParseOptions, Parsed};

/// What the server does beside answering.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manners {
    /// The request of this number (from 1) holds up everything for so long.
    pub(crate) stall: Option<(u64, Duration)>,
    /// One in so many is shed.
    pub(crate) shed_every: u64,
    /// One in so many has its connection cut without an answer.
    pub(crate) cut_every: u64,
    /// Nothing is ever answered.
    pub(crate) mute: bool,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    /// Bodies of requests to /labels.
    pub(crate) labels: Arc<Mutex<Vec<String>>>,
    /// Values of the `X-API-Key` header that came, without repetitions.
    pub(crate) keys: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
            labels: Arc::default(),
            keys: Arc::default(),
        };
        let (requests, labels, keys) = (server.requests.clone(), server.labels.clone(), server.keys.clone());
        let turn = Arc::new(Mutex::new(()));
        let connections = server.connections.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, labels, keys, turn) = (requests.clone(), labels.clone(), keys.clone(), turn.clone());
                // A client that left ends the thread.
                thread::spawn(move || serve(stream, manners, (&requests, &labels, &keys, &turn)));
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

type Shared<'a> = (&'a AtomicU64, &'a Mutex<Vec<String>>, &'a Mutex<Vec<String>>, &'a Mutex<()>);

fn serve(stream: TcpStream, manners: Manners, (requests, labels, keys, turn): Shared<'_>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut out = stream;
    loop {
        let (path, body) = request(&mut reader, keys)?;
        if path == "/labels" {
            labels.lock().unwrap().push(String::from_utf8(body).unwrap());
            answer(&mut out, 200, "{}")?;
            continue;
        }
        let number = requests.fetch_add(1, Ordering::SeqCst) + 1;
        {
            let _turn = turn.lock().unwrap();
            if let Some((at, span)) = manners.stall
                && at == number
            {
                thread::sleep(span);
            }
        }
        let every = |every: u64| every > 0 && number.is_multiple_of(every);
        if manners.mute {
            continue;
        }
        if every(manners.cut_every) {
            return None;
        }
        if every(manners.shed_every) {
            answer(&mut out, 503, "{\"title\":\"busy\"}")?;
            continue;
        }
        let (status, body) = assess(&path, &body);
        answer(&mut out, status, &body)?;
    }
}

fn assess(path: &str, body: &[u8]) -> (u16, String) {
    let one = |row: &[u8]| match Parsed::from_json(row, ParseOptions::default()) {
        Ok(parsed) if parsed.transaction.amount.major() > 220.0 => {
            Ok("{\"decision\":\"decline\",\"reasons\":[]}".to_owned())
        }
        Ok(_) => Ok("{\"decision\":\"approve\",\"reasons\":[]}".to_owned()),
        Err(_) => Err("{\"title\":\"no transaction\"}".to_owned()),
    };
    if path == "/predict" {
        return one(body).map_or_else(|problem| (422, problem), |answer| (200, answer));
    }
    let Ok(rows) = serde_json::from_slice::<Vec<serde_json::Value>>(body) else { return (400, "{}".to_owned()) };
    let rows: Vec<String> = rows
        .iter()
        .map(|row| one(row.to_string().as_bytes()).unwrap_or_else(|problem| format!("{{\"error\":{problem}}}")))
        .collect();
    (200, format!("[{}]", rows.join(",")))
}

fn request(reader: &mut BufReader<TcpStream>, keys: &Mutex<Vec<String>>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    (reader.read_line(&mut line).ok()? > 0).then_some(())?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header == "\r\n" {
            break;
        }
        let (name, value) = header.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        } else if name.eq_ignore_ascii_case("x-api-key") {
            let (mut keys, key) = (keys.lock().unwrap(), value.trim().to_owned());
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

fn answer(out: &mut TcpStream, status: u16, body: &str) -> Option<()> {
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    out.write_all(answer.as_bytes()).ok()
}
