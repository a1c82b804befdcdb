//! Following a model registry: good versions are taken, everything else is refused with its reason, and what serves
//! serves on.
#![cfg(feature = "service")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/registry.rs"]
mod registry;
#[path = "support/remake.rs"]
mod remake;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fraud_core::service::life::{LifeError, ModelLife};
use fraud_core::service::metrics::Metrics;
use fraud_core::service::settings::{ModelSettings, PolicySettings, Span};
use registry::{Manner, Registry};
use remake::{DEFAULT, moved, remade};
use ring::signature::{Ed25519KeyPair, KeyPair};

const HISTORY: u32 = 37 * 86_400;

fn settings(registry: &Registry, source: &str) -> ModelSettings {
    let mut settings = ModelSettings { source: Some(source.to_owned()), ..ModelSettings::default() };
    settings.mlflow.tracking_uri = Some(registry.uri());
    settings.mlflow.timeout = Span::millis(1_000);
    settings.mlflow.poll = Span::millis(100);
    settings
}

fn champion(registry: &Registry) -> ModelSettings {
    settings(registry, "mlflow:models:/fraud@champion")
}

fn start(settings: &ModelSettings) -> Result<(Arc<ModelLife>, Arc<Metrics>), LifeError> {
    let metrics = Metrics::new().unwrap();
    let life = ModelLife::start((settings.clone(), PolicySettings::default()), HISTORY, metrics.clone())?;
    Ok((life, metrics))
}

fn version(life: &ModelLife) -> String {
    life.info().map_or_else(|| "none".to_owned(), |info| info.version.to_string())
}

fn sample(metrics: &Metrics, sample: &str) -> f64 {
    let text = String::from_utf8(metrics.render().unwrap()).unwrap();
    text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok()).unwrap_or(0.0)
}

fn refusals(metrics: &Metrics, reason: &str) -> f64 {
    sample(metrics, &format!("fraud_model_reload_failures_total{{reason=\"{reason}\"}} "))
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn with_champion(version: u32) -> Registry {
    let registry = Registry::start();
    registry.register(version, DEFAULT);
    registry.alias("champion", version);
    registry
}

#[test]
fn the_alias_is_followed_and_the_number_is_the_version() {
    let registry = with_champion(7);
    let (life, metrics) = start(&champion(&registry)).unwrap();
    assert_eq!(version(&life), "7");
    assert_eq!(life.release().unwrap().version, "7");
    let _following = life.follow();
    wait_for("a look", || sample(&metrics, "fraud_model_registry_looks_total{result=\"unchanged\"} ") > 1.0);
    assert_eq!(registry.requests("artifacts"), 1, "a version that serves is not fetched again");
    registry.register(8, &moved(0.0, 2.0));
    registry.alias("champion", 8);
    wait_for("the swap", || version(&life) == "8");
    assert_eq!(sample(&metrics, "fraud_model_registry_looks_total{result=\"taken\"} "), 1.0);
    let text = String::from_utf8(metrics.render().unwrap()).unwrap();
    assert!(text.lines().any(|line| line.starts_with("fraud_model_info{") && line.contains("version=\"8\"")), "{text}");
}

#[test]
fn a_version_can_be_named_by_its_number_and_its_file_by_a_tag() {
    let registry = Registry::start();
    registry.register(3, DEFAULT);
    registry.tag(3, "fraud.file", Some("folder/my model.onnx"));
    let (life, _) = start(&settings(&registry, "mlflow:models:/fraud/3")).unwrap();
    assert_eq!(version(&life), "3");
    assert_eq!(registry.requests("/artifacts/folder/my%20model.onnx"), 1);
    // A place that only the server can read.
    registry.state.lock().unwrap().place = "s3://bucket/models/m-{version}/artifacts".to_owned();
    assert_eq!(version(&start(&settings(&registry, "mlflow:models:/fraud/3")).unwrap().0), "3");
    assert_eq!(registry.requests("/model-versions/get-artifact?path=folder%2Fmy%20model.onnx&name=fraud&version=3"), 1);
}

#[test]
fn a_token_is_shown() {
    let registry = with_champion(1);
    registry.state.lock().unwrap().token = Some("Bearer secret-1".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let mut settings = champion(&registry);
    assert!(start(&settings).err().unwrap().to_string().contains("status 401"));
    std::fs::write(&file, "secret-1\n").unwrap();
    settings.mlflow.token_file = Some(file);
    assert_eq!(version(&start(&settings).unwrap().0), "1");
}

type Wrong = Box<dyn Fn(&Registry)>;

/// Every way in which a registry may be wrong: what it is called, and how to bring it about.
fn wrongs() -> Vec<(&'static str, &'static str, Wrong)> {
    let questions = |manner: Manner| move |registry: &Registry| registry.behave(manner.clone(), Manner::Good);
    let files = |manner: Manner| move |registry: &Registry| registry.behave(Manner::Good, manner.clone());
    let slow = || Manner::Slow(Duration::from_millis(50));
    let tag = |key: &'static str, value: Option<&'static str>| move |registry: &Registry| registry.tag(8, key, value);
    let place =
        |place: &'static str| move |registry: &Registry| registry.state.lock().unwrap().place = place.to_owned();
    let file = |bytes: Vec<u8>| move |registry: &Registry| registry.register(8, &bytes);
    vec![
        ("no answer", "unreachable", Box::new(questions(Manner::Away))),
        ("no file", "unreachable", Box::new(files(Manner::Away))),
        ("slow answer", "timeout", Box::new(questions(slow()))),
        ("slow file", "timeout", Box::new(files(slow()))),
        ("status", "status", Box::new(questions(Manner::Status(500)))),
        ("status of the file", "status", Box::new(files(Manner::Status(403)))),
        (
            "redirect",
            "redirect",
            Box::new(|registry| {
                let to = Manner::Redirect(format!(
                    "{}/api/2.0/mlflow/registered-models/alias?name=fraud&alias=champion",
                    registry.uri()
                ));
                registry.behave(to, Manner::Good);
            }),
        ),
        (
            "redirected file",
            "redirect",
            Box::new(|registry| {
                registry.behave(Manner::Good, Manner::Redirect(format!("{}/elsewhere", registry.uri())));
            }),
        ),
        ("no version", "no_version", Box::new(|registry| registry.state.lock().unwrap().aliases.clear())),
        ("no JSON", "malformed", Box::new(questions(Manner::Garbage))),
        ("truncated answer", "malformed", Box::new(questions(Manner::Truncated))),
        ("truncated file", "malformed", Box::new(files(Manner::Truncated))),
        ("endless answer", "too_large", Box::new(questions(Manner::Endless))),
        ("endless file", "too_large", Box::new(files(Manner::Endless))),
        ("another file", "hash", Box::new(files(Manner::Garbage))),
        ("no hash", "untagged", Box::new(tag("fraud.sha256", None))),
        ("wrong hash", "hash", Box::new(tag("fraud.sha256", Some("00")))),
        ("a path upwards", "malformed", Box::new(tag("fraud.file", Some("../../secret")))),
        ("a place upwards", "malformed", Box::new(place("mlflow-artifacts:/1/../2"))),
        ("another host", "malformed", Box::new(place("mlflow-artifacts://elsewhere:1/1/models/m-8/artifacts"))),
        ("marked", "rolled_back", Box::new(tag("fraud.rolled_back", Some("score_shift, 2026-01-01T00:00:00Z")))),
        ("no model", "model", Box::new(file(b"nothing".to_vec()))),
        ("a newer format", "model", Box::new(file(remade(DEFAULT, &[], &[("fraud.format", "2")])))),
        (
            "golden rows of another model",
            "model",
            Box::new(file(remade(
                DEFAULT,
                &[],
                &[("fraud.calibration", r#"{"kind": "linear", "from": 0.0, "to": 2.0}"#)],
            ))),
        ),
        (
            "other features",
            "model",
            Box::new(file(remade(DEFAULT, &["fraud.baseline"], &[("fraud.features", "[\"TX_AMOUNT\"]")]))),
        ),
        (
            "unknown features",
            "model",
            Box::new(file(remade(DEFAULT, &["fraud.baseline"], &[("fraud.features", "[\"TX_MOON\"]")]))),
        ),
        (
            "more history than is kept",
            "history",
            Box::new(file(remade(
                DEFAULT,
                &["fraud.baseline"],
                &[("fraud.features", &WIDE.replace("30DAY", "60DAY"))],
            ))),
        ),
    ]
}

const WIDE: &str = r#"["TX_AMOUNT", "TX_DURING_WEEKEND", "TX_DURING_NIGHT",
    "CUSTOMER_ID_NB_TX_1DAY_WINDOW", "CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW", "CUSTOMER_ID_NB_TX_7DAY_WINDOW",
    "CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW", "CUSTOMER_ID_NB_TX_30DAY_WINDOW", "CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW",
    "TERMINAL_ID_NB_TX_1DAY_WINDOW", "TERMINAL_ID_RISK_1DAY_WINDOW", "TERMINAL_ID_NB_TX_7DAY_WINDOW",
    "TERMINAL_ID_RISK_7DAY_WINDOW", "TERMINAL_ID_NB_TX_30DAY_WINDOW", "TERMINAL_ID_RISK_30DAY_WINDOW"]"#;

#[test]
fn whatever_the_registry_does_wrong_the_champion_serves_on() {
    let good = moved(0.0, 2.0);
    for (name, reason, wrong) in wrongs() {
        let registry = with_champion(7);
        let mut settings = champion(&registry);
        settings.mlflow.timeout = Span::millis(700);
        settings.max_bytes = 1 << 20;
        let (life, metrics) = start(&settings).unwrap();
        registry.register(8, &good);
        registry.alias("champion", 8);
        wrong(&registry);
        let error = life.reload().err().unwrap_or_else(|| panic!("{name} was taken"));
        assert_eq!(error.reason(), reason, "{name}: {error}");
        assert_eq!(refusals(&metrics, reason), 1.0, "{name}");
        assert_eq!(version(&life), "7", "{name}");
        // The same registry, put right.
        registry.behave(Manner::Good, Manner::Good);
        registry.state.lock().unwrap().place = "mlflow-artifacts:/1/models/m-{version}/artifacts".to_owned();
        registry.register(8, &good);
        registry.alias("champion", 8);
        life.reload().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(version(&life), "8", "{name}");
    }
}

#[test]
fn a_refused_version_is_not_fetched_again_and_again() {
    let registry = with_champion(7);
    let (life, metrics) = start(&champion(&registry)).unwrap();
    registry.register(8, b"nothing");
    registry.alias("champion", 8);
    let _following = life.follow();
    wait_for("looks", || sample(&metrics, "fraud_model_registry_looks_total{result=\"refused\"} ") > 5.0);
    assert_eq!(registry.requests("m-8"), 1);
    assert_eq!(refusals(&metrics, "model"), 1.0);
    assert_eq!(sample(&metrics, "ml_model_errors_total{error_type=\"reload_refused\"} "), 1.0);
    assert!(life.last_attempt().refused.is_some());
    registry.register(9, &moved(0.0, 2.0));
    registry.alias("champion", 9);
    wait_for("the next version", || version(&life) == "9");
}

#[test]
fn only_signed_versions_are_taken_where_a_key_is_set() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let der = [prefix.as_slice(), pair.public_key().as_ref()].concat();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    std::fs::write(&key, pem).unwrap();
    let registry = with_champion(7);
    let mut settings = champion(&registry);
    settings.mlflow.public_key_file = Some(key.clone());
    assert_eq!(start(&settings).err().unwrap().reason(), "unsigned");
    assert_eq!(registry.requests("artifacts"), 0, "an unsigned file is not even fetched");
    let stranger = Ed25519KeyPair::from_seed_unchecked(&[2; 32]).unwrap();
    registry.tag(7, "fraud.signature", Some(&STANDARD.encode(stranger.sign(DEFAULT))));
    assert_eq!(start(&settings).err().unwrap().reason(), "signature");
    registry.tag(7, "fraud.signature", Some(&STANDARD.encode(pair.sign(DEFAULT))));
    assert_eq!(version(&start(&settings).unwrap().0), "7");
    std::fs::write(&key, "nothing").unwrap();
    assert!(start(&settings).err().unwrap().to_string().contains("openssl"));
}

#[test]
fn without_the_registry_the_last_good_copy_is_started_from() {
    let registry = with_champion(7);
    let folder = tempfile::tempdir().unwrap();
    let mut settings = champion(&registry);
    registry.behave(Manner::Away, Manner::Good);
    settings.cache_dir = Some(folder.path().to_owned());
    let error = start(&settings).err().unwrap();
    assert!(error.is_passing() && error.to_string().contains("model.mlflow.tracking_uri"), "{error}");
    registry.behave(Manner::Good, Manner::Good);
    drop(start(&settings).unwrap());
    registry.behave(Manner::Away, Manner::Good);
    let (life, metrics) = start(&settings).unwrap();
    assert_eq!(version(&life), "7");
    // Once it is back, it is followed.
    registry.register(8, &moved(0.0, 2.0));
    registry.alias("champion", 8);
    let following = life.follow();
    wait_for("a failed look", || refusals(&metrics, "unreachable") > 0.0);
    registry.behave(Manner::Good, Manner::Good);
    wait_for("the swap", || version(&life) == "8");
    drop((following, life));
    // A copy that somebody changed is not started from.
    registry.behave(Manner::Away, Manner::Good);
    assert_eq!(version(&start(&settings).unwrap().0), "8");
    let copies = folder.path().join("fraud@champion");
    for entry in std::fs::read_dir(&copies).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "onnx") {
            std::fs::write(entry.path(), moved(0.0, 4.0)).unwrap();
        }
    }
    assert_eq!(start(&settings).err().unwrap().reason(), "hash");
}

#[test]
fn a_version_that_was_rolled_back_stays_away_until_its_mark_is_removed() {
    let registry = with_champion(7);
    registry.alias("previous", 7);
    let (life, _) = start(&champion(&registry)).unwrap();
    let (sibling, sibling_metrics) = start(&champion(&registry)).unwrap();
    registry.register(8, &moved(0.0, 2.0));
    registry.alias("champion", 8);
    let _following = (life.follow(), sibling.follow());
    wait_for("the swap", || version(&life) == "8" && version(&sibling) == "8");
    life.rollback().unwrap();
    assert_eq!(version(&life), "7");
    assert!(matches!(life.rollback(), Err(LifeError::PreviousBarred { .. })), "asked for twice, it went forth again");
    assert_eq!(version(&life), "7");
    assert!(registry.tag_of(8, "fraud.rolled_back").unwrap().starts_with("operator, 2"));
    // Another replica that serves it goes back as well,
    wait_for("the sibling's return", || version(&sibling) == "7");
    assert_eq!(sample(&sibling_metrics, "fraud_model_rollbacks_total{reason=\"marked\"} "), 1.0);
    // one that starts now begins with the version before,
    assert_eq!(version(&start(&champion(&registry)).unwrap().0), "7");
    // and nobody takes it again.
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!((version(&life), version(&sibling)), ("7".to_owned(), "7".to_owned()));
    registry.tag(8, "fraud.rolled_back", None);
    wait_for("the pardon", || version(&life) == "8" && version(&sibling) == "8");
}

#[test]
fn a_replica_that_knows_no_model_before_takes_it_from_the_registry() {
    let registry = with_champion(8);
    registry.register(7, &moved(0.0, 2.0));
    registry.alias("previous", 7);
    let (life, metrics) = start(&champion(&registry)).unwrap();
    let _following = life.follow();
    registry.tag(8, "fraud.rolled_back", Some("errors, 2026-01-01T00:00:00Z"));
    wait_for("the return", || version(&life) == "7");
    assert_eq!(sample(&metrics, "fraud_model_rollbacks_total{reason=\"marked\"} "), 1.0);
    assert!(!life.is_guarded(), "it is compared with the one that was left");
    assert!(matches!(life.rollback(), Err(LifeError::PreviousBarred { .. })));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((version(&life), registry.tag_of(7, "fraud.rolled_back")), ("7".to_owned(), None));
}

#[test]
fn a_champion_that_does_not_fit_keeps_nobody_from_starting() {
    let registry = Registry::start();
    registry.register(7, &remade(DEFAULT, &["fraud.thresholds"], &[]));
    registry.alias("champion", 7);
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    // Below the default threshold for declining, above that of the default model.
    std::fs::write(&policy, "[thresholds]\nreview_at = 0.65\n").unwrap();
    let policy = PolicySettings { path: Some(policy) };
    let settings = ModelSettings { cache_dir: Some(folder.path().to_owned()), ..champion(&registry) };
    let start = || {
        let metrics = Metrics::new().unwrap();
        let life = ModelLife::start((settings.clone(), policy.clone()), HISTORY, metrics.clone());
        life.map(|life| (version(&life), refusals(&metrics, "policy")))
    };
    assert_eq!(start().unwrap(), ("7".to_owned(), 0.0));
    registry.register(8, DEFAULT);
    registry.alias("champion", 8);
    assert_eq!(start().unwrap(), ("7".to_owned(), 1.0), "from the copy");
    registry.register(6, &remade(DEFAULT, &["fraud.thresholds"], &[]));
    registry.alias("previous", 6);
    assert_eq!(start().unwrap(), ("6".to_owned(), 1.0), "from the version before");
    registry.behave(Manner::Away, Manner::Good);
    assert_eq!(start().unwrap(), ("6".to_owned(), 0.0), "the copy is of what served");
}

#[test]
fn a_mark_that_could_not_be_written_is_written_later() {
    let registry = with_champion(7);
    let (life, _) = start(&champion(&registry)).unwrap();
    registry.register(8, &moved(0.0, 2.0));
    registry.alias("champion", 8);
    life.reload().unwrap();
    registry.behave(Manner::Away, Manner::Good);
    life.rollback().unwrap();
    // The stand-in does what it is told before it closes the connection: undone, so that only a later try counts.
    registry.tag(8, "fraud.rolled_back", None);
    registry.behave(Manner::Good, Manner::Good);
    let _following = life.follow();
    wait_for("the mark", || registry.tag_of(8, "fraud.rolled_back").is_some());
    assert_eq!(version(&life), "7");
}

#[test]
fn a_challenger_comes_and_goes_with_its_alias() {
    let registry = with_champion(7);
    let mut settings = champion(&registry);
    settings.shadow.source = Some("mlflow:models:/fraud@candidate".to_owned());
    let (life, metrics) = start(&settings).unwrap();
    let _following = life.follow();
    let challenger = || life.beside().challenger().map(|info| info.version.to_string());
    wait_for("looks", || sample(&metrics, "fraud_model_registry_looks_total{result=\"unchanged\"} ") > 3.0);
    assert_eq!((challenger(), sample(&metrics, "fraud_model_registry_looks_total{result=\"failed\"} ")), (None, 0.0));
    registry.register(8, &moved(0.0, 2.0));
    registry.alias("candidate", 8);
    wait_for("the challenger", || challenger().as_deref() == Some("8"));
    assert!(String::from_utf8(metrics.render().unwrap()).unwrap().contains("fraud_shadow_model_info{"));
    // Promoted, it has nobody left to challenge; alone again, it challenges who serves.
    registry.alias("champion", 8);
    wait_for("the promotion", || version(&life) == "8" && challenger().is_none());
    registry.alias("champion", 7);
    wait_for("the demotion", || version(&life) == "7" && challenger().as_deref() == Some("8"));
    registry.state.lock().unwrap().aliases.remove("candidate");
    wait_for("the end of it", || challenger().is_none());
}
