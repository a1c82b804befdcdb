//! Models that come from a registry while records flow: exchanged, challenged, guarded; on a real broker.
//!
//! The registry is a stand-in that speaks MLflow's REST; the loop (`scripts/mlops.sh`) has the real one.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kafka_common;
#[path = "../../fraud-core/tests/support/registry.rs"]
mod registry;
#[path = "../../fraud-core/tests/support/remake.rs"]
mod remake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fraud_core::model::Model;
use fraud_core::service::source::sha256;
use kafka_common::{Instance, Kafka, Offsets, Record, Redis, Sent, World, flush, producer, replayed_with, send};
use registry::Registry;
use remake::{DEFAULT, moved, remade};
use serde_json::Value;

/// What most payments are scored otherwise by: what was most likely is least.
fn reversed() -> Vec<u8> {
    moved(1.0, 0.0)
}

/// The default model's features over other windows.
fn other_windows() -> Vec<u8> {
    let model = Model::embedded().unwrap();
    let names = model.features().names().map(|name| name.replace("_7DAY_", "_5DAY_").replace("_30DAY_", "_14DAY_"));
    let names = serde_json::to_string(&names.collect::<Vec<_>>()).unwrap();
    remade(DEFAULT, &["fraud.baseline"], &[("fraud.features", &names), ("fraud.version", "windows")])
}

/// Payment `n`, the only one of its id. In one partition they are five minutes apart, so that windows fill; in several
/// a second, so that none is late where one partition is read some time after another.
fn payment(n: usize, partitions: u32) -> String {
    let apart = if partitions == 1 { 300 } else { 1 };
    let (customer, terminal, cents) = (n * 7 % 40, n * 11 % 23, 100 + n * 7_919 % 40_000);
    format!(
        "{{\"transaction_id\":\"t{n}\",\"customer_id\":{customer},\"terminal_id\":{terminal},\
         \"tx_amount\":{}.{:02},\"tx_time_seconds\":{}}}",
        cents / 100,
        cents % 100,
        1_522_540_800 + n * apart
    )
}

fn partition(n: usize, partitions: u32) -> i32 {
    // By customer.
    i32::try_from(n * 7 % 40 % partitions as usize).unwrap()
}

fn send_payments(world: &World, range: std::ops::Range<usize>) {
    let producer = producer(&world.kafka.address);
    for n in range {
        send(
            &producer,
            &world.topic("input"),
            &Sent::new(partition(n, world.partitions), "k", payment(n, world.partitions).as_bytes()),
        );
    }
    flush(&producer);
}

fn send_labels(world: &World, range: std::ops::Range<usize>) {
    let producer = producer(&world.kafka.address);
    for n in range {
        let label = format!(r#"{{"transaction_id": "t{n}", "label": {}}}"#, u8::from(is_fraud(n)));
        let half = i32::try_from(n % 2).unwrap();
        send(&producer, &world.topic("labels"), &Sent::new(half, "k", label.as_bytes()));
    }
    flush(&producer);
}

fn is_fraud(n: usize) -> bool {
    n % 9 == 4
}

/// Sends payments at a pace from another thread until `work` is done; gives how many.
fn while_payments_flow(world: &World, from: usize, work: impl FnOnce()) -> usize {
    let over = AtomicBool::new(false);
    let (brokers, topic, partitions) = (&world.kafka.address, world.topic("input"), world.partitions);
    std::thread::scope(|scope| {
        let flow = scope.spawn(|| {
            let producer = producer(brokers);
            let mut n = from;
            while !over.load(Ordering::Relaxed) {
                send(&producer, &topic, &Sent::new(partition(n, partitions), "k", payment(n, partitions).as_bytes()));
                n += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            flush(&producer);
            n
        });
        let ended = Over(&over);
        work();
        drop(ended);
        flow.join().unwrap()
    })
}

/// Says that it is over when it is dropped: also when the work fails, or the payments would never end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn wait_for(what: &str, instance: &Instance, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_mins(2);
    while !holds() {
        assert!(Instant::now() < until, "{what} did not happen:\n{}", instance.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait_for_commits(world: &World, instance: &Instance, count: usize) {
    let offsets = Offsets::of(world, &world.topic("input"));
    let count = i64::try_from(count).unwrap();
    wait_for("an answer to everything", instance, || offsets.committed().iter().sum::<i64>() == count);
}

/// The version in `fraud_model_info` or `fraud_shadow_model_info`.
fn version(instance: &Instance, info: &str) -> Option<String> {
    let (_, text) = instance.get("/metrics");
    let line = text.lines().find(|line| line.starts_with(&format!("{info}{{")))?;
    Some(line.split_once("version=\"")?.1.split_once('"')?.0.to_owned())
}

fn serves(instance: &Instance, wanted: u32) -> bool {
    version(instance, "fraud_model_info") == Some(wanted.to_string())
}

fn admin(instance: &Instance, path: &str) -> Value {
    let (status, body) = instance.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn labelled(instance: &Instance) -> u64 {
    let report = admin(instance, "/admin/shadow");
    report["served"]["labelled"].as_array().unwrap().first().map_or(0, |all| all["samples"].as_u64().unwrap())
}

/// A world that follows a registry's alias `champion`.
fn following(registry: &Registry, name: &str, partitions: u32) -> World {
    let mut world = World::new(Kafka::shared(), name, partitions);
    for (key, value) in [
        ("model.source", "mlflow:models:/fraud@champion"),
        ("model.mlflow.tracking_uri", registry.uri().as_str()),
        ("model.mlflow.poll", "100ms"),
        ("model.shadow.queue", "8192"),
        // So much room that hardly a score gives way to another one.
        ("model.shadow.remembered", "1048576"),
        ("kafka.batch_records", "200"),
    ] {
        world.set(key, value);
    }
    world
}

/// The predictions, in the order of the payments: one for each, and each of one version only.
fn answers(world: &World, count: usize) -> Vec<(String, Value)> {
    let mut places: BTreeMap<(i32, i64), usize> = BTreeMap::new();
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for n in 0..count {
        let partition = partition(n, world.partitions);
        let offset = next.entry(partition).or_default();
        places.insert((partition, *offset), n);
        *offset += 1;
    }
    let mut found: BTreeMap<usize, (String, Value)> = BTreeMap::new();
    for record in world.read("predictions") {
        let n = places[&record.input()];
        let (named, body) = (record.header("model-version").to_owned(), Record::json(&record));
        assert_eq!(body["transaction_id"], format!("t{n}"));
        assert_eq!(body["model_version"], named, "header and body name two versions");
        assert!(found.insert(n, (named, body)).is_none(), "t{n} is answered twice");
    }
    assert_eq!(found.len(), count, "payments without an answer");
    assert_eq!(world.read("dead").len(), 0);
    found.into_values().collect()
}

fn end(world: &World, instance: &mut Instance, count: usize) {
    wait_for_commits(world, instance, count);
    assert_eq!(instance.get("/health/ready").0, 200);
    instance.terminate();
    assert_eq!(instance.wait(), Some(0), "{}", instance.log());
}

/// Versions as they answered, each as long as it did.
fn versions(answers: &[(String, Value)]) -> Vec<&str> {
    let mut versions: Vec<&str> = answers.iter().map(|(version, _)| version.as_str()).collect();
    versions.dedup();
    versions
}

/// Models of other scores and other windows follow each other while payments flow, and in the middle the process is
/// killed: every payment has one answer, and it is the one that the version it names gives.
#[test]
fn versions_follow_each_other_and_no_payment_is_lost_or_answered_by_two() {
    const SWAPS: u32 = 20;
    let registry = Registry::start();
    let mut models: Vec<Vec<u8>> = (0..4).map(|n| moved(-0.1 * f64::from(n), 1.0)).collect();
    models.push(other_windows());
    let model = |version: u32| version as usize % models.len();
    registry.register(1, &models[model(1)]);
    registry.alias("champion", 1);
    let mut world = following(&registry, "exchanged", 1);
    world.set("model.guards.enabled", "false");
    let mut instance = world.start(&[]);
    instance.wait_for("\"scoring\"");
    let count = while_payments_flow(&world, 0, || {
        for number in 2..SWAPS + 2 {
            registry.register(number, &models[model(number)]);
            registry.alias("champion", number);
            if number == SWAPS / 2 {
                instance.kill();
                instance = world.start(&[]);
                instance.wait_for("\"scoring\"");
            }
            wait_for("the swap", &instance, || serves(&instance, number));
        }
    });
    end(&world, &mut instance, count);
    let answers = answers(&world, count);
    let lines: Vec<String> = (0..count).map(|n| payment(n, 1)).collect();
    let expected: Vec<Vec<Value>> = models
        .iter()
        .enumerate()
        .map(|(index, file)| {
            let path = world.folder.path().join(format!("{index}.onnx"));
            std::fs::write(&path, file).unwrap();
            let answers = replayed_with(&lines, &["--model", path.to_str().unwrap()]);
            answers.into_iter().map(|answer| serde_json::from_slice(&answer.unwrap()).unwrap()).collect()
        })
        .collect();
    let mut differing = 0;
    for (n, (version, answer)) in answers.iter().enumerate() {
        let mut wanted = expected[model(version.parse().unwrap())][n].clone();
        differing += usize::from(
            wanted["fraud_probability"] != expected[model(version.parse::<u32>().unwrap() + 1)][n]["fraud_probability"],
        );
        wanted["model_version"] = version.as_str().into();
        assert_eq!(*answer, wanted, "t{n}");
    }
    assert!(differing > count / 2, "the models can hardly be told apart: {differing} of {count}");
    let numbers: Vec<u32> = versions(&answers).iter().map(|version| version.parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(numbers.len() > 10, "only {numbers:?} were seen");
    println!("{count} payments answered by {} of {} versions, one kill in between", numbers.len(), SWAPS + 1);
}

#[test]
fn a_challenger_scores_beside_and_is_reported_on_once_labels_are_in() {
    const COUNT: usize = 600;
    let registry = Registry::start();
    registry.register(1, DEFAULT);
    registry.alias("champion", 1);
    let mut world = following(&registry, "challenged", 1);
    world.set("model.shadow.source", "mlflow:models:/fraud@candidate");
    world.set("drift.sample_every", "1");
    let keys = world.folder.path().join("keys.toml");
    let entry = |role: &str| {
        format!("[[keys]]\nname = \"{role}\"\nsha256 = \"{}\"\nroles = [\"{role}\"]\n", sha256(role.as_bytes()))
    };
    std::fs::write(&keys, entry("operate") + &entry("score")).unwrap();
    let mut instance = world.start(&[]);
    instance.wait_for("\"scoring\"");
    assert_eq!(instance.get("/admin/shadow").0, 404);
    registry.register(2, &reversed());
    registry.alias("candidate", 2);
    let challenger = |instance: &Instance| version(instance, "fraud_shadow_model_info");
    wait_for("the challenger", &instance, || challenger(&instance).as_deref() == Some("2"));
    // Some labels are there before their payments.
    send_labels(&world, 0..20);
    wait_for("labels", &instance, || instance.metric("fraud_stream_labels_waiting ") == Some(20.0));
    send_payments(&world, 0..COUNT);
    let scored = || instance.metric("fraud_shadow_scored_total ");
    wait_for("all to be scored", &instance, || scored() == Some(COUNT as f64));
    send_labels(&world, 20..COUNT);
    // A score may have had to give way to another one.
    let enough = COUNT as u64 - 2;
    wait_for("the labels", &instance, || labelled(&instance) >= enough);
    let report = admin(&instance, "/admin/shadow");
    // The same labels again change nothing.
    send_labels(&world, 0..COUNT);
    let labels = |label: &str| instance.metric(&format!("fraud_labels_total{{label=\"{label}\"}} ")).unwrap();
    wait_for("labels", &instance, || labels("fraud") + labels("legitimate") == 2.0 * COUNT as f64);
    assert_eq!(admin(&instance, "/admin/shadow"), report);

    assert_eq!(report["scored"], COUNT, "{report}");
    assert_eq!(report["served"]["version"], "1");
    assert_eq!(report["challenger"]["version"], "2");
    assert_eq!(report["challenger"]["sha256"], sha256(&reversed()));
    let card = admin(&instance, "/admin/model");
    assert_eq!(card["registry"]["version"], "1");
    assert_eq!(card["guarded"], false);
    let metric = |name: &str| instance.metric(name).unwrap();
    assert_eq!((metric("fraud_shadow_dropped_total "), metric("fraud_shadow_failed_total ")), (0.0, 0.0));
    let flips: f64 = instance
        .get("/metrics")
        .1
        .lines()
        .filter(|line| line.starts_with("fraud_shadow_decision_flips_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    // The drift of what is scored is measured here too, and the quality of the decisions.
    assert!(metric("fraud_score_drift_psi ") > 0.0 && metric("fraud_feature_drift_psi{feature=\"TX_AMOUNT\"} ") > 0.0);
    let recall = metric("fraud_model_quality{label_age=\"all\",metric=\"recall\"} ");
    assert!((recall - report["served"]["labelled"][0]["recall"].as_f64().unwrap()).abs() < 0.06, "{recall}");
    let differences = (metric("fraud_shadow_score_difference_count "), metric("fraud_shadow_score_difference_sum "));

    // Without the alias nobody challenges.
    registry.state.lock().unwrap().aliases.remove("candidate");
    wait_for("its end", &instance, || challenger(&instance).is_none());
    assert_eq!(instance.get("/admin/shadow").0, 404);
    end(&world, &mut instance, COUNT);

    // What went out is what the model in service says, and the report is of that.
    let lines: Vec<String> = (0..COUNT).map(|n| payment(n, 1)).collect();
    let mut scores = Vec::new();
    for ((named, answer), wanted) in answers(&world, COUNT).into_iter().zip(replayed_with(&lines, &[])) {
        let mut wanted: Value = serde_json::from_slice(&wanted.unwrap()).unwrap();
        wanted["model_version"] = named.into();
        assert_eq!(answer, wanted, "a challenger changes an answer");
        scores.push((answer["fraud_probability"].as_f64().unwrap(), answer["decision"].as_str().unwrap().to_owned()));
    }
    let near = |found: &Value, wanted: f64| (found.as_f64().unwrap() - wanted).abs() < 1e-6;
    let mean = |of: &dyn Fn(f64) -> f64| scores.iter().map(|(p, _)| of(1.0 - 2.0 * p)).sum::<f64>() / COUNT as f64;
    assert!(near(&report["mean_score_difference"], mean(&|difference| difference)), "{report}");
    assert!(near(&report["mean_absolute_score_difference"], mean(&f64::abs)), "{report}");
    assert_eq!(differences.0, COUNT as f64);
    assert!((differences.1 / COUNT as f64 - mean(&f64::abs)).abs() < 1e-6);
    let reported = report["decision_flips"].as_array().unwrap().iter();
    assert_eq!(reported.map(|flip| flip["count"].as_f64().unwrap()).sum::<f64>(), flips);
    for (side, turned) in [("served", false), ("challenger", true)] {
        let review_at = report[side]["review_at"].as_f64().unwrap();
        let flagged = |n: usize| (if turned { 1.0 - scores[n].0 } else { scores[n].0 }) >= review_at;
        let caught = (0..COUNT).filter(|n| is_fraud(*n) && flagged(*n)).count() as f64;
        let frauds = (0..COUNT).filter(|n| is_fraud(*n)).count() as f64;
        let recall = report[side]["labelled"][0]["recall"].as_f64().unwrap();
        assert!((recall - caught / frauds).abs() < 0.06, "{side}: {recall} for {}, {report}", caught / frauds);
    }
    let precision = |side: &str| report[side]["labelled"][0]["average_precision"].as_f64().unwrap();
    assert!(precision("served") > 0.0 && precision("served") != precision("challenger"), "{report}");

    // With keys, operators need one.
    let mut locked = world.start(&[("server.keys_file", keys.to_str().unwrap())]);
    locked.wait_for("\"scoring\"");
    for (header, status) in [
        ("", 401),
        ("X-API-Key: nobody\r\n", 401),
        ("X-API-Key: score\r\n", 403),
        ("Authorization: Bearer operate\r\n", 200),
    ] {
        assert_eq!(locked.get_with("/admin/model", header).0, status, "{header}");
    }
    assert_eq!((locked.get("/metrics").0, locked.get("/health/live").0), (200, 200));
}

#[test]
fn a_bad_version_is_left_by_itself_marked_and_not_taken_again() {
    let registry = Registry::start();
    registry.register(1, DEFAULT);
    registry.alias("champion", 1);
    let mut world = following(&registry, "guarded", 1);
    world.set("model.guards.min_count", "200");
    world.set("model.guards.window", "500ms");
    let mut instance = world.start(&[]);
    instance.wait_for("\"scoring\"");
    let count = while_payments_flow(&world, 0, || {
        let offsets = Offsets::of(&world, &world.topic("input"));
        wait_for("answers", &instance, || offsets.committed()[0] > 0);
        registry.register(2, &reversed());
        registry.alias("previous", 1);
        registry.alias("champion", 2);
        let rollbacks = || instance.metric("fraud_model_rollbacks_total{reason=\"score_shift\"} ");
        wait_for("the return", &instance, || rollbacks() == Some(1.0));
        wait_for("the mark", &instance, || registry.tag_of(2, "fraud.rolled_back").is_some());
        assert!(registry.tag_of(2, "fraud.rolled_back").unwrap().starts_with("score_shift, 2"));
        assert!(serves(&instance, 1));
        let refused = || instance.metric("fraud_model_registry_looks_total{result=\"refused\"} ").unwrap();
        let before = refused();
        wait_for("more looks", &instance, || refused() > before + 3.0);
        assert!(serves(&instance, 1));
        let told = admin(&instance, "/admin/model")["last_change"]["refused"].as_str().unwrap().to_owned();
        assert!(told.contains("score_shift"), "{told}");
        // A good one is taken, and stays.
        registry.register(3, &moved(-0.001, 1.0));
        registry.alias("champion", 3);
        wait_for("the good one", &instance, || serves(&instance, 3));
        wait_for("its guards' leave", &instance, || admin(&instance, "/admin/model")["guarded"] == false);
        assert!(serves(&instance, 3));
    });
    end(&world, &mut instance, count);
    let answers = answers(&world, count);
    assert_eq!(versions(&answers), ["1", "2", "1", "3"]);
    let bad = answers.iter().filter(|(version, _)| version == "2").count();
    println!("{count} payments answered, {bad} of them by the bad version before it was left");
}

/// Over a shared store every instance follows and compares; a label finds the one that scored; where one goes back, the
/// others do.
#[test]
fn instances_of_a_group_follow_one_registry() {
    let registry = Registry::start();
    registry.register(1, DEFAULT);
    registry.alias("champion", 1);
    registry.register(2, &reversed());
    registry.alias("candidate", 2);
    let redis = Redis::start("registry");
    let mut world = following(&registry, "followers", 2);
    for (key, value) in [
        ("store.kind", "redis"),
        ("store.redis.url", redis.url.as_str()),
        ("store.redis.prefix", "registry"),
        ("model.shadow.source", "mlflow:models:/fraud@candidate"),
    ] {
        world.set(key, value);
    }
    // The second one's guards never have enough to say anything.
    let mut instances = [("a", "100"), ("b", "1000000")]
        .map(|(name, least)| world.start(&[("kafka.instance", name), ("model.guards.min_count", least)]));
    for instance in &mut instances {
        instance.wait_for("scoring, as a member of the group");
        wait_for("the challenger", instance, || version(instance, "fraud_shadow_model_info").as_deref() == Some("2"));
    }
    let sum = |sample: &str| instances.iter().map(|one| one.metric(sample).unwrap()).sum::<f64>();
    // Partitions change hands while both join.
    let scored = "fraud_shadow_scored_total ";
    let count = while_payments_flow(&world, 0, || {
        let both = || instances.iter().all(|instance| instance.metric(scored).unwrap() > 100.0);
        wait_for("scores of both", &instances[1], both);
    });
    wait_for("all to be scored", &instances[0], || sum(scored) >= count as f64);
    assert_eq!(sum("fraud_shadow_dropped_total "), 0.0);
    send_labels(&world, 0..count);
    // A score may have had to give way to another one.
    let enough = count as u64 - count as u64 / 100;
    wait_for("the labels", &instances[0], || instances.iter().map(labelled).sum::<u64>() >= enough);
    assert!(instances.iter().all(|instance| labelled(instance) > 100));

    registry.alias("previous", 1);
    registry.alias("champion", 2);
    wait_for("the swap of both", &instances[0], || instances.iter().all(|instance| serves(instance, 2)));
    let count = while_payments_flow(&world, count, || {
        for (instance, reason) in instances.iter().zip(["score_shift", "marked"]) {
            let rollbacks = format!("fraud_model_rollbacks_total{{reason=\"{reason}\"}} ");
            wait_for("the return", instance, || instance.metric(&rollbacks) == Some(1.0));
            assert!(serves(instance, 1));
        }
    });
    assert!(registry.tag_of(2, "fraud.rolled_back").unwrap().starts_with("score_shift, 2"));
    wait_for_commits(&world, &instances[0], count);
    for instance in &mut instances {
        instance.terminate();
        assert_eq!(instance.wait(), Some(0), "{}", instance.log());
    }
    let answers = answers(&world, count);
    assert!(answers.iter().all(|(_, answer)| answer["late"] == false));
    let seen: BTreeSet<&str> = answers.iter().map(|(version, _)| version.as_str()).collect();
    assert_eq!(seen, BTreeSet::from(["1", "2"]));
}
