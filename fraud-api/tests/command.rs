//! The command: settings, exit codes, signals.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::{request, transaction};

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
    let good = command().arg("--check-config").output().unwrap();
    assert_eq!(good.status.code(), Some(0));
    let mut open = command();
    open.arg("--check-config").env("FRAUD__SERVER__BIND", "0.0.0.0:1").env("FRAUD__SERVER__REQUIRE_KEYS", "true");
    assert_eq!(open.output().unwrap().status.code(), Some(64));
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
            break address.parse::<std::net::SocketAddr>().unwrap();
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
