//! Scoring by an API over HTTP: sheds, broken answers and refusals on the way to one answer each.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kafka_common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_common::{Kafka, Sent, World, flush, producer, send};

#[derive(Default)]
struct Api {
    requests: AtomicU64,
    connections: AtomicU64,
    /// Requests that named the key.
    keyed: AtomicU64,
    /// How often each transaction was asked about; for the API that stumbles over rows and not over requests.
    asked: Option<Mutex<HashMap<String, u32>>>,
}

impl Api {
    /// Starts answering.
    fn start(self: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, api) = (listener.local_addr().unwrap(), self.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let api = api.clone();
                std::thread::spawn(move || drop(serve(connection, &api)));
            }
        });
        address
    }

    /// The answer to a row: its amount as probability; customer 13 is refused. Where rows are stumbled over, customer 14's
    /// are at first not taken and customer 15's break the model.
    fn answer(&self, row: &serde_json::Value) -> serde_json::Value {
        let problem =
            |status: u16| serde_json::json!({"error": {"status": status, "title": "Not a valid transaction"}});
        let mut before = 0;
        if let Some(asked) = &self.asked {
            let mut asked = asked.lock().unwrap();
            let times = asked.entry(row["transaction_id"].as_str().unwrap().to_owned()).or_default();
            *times += 1;
            before = *times - 1;
            match row["customer_id"].as_str() {
                Some("14") if before < 5 => return problem(503),
                Some("14") => before = 0,
                Some("15") => return problem(500),
                _ => {}
            }
        }
        if row["customer_id"] == "13" {
            return problem(422);
        }
        serde_json::json!({"transaction_id": row["transaction_id"], "decision": "approve", "duplicate": before > 0,
                           "fraud_probability": row["tx_amount"], "model_version": "m7"})
    }
}

/// One connection of the API. Every third request is turned away, every seventh answered with nonsense.
fn serve(connection: TcpStream, api: &Api) -> std::io::Result<()> {
    api.connections.fetch_add(1, Ordering::Relaxed);
    let mut writer = connection.try_clone()?;
    let mut reader = BufReader::new(connection);
    loop {
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if lower.starts_with("authorization: bearer sesame") {
                api.keyed.fetch_add(1, Ordering::Relaxed);
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let number = api.requests.fetch_add(1, Ordering::Relaxed);
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
        let (status, text) = match number {
            n if n % 3 == 1 && api.asked.is_none() => ("503 Service Unavailable\r\nRetry-After: 0", "{}".to_owned()),
            n if n % 7 == 2 && api.asked.is_none() => ("200 OK", "[".to_owned()),
            _ => {
                let answers = rows.iter().map(|row| api.answer(row));
                ("200 OK", serde_json::Value::from(answers.collect::<Vec<_>>()).to_string())
            }
        };
        write!(writer, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
    }
}

#[test]
fn an_api_that_sheds_and_stumbles_answers_each_once() {
    let api = Arc::new(Api::default());
    let address = api.start();
    let mut world = World::new(Kafka::shared(), "remote", 2);
    let key = world.folder.path().join("key");
    std::fs::write(&key, "sesame\n").unwrap();
    world.set("scorer.kind", "http");
    world.set("scorer.url", &format!("http://{address}"));
    world.set("scorer.key_file", key.to_str().unwrap());
    world.set("scorer.request_records", "20");
    world.set("scorer.concurrency", "3");
    world.set("scorer.max_backoff", "200ms");
    world.set("kafka.batch_records", "150");
    let producer = producer(&world.kafka.address);
    let topic = world.topic("input");
    for id in 0..1_000 {
        let customer = id % 50;
        let line = format!(
            "{{\"transaction_id\":{id},\"customer_id\":{customer},\"terminal_id\":1,\"tx_amount\":{id}.25,\
             \"tx_time_seconds\":1700000000}}"
        );
        send(&producer, &topic, &Sent::new(customer % 2, "k", line.as_bytes()));
    }
    send(&producer, &topic, &Sent::new(0, "k", b"nonsense"));
    flush(&producer);
    for (point, after) in [("after_produce", "2"), ("after_observe", "1")] {
        let mut instance = world.start(&[("test.crash_at", point), ("test.crash_after", after)]);
        assert_eq!(instance.wait(), None, "{point} was not reached:\n{}", instance.log());
    }
    world.finish();
    let mut answered: Vec<(u64, String, String)> = world
        .read("predictions")
        .iter()
        .map(|one| {
            let json = one.json();
            assert_eq!(one.header("model-version"), "m7");
            assert_eq!(json["transaction_id"].as_str().unwrap().as_bytes(), one.key);
            let id: u64 = json["transaction_id"].as_str().unwrap().parse().unwrap();
            (id, json["fraud_probability"].to_string(), one.header("input").to_owned())
        })
        .collect();
    answered.sort();
    let expected: Vec<u64> = (0..1_000).filter(|id| id % 50 != 13).collect();
    assert_eq!(answered.iter().map(|(id, _, _)| *id).collect::<Vec<_>>(), expected);
    assert!(answered.iter().all(|(id, amount, _)| *amount == format!("{id}.25")));
    let dead = world.read("dead");
    let count = |reason: &str| dead.iter().filter(|letter| letter.header("dead-letter-reason") == reason).count();
    assert_eq!((count("refused"), count("not_json"), dead.len()), (20, 1, 21));
    let (requests, connections) = (api.requests.load(Ordering::Relaxed), api.connections.load(Ordering::Relaxed));
    assert_eq!(api.keyed.load(Ordering::Relaxed), requests);
    assert!(connections * 3 < requests, "{connections} connections for {requests} requests: not kept alive");
}

fn line(id: u32, customer: u32) -> String {
    format!(
        "{{\"transaction_id\":{id},\"customer_id\":{customer},\"terminal_id\":1,\"tx_amount\":1,\"tx_time_seconds\":1700000000}}"
    )
}

#[test]
fn a_row_that_is_not_answered_is_sent_again_and_the_others_are_not() {
    let api = Arc::new(Api { asked: Some(Mutex::default()), ..Api::default() });
    let mut world = World::new(Kafka::shared(), "rows", 1);
    world.set("scorer.kind", "http");
    world.set("scorer.url", &format!("http://{}", api.start()));
    world.set("scorer.max_backoff", "50ms");
    let (producer, topic) = (producer(&world.kafka.address), world.topic("input"));
    for id in 0..200 {
        send(&producer, &topic, &Sent::new(0, "k", line(id, id % 20).as_bytes()));
    }
    flush(&producer);
    world.finish();
    let predictions = world.read("predictions");
    assert_eq!(predictions.len(), 180);
    assert_eq!(predictions.iter().filter(|one| one.json()["duplicate"] == true).count(), 0);
    let dead = world.read("dead");
    let count = |reason: &str| dead.iter().filter(|letter| letter.header("dead-letter-reason") == reason).count();
    assert_eq!((count("refused"), count("model_error"), dead.len()), (10, 10, 20));
}

/// A stream that begins with what comes next begins there also after a crash before its first commit, and reads a partition
/// that is added later from its first record.
#[test]
fn what_comes_after_the_start_is_answered() {
    let api = Arc::new(Api { asked: Some(Mutex::default()), ..Api::default() });
    let mut world = World::new(Kafka::shared(), "latest", 1);
    world.set("scorer.kind", "http");
    world.set("scorer.url", &format!("http://{}", api.start()));
    world.set("kafka.start", "latest");
    let topic = world.topic("input");
    let send_some = |partition, ids: std::ops::Range<u32>| {
        let producer = producer(&world.kafka.address);
        ids.for_each(|id| send(&producer, &topic, &Sent::new(partition, "k", line(id, 1).as_bytes())));
        flush(&producer);
    };
    send_some(0, 0..5);
    let mut instance = world.start(&[("test.crash_at", "after_observe")]);
    instance.wait_for("\"scoring\"");
    send_some(0, 5..10);
    assert_eq!(instance.wait(), None, "{}", instance.log());
    world.finish();
    world.kafka.grow(&topic, 2);
    send_some(1, 10..15);
    world.finish();
    let mut inputs: Vec<_> = world.read("predictions").iter().map(kafka_common::Record::input).collect();
    inputs.sort_unstable();
    let expected: Vec<_> = (5..10).map(|offset| (0, offset)).chain((0..5).map(|offset| (1, offset))).collect();
    assert_eq!(inputs, expected);
}

#[test]
fn the_lag_grows_while_the_api_is_away() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut world = World::new(Kafka::shared(), "away", 1);
    world.set("scorer.kind", "http");
    world.set("scorer.url", &format!("http://{nobody}"));
    world.set("scorer.max_backoff", "1s");
    let (producer, topic) = (producer(&world.kafka.address), world.topic("input"));
    let send_some = |ids: std::ops::Range<u32>| {
        ids.for_each(|id| send(&producer, &topic, &Sent::new(0, "k", line(id, 1).as_bytes())));
        flush(&producer);
    };
    send_some(0..10);
    let mut instance = world.start(&[]);
    instance.wait_for("input is paused");
    // What comes while nothing is fetched counts, too.
    send_some(10..300);
    let sample = format!("fraud_stream_partition_lag{{partition=\"0\",topic=\"{topic}\"}}");
    let until = Instant::now() + Duration::from_mins(1);
    while instance.metric(&sample) != Some(300.0) {
        assert!(Instant::now() < until, "{:?}\n{}", instance.metric(&sample), instance.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    instance.terminate();
    assert_eq!(instance.wait(), Some(0), "{}", instance.log());
}
