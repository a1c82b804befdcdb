//! Poison, missing things, a broker that goes away: what the real binary does on a real broker.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kafka_common;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_common::{Kafka, Sent, World, flush, payments, producer, replayed, send};

fn good(id: usize) -> String {
    format!(
        "{{\"transaction_id\":\"t{id}\",\"customer_id\":1,\"terminal_id\":2,\"tx_amount\":{id}.5,\
         \"tx_datetime\":\"2025-03-01T10:00:{:02}Z\"}}",
        id % 60
    )
}

fn command(world: &World, arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_fraud-stream"))
        .args(arguments)
        .arg("--set")
        .arg(format!("kafka.brokers={}", world.kafka.address))
        .arg("--set")
        .arg(format!("kafka.input_topic={}", world.topic("input")))
        .arg("--set")
        .arg(format!("kafka.predictions_topic={}", world.topic("predictions")))
        .arg("--set")
        .arg(format!("kafka.dead_letter_topic={}", world.topic("dead")))
        .arg("--set")
        .arg(format!("labels.topic={}", world.topic("labels")))
        .arg("--set")
        .arg(format!("kafka.transactional_id={}", world.name))
        .output()
        .unwrap()
}

#[test]
fn poison_goes_to_the_dead_letters_as_it_came_and_stops_nothing() {
    let mut world = World::new(Kafka::shared(), "poison", 1);
    world.set("kafka.max_message_bytes", "2000");
    let producer = producer(&world.kafka.address);
    let (topic, labels) = (world.topic("input"), world.topic("labels"));
    let framed = [b"\0\0\0\0\x2a".as_slice(), good(3).as_bytes()].concat();
    let enveloped = format!("{{\"event\":\"payment\",\"data\":{}}}", good(4));
    let conflict = good(1).replace("1.5", "99.5");
    let ahead = good(9).replace("2025", "2999");
    let large = format!("{{\"pad\":\"{}\"}}", "x".repeat(3_000));
    let mine = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("own", "yes"),
        // No sender says where a letter goes back to.
        ("dead-letter-topic", "elsewhere"),
    ];
    let sends: Vec<(Option<&[u8]>, &str)> = vec![
        (Some(good(1).leak().as_bytes()), ""),
        (Some(b"{not json"), "not_json"),
        (Some(good(2).leak().as_bytes()), ""),
        (Some(b"{\"transaction_id\":5}"), "invalid"),
        (None, "empty"),
        (Some(&framed), ""),
        (Some(enveloped.as_bytes()), ""),
        (Some(conflict.as_bytes()), "conflict"),
        (Some(ahead.as_bytes()), "future_time"),
        (Some(large.as_bytes()), "too_large"),
        (Some(&[0xff, 0xfe, 0x00]), "not_json"),
        (Some(good(5).leak().as_bytes()), ""),
    ];
    for (value, _) in &sends {
        send(&producer, &topic, &Sent { value: *value, headers: &mine, ..Sent::new(0, "key", b"") });
    }
    send(&producer, &labels, &Sent::new(0, "key", b"{\"transaction_id\":\"t1\",\"label\":7}"));
    flush(&producer);
    world.finish();
    let predictions = world.read("predictions");
    let mut ids: Vec<String> =
        predictions.iter().map(|one| one.json()["transaction_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    assert_eq!(ids, ["t1", "t2", "t3", "t4", "t5"]);
    for prediction in &predictions {
        assert_eq!(prediction.header("traceparent"), mine[0].1);
        assert_eq!(prediction.header("schema-version"), "1");
        assert!(!prediction.header("model-version").is_empty());
    }
    let dead = world.read("dead");
    let of_input: Vec<_> = dead.iter().filter(|letter| letter.header("dead-letter-topic") == topic).collect();
    let expected: Vec<_> = sends.iter().enumerate().filter(|(_, (_, reason))| !reason.is_empty()).collect();
    assert_eq!(of_input.len(), expected.len(), "{of_input:?}");
    for (letter, (offset, (value, reason))) in of_input.iter().zip(&expected) {
        assert_eq!(letter.header("dead-letter-reason"), *reason);
        assert_eq!(letter.header("dead-letter-offset"), offset.to_string());
        assert_eq!(letter.header("dead-letter-partition"), "0");
        assert_eq!(letter.header("own"), "yes");
        assert_eq!((letter.key.as_slice(), letter.value.as_slice()), (b"key".as_slice(), value.unwrap_or_default()));
        assert!(letter.header("dead-letter-record-time").parse::<i64>().unwrap() > 0);
        assert!(!letter.header("dead-letter-detail").contains("t1"), "an id in {letter:?}");
    }
    let of_labels: Vec<_> = dead.iter().filter(|letter| letter.header("dead-letter-topic") == labels).collect();
    assert_eq!(of_labels.len(), 1);
    assert_eq!(of_labels[0].header("dead-letter-reason"), "bad_label");

    // Back they go, those that are chosen; without a cure they come again.
    let looked = command(&world, &["redrive", "--reason", "conflict", "--dry-run"]);
    assert!(String::from_utf8_lossy(&looked.stdout).contains("1 dead letters would go back"), "{looked:?}");
    let part =
        command(&world, &["redrive", "--from-offset", "9", "--from-offset", "0:1", "--to-offset", "3", "--dry-run"]);
    let said = String::from_utf8_lossy(&part.stdout);
    assert!(said.contains("2 dead letters would go back") && said.contains("`--from-offset 0:3` goes on"), "{part:?}");
    let done = command(&world, &["redrive", "--reason", "conflict"]);
    assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).contains("1 dead letters went back"));
    world.finish();
    let again = world.read("dead");
    assert_eq!(again.len(), dead.len() + 1);
    let back = again.iter().find(|letter| letter.headers.contains_key("redriven-from")).unwrap();
    assert_eq!((back.header("dead-letter-reason"), back.value.as_slice()), ("conflict", conflict.as_bytes()));
    assert_eq!(world.read("predictions").len(), predictions.len());
}

/// Each of these is just small enough for the broker, and what would be sent for it is not.
#[test]
fn what_grows_too_large_to_send_is_cut_and_stops_nothing() {
    let world = World::new(Kafka::shared(), "large", 1);
    let (producer, topic) = (producer(&world.kafka.address), world.topic("input"));
    // The broker takes batches of up to 1,048,588 bytes.
    let large = "x".repeat(1_048_400);
    let (good, neighbour) = (good(1), "y".repeat(100_000));
    let no_text = [b"n".to_vec(), vec![0xff]].concat();
    // The safe interface has texts only, where a sender in C may have any bytes.
    // SAFETY: it is handed to the client library as bytes and not looked at as a text.
    #[allow(unsafe_code)]
    let no_text = unsafe { std::str::from_utf8_unchecked(&no_text) };
    for sent in [
        Sent { headers: &[("own", &large)], ..Sent::new(0, "k", b"{") },
        Sent::new(0, &large, b"{"),
        Sent::new(0, "k", large.as_bytes()),
        Sent {
            headers: &[("tracestate", &large[200..]), ("traceparent", "00-1-2-01")],
            ..Sent::new(0, "k", good.as_bytes())
        },
        Sent { headers: &[(no_text, "any")], ..Sent::new(0, "k", neighbour.as_bytes()) },
    ] {
        send(&producer, &topic, &sent);
    }
    flush(&producer);
    world.finish();
    let predictions = world.read("predictions");
    assert_eq!(predictions.len(), 1);
    assert_eq!((predictions[0].header("tracestate"), predictions[0].header("traceparent")), ("", "00-1-2-01"));
    let dead = world.read("dead");
    let cut: Vec<&str> = dead.iter().map(|letter| letter.header("dead-letter-cut")).collect();
    assert_eq!(cut, ["headers", "key", "value", ""]);
    for letter in &dead[..3] {
        assert!(letter.header("dead-letter-cut-from-bytes").parse::<usize>().unwrap() > large.len());
        assert_eq!(letter.header("dead-letter-reason"), "not_json");
    }
    assert_eq!((dead[3].value.as_slice(), dead[3].header("n\u{fffd}")), (neighbour.as_bytes(), "any"));
    let looked = command(&world, &["redrive", "--dry-run"]);
    assert!(String::from_utf8_lossy(&looked.stdout).contains("1 dead letters would go back"), "{looked:?}");
}

#[test]
fn while_nothing_can_be_committed_it_is_not_ready_and_the_lag_grows() {
    let world = World::new(Kafka::shared(), "stuck", 1);
    let (producer, topic) = (producer(&world.kafka.address), world.topic("input"));
    let send_some = |ids: std::ops::Range<usize>| {
        ids.for_each(|id| send(&producer, &topic, &Sent::new(0, "k", good(id).as_bytes())));
        flush(&producer);
    };
    let mut instance = world.start(&[]);
    instance.wait_for("\"scoring\"");
    let wait_for = |instance: &kafka_common::Instance, status: u16, lag: f64| {
        let sample = format!("fraud_stream_partition_lag{{partition=\"0\",topic=\"{topic}\"}}");
        let until = std::time::Instant::now() + Duration::from_mins(1);
        while (instance.get("/health/ready").0, instance.metric(&sample)) != (status, Some(lag)) {
            assert!(std::time::Instant::now() < until, "no {status} with a lag of {lag}:\n{}", instance.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    world.kafka.configure(&world.topic("predictions"), "max.message.bytes", "300");
    send_some(0..10);
    wait_for(&instance, 503, 10.0);
    send_some(10..300);
    wait_for(&instance, 503, 300.0);
    world.kafka.configure(&world.topic("predictions"), "max.message.bytes", "1048588");
    wait_for(&instance, 200, 0.0);
    instance.terminate();
    assert_eq!(instance.wait(), Some(0), "{}", instance.log());
    assert_eq!(world.read("predictions").len(), 300);
}

#[test]
fn partitions_that_are_added_are_read() {
    let world = World::new(Kafka::shared(), "grown", 1);
    let (producer, topic) = (producer(&world.kafka.address), world.topic("input"));
    send(&producer, &topic, &Sent::new(0, "k", good(1).as_bytes()));
    flush(&producer);
    let mut instance = world.start(&[]);
    instance.wait_for("\"scoring\"");
    world.kafka.grow(&topic, 2);
    // The client library hears of it when it asks the next time.
    let producer = kafka_common::producer(&world.kafka.address);
    send(&producer, &topic, &Sent::new(1, "k", good(2).as_bytes()));
    flush(&producer);
    instance.wait_for("has 2 partitions now, 1 are read");
    let until = std::time::Instant::now() + Duration::from_mins(1);
    while world.read("predictions").len() < 2 {
        assert!(std::time::Instant::now() < until, "{}", instance.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    instance.terminate();
    assert_eq!(instance.wait(), Some(0), "{}", instance.log());
    world.finish();
    assert_eq!(world.read("predictions").len(), 2);
}

#[test]
fn a_broker_that_comes_back_finds_nothing_lost_and_nothing_twice() {
    let kafka = Arc::new(Kafka::start());
    let mut world = World::new(kafka, "away", 1);
    world.set("kafka.batch_records", "100");
    let payments = payments(4_000, 21);
    let producer = producer(&world.kafka.address);
    let (first, second) = payments.lines.split_at(2_000);
    for line in first {
        send(&producer, &world.topic("input"), &Sent::new(0, "k", line.as_bytes()));
    }
    flush(&producer);
    let mut instance = world.start(&[("test.stop_at_end", "false")]);
    instance.wait_for("\"scoring\"");
    world.kafka.kill();
    std::thread::sleep(Duration::from_secs(if kafka_common::long() { 60 } else { 5 }));
    let until = std::time::Instant::now() + Duration::from_mins(1);
    while instance.get("/health/ready").0 != 503 {
        assert!(!instance.ended_within(Duration::from_millis(300)), "it ended:\n{}", instance.log());
        assert!(std::time::Instant::now() < until, "it is ready without a broker:\n{}", instance.log());
    }
    world.kafka.restart();
    for line in second {
        send(&producer, &world.topic("input"), &Sent::new(0, "k", line.as_bytes()));
    }
    flush(&producer);
    let wanted: Vec<Vec<u8>> = replayed(&payments.lines).into_iter().flatten().collect();
    let mut tries = 0;
    while world.read("predictions").len() < wanted.len() {
        tries += 1;
        assert!(tries < 200, "{} of {}:\n{}", world.read("predictions").len(), wanted.len(), instance.log());
        assert!(!instance.ended_within(Duration::from_millis(300)), "it ended:\n{}", instance.log());
    }
    assert_eq!(instance.get("/health/ready").0, 200);
    // The lag goes back by itself, as soon as the client library reports again.
    let lag = format!("kafka_consumer_lag{{consumer_group=\"away\",topic=\"{}\"}} 0", world.topic("input"));
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while !instance.get("/metrics").1.contains(&lag) {
        assert!(std::time::Instant::now() < until, "no `{lag}` in:\n{}", instance.get("/metrics").1);
        std::thread::sleep(Duration::from_millis(200));
    }
    let (_, metrics) = instance.get("/metrics");
    for name in [
        "kafka_messages_consumed_total",
        "kafka_messages_produced_total",
        "kafka_consumer_lag",
        "fraud_stream_end_to_end_seconds_count",
        "fraud_stream_dead_letters_total{reason=\"conflict\"}",
        "ml_model_predictions_total",
    ] {
        assert!(metrics.contains(name), "{name} is not in:\n{metrics}");
    }
    instance.terminate();
    assert_eq!(instance.wait(), Some(0), "{}", instance.log());
    let mut found: Vec<_> = world.read("predictions").into_iter().map(|one| (one.input(), one.value)).collect();
    found.sort();
    assert_eq!(found.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), wanted);
}

/// A broker that does not answer for a while is waited for, and clocks that jump (here: the producer's) change nothing.
#[test]
fn a_slow_broker_and_jumping_clocks_change_nothing() {
    let kafka = Arc::new(Kafka::start());
    let mut world = World::new(kafka, "slow", 1);
    world.set("kafka.batch_records", "100");
    let payments = payments(3_000, 23);
    let producer = producer(&world.kafka.address);
    let mut instance = world.start(&[]);
    instance.wait_for("\"scoring\"");
    for (index, line) in payments.lines.iter().enumerate() {
        // Years forward and back again, from one record to the next.
        let millis = 1_550_000_000_000 + i64::try_from(index % 3).unwrap() * 100_000_000_000;
        let sent = Sent { millis: Some(millis), ..Sent::new(0, "k", line.as_bytes()) };
        send(&producer, &world.topic("input"), &sent);
        if index % 1_000 == 500 {
            world.kafka.signal("STOP");
            std::thread::sleep(Duration::from_secs(2));
            world.kafka.signal("CONT");
        }
    }
    flush(&producer);
    let wanted: Vec<Vec<u8>> = replayed(&payments.lines).into_iter().flatten().collect();
    let mut tries = 0;
    while world.read("predictions").len() < wanted.len() {
        tries += 1;
        assert!(tries < 200 && !instance.ended_within(Duration::from_millis(300)), "{}", instance.log());
    }
    instance.terminate();
    assert_eq!(instance.wait(), Some(0), "{}", instance.log());
    let mut found: Vec<_> = world.read("predictions").into_iter().map(|one| (one.input(), one.value)).collect();
    found.sort();
    assert_eq!(found.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), wanted);
}

#[test]
fn a_range_is_scored_again_and_compared() {
    let world = World::new(Kafka::shared(), "again", 1);
    let payments = payments(1_500, 22);
    let producer = producer(&world.kafka.address);
    for line in &payments.lines {
        send(&producer, &world.topic("input"), &Sent::new(0, "k", line.as_bytes()));
    }
    flush(&producer);
    world.finish();
    let output = world.folder.path().join("again.jsonl");
    let topic = world.topic("input");
    let file = output.to_str().unwrap();
    let done = command(&world, &["replay", "--from-topic", &topic, "--output", file, "--compare"]);
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let wanted: Vec<Vec<u8>> = replayed(&payments.lines).into_iter().flatten().collect();
    assert!(said.contains(&format!("compared with {} predictions of then (0 were not found)", wanted.len())), "{said}");
    assert!(said.contains("0.000000 at most"), "{said}");
    let written = std::fs::read(&output).unwrap();
    assert_eq!(written, wanted.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect::<Vec<u8>>());
    // It ends where the topic ended when it began, however much comes meanwhile.
    let (live, over) = (kafka_common::producer(&world.kafka.address), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for id in 0..60_000 {
                if over.load(Ordering::Relaxed) {
                    return true;
                }
                send(&live, &topic, &Sent::new(0, "k", good(id).as_bytes()));
                std::thread::sleep(Duration::from_millis(1));
            }
            false
        });
        let done = command(&world, &["replay", "--from-topic", &topic, "--output", file]);
        over.store(true, Ordering::Relaxed);
        assert!(sender.join().unwrap(), "it went on as long as something came: {done:?}");
    });
    assert!(std::fs::read_to_string(&output).unwrap().lines().count() >= wanted.len());
    let part = command(&world, &["replay", "--from-topic", &topic, "--output", file, "--offsets", "0:100..110"]);
    assert!(String::from_utf8_lossy(&part.stdout).contains("scored "), "{part:?}");
    assert!(std::fs::read_to_string(&output).unwrap().lines().count() <= 10);
}

#[test]
fn what_is_missing_is_named() {
    let world = World::new(Kafka::shared(), "missing", 1);
    for topic in ["kafka.input_topic", "kafka.predictions_topic", "kafka.dead_letter_topic"] {
        let mut instance = world.start(&[(topic, "nowhere")]);
        instance.wait_for("topic `nowhere` does not exist");
        assert_eq!(instance.get("/health/ready").0, 503);
        assert_eq!(instance.get("/health/live").0, 200);
        instance.terminate();
        assert_eq!(instance.wait(), Some(0), "{}", instance.log());
    }

    let wrong = command(&world, &["run", "--set", "kafka.brokrs=x", "--set", "kafka.batch_records=0"]);
    assert_eq!(wrong.status.code(), Some(64));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("kafka.brokrs") && said.contains("kafka.batch_records"), "{said}");
}

#[test]
fn a_snapshot_that_is_no_use_is_refused_until_somebody_says_otherwise() {
    let world = World::new(Kafka::shared(), "damaged", 1);
    let producer = producer(&world.kafka.address);
    send(&producer, &world.topic("input"), &Sent::new(0, "k", good(1).as_bytes()));
    flush(&producer);
    world.finish();
    let snapshot = world.folder.path().join("state").join("stream.snapshot");
    let mut bytes = std::fs::read(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&snapshot, bytes).unwrap();
    let mut refused = world.start(&[]);
    assert_eq!(refused.wait(), Some(74), "{}", refused.log());
    // The journal reaches back to the beginning, so going on loses nothing here.
    send(&producer, &world.topic("input"), &Sent::new(0, "k", good(1).as_bytes()));
    flush(&producer);
    let mut allowed = world.start(&[("state.on_lost_state", "continue"), ("test.stop_at_end", "true")]);
    assert_eq!(allowed.wait(), Some(0), "{}", allowed.log());
    let predictions = world.read("predictions");
    assert_eq!(predictions.iter().filter(|one| one.json()["duplicate"] == true).count(), 1);
}

#[test]
fn a_journal_that_is_gone_is_noticed_and_going_on_scores_nothing_twice() {
    let mut world = World::new(Kafka::shared(), "gone", 2);
    let producer = producer(&world.kafka.address);
    for id in 0..50 {
        let partition = i32::from(id % 2 == 1);
        send(&producer, &world.topic("input"), &Sent::new(partition, "k", good(id).as_bytes()));
    }
    flush(&producer);
    world.finish();
    std::fs::remove_dir_all(world.folder.path().join("state")).unwrap();
    world.set("kafka.journal_topic", "gone-another-journal");
    for id in 50..60 {
        let partition = i32::from(id % 2 == 1);
        send(&producer, &world.topic("input"), &Sent::new(partition, "k", good(id).as_bytes()));
    }
    flush(&producer);
    let mut refused = world.start(&[]);
    assert_eq!(refused.wait(), Some(78), "{}", refused.log());
    assert!(refused.log().contains("are deleted"), "{}", refused.log());
    world.set("state.on_lost_state", "continue");
    world.finish();
    // From here on all is in order again.
    world.extra.pop();
    world.finish();
    let mut inputs: Vec<_> = world.read("predictions").iter().map(kafka_common::Record::input).collect();
    inputs.sort_unstable();
    let expected: Vec<(i32, i64)> =
        (0..2).flat_map(|partition| (0..30).map(move |offset| (partition, offset))).collect();
    assert_eq!(inputs, expected);
}

#[test]
fn offsets_that_somebody_set_by_hand_hold() {
    let world = World::new(Kafka::shared(), "reset", 1);
    let producer = producer(&world.kafka.address);
    for id in 0..20 {
        send(&producer, &world.topic("input"), &Sent::new(0, "k", good(id).as_bytes()));
    }
    flush(&producer);
    world.finish();
    kafka_common::set_offset(&world, 15);
    // Once with the snapshot, once from the journal, which holds the jump.
    world.finish();
    std::fs::remove_dir_all(world.folder.path().join("state")).unwrap();
    send(&producer, &world.topic("input"), &Sent::new(0, "k", good(3).as_bytes()));
    flush(&producer);
    world.finish();
    let predictions = world.read("predictions");
    let repeated = predictions.iter().filter(|one| one.json()["duplicate"] == true);
    let mut again: Vec<i64> = repeated.map(|one| one.input().1).collect();
    again.sort_unstable();
    assert_eq!(again, [15, 16, 17, 18, 19, 20]);
    assert_eq!(predictions.len(), 26);
}
