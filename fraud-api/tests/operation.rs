//! Keys, limits, overload, the model's life, and an orderly end.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Answer, Service, bare_model, default_model, post, read_answer, request, settings, transaction};
use fraud_core::service::settings::Span;
use fraud_core::service::source::hex;
use sha2::{Digest, Sha256};

fn post_as(service: &Service, key: &str, path: &str, body: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("x-api-key", key)];
    request(service.address, "POST", path, &headers, body.as_bytes())
}

#[test]
fn keys_separate_those_who_score_from_those_who_label_and_operate() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    let mut text = String::new();
    for role in ["score", "label", "infer", "operate"] {
        let hash = hex(&Sha256::digest(format!("key-{role}")));
        text += &format!("[[keys]]\nname = \"{role}\"\nsha256 = \"{hash}\"\nroles = [\"{role}\"]\n");
    }
    std::fs::write(&file, text).unwrap();
    let mut settings = settings();
    settings.server.keys_file = Some(file);
    let service = Service::start(settings);
    let name = service.shared.life.info().unwrap().name;
    let infer = format!("/v2/models/{name}/infer");
    for (path, body, role) in [
        ("/predict", transaction("a", 1, 2, 3.0, 1), "score"),
        ("/predict/batch", "[]".to_owned(), "score"),
        ("/labels", "[]".to_owned(), "label"),
        (infer.as_str(), "{}".to_owned(), "infer"),
        ("/invocations", "{}".to_owned(), "infer"),
    ] {
        assert_eq!(service.post(path, &body).status, 401, "{path}");
        assert_eq!(post_as(&service, "wrong", path, &body).status, 401, "{path}");
        for other in ["score", "label", "infer", "operate"] {
            let status = post_as(&service, &format!("key-{other}"), path, &body).status;
            assert_eq!(status == 403, other != role, "{path} as {other}: {status}");
        }
    }
    // Nor is a body waited for that nobody may send.
    let mut slow = TcpStream::connect(service.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    slow.write_all(b"POST /predict HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\n\r\n{").unwrap();
    assert_eq!(read_answer(&mut slow).unwrap().status, 401);
    // With keys on, what only operators should see is elsewhere.
    for path in ["/metrics", "/", "/console/events", "/admin/model"] {
        assert_eq!(service.get(path).status, 404, "{path}");
    }
    assert_eq!(service.get("/health").status, 200);
    let admin = |key: &str| request(service.management, "GET", "/admin/model", &[("x-api-key", key)], b"").status;
    assert_eq!((admin("key-operate"), admin("key-score"), admin("")), (200, 403, 401));
    assert_eq!(request(service.management, "GET", "/metrics", &[], b"").status, 200);
    assert!(!service.metrics().contains("key-"), "a key in the metrics");
}

#[test]
fn callers_are_limited_and_told() {
    let mut settings = settings();
    settings.rate_limit.requests_per_second = 1;
    settings.rate_limit.burst = 3;
    let service = Service::start(settings);
    let answers: Vec<Answer> = (0..5).map(|n| service.predict(&transaction(&n.to_string(), 1, 2, 3.0, 1))).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(answers[0].header("ratelimit"), Some("\"default\";r=2;t=1"));
    assert_eq!(answers[0].header("ratelimit-policy"), Some("\"default\";q=3;w=3"));
    assert!(answers[4].header("retry-after").is_some() && answers[4].header("ratelimit").is_some());
    assert_eq!(service.get("/health").status, 200);
    assert_eq!(service.metric("fraud_requests_shed_total{reason=\"rate_limit\"} "), 2.0);
}

#[test]
fn overload_is_turned_away_at_once_and_forgotten_at_once() {
    let mut settings = settings();
    settings.chaos.enabled = true;
    settings.chaos.slow_assessment = Span::millis(5);
    settings.admission.max_wait = Span::millis(10);
    let service = Service::start(settings);
    let (good, shed, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for client in 0..24 {
            let (service, good, shed, over) = (&service, &good, &shed, &over);
            scope.spawn(move || {
                let mut stream = TcpStream::connect(service.address).unwrap();
                for n in 0.. {
                    let body = transaction(&format!("{client}-{n}"), client, 1, 1.0, 1);
                    stream.write_all(&post("/predict", &body)).unwrap();
                    let answer = read_answer(&mut stream).unwrap();
                    match answer.status {
                        200 => good.fetch_add(1, Ordering::Relaxed),
                        503 => {
                            assert!(answer.header("retry-after").is_some());
                            shed.fetch_add(1, Ordering::Relaxed)
                        }
                        other => panic!("{other}"),
                    };
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let (seen, until) =
            (|counter: &AtomicU64| counter.load(Ordering::Relaxed), Instant::now() + Duration::from_secs(60));
        while (seen(&good) <= 20 || seen(&shed) <= seen(&good)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(service.get("/health").status, 200);
        over.store(true, Ordering::Relaxed);
    });
    let (good, shed) = (good.into_inner(), shed.into_inner());
    assert!(good > 20 && shed > good, "{good} answered, {shed} shed");
    assert_eq!(service.predict(&transaction("after", 1, 1, 1.0, 1)).status, 200);
    assert!(service.metric("fraud_requests_shed_total{reason=\"overload\"} ") > 0.0);
}

#[test]
fn a_bad_model_is_refused_and_the_old_one_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, default_model()).unwrap();
    let mut settings = settings();
    settings.model.path = Some(path.clone());
    settings.model.watch = Span::seconds(0);
    let service = Service::start(settings);
    let first = service.shared.life.info().unwrap().version;
    let admin = |method: &str, path: &str| request(service.management, method, path, &[], b"");
    assert_eq!(admin("POST", "/admin/model/rollback").status, 409);
    std::fs::write(&path, &default_model()[..1_000]).unwrap();
    let refused = admin("POST", "/admin/model/reload");
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().len() > 10);
    assert_eq!(service.metric("ml_model_errors_total{error_type=\"reload_refused\"} "), 1.0);
    assert!(admin("GET", "/admin/model").json()["last_change"]["refused"].is_string());
    assert_eq!(service.predict(&transaction("a", 1, 2, 3.0, 1)).status, 200);
    std::fs::write(&path, default_model()).unwrap();
    assert_eq!(admin("POST", "/admin/model/reload").status, 200);
    assert_eq!(admin("POST", "/admin/model/rollback").status, 409, "the same model was put in its own place");
    std::fs::write(&path, bare_model()).unwrap();
    for _ in 0..2 {
        assert_eq!(admin("POST", "/admin/model/reload").status, 200);
    }
    assert_eq!(admin("POST", "/admin/model/rollback").status, 200);
    assert_eq!(
        service.shared.life.info().unwrap().version,
        first,
        "the second reload took the place of the model before"
    );
    assert_eq!(admin("GET", "/admin/model/reload").status, 405);
}

#[test]
fn a_changed_policy_is_taken_and_brings_no_model_back() {
    let folder = tempfile::tempdir().unwrap();
    let (path, policy) = (folder.path().join("model.onnx"), folder.path().join("policy.toml"));
    std::fs::write(&path, default_model()).unwrap();
    std::fs::write(&policy, "version = \"one\"\n").unwrap();
    let mut settings = settings();
    settings.model.path = Some(path.clone());
    settings.policy.path = Some(policy.clone());
    settings.model.watch = Span::millis(50);
    let service = Service::start(settings);
    let life = &service.shared.life;
    let first = life.info().unwrap().version;
    let wait_for = |what: &dyn Fn() -> bool| {
        let until = Instant::now() + Duration::from_secs(20);
        while !what() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(what());
    };
    std::fs::write(&path, bare_model()).unwrap();
    wait_for(&|| life.info().unwrap().version != first);
    assert_eq!(request(service.management, "POST", "/admin/model/rollback", &[], b"").status, 200);
    std::fs::write(&policy, "version = \"two\"\n").unwrap();
    wait_for(&|| **life.shared().load().policy_version() == *"two");
    assert_eq!(life.info().unwrap().version, first, "the model that was left is back");
    // Nor does a way back lead to an old policy.
    assert_eq!(request(service.management, "POST", "/admin/model/rollback", &[], b"").status, 200);
    assert_ne!(life.info().unwrap().version, first);
    assert_eq!(**life.shared().load().policy_version(), *"two");
}

#[test]
fn without_model_and_rules_it_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    let mut settings = settings();
    settings.model.path = Some(folder.path().join("nothing.onnx"));
    settings.model.optional = true;
    settings.policy.path = Some(policy.clone());
    let rule =
        "[[rules]]\nname = \"any\"\ndecision = \"review\"\nwithout_model = true\nwhen = { amount = { above = 0 } }\n";
    for (rules, status) in [("", 503), (rule, 200)] {
        std::fs::write(&policy, rules).unwrap();
        let service = Service::start(settings.clone());
        assert_eq!(service.get("/health/ready").status, status, "{rules}");
        assert_eq!(service.get("/health/live").status, 200);
        assert_eq!(service.predict(&transaction("a", 1, 2, 3.0, 1)).status == 200, status == 200);
    }
}

#[test]
fn drift_sees_batches_too() {
    let mut settings = settings();
    settings.drift.sample_every = 1;
    let service = Service::start(settings);
    let rows: Vec<String> = (0..5_000).map(|n| transaction(&format!("b{n}"), n % 50, n % 7, 10.0, 1)).collect();
    assert_eq!(service.post("/predict/batch", &format!("[{}]", rows.join(","))).status, 200);
    let until = Instant::now() + Duration::from_secs(30);
    while !service.metrics().contains("\nfraud_score_drift_psi") && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(service.metrics().contains("\nfraud_score_drift_psi"), "{}", service.metrics());
}

#[test]
fn no_request_fails_while_models_are_exchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, default_model()).unwrap();
    let mut settings = settings();
    settings.model.path = Some(path.clone());
    settings.model.watch = Span::millis(50);
    // The other model decides otherwise, as it is meant to here.
    settings.model.guards.enabled = false;
    let service = Service::start(settings);
    let first = service.shared.life.info().unwrap().version;
    let over = AtomicBool::new(false);
    let answered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (service, over, answered) = (&service, &over, &answered);
            scope.spawn(move || {
                let mut stream = TcpStream::connect(service.address).unwrap();
                for n in 0.. {
                    let body = transaction(&format!("{client}-{n}"), client, 1, 1.0, 1);
                    stream.write_all(&post("/predict", &body)).unwrap();
                    let answer = read_answer(&mut stream).unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(200));
        let replacement = folder.path().join("next.onnx");
        std::fs::write(&replacement, bare_model()).unwrap();
        std::fs::rename(&replacement, &path).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while service.shared.life.info().unwrap().version == first && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_ne!(service.shared.life.info().unwrap().version, first, "the watch saw nothing");
        for _ in 0..20 {
            assert_eq!(request(service.management, "POST", "/admin/model/rollback", &[], b"").status, 200);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(answered.into_inner() > 0);
    assert_eq!(service.shared.life.info().unwrap().version, {
        Arc::<str>::from(&hex(&Sha256::digest(bare_model()))[..12])
    });
}

#[test]
fn what_was_recorded_survives_an_end_and_a_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.store.snapshot_path = Some(folder.path().join("store.bin"));
    let service = Service::start(settings.clone());
    for n in 0..50 {
        assert_eq!(service.predict(&transaction(&n.to_string(), 1, 2, 3.0, 1)).status, 200);
    }
    service.finish();
    let service = Service::start(settings.clone());
    assert_eq!(service.metric("fraud_store_events "), 50.0);
    assert_eq!(service.predict(&transaction("7", 1, 2, 3.0, 1)).json()["duplicate"], true);
    service.finish();
    std::fs::write(folder.path().join("store.bin"), b"torn").unwrap();
    let error = Service::try_start(settings).err().unwrap();
    assert!(error.contains("store.bin"), "{error}");
}

#[test]
fn the_end_loses_no_accepted_request() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.store.snapshot_path = Some(folder.path().join("store.bin"));
    settings.server.drain_delay = Span::millis(300);
    let mut service = Service::start(settings.clone());
    let address = service.address;
    let clients: Vec<_> = (0..4)
        .map(|client| {
            std::thread::spawn(move || {
                let mut answered = 0_u64;
                for n in 0.. {
                    let Ok(mut stream) = TcpStream::connect(address) else { return answered };
                    loop {
                        let body = transaction(&format!("{client}-{n}-{answered}"), client, 1, 1.0, 1);
                        if stream.write_all(&post("/predict", &body)).is_err() {
                            break;
                        }
                        let Some(answer) = read_answer(&mut stream) else { break };
                        assert_eq!(answer.status, 200);
                        answered += 1;
                        if answer.header("connection") == Some("close") {
                            break;
                        }
                    }
                }
                answered
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    service.begin_end();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(service.get("/health/ready").status, 503);
    assert_eq!(service.get("/health/live").status, 200);
    service.finish();
    let answered: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    let again = Service::start(settings);
    let kept = again.metric("fraud_store_events ");
    assert!(answered > 0 && kept >= answered as f64, "{answered} answered, {kept} kept");
}

#[test]
fn chaos_delays_readiness_and_ends_liveness() {
    let mut settings = settings();
    settings.chaos.enabled = true;
    settings.chaos.startup_delay = Span::millis(400);
    settings.chaos.fail_liveness_after = Span::millis(800);
    let service = Service::start(settings);
    assert_eq!((service.get("/health/ready").status, service.get("/health/live").status), (503, 200));
    assert_eq!(service.predict(&transaction("a", 1, 2, 3.0, 1)).status, 503);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(service.get("/health/ready").status, 200);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(service.get("/health/live").status, 503);
}

#[test]
fn the_console_streams_figures_and_scores_without_recording() {
    let service = Service::start(settings());
    let page = service.get("/");
    assert!(page.text().contains("<title>Fraud scoring</title>"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let scored = service.post("/console/score", &transaction("a", 1, 2, 3.0, 1));
    assert_eq!(scored.status, 200);
    assert_eq!(service.metric("fraud_store_events "), 0.0);
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /console/events HTTP/1.1\r\nhost: t\r\n\r\n").unwrap();
    let mut text = String::new();
    while !text.contains("\n\n\r\n") {
        let mut buffer = [0; 4_096];
        let count = std::io::Read::read(&mut stream, &mut buffer).unwrap();
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(text.contains("\"decisions\"") && text.contains("text/event-stream"), "{text}");
}

#[test]
fn spans_reach_the_collector_under_the_callers_trace() {
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings();
    settings.telemetry.otlp_endpoint = Some(format!("http://{}", collector.local_addr().unwrap()));
    settings.telemetry.trace_share = 0.0;
    let service = Service::start(settings);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [("content-type", "application/json"), ("traceparent", parent.as_str())];
    let body = transaction("a", 1, 2, 3.0, 1);
    assert_eq!(request(service.address, "POST", "/predict", &headers, body.as_bytes()).status, 200);
    let received = std::thread::spawn(move || {
        let (mut stream, _) = collector.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
        while !bytes.windows(16).any(|window| hex(window) == trace) {
            let count = std::io::Read::read(&mut stream, &mut buffer).unwrap();
            assert!(count > 0, "the trace did not come");
            bytes.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        bytes
    });
    let shared = service.shared.clone();
    service.finish();
    drop(shared);
    let bytes = received.join().unwrap();
    assert!(bytes.starts_with(b"POST /v1/traces "));
    assert!(bytes.windows(13).any(|window| window == b"POST /predict"));
}
