//! The command: settings, exit codes, signals.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};

use common::{post, read_answer, request, transaction};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fraud-api"));
    command.env_clear();
    command
}

#[test]
fn bad_settings_are_all_listed_and_end_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    std::fs::write(&path, "[server]\nbnd = \"x\"\nworkers = \"many\"\n[chaos]\nstartup_delay = \"5s\"\n").unwrap();
    let run = command()
        .arg("--check-config")
        .arg("--config")
        .arg(&path)
        .env("FRAUD__MODEL__WATCH", "often")
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(64));
    let text = String::from_utf8(run.stderr).unwrap();
    for key in
        ["server.bnd: no such key, did you mean `bind`?", "server.workers: ", "chaos.startup_delay: ", "model.watch: "]
    {
        assert!(text.contains(key), "{key} in {text}");
    }
    assert_eq!(command().arg("--no-such-argument").output().unwrap().status.code(), Some(64));
    assert_eq!(command().arg("--help").output().unwrap().status.code(), Some(0));
    let good = command().arg("--check-config").output().unwrap();
    assert_eq!(good.status.code(), Some(0));
    let mut open = command();
    open.arg("--check-config").env("FRAUD__SERVER__BIND", "0.0.0.0:1").env("FRAUD__SERVER__REQUIRE_KEYS", "true");
    assert_eq!(open.output().unwrap().status.code(), Some(64));
    let mut behind = command();
    behind
        .arg("--check-config")
        .env("FRAUD__SERVER__MANAGEMENT", "0.0.0.0:2")
        .env("FRAUD__SERVER__REQUIRE_KEYS", "true");
    assert_eq!(behind.output().unwrap().status.code(), Some(64));
    let mut model = command();
    model.env("FRAUD__MODEL__PATH", "/nowhere.onnx").env("FRAUD__SERVER__BIND", "127.0.0.1:0");
    let model = model.env("FRAUD__SERVER__MANAGEMENT", "none").output().unwrap();
    assert_eq!(model.status.code(), Some(64));
    assert!(String::from_utf8(model.stderr).unwrap().contains("/nowhere.onnx"));
}

#[test]
fn settings_are_printed_without_secrets() {
    let run = command()
        .arg("--print-config")
        .env("FRAUD__MODEL__URL", "https://me:secret@models.test/m.onnx?token=hidden")
        .env("FRAUD__MODEL__SHA256", "0".repeat(64))
        .output()
        .unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(text.contains("models.test") && !text.contains("secret") && !text.contains("hidden"), "{text}");
}

#[test]
fn it_serves_says_so_and_ends_with_0_on_sigterm() {
    let mut process = command()
        .env("FRAUD__SERVER__BIND", "127.0.0.1:0")
        .env("FRAUD__SERVER__MANAGEMENT", "127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = loop {
        let line: serde_json::Value = serde_json::from_str(&log.next().unwrap().unwrap()).unwrap();
        if let Some(address) = line["address"].as_str() {
            assert!(line["message"].as_str().unwrap().contains("curl"), "{line}");
            break address.parse::<SocketAddr>().unwrap();
        }
    };
    let body = transaction("a", 1, 2, 3.0, 1);
    let answer = request(address, "POST", "/predict", &[("content-type", "application/json")], body.as_bytes());
    assert_eq!(answer.status, 200);
    // The image's health check, with the settings that the image has.
    let healthy = |bind: String| command().arg("--check-health").env("FRAUD__SERVER__BIND", bind).output().unwrap();
    let there = healthy(format!("0.0.0.0:{}", address.port()));
    assert!(there.status.success(), "{there:?}");
    let nobody = healthy("127.0.0.1:1".to_owned());
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8(nobody.stderr).unwrap().contains("did not answer"));
    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(process.wait().unwrap().code(), Some(0));
    let rest: Vec<String> = log.map(Result::unwrap).collect();
    assert!(!rest.join("\n").contains("\"a\""), "a transaction in the log");
}

/// Starts the command on a free port; with its log, which must be read on. The caller ends it and waits.
#[allow(clippy::zombie_processes)]
fn serving(command: &mut Command) -> (Child, SocketAddr, Lines<BufReader<ChildStderr>>) {
    command.env("FRAUD__SERVER__BIND", "127.0.0.1:0").env("FRAUD__SERVER__MANAGEMENT", "none");
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    loop {
        let line: serde_json::Value = serde_json::from_str(&log.next().unwrap().unwrap()).unwrap();
        if let Some(address) = line["address"].as_str() {
            return (process, address.parse().unwrap(), log);
        }
    }
}

fn terminate(process: &Child) {
    assert!(Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap().success());
}

#[test]
fn sigterm_under_load_loses_nothing_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("store.bin");
    let with_store = || {
        let mut command = command();
        command.env("FRAUD__STORE__SNAPSHOT_PATH", &snapshot).env("FRAUD__SERVER__WORKERS", "2");
        command
    };
    let (mut process, address, _log) = serving(&mut with_store());
    let (started, begun) = std::sync::mpsc::channel();
    let clients: Vec<_> = (0..6)
        .map(|client| {
            let started = started.clone();
            std::thread::spawn(move || {
                let mut answered = Vec::new();
                for connection in 0.. {
                    let Ok(mut stream) = TcpStream::connect(address) else { return answered };
                    loop {
                        let id = format!("{client}-{connection}-{}", answered.len());
                        let body = transaction(&id, client, 1, 1.0, 1);
                        if stream.write_all(&post("/predict", &body)).is_err() {
                            break;
                        }
                        // A request that was not taken may go unanswered; no other answer than 200 is given.
                        let Some(answer) = read_answer(&mut stream) else { break };
                        assert_eq!(answer.status, 200, "{answer:?}");
                        answered.push((id, client));
                        let _ = started.send(answered.len());
                        if answer.header("connection") == Some("close") {
                            break;
                        }
                    }
                }
                answered
            })
        })
        .collect();
    // Well under way.
    while begun.recv().unwrap() < 200 {}
    terminate(&process);
    assert_eq!(process.wait().unwrap().code(), Some(0));
    let answered: Vec<(String, u32)> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    assert!(answered.len() > 200);

    let (mut again, address, _log) = serving(&mut with_store());
    let mut stream = TcpStream::connect(address).unwrap();
    for (id, client) in &answered {
        let body = transaction(id, *client, 1, 1.0, 1);
        stream.write_all(&post("/predict", &body)).unwrap();
        let answer = read_answer(&mut stream).unwrap();
        assert_eq!((answer.status, &answer.json()["duplicate"]), (200, &true.into()), "{id} was lost");
    }
    terminate(&again);
    assert_eq!(again.wait().unwrap().code(), Some(0));
}
