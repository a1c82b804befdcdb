//! Several services on one Redis, and what becomes of them when it goes away, is emptied, or may evict.

mod common;
#[path = "../../fraud-core/tests/support/redis.rs"]
mod redis;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{Service, settings, transaction};
use fraud_api::settings::ApiSettings;
use fraud_core::features::MemoryStore;
use fraud_core::service::settings::{Span, StoreKind};
use fraud_core::store::redis::BlockingRedisStore;
use redis::Redis;
use serde_json::Value;

fn shared(redis: &Redis) -> ApiSettings {
    let mut settings = settings();
    settings.store.kind = StoreKind::Redis;
    settings.store.redis.url = redis.url();
    // A machine under load must not fail a test.
    settings.store.redis.timeout = Span::seconds(10);
    settings.admission.deadline = Span::seconds(30);
    settings
}

fn begun(redis: &Redis) -> ApiSettings {
    let settings = shared(redis);
    BlockingRedisStore::begin(settings.store.redis().unwrap()).unwrap();
    settings
}

fn command(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fraud-api"));
    let output = command.args(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn without_time(mut answer: Value) -> Value {
    answer.as_object_mut().unwrap().remove("prediction_time");
    answer
}

fn wait_for(mut done: impl FnMut() -> bool) {
    for _ in 0..600 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it did not come to pass");
}

/// New payments, repeats, conflicts, one unreadable row, labels, and looks that record nothing: three services that
/// take turns answer as one with the embedded store does.
#[test]
fn replicas_on_one_redis_answer_as_one_process() {
    let redis = Redis::start();
    let settings_of_shared = begun(&redis);
    let replicas: Vec<Service> = (0..3).map(|_| Service::start(settings_of_shared.clone())).collect();
    let single = Service::start(settings());
    let mut turn = 0;
    let mut both = |path: &str, body: &str| {
        turn += 1;
        let (found, expected) = (replicas[turn % 3].post(path, body), single.post(path, body));
        assert_eq!(found.status, expected.status, "{path} {body}: {}", found.text());
        (found.json(), expected.json())
    };
    for n in 0..90_u32 {
        let id = format!("t{}", if n % 9 == 8 { n - 3 } else { n });
        let amount = if n % 18 == 17 { 1.0 } else { f64::from(n) * 7.5 };
        let of = if n % 9 == 8 { n - 3 } else { n };
        let amount = if n % 9 == 8 && n % 18 != 17 { f64::from(of) * 7.5 } else { amount };
        let body = transaction(&id, of % 4, of % 3, amount, 1 + of / 4);
        let (found, expected) = both("/predict", &body);
        match expected.get("prediction_time") {
            Some(_) => assert_eq!(without_time(found), without_time(expected), "{body}"),
            None => assert_eq!(found, expected, "{body}"),
        }
        let (found, expected) = both("/predict?record=false&explain=true", &body.replace(&id, "look"));
        assert_eq!(without_time(found), without_time(expected), "a look at {body}");
        if n % 5 == 0 {
            let label =
                format!(r#"{{"transaction_id": "{id}", "label": {}, "observed_at": "2026-01-20T00:00:00Z"}}"#, n % 2);
            let (found, expected) = both("/labels", &label);
            assert_eq!(found, expected, "{label}");
        }
    }
    let mut rows: Vec<String> = (90..150).map(|n| transaction(&format!("b{}", n - n % 7), n % 4, 1, 9.0, 24)).collect();
    rows.insert(7, r#"{"transaction_id": 5}"#.to_owned());
    let (found, expected) = both("/predict/batch", &format!("[{}]", rows.join(",")));
    let strip = |rows: Value| -> Vec<Value> {
        let timed = |row: Value| if row.get("error").is_some() { row } else { without_time(row) };
        rows.as_array().unwrap().iter().cloned().map(timed).collect()
    };
    assert_eq!(strip(found), strip(expected));
}

#[test]
fn a_server_without_a_store_or_with_another_and_one_that_evicts_are_refused() {
    let redis = Redis::start();
    let error = Service::try_start(shared(&redis)).err().unwrap();
    assert!(error.contains("fraud-api store init"), "{error}");
    let url = redis.url();
    let environment = [("FRAUD__STORE__REDIS__URL", url.as_str()), ("FRAUD__STORE__REDIS__EPOCH", "spring")];
    assert_eq!(command(&["store", "init"], &environment), (0, "begun: epoch spring\n".to_owned()));
    assert_eq!(command(&["store", "init"], &environment), (0, "there already: epoch spring\n".to_owned()));
    let (status, text) = command(&["store", "init"], &environment[..1]);
    assert!(status == 64 && text.contains("epoch `spring`"), "{status} {text}");
    let mut other = shared(&redis);
    other.store.redis.epoch = Some("summer".to_owned());
    let error = Service::try_start(other).err().unwrap();
    assert!(error.contains("`spring`") && error.contains("`summer`"), "{error}");
    redis.cli(&["config", "set", "maxmemory-policy", "allkeys-lru"]);
    let error = Service::try_start(shared(&redis)).err().unwrap();
    assert!(error.contains("allkeys-lru") && error.contains("noeviction"), "{error}");
    let help = command(&["store", "init", "--help"], &[]);
    assert!(help.0 == 0 && help.1.contains("Examples"), "{}", help.1);
}

/// Encrypted, and only with a server whose certificate the system trusts.
#[test]
fn over_tls_the_servers_certificate_is_checked() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let tls =
        ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let _redis = Redis::with(&tls);
    let url = format!("rediss://localhost:{port}");
    let environment = [("FRAUD__STORE__REDIS__URL", url.as_str()), ("FRAUD__STORE__REDIS__EPOCH", "spring")];
    let (status, text) = command(&["store", "init"], &environment);
    assert!(status != 0 && text.contains("invalid peer certificate"), "{status} {text}");
    let trusted = [environment[0], environment[1], ("SSL_CERT_FILE", &certificate)];
    assert_eq!(command(&["store", "init"], &trusted), (0, "begun: epoch spring\n".to_owned()));
}

/// Killed and restarted under load, with what it had: every payment that was answered is there, once; none that
/// was sent until it was answered is lost; the service was not restarted.
#[test]
fn a_restart_of_redis_under_load_loses_and_doubles_nothing() {
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let settings = begun(&redis);
    let services = [Service::start(settings.clone()), Service::start(settings)];
    let (next, failed, ended) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let total = std::thread::scope(|scope| {
        for service in &services {
            let (next, failed, ended) = (&next, &failed, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::SeqCst) {
                    let id = next.fetch_add(1, Ordering::SeqCst);
                    let body = transaction(&format!("p{id}"), 1, 1, 10.0, 10);
                    // As a client does: until it is answered.
                    loop {
                        let answer = service.predict(&body);
                        match answer.status {
                            200 => break,
                            503 => {
                                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                                failed.fetch_add(1, Ordering::SeqCst);
                                std::thread::sleep(Duration::from_millis(20));
                            }
                            other => panic!("{other}: {answer:?}"),
                        }
                    }
                }
            });
        }
        wait_for(|| next.load(Ordering::SeqCst) > 40);
        redis.kill();
        wait_for(|| failed.load(Ordering::SeqCst) > 4);
        redis.restart();
        let back = next.load(Ordering::SeqCst);
        wait_for(|| next.load(Ordering::SeqCst) > back + 40);
        ended.store(true, Ordering::SeqCst);
        next.load(Ordering::SeqCst)
    });
    assert!(failed.load(Ordering::SeqCst) > 0);
    // A payment of the same day sees them all.
    let store = BlockingRedisStore::connect(begun_settings(&redis)).unwrap();
    store.watch().unwrap();
    assert_eq!(store.stats().events, next.load(Ordering::SeqCst).max(total));
    let key = redis.cli(&["keys", "fraud:*:c:1:e"]);
    assert_eq!(redis.cli(&["zcard", &key]), next.load(Ordering::SeqCst).to_string());
    for service in &services {
        assert!(service.metric(r#"ml_model_errors_total{error_type="store"}"#) > 0.0);
        wait_for(|| service.get("/health/ready").status == 200);
    }
}

fn begun_settings(redis: &Redis) -> fraud_core::store::redis::RedisSettings {
    shared(redis).store.redis().unwrap()
}

#[test]
fn away_is_503_then_not_ready_and_an_emptied_server_stays_refused() {
    let mut redis = Redis::start();
    let service = Service::start(begun(&redis));
    let body = |n: u32| transaction(&format!("a{n}"), 1, 1, 10.0, 10);
    assert_eq!(service.predict(&body(0)).status, 200);
    assert_eq!(service.get("/health/ready").status, 200);
    redis.kill();
    let answer = service.predict(&body(1));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{answer:?}");
    assert_eq!(answer.json()["type"], "urn:fraud-api:problem:store");
    let label = r#"{"transaction_id": "a0", "label": 1}"#;
    assert_eq!(service.post("/labels", label).status, 503);
    wait_for(|| service.get("/health/ready").status == 503);
    assert_eq!(service.get("/health/live").status, 200);
    // It comes back without anything: never taken for customers without history.
    redis.restart();
    for n in 2..4 {
        std::thread::sleep(Duration::from_millis(150));
        let answer = service.predict(&body(n));
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("epoch"), "{}", answer.text());
    }
    assert_eq!(redis.cli(&["dbsize"]), "0", "nothing was written to it");
    assert_eq!(service.get("/health/ready").status, 503);
}

/// What `replay --save-state` wrote begins a shared store.
#[test]
fn a_saved_state_begins_a_shared_store() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let single = Service::start(settings());
    for n in 0..30 {
        assert_eq!(single.predict(&transaction(&format!("s{n}"), n % 3, n % 2, 5.0, 1 + n / 2)).status, 200);
    }
    single.shared.store.embedded().unwrap().snapshot(&state, &[]).unwrap();
    let (restored, _) = MemoryStore::restore(&state, settings().store.settings()).unwrap();
    assert_eq!(restored.stats().events, 30);
    let redis = Redis::start();
    let (url, path) = (redis.url(), state.display().to_string());
    let begun = command(&["store", "init", "--load-state", &path], &[("FRAUD__STORE__REDIS__URL", &url)]);
    assert!(begun.0 == 0 && begun.1.starts_with("begun: epoch "), "{begun:?}");
    let service = Service::start(shared(&redis));
    for n in 20..40 {
        let body = transaction(&format!("s{n}"), n % 3, n % 2, 5.0, 1 + n / 2);
        let (found, expected) = (service.predict(&body), single.predict(&body));
        assert_eq!(without_time(found.json()), without_time(expected.json()), "{body}");
    }
}
