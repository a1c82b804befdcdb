//! Load against servers of known manners.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // A test that cannot go on ends.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Manners, Server};
use fraud_loadgen::load::batch::{Batch, Kind, Source, Truth};
use fraud_loadgen::load::clock::SECOND;
use fraud_loadgen::load::engine::{self, Run};
use fraud_loadgen::load::schedule::{Arrival, Arrivals, Phase, Spacing};
use fraud_loadgen::load::stats::TOLERANCE;
use fraud_loadgen::report::{Record, Verdict};
use fraud_loadgen::run::{Arguments, execute, prepare};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(options: &[&str]) -> Arguments {
    Cli::try_parse_from([&["run"], options].concat()).unwrap_or_else(|problem| panic!("{problem}")).arguments
}

fn load(server: &Server, options: &[&str]) -> Record {
    let url = server.url();
    let arguments = arguments(&[&["--target", &url], options].concat());
    execute(prepare(&arguments).unwrap(), &Arc::default()).unwrap()
}

fn program(options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fraud-loadgen")).arg("run").args(options).output().unwrap()
}

#[test]
fn a_stall_of_a_second_shows_in_the_tail_and_a_closed_loop_does_not_see_it() {
    const STALL: Duration = Duration::from_secs(1);
    let manners = Manners { stall: Some((600, STALL)), ..Manners::default() };
    let server = Server::start(manners);
    let record = load(&server, &["--rate", "400", "--duration", "4s", "--spacing", "constant"]);
    // 400 requests were due while the server stood still. A quantile that says otherwise was measured wrongly; a slow
    // machine only makes it larger.
    let tail = record.total.quantile("p99.9").unwrap().with_generator_ms;
    assert!(tail >= 950.0, "{tail}");
    let p90 = record.total.quantile("p90").unwrap().with_generator_ms;
    assert!(p90 >= 400.0, "a quarter of all requests was due in the stall, spread over its second: {p90}");
    assert_eq!(record.total.ends.answered, record.total.requests);

    // The same server, asked again only when it has answered: one of the thousands of requests meets the stall.
    let server = Server::start(manners);
    let mut times = closed_loop(&server, 3_000);
    times.sort();
    assert!(times[times.len() - 1] >= STALL);
    let tail = times[times.len() * 999 / 1_000];
    assert!(tail < STALL / 2, "{tail:?}");
}

fn closed_loop(server: &Server, requests: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let body = r#"{"transaction_id":1,"customer_id":1,"terminal_id":1,"tx_amount":1,"tx_time_seconds":1}"#;
    let request = format!("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut buffer = [0; 4_096];
    let once = |_| {
        let began = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        assert!(stream.read(&mut buffer).unwrap() > 0);
        began.elapsed()
    };
    (0..requests).map(once).collect()
}

/// Makes requests more slowly than they are due.
struct Slow;

impl Source for Slow {
    type Error = std::convert::Infallible;

    fn request(&mut self, arrival: Arrival, batch: &mut Batch) -> Result<bool, Self::Error> {
        std::thread::sleep(Duration::from_millis(20));
        batch.push(arrival, Kind::Score, |out, truths| {
            out.extend_from_slice(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
            truths.push(Truth::Malformed);
            Ok::<(), Self::Error>(())
        })?;
        Ok(true)
    }

    fn finish(&mut self, _: &mut Batch) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[test]
fn a_generator_that_cannot_keep_its_schedule_says_so_and_does_not_blame_the_server() {
    let server = Server::start(Manners::default());
    let phases = vec![Phase::steady("a", 500.0, 0.2)];
    let run = Run {
        arrivals: Box::new(Arrivals::new(phases, Spacing::Constant, 0)),
        phases: 1,
        addresses: vec![server.address],
        connections: 4,
        requests_per_connection: None,
        threads: NonZeroUsize::MIN,
        timeout: Duration::from_secs(30),
        stop: Arc::default(),
    };
    let measured = engine::run(run, &mut Slow, Duration::from_secs(1), |_, _| ()).unwrap();
    // A hundred requests take two seconds to make and were due within a fifth of one.
    assert_eq!(measured.total.ended(), 100);
    let verdict = Verdict::of(&measured, TOLERANCE, false);
    assert!(!verdict.kept_schedule && verdict.remarks[0].contains("could not keep its schedule"));
    for quantile in [0.5, 0.99] {
        let claim = measured.total.claim(quantile, TOLERANCE);
        assert!(!claim.servers && claim.nanoseconds >= SECOND / 2, "{claim:?}");
    }
}

/// All bytes that a plan would send, with their intended starts.
fn everything(options: &[&str]) -> Vec<(u64, Vec<u8>)> {
    let mut prepared = prepare(&arguments(&[&["--target", "http://127.0.0.1:9"], options].concat())).unwrap();
    let mut batch = Batch::default();
    for arrival in prepared.arrivals {
        if !prepared.traffic.request(arrival, &mut batch).unwrap() {
            break;
        }
    }
    prepared.traffic.finish(&mut batch).unwrap();
    batch.requests().iter().map(|request| (request.arrival.due, batch.bytes(request).to_vec())).collect()
}

#[test]
fn the_same_seed_and_start_give_the_same_requests_byte_for_byte() {
    let base = ["--rate", "300", "--duration", "5s", "--start-time", "2026-01-01T00:00:00Z"];
    let rich =
        ["--malformed", "0.1", "--label-delay", "2s", "--scenario", "card-testing=0.2", "--scenario", "burst=0.1"];
    for more in [&rich[..], &[&rich[..], &["--batch", "7"]].concat(), &["--profile", "ramp"]] {
        let of = |seed: &str| everything(&[&base[..], more, &["--seed", seed]].concat());
        let one = of("1");
        assert!(one.len() > 100, "{}", one.len());
        assert!(one == of("1"), "{more:?}");
        assert!(one != of("2"), "{more:?}");
        assert!(one.windows(2).all(|pair| pair[0].0 <= pair[1].0), "requests are in order of their intended starts");
    }
    let start = |time| everything(&[&base[..4], &["--start-time", time]].concat());
    assert!(start("2026-01-01T00:00:00Z") != start("2026-01-01T00:00:01Z"));
}

#[test]
fn an_option_of_one_thing_does_not_change_another() {
    let base = ["--rate", "300", "--duration", "2s", "--start-time", "2026-01-01T00:00:00Z"];
    let (plain, labelled) = (everything(&base), everything(&[&base[..], &["--label-delay", "1s"]].concat()));
    let scores: Vec<_> = labelled.iter().filter(|request| !request.1.starts_with(b"POST /labels")).cloned().collect();
    assert!(labelled.len() > scores.len() && scores == plain);
}

#[test]
fn malformed_requests_are_counted_apart_and_the_truth_stands_beside() {
    let server = Server::start(Manners::default());
    let folder = tempfile::tempdir().unwrap();
    let truth = folder.path().join("truth.csv");
    let options = ["--rate", "500", "--duration", "2s", "--malformed", "0.2", "--scenario", "amount-x5=0.3", "--truth"];
    for batch in ["1", "5"] {
        let record = load(&server, &[&options[..], &[truth.to_str().unwrap(), "--batch", batch]].concat());
        let text = std::fs::read_to_string(&truth).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
        let malformed = rows.iter().filter(|row| !row[6].trim_matches('"').is_empty()).count() as u64;
        let fraud = rows.iter().filter(|row| row[6].trim_matches('"').is_empty() && row[3] == "1").count() as u64;
        let found = &record.total.detection;
        assert!(malformed > 100 && fraud > 150, "{malformed} {fraud}");
        assert_eq!(found.malformed_refused, malformed);
        assert_eq!(found.malformed_decided, 0);
        assert_eq!(found.fraud_declined + found.fraud_approved + found.fraud_reviewed, fraud);
        assert!(found.fraud_declined > 0 && found.fraud_approved > 0);
        assert_eq!(record.total.error_rate, 0.0);
        assert_eq!(rows.len() as u64, fraud + malformed + found.genuine_approved + found.genuine_declined);
    }
}

#[test]
fn shed_cut_and_unanswered_requests_are_told_apart() {
    let shed =
        load(&Server::start(Manners { shed_every: 4, ..Manners::default() }), &["--rate", "400", "--duration", "1s"]);
    assert_eq!(shed.total.ends.shed, shed.total.requests / 4);
    assert_eq!((shed.total.error_rate, shed.total.ends.answered), (0.0, shed.total.requests - shed.total.ends.shed));

    let cut =
        load(&Server::start(Manners { cut_every: 10, ..Manners::default() }), &["--rate", "400", "--duration", "1s"]);
    assert_eq!(cut.total.ends.broken, cut.total.requests / 10);
    assert_eq!(cut.total.ends.answered, cut.total.requests - cut.total.ends.broken);

    let options = ["--rate", "100", "--duration", "1s", "--timeout", "1s", "--connections", "3"];
    let mute = load(&Server::start(Manners { mute: true, ..Manners::default() }), &options);
    assert_eq!(mute.total.ends.timed_out, mute.total.requests);
    assert!(mute.total.waited_for_connection > 0, "three connections were not enough for a hundred requests");
    assert!(mute.total.quantile("p50").unwrap().with_generator_ms >= 500.0, "what is not answered is not fast");
}

#[test]
fn connections_end_after_as_many_requests_as_asked_and_none_is_lost() {
    let server = Server::start(Manners::default());
    let options = ["--rate", "300", "--duration", "1s", "--connections", "5", "--requests-per-connection", "10"];
    let record = load(&server, &options);
    assert_eq!(record.total.ends.answered, record.total.requests);
    let connections = server.connections();
    assert!(connections >= record.total.requests / 10, "{connections} for {}", record.total.requests);
}

#[test]
fn labels_follow_and_keys_are_sent() {
    let server = Server::start(Manners::default());
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, key: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{key}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (score, label) = (key("score", "one"), key("label", "two"));
    let options =
        ["--rate", "200", "--duration", "1s", "--label-delay", "1s", "--key-file", &score, "--label-key-file"];
    let record = load(&server, &[&options[..], &[label.as_str()]].concat());
    let mut keys = server.keys.lock().unwrap().clone();
    keys.sort();
    assert_eq!(keys, ["one", "two"]);
    let labels: Vec<serde_json::Value> = server
        .labels
        .lock()
        .unwrap()
        .iter()
        .flat_map(|body| serde_json::from_str::<Vec<serde_json::Value>>(body).unwrap())
        .collect();
    assert_eq!(labels.len() as u64, record.total.requests);
    assert!(labels.iter().all(|label| label["label"].is_u64() && label["observed_at"].is_string()));
    assert_eq!(record.total.labels[1], 0);
}

#[test]
fn files_are_replayed_at_a_rate_and_in_their_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let line = |id: u32, second: u32| {
        format!(
            "{{\"transaction_id\":{id},\"customer_id\":\"c\\\"{id}\",\"terminal_id\":7,\"tx_amount\":{id}.5,\"tx_time_seconds\":{second},\"tx_fraud\":{}}}\n",
            id % 2
        )
    };
    let text: String = [(1, 100), (2, 100), (3, 160), (4, 130), (5, 220)].map(|(id, second)| line(id, second)).concat();
    std::fs::write(&path, text + "not a row\n").unwrap();
    let input = ["--input", path.to_str().unwrap()];
    let own = everything(&[&input[..], &["--own-time", "60", "--event-time", "source"]].concat());
    let dues: Vec<u64> = own.iter().map(|request| request.0).collect();
    assert_eq!(dues, [0, 0, 1_000_000_000, 1_000_000_000, 2_000_000_000]);
    let last = String::from_utf8(own[4].1.clone()).unwrap();
    let body = "{\"transaction_id\":\"5\",\"customer_id\":\"c\\\"5\",\"terminal_id\":7,\"tx_amount\":5.50,\"tx_datetime\":\"1970-01-01T00:03:40Z\"}";
    assert!(last.ends_with(body), "{last}");
    let at_rate =
        |more: &[&str]| everything(&[&input[..], &["--rate", "100", "--duration", "1s"], more].concat()).len();
    assert_eq!(at_rate(&[]), 5);
    assert!(at_rate(&["--repeat"]) > 50);
    assert_eq!(at_rate(&["--repeat", "--count", "12"]), 12);
}

#[test]
fn conditions_decide_the_exit_code() {
    let server = Server::start(Manners { shed_every: 2, ..Manners::default() });
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("r.json");
    let base = ["--target", &url, "--rate", "100", "--duration", "1s", "--spacing", "constant", "--json"];
    let late = ["--schedule-tolerance", "60000", "--fail-if"];
    let run = |condition: &str| program(&[&base[..], &[json.to_str().unwrap()], &late, &[condition]].concat());
    let failed = run("shed_rate > 10%");
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(String::from_utf8_lossy(&failed.stdout).contains("FAILED: holds, it is 50.000 %"));
    assert_eq!(run("shed_rate > 60%").status.code(), Some(0));
    assert_eq!(run("fraud_caught > 200%").status.code(), Some(2), "a hundred simulated payments have no fraud");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(Path::new(&json)).unwrap()).unwrap();
    assert_eq!(report["total"]["shed_rate"], 0.5);
    assert!(report["seconds"].as_array().is_some_and(|seconds| !seconds.is_empty()));
}

#[test]
fn load_does_not_go_where_it_should_not_and_not_beyond_its_limits() {
    let refused = |options: &[&str]| {
        let output = program(options);
        assert_eq!(output.status.code(), Some(64), "{options:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["--target", "http://example.com"]).contains("--i-own-this-target example.com"));
    assert!(refused(&["--target", "http://127.0.0.1", "--rate", "20000"]).contains("--max-rate"));
    assert!(refused(&["--target", "http://127.0.0.1", "--duration", "2h"]).contains("--max-duration"));
    assert!(refused(&["--target", "http://127.0.0.1", "--fail-if", "p98 > 1ms"]).contains("no such metric"));
    assert!(refused(&["--target", "http://127.0.0.1", "--fail-if", "p99@x > 1ms"]).contains("no phase"));
    assert!(refused(&["--target", "http://127.0.0.1", "--malformed", "2"]).contains("share"));
    assert!(refused(&["--target", "http://127.0.0.1", "--rate", "0"]).contains("rate"));
    let output = program(&["--target", "http://127.0.0.1:9", "--dry-run"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("100/s"));
    let output = program(&["--target", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
}
