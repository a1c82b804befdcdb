//! Models that come from a registry while the service is under load: exchanged, shadowed, guarded.
#![allow(clippy::unwrap_used, clippy::panic, clippy::too_many_arguments)]

mod common;
#[path = "../../fraud-core/tests/support/registry.rs"]
mod registry;
#[path = "../../fraud-core/tests/support/remake.rs"]
mod remake;

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Answer, Service, read_answer, request, settings, transaction};
use fraud_api::settings::ApiSettings;
use fraud_core::model::{LoadOptions, Model};
use fraud_core::service::settings::Span;
use registry::{Manner, Registry};
use remake::{DEFAULT, moved, remade};

fn following(registry: &Registry) -> ApiSettings {
    let mut settings = settings();
    settings.model.source = Some("mlflow:models:/fraud@champion".to_owned());
    settings.model.mlflow.tracking_uri = Some(registry.uri());
    settings.model.mlflow.poll = Span::millis(100);
    settings
}

fn admin(service: &Service, method: &str, path: &str) -> Answer {
    request(service.management, method, path, &[], b"")
}

fn version(service: &Service) -> String {
    service.shared.life.info().unwrap().version.to_string()
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn post(stream: &mut TcpStream, path: &str, body: &str) -> Answer {
    write!(stream, "POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    read_answer(stream).unwrap()
}

/// One hundred exchanges through the registry, with requests under way all the time: none fails, the version in an
/// answer is the one that gave its probability, and a batch is answered by one.
#[test]
fn a_hundred_swaps_under_load() {
    const SWAPS: u32 = 100;
    let registry = Registry::start();
    let models: Vec<Vec<u8>> = (0..4).map(|n| moved(-0.1 * f64::from(n), 1.0)).collect();
    registry.register(1, &models[1]);
    registry.alias("champion", 1);
    let mut settings = following(&registry);
    settings.model.mlflow.poll = Span::seconds(3_600);
    settings.admission.max_wait = Span::seconds(5);
    settings.model.guards.enabled = false;
    let service = Service::start(settings);
    // All transactions look alike to the model: the first of their customer and terminal.
    let fresh = AtomicU64::new(0);
    let next = || {
        let n = u32::try_from(fresh.fetch_add(1, Ordering::Relaxed)).unwrap();
        transaction(&format!("t{n}"), n, n, 57.25, 1).replace('\n', "")
    };
    let mut expected = HashMap::new();
    let first: f32 = service.predict(&next()).json()["fraud_probability"].to_string().parse().unwrap();
    expected.insert(1, first);
    let (over, answered, slowest) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let seen = std::sync::Mutex::new(HashMap::<(u32, u32), u64>::new());
    let mut pauses = Vec::new();
    let see = |answer: &serde_json::Value| {
        let version: u32 = answer["model_version"].as_str().unwrap().parse().unwrap();
        let p: f32 = answer["fraud_probability"].to_string().parse().unwrap();
        *seen.lock().unwrap().entry((version, p.to_bits())).or_default() += 1;
        version
    };
    std::thread::scope(|scope| {
        for client in 0..3 {
            let (service, next, over, see) = (&service, &next, &over, &see);
            let (answered, slowest) = (&answered, &slowest);
            scope.spawn(move || {
                let mut stream = TcpStream::connect(service.address).unwrap();
                while !over.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    if client == 0 {
                        let rows: Vec<String> = (0..150).map(|_| next()).collect();
                        let answer = post(&mut stream, "/predict/batch", &format!("[{}]", rows.join(",")));
                        assert_eq!(answer.status, 200, "{answer:?}");
                        let rows = answer.json().as_array().unwrap().clone();
                        let versions: Vec<u32> = rows.iter().map(see).collect();
                        assert!(versions.iter().all(|version| *version == versions[0]), "{versions:?}");
                        answered.fetch_add(rows.len() as u64, Ordering::Relaxed);
                    } else {
                        let answer = post(&mut stream, "/predict", &next());
                        assert_eq!(answer.status, 200, "{answer:?}");
                        see(&answer.json());
                        answered.fetch_add(1, Ordering::Relaxed);
                        let took = u64::try_from(begin.elapsed().as_micros()).unwrap();
                        slowest.fetch_max(took, Ordering::Relaxed);
                    }
                }
            });
        }
        for number in 2..SWAPS + 2 {
            registry.register(number, &models[number as usize % 4]);
            registry.alias("champion", number);
            assert_eq!(admin(&service, "POST", "/admin/model/reload").status, 200);
            assert_eq!(version(&service), number.to_string());
            pauses.push(service.shared.life.swap_pause());
        }
        over.store(true, Ordering::Relaxed);
    });
    let seen = seen.into_inner().unwrap();
    // Each version gave one probability: that of its file.
    for ((version, bits), count) in &seen {
        let p = *expected.entry(version % 4).or_insert_with(|| f32::from_bits(*bits));
        assert_eq!(p.to_bits(), *bits, "version {version} answered {count} times as another model does");
    }
    let mut distinct: Vec<u32> = expected.values().map(|p| p.to_bits()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 4, "the models cannot be told apart");
    let versions: std::collections::HashSet<u32> = seen.keys().map(|(version, _)| *version).collect();
    assert!(versions.len() > 50, "only {} versions were seen under load", versions.len());
    pauses.sort_unstable();
    println!(
        "{SWAPS} swaps, {} answers by {} versions, none failed; pause of a swap: median {:?}, longest {:?}; \
         slowest single answer {} µs",
        answered.load(Ordering::Relaxed),
        versions.len(),
        pauses[pauses.len() / 2],
        pauses[pauses.len() - 1],
        slowest.load(Ordering::Relaxed),
    );
}

fn train(from: u32, count: u32) -> Vec<String> {
    let row = |n: u32| {
        let amount = f64::from(n * 7_919 % 40_000) / 100.0;
        transaction(&format!("n{n}"), n % 40, n % 23, amount, 1 + n % 28).replace('\n', "")
    };
    let mut rows: Vec<(u32, String)> = (from..from + count).map(|n| (n % 28, row(n))).collect();
    rows.sort_by_key(|(day, _)| *day);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn write(folder: &tempfile::TempDir, name: &str, file: &[u8]) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, file).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_challenger_scores_beside_and_is_reported_on_once_labels_are_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.model.watch = Span::millis(50);
    settings.model.shadow.queue = 4_096;
    // So much room that hardly a score gives way to another one.
    settings.model.shadow.remembered = 1 << 20;
    let alone = Service::start(settings.clone());
    // The other way round: what the served model thinks most likely, the challenger thinks least.
    settings.model.shadow.source = Some(write(&folder, "challenger.onnx", &moved(1.0, 0.0)));
    let service = Service::start(settings);
    assert!(alone.shared.life.beside().challenger().is_none());
    assert_eq!(admin(&alone, "GET", "/admin/shadow").status, 404);
    wait_for("the challenger", || service.shared.life.beside().challenger().is_some());
    let rows = train(0, 400);
    let mut scores = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        let (answer, bare) = (service.predict(row).json(), alone.predict(row).json());
        assert_eq!(answer["fraud_probability"], bare["fraud_probability"], "a challenger changes an answer");
        let (p, fraud) = (answer["fraud_probability"].as_f64().unwrap(), n % 9 == 4);
        scores.push((p, fraud, answer["decision"].as_str().unwrap().to_owned()));
    }
    wait_for("all to be scored", || service.metric("fraud_shadow_scored_total ") == 400.0);
    for (row, (_, fraud, _)) in rows.iter().zip(&scores) {
        let id = row.split('"').nth(3).unwrap();
        let label = format!(r#"{{"transaction_id": "{id}", "label": {}}}"#, u8::from(*fraud));
        assert_eq!(service.post("/labels", &label).json()["recorded"], 1);
    }
    let report = || admin(&service, "GET", "/admin/shadow").json();
    // Labels take their turn. A score may have had to give way to another one.
    wait_for("the labels", || report()["served"]["labelled"][0]["samples"].as_u64().is_some_and(|count| count >= 396));
    let report = report();
    assert_eq!(report["scored"], 400, "{report}");
    let mean = scores.iter().map(|(p, ..)| (1.0 - p) - p).sum::<f64>() / 400.0;
    assert!((report["mean_score_difference"].as_f64().unwrap() - mean).abs() < 1e-6, "{report}");
    let frauds = scores.iter().filter(|(_, fraud, _)| *fraud).count();
    let figures = |side: &str| report[side]["labelled"][0].clone();
    for (side, turned) in [("served", false), ("challenger", true)] {
        let mut by_score: Vec<(f64, bool)> =
            scores.iter().map(|(p, fraud, _)| (if turned { 1.0 - p } else { *p }, *fraud)).collect();
        by_score.sort_by(|a, b| b.0.total_cmp(&a.0));
        let review_at = report[side]["review_at"].as_f64().unwrap();
        let flagged = by_score.iter().filter(|(p, _)| *p >= review_at).count();
        let caught = by_score.iter().filter(|(p, fraud)| *p >= review_at && *fraud).count();
        let recall = figures(side)["recall"].as_f64().unwrap();
        assert!((recall - caught as f64 / frauds as f64).abs() < 0.06, "{side}: {recall}, {report}");
        if flagged > 0 {
            let precision = figures(side)["precision"].as_f64().unwrap();
            assert!((precision - caught as f64 / flagged as f64).abs() < 0.06, "{side}: {precision}, {report}");
        }
        assert!((396..=400).contains(&figures(side)["samples"].as_u64().unwrap()), "{report}");
        assert!(figures(side)["average_precision"].as_f64().unwrap() > 0.0);
    }
    assert_ne!(figures("served")["average_precision"], figures("challenger")["average_precision"]);
    let flips: f64 =
        report["decision_flips"].as_array().unwrap().iter().map(|flip| flip["count"].as_f64().unwrap()).sum();
    let approved = scores.iter().filter(|(.., decision)| decision == "approve").count();
    assert!(flips > 0.0 && approved > 0, "{report}");
    let counted: f64 = service
        .metrics()
        .lines()
        .filter(|line| line.starts_with("fraud_shadow_decision_flips_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(counted, flips);
}

/// The default model's features, with other windows.
fn other_windows() -> Vec<u8> {
    let names: Vec<String> = Model::embedded()
        .unwrap()
        .features()
        .names()
        .map(|name| name.replace("_7DAY_", "_5DAY_").replace("_30DAY_", "_14DAY_"))
        .collect();
    let names = serde_json::to_string(&names).unwrap();
    remade(DEFAULT, &["fraud.baseline"], &[("fraud.features", &names), ("fraud.version", "windows")])
}

#[test]
fn a_challenger_may_look_at_other_windows() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "windows.onnx", &other_windows());
    let mut settings = settings();
    settings.model.watch = Span::millis(50);
    settings.model.shadow.queue = 4_096;
    let alone = Service::start(settings.clone());
    settings.model.shadow.source = Some(path.clone());
    let service = Service::start(settings.clone());
    settings.model.shadow.source = None;
    settings.model.path = Some(path.into());
    let itself = Service::start(settings);
    wait_for("the challenger", || service.shared.life.beside().challenger().is_some());
    let mut sum = 0.0;
    for row in train(0, 300) {
        let (answer, bare) = (service.predict(&row).json(), alone.predict(&row).json());
        for field in ["fraud_probability", "decision", "reasons", "history_complete", "model_version"] {
            assert_eq!(answer[field], bare[field], "{field}");
        }
        let other = itself.predict(&row).json()["fraud_probability"].as_f64().unwrap();
        sum += (other - bare["fraud_probability"].as_f64().unwrap()).abs();
    }
    assert!(sum > 0.0, "the windows make no difference");
    wait_for("all to be scored", || service.metric("fraud_shadow_scored_total ") == 300.0);
    let report = admin(&service, "GET", "/admin/shadow").json();
    let mean = report["mean_absolute_score_difference"].as_f64().unwrap();
    assert!((mean - sum / 300.0).abs() < 1e-6, "{mean}, {}", sum / 300.0);
    assert_eq!(service.metric("fraud_shadow_failed_total "), 0.0);
}

#[test]
fn a_full_queue_drops_and_the_path_goes_on() {
    let mut settings = settings();
    settings.model.shadow.source = Some("embedded".to_owned());
    settings.model.path = Some({
        let folder = tempfile::tempdir().unwrap().keep();
        let path = folder.join("served.onnx");
        std::fs::write(&path, moved(0.0, 2.0)).unwrap();
        path
    });
    settings.model.watch = Span::millis(50);
    settings.model.shadow.queue = 1;
    let service = Service::start(settings);
    wait_for("the challenger", || service.shared.life.beside().challenger().is_some());
    let rows = train(0, 3_000);
    let answers = service.post("/predict/batch", &format!("[{}]", rows.join(",")));
    assert_eq!(answers.json().as_array().unwrap().iter().filter(|row| row["error"].is_null()).count(), 3_000);
    let counted = || (service.metric("fraud_shadow_scored_total "), service.metric("fraud_shadow_dropped_total "));
    wait_for("the count", || counted().0 + counted().1 == 3_000.0);
    assert!(counted().1 > 0.0, "{:?}", counted());
}

fn guarded(registry: &Registry) -> ApiSettings {
    let mut settings = following(registry);
    settings.model.shadow.queue = 4_096;
    settings.model.guards.min_count = 200;
    settings.model.guards.window = Span::millis(500);
    settings
}

#[test]
fn a_bad_model_is_left_by_itself_marked_and_not_taken_again() {
    let registry = Registry::start();
    registry.register(7, DEFAULT);
    registry.alias("champion", 7);
    let service = Service::start(guarded(&registry));
    train(0, 50).iter().for_each(|row| assert_eq!(service.predict(row).status, 200));
    // Certain of everything.
    registry.register(8, &moved(-1.0, 0.0));
    registry.alias("champion", 8);
    wait_for("the swap", || version(&service) == "8");
    assert_eq!(admin(&service, "GET", "/admin/model").json()["guarded"], true);
    assert_eq!(service.predict(&train(60, 1)[0]).json()["decision"], "decline");
    let mut sent = 0;
    for row in train(100, 5_000) {
        let answer = service.predict(&row);
        assert_eq!(answer.status, 200);
        sent += 1;
        if answer.json()["model_version"] == "7" {
            break;
        }
    }
    assert!((200..5_000).contains(&sent), "{sent}");
    wait_for("the mark", || registry.tag_of(8, "fraud.rolled_back").is_some());
    assert!(registry.tag_of(8, "fraud.rolled_back").unwrap().starts_with("score_shift, 2"));
    assert_eq!(service.metric("fraud_model_rollbacks_total{reason=\"score_shift\"} "), 1.0);
    let card = admin(&service, "GET", "/admin/model").json();
    assert_eq!((&card["model"]["version"], &card["registry"]["version"]), (&"7".into(), &"7".into()), "{card}");
    assert!(card["last_change"]["refused"].as_str().unwrap().contains("max_score_psi"), "{card}");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(version(&service), "7");
    assert_eq!(admin(&service, "POST", "/admin/model/reload").status, 422);
    assert_eq!(registry.requests("m-8/"), 1);
    // A better one is taken, and passes.
    registry.register(9, &moved(0.0, 1.05));
    registry.alias("champion", 9);
    wait_for("the next version", || version(&service) == "9");
    train(10_000, 600).iter().for_each(|row| assert_eq!(service.predict(row).status, 200));
    wait_for("the end of its guards", || !service.shared.life.is_guarded());
    assert_eq!(version(&service), "9");
}

#[test]
fn guards_watch_with_the_registry_away_and_with_other_windows() {
    let registry = Registry::start();
    registry.register(7, &other_windows());
    registry.alias("champion", 7);
    let service = Service::start(guarded(&registry));
    registry.register(8, &moved(-1.0, 0.0));
    registry.alias("champion", 8);
    wait_for("the swap", || version(&service) == "8");
    registry.behave(Manner::Away, Manner::Away);
    for row in train(0, 5_000) {
        assert_eq!(service.predict(&row).status, 200);
        if version(&service) == "7" {
            break;
        }
    }
    assert_eq!(version(&service), "7");
    assert_eq!(service.predict(&train(9_000, 1)[0]).json()["model_version"], "7");
}

#[test]
fn the_version_of_the_registry_is_in_every_answer() {
    let registry = Registry::start();
    registry.register(41, DEFAULT);
    registry.alias("champion", 41);
    let service = Service::start(following(&registry));
    assert_eq!(service.predict(&transaction("a", 1, 2, 3.0, 1)).json()["model_version"], "41");
    let batch = service.post("/predict/batch", &format!("[{}]", transaction("b", 1, 2, 3.0, 1))).json();
    assert_eq!(batch[0]["model_version"], "41");
    assert_eq!(service.get("/health").json()["model_version"], "41");
    assert_eq!(
        service.metric("ml_model_predictions_total{model_version=\"41\",prediction_result=\"legitimate\"} "),
        2.0
    );
    assert_eq!(Model::from_bytes(DEFAULT, &LoadOptions::default()).unwrap().version(), "1.0.0");
    assert_eq!(admin(&service, "GET", "/admin/model").json()["model"]["file_version"], "1.0.0");
}
