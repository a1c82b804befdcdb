//! Exactly once, whatever dies: the real binary on a real broker, killed again and again.
//!
//! `FRAUD_TEST_ALL=1` runs the long variant: 100 rounds over 200,000 transactions.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kafka_common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kafka_common::{Chance, Kafka, Payments, Record, Sent, World, flush, payments, producer, replayed, send};

/// Where a round ends.
const POINTS: [&str; 6] =
    ["after_observe", "after_produce", "before_commit", "after_commit", "mid_snapshot", "before_rename"];

/// Sends payments at a pace until told to send the rest at once.
fn pace(
    (brokers, topic): (String, String),
    payments: &Payments,
    (per_second, hurry, sent): (u64, &AtomicBool, &AtomicU64),
) {
    let producer = producer(&brokers);
    let begin = Instant::now();
    for (index, (line, customer)) in payments.lines.iter().zip(&payments.customers).enumerate() {
        while !hurry.load(Ordering::Relaxed) && begin.elapsed().as_secs_f64() * (per_second as f64) < index as f64 {
            std::thread::sleep(Duration::from_millis(2));
        }
        send(&producer, &topic, &Sent::new(0, &customer.to_string(), line.as_bytes()));
        sent.store(index as u64 + 1, Ordering::Relaxed);
    }
    flush(&producer);
}

/// What was committed, by the input record answered; each once.
fn by_input(records: Vec<Record>) -> BTreeMap<(i32, i64), Record> {
    let mut found = BTreeMap::new();
    for record in records {
        let input = record.input();
        assert_eq!(found.insert(input, record), None, "{input:?} was answered twice");
    }
    found
}

/// Every line answered once, with the bytes that replay writes, and every other line a dead letter.
fn assert_equals_replay(world: &World, lines: &[String]) {
    let expected = replayed(lines);
    let found = by_input(world.read("predictions"));
    let mut dead: Vec<i64> =
        world.read("dead").iter().map(|record| record.header("dead-letter-offset").parse().unwrap()).collect();
    dead.sort_unstable();
    let answers: Vec<&Record> = found.values().collect();
    let wanted: Vec<&Vec<u8>> = expected.iter().flatten().collect();
    assert_eq!(answers.len(), wanted.len(), "answers");
    for (answer, wanted) in answers.iter().zip(&wanted) {
        assert_eq!(
            String::from_utf8_lossy(&answer.value),
            String::from_utf8_lossy(wanted),
            "the answer to {:?}",
            answer.input()
        );
    }
    assert_eq!(dead.len(), lines.len() - wanted.len(), "dead letters");
    dead.dedup();
    assert_eq!(dead.len(), lines.len() - wanted.len(), "dead letters, each once");
    // Each payment exactly once; what came again is marked.
    let mut first: Vec<String> = Vec::new();
    for answer in &answers {
        let json = answer.json();
        assert_eq!(json["transaction_id"].as_str().unwrap().as_bytes(), answer.key);
        if json["duplicate"] == false && json["late"] == false {
            first.push(json["transaction_id"].as_str().unwrap().to_owned());
        }
    }
    let count = first.len();
    first.sort();
    first.dedup();
    assert_eq!(first.len(), count, "a payment was recorded twice");
}

#[test]
fn killed_at_any_moment_it_answers_everything_once_and_as_replay_does() {
    let (count, rounds, per_second) = if kafka_common::long() { (200_000, 100, 900) } else { (20_000, 10, 600) };
    let kafka = Arc::new(Kafka::start());
    let mut world = World::new(kafka, "killed", 1);
    world.set("kafka.batch_records", "200");
    world.set("state.snapshot_every", "400ms");
    let payments = payments(count, 7);
    let (hurry, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut chance = Chance::new(u64::from(std::process::id()));
    let mut struck: BTreeMap<&str, u32> = BTreeMap::new();
    std::thread::scope(|scope| {
        let to = (world.kafka.address.clone(), world.topic("input"));
        scope.spawn(|| pace(to, &payments, (per_second, &hurry, &sent)));
        for round in 0..rounds {
            let kind = round % 10;
            if kind < 6 {
                let point = POINTS[kind];
                let snapshot = kind >= 4;
                let after = chance.below(if snapshot { 3 } else { 30 }).to_string();
                let mut instance = world.start(&[("test.crash_at", point), ("test.crash_after", &after)]);
                // The point may not be reached before the input ends: then any moment is as good.
                if instance.ended_within(Duration::from_secs(20)) {
                    *struck.entry(point).or_default() += 1;
                }
                instance.kill();
            } else {
                let mut instance = world.start(&[]);
                instance.ended_within(Duration::from_millis(chance.below(3_000)));
                if kind == 9 {
                    world.kafka.kill();
                    instance.ended_within(Duration::from_millis(chance.below(500)));
                    world.kafka.restart();
                    instance.ended_within(Duration::from_millis(chance.below(2_000)));
                    *struck.entry("broker").or_default() += 1;
                }
                assert!(!instance.ended_within(Duration::from_millis(1)), "it ended by itself:\n{}", instance.log());
                instance.kill();
                *struck.entry("random").or_default() += 1;
            }
            println!("round {round}: {} sent", sent.load(Ordering::Relaxed));
        }
        hurry.store(true, Ordering::Relaxed);
    });
    println!("struck: {struck:?}");
    world.finish();
    assert_equals_replay(&world, &payments.lines);
    for point in POINTS {
        assert!(struck.get(point).is_some_and(|times| *times >= if kafka_common::long() { 5 } else { 1 }), "{point}");
    }
}

#[test]
fn without_a_snapshot_the_journal_alone_brings_the_state_back() {
    let mut world = World::new(Kafka::shared(), "journal-only", 1);
    world.set("kafka.batch_records", "100");
    world.set("kafka.compression", "lz4");
    world.set("state.snapshot_every", "0s");
    let payments = payments(3_000, 8);
    let producer = producer(&world.kafka.address);
    let (first, second) = payments.lines.split_at(1_500);
    for (index, lines) in [first, second].iter().enumerate() {
        for line in *lines {
            send(&producer, &world.topic("input"), &Sent::new(0, "k", line.as_bytes()));
        }
        flush(&producer);
        if index == 0 {
            let mut instance = world.start(&[("test.crash_at", "after_commit"), ("test.crash_after", "11")]);
            assert_eq!(instance.wait(), None, "{}", instance.log());
            let _ = std::fs::remove_dir_all(world.folder.path().join("state"));
        }
    }
    world.finish();
    assert!(world.log_text(1).contains("the state is rebuilt"), "{}", world.log_text(1));
    assert_equals_replay(&world, &payments.lines);
}

/// Several partitions and labels, everything there from the beginning: the order is the records' times, so a
/// stream that was killed and one that was not must agree in everything.
#[test]
fn with_partitions_and_labels_killed_and_undisturbed_agree() {
    let mut world = World::new(Kafka::shared(), "labels", 6);
    world.set("kafka.batch_records", "150");
    world.set("kafka.batch_wait", "50ms");
    world.set("state.snapshot_every", "300ms");
    world.set("kafka.partition_wait", "60s");
    let payments = payments(6_000, 9);
    let producer = producer(&world.kafka.address);
    let (mut chance, start) = (Chance::new(3), 1_700_000_000_000_i64);
    let (mut places, mut next) = (Vec::new(), [0_i64; 6]);
    for (index, (line, customer)) in payments.lines.iter().zip(&payments.customers).enumerate() {
        let millis = start + i64::try_from(index).unwrap() * 10;
        let partition = i32::try_from(customer % 6).unwrap();
        let sent = Sent { millis: Some(millis), ..Sent::new(partition, "k", line.as_bytes()) };
        send(&producer, &world.topic("input"), &sent);
        let offset = &mut next[usize::try_from(partition).unwrap()];
        places.push((partition, *offset));
        *offset += 1;
        if chance.below(5) == 0 {
            // Of payments that were, and of some that are still to come.
            let id = chance.below(index as u64 + 200);
            let at = 1_522_540_800 + i64::try_from(chance.below(40 * 86_400)).unwrap();
            let label = format!("{{\"transaction_id\":{id},\"label\":true,\"observed_at\":{at}}}");
            let partition = i32::try_from(chance.below(2)).unwrap();
            let sent = Sent { millis: Some(millis), ..Sent::new(partition, "l", label.as_bytes()) };
            send(&producer, &world.topic("labels"), &sent);
        }
    }
    flush(&producer);
    let undisturbed = world.twin("labels-undisturbed");
    undisturbed.finish();
    for (point, after) in
        [("after_commit", "4"), ("after_produce", "5"), ("before_rename", "0"), ("after_observe", "7")]
    {
        let mut instance = world.start(&[("test.crash_at", point), ("test.crash_after", after)]);
        assert_eq!(instance.wait(), None, "{point} was not reached:\n{}", instance.log());
    }
    world.finish();
    let (killed, undisturbed) = (by_input(world.read("predictions")), by_input(undisturbed.read("predictions")));
    assert_eq!(killed.len(), undisturbed.len());
    for (input, answer) in &killed {
        let text = |record: &Record| String::from_utf8_lossy(&record.value).into_owned();
        assert_eq!(text(answer), text(&undisturbed[input]), "the answer to {input:?}");
    }
    // The labels must have mattered, or this shows nothing: without them some answers are others.
    let mut deaf = world.twin("labels-deaf");
    deaf.set("labels.enabled", "false");
    deaf.finish();
    let deaf = by_input(deaf.read("predictions"));
    assert!(killed.iter().any(|(input, answer)| answer.value != deaf[input].value), "labels changed nothing");
    // And without labels six partitions are as good as one: the answers are those of replay.
    for (place, wanted) in places.iter().zip(replayed(&payments.lines)) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let found = deaf.get(place).map(|record| text(&record.value));
        assert_eq!(found, wanted.as_deref().map(text), "the answer to {place:?}");
    }
}

#[test]
fn a_newcomer_fences_the_old_one_and_nothing_is_lost() {
    let mut world = World::new(Kafka::shared(), "fenced", 1);
    world.set("kafka.batch_records", "50");
    let payments = payments(4_000, 10);
    let (hurry, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let to = (world.kafka.address.clone(), world.topic("input"));
        scope.spawn(|| pace(to, &payments, (400, &hurry, &sent)));
        let mut old = world.start(&[]);
        old.wait_for("\"scoring\"");
        let mut new = world.start(&[]);
        assert_eq!(old.wait(), Some(76), "{}", old.log());
        assert!(old.log().contains("took over"), "{}", old.log());
        new.wait_for("\"scoring\"");
        assert_eq!(new.get("/health/ready").0, 200);
        // An idle one learns of it too.
        hurry.store(true, Ordering::Relaxed);
        let mut third = world.start(&[]);
        assert_eq!(new.wait(), Some(76), "{}", new.log());
        third.terminate();
        assert_eq!(third.wait(), Some(0), "{}", third.log());
    });
    world.finish();
    assert_equals_replay(&world, &payments.lines);
}

#[test]
fn at_least_once_repeats_but_loses_nothing() {
    let mut world = World::new(Kafka::shared(), "least", 1);
    world.set("kafka.batch_records", "100");
    world.set("kafka.delivery", "at_least_once");
    let payments = payments(3_000, 11);
    let producer = producer(&world.kafka.address);
    for line in &payments.lines {
        send(&producer, &world.topic("input"), &Sent::new(0, "k", line.as_bytes()));
    }
    flush(&producer);
    for (point, after) in [("after_produce", "3"), ("after_commit", "4"), ("after_observe", "5")] {
        let mut instance = world.start(&[("test.crash_at", point), ("test.crash_after", after)]);
        assert_eq!(instance.wait(), None, "{point} was not reached:\n{}", instance.log());
    }
    world.finish();
    let mut found: BTreeMap<(i32, i64), Vec<u8>> = BTreeMap::new();
    for record in world.read("predictions") {
        let (input, value) = (record.input(), record.value);
        if let Some(before) = found.insert(input, value.clone()) {
            assert_eq!(before, value, "{input:?} was answered in two ways");
        }
    }
    let wanted: Vec<Vec<u8>> = replayed(&payments.lines).into_iter().flatten().collect();
    assert_eq!(found.into_values().collect::<Vec<_>>(), wanted);
}

/// A stranger that joined the stream's group keeps the broker from taking its offsets; the journal has the batch by then.
#[test]
fn at_least_once_only_the_offsets_are_committed_again() {
    let mut world = World::new(Kafka::shared(), "offsets", 1);
    world.set("kafka.delivery", "at_least_once");
    let payments = payments(60, 12);
    let (producer, input) = (producer(&world.kafka.address), world.topic("input"));
    let send_some = |lines: &[String]| {
        lines.iter().for_each(|line| send(&producer, &input, &Sent::new(0, "k", line.as_bytes())));
        flush(&producer);
    };
    let mut instance = world.start(&[]);
    instance.wait_for("\"scoring\"");
    let stranger = kafka_common::member(&world);
    send_some(&payments.lines[..50]);
    instance.wait_for("UnknownMemberId");
    std::thread::sleep(Duration::from_secs(1));
    drop(stranger);
    let offsets = kafka_common::Offsets::of(&world, &input);
    let until = Instant::now() + Duration::from_mins(1);
    while offsets.committed() != [50] {
        assert!(Instant::now() < until, "{}", instance.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    instance.terminate();
    assert_eq!(instance.wait(), Some(0), "{}", instance.log());
    assert_equals_replay(&world, &payments.lines[..50]);
    // An entry that is there twice, since its acknowledgement was lost, is one.
    let (topic, journal) = (world.topic("journal"), world.read("journal"));
    let last = journal.last().unwrap();
    send(&producer, &topic, &Sent::new(0, std::str::from_utf8(&last.key).unwrap(), &last.value));
    send_some(&payments.lines[50..]);
    std::fs::remove_dir_all(world.folder.path().join("state")).unwrap();
    world.finish();
    assert_equals_replay(&world, &payments.lines);
}
