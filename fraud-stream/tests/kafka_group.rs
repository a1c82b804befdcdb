//! Several instances in one group over one Redis: they come, go and die under load, and the predictions do not show it.
//!
//! `FRAUD_TEST_ALL=1` runs the long variant.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kafka_common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka_common::{
    Chance, Instance, Kafka, Offsets, Payments, Redis, Sent, World, flush, in_order_payments, producer, replayed, send,
};

/// Event time that a partition may be ahead of the slowest: with what payments are late by it stays under the
/// lateness, and far under the delay of the terminals' features.
const AHEAD: i64 = 35_000;

/// Sends payments at a pace, and no partition further than [`AHEAD`] before the slowest one's commit.
fn feed(
    (brokers, topic, offsets): (&str, &str, &Offsets),
    payments: &Payments,
    (per_second, over): (f64, &AtomicBool),
) {
    let producer = producer(brokers);
    let begin = Instant::now();
    // Of each partition: when the payments sent to it are due.
    let mut sent: Vec<Vec<i64>> = vec![Vec::new(); 6];
    let mut reached = i64::MIN;
    for (index, (line, customer)) in payments.lines.iter().zip(&payments.customers).enumerate() {
        while begin.elapsed().as_secs_f64() * per_second < index as f64 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let due = payments.times[index];
        while due > reached.saturating_add(AHEAD) && !over.load(Ordering::Relaxed) {
            producer.poll(Duration::ZERO);
            std::thread::sleep(Duration::from_millis(10));
            let done = offsets.committed();
            let next = sent.iter().zip(done).filter_map(|(times, done)| times.get(usize::try_from(done).unwrap()));
            // Where all is answered, only what comes now holds anybody up.
            reached = next.min().copied().unwrap_or(due);
        }
        let partition = i32::try_from(customer % 6).unwrap();
        sent[usize::try_from(partition).unwrap()].push(due);
        send(&producer, topic, &Sent::new(partition, &customer.to_string(), line.as_bytes()));
    }
    flush(&producer);
}

/// Everything that was sent under the id of a payment, with the moment at which it was due.
fn of_one_id<'a>(payments: &'a Payments, line: &str) -> Vec<(i64, &'a str)> {
    let id = |line: &str| line.split(',').next().map(ToOwned::to_owned);
    let all = payments.times.iter().zip(&payments.lines).filter(|(_, other)| id(other) == id(line));
    all.map(|(due, other)| (*due, other.as_str())).collect()
}

/// Ends the feeding also when the test fails, which would wait for it otherwise.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn instances_come_go_and_die_without_a_wrong_or_missing_prediction() {
    let long = kafka_common::long();
    let (count, actions) = if long { (60_000, 60) } else { (9_000, 10) };
    let kafka = Arc::new(Kafka::start());
    let redis = Redis::start("group");
    let mut world = World::new(kafka, "group", 6);
    for (key, value) in [
        ("store.kind", "redis"),
        ("store.redis.url", redis.url.as_str()),
        ("store.redis.prefix", "group"),
        ("store.redis.timeout", "1s"),
        ("kafka.session_timeout", "6s"),
        ("kafka.transaction_timeout", "10s"),
        ("kafka.batch_records", "60"),
    ] {
        world.set(key, value);
    }
    let payments = in_order_payments(count, 41);
    let over = AtomicBool::new(false);
    let mut chance = Chance::new(u64::from(std::process::id()));
    let mut happened: BTreeMap<&str, u32> = BTreeMap::new();
    std::thread::scope(|scope| {
        let _over = Over(&over);
        let (brokers, input) = (world.kafka.address.clone(), world.topic("input"));
        let offsets = Offsets::of(&world, &input);
        let (lines, ended) = (&payments, &over);
        let per_second = if long { 1_500.0 } else { 900.0 };
        scope.spawn(move || feed((&brokers, &input, &offsets), lines, (per_second, ended)));
        let mut number = 0;
        let mut start = |world: &World, more: &[(&str, &str)]| {
            number += 1;
            world.start(&[&[("kafka.instance", format!("i{number}").as_str())], more].concat())
        };
        let mut running: Vec<Instance> = (0..2).map(|_| start(&world, &[])).collect();
        running.iter_mut().for_each(|instance| instance.wait_for("given by the group"));
        for action in 0..actions {
            let kind = match (running.len(), action % 5) {
                (2, 1 | 3) | (2..6, 0) => "join",
                (2..6, 2) => "crash point",
                // Long enough to be taken for dead, and then it goes on as if nothing had been.
                _ if action % 10 == 9 => "frozen",
                (_, 4) => "store away",
                (_, 3) => "kill",
                _ => "leave",
            };
            *happened.entry(kind).or_default() += 1;
            match kind {
                "join" => running.push(start(&world, &[])),
                "crash point" => {
                    let points = ["after_observe", "after_produce", "before_commit", "after_commit"];
                    let point = points[usize::try_from(chance.below(4)).unwrap()];
                    let after = chance.below(40).to_string();
                    running.push(start(&world, &[("test.crash_at", point), ("test.crash_after", &after)]));
                }
                "store away" => {
                    redis.signal("STOP");
                    std::thread::sleep(Duration::from_millis(1_500));
                    redis.signal("CONT");
                }
                "frozen" => {
                    let index = usize::try_from(chance.below(running.len() as u64)).unwrap();
                    running[index].signal("STOP");
                    std::thread::sleep(Duration::from_millis(7_000 + chance.below(3_000)));
                    running[index].signal("CONT");
                }
                "leave" => {
                    let index = usize::try_from(chance.below(running.len() as u64)).unwrap();
                    let mut instance = running.swap_remove(index);
                    instance.terminate();
                    assert!(matches!(instance.wait(), Some(0) | None), "{}", instance.log());
                }
                _ => {
                    let index = usize::try_from(chance.below(running.len() as u64)).unwrap();
                    running.swap_remove(index).kill();
                }
            }
            std::thread::sleep(Duration::from_millis(1_000 + chance.below(3_000)));
            // Those that met their crash point are replaced.
            running.retain_mut(|instance| !instance.ended_within(Duration::ZERO));
            while running.len() < 2 {
                running.push(start(&world, &[]));
            }
        }
        let until = Instant::now() + Duration::from_mins(4);
        let offsets = Offsets::of(&world, &world.topic("input"));
        loop {
            let done: i64 = offsets.committed().iter().sum();
            if done == i64::try_from(payments.lines.len()).unwrap() {
                break;
            }
            if Instant::now() > until {
                panic!("{done} of {} are answered:\n{}", payments.lines.len(), running[0].log());
            }
            std::thread::sleep(Duration::from_millis(100));
            running.retain_mut(|instance| !instance.ended_within(Duration::ZERO));
            while running.len() < 2 {
                running.push(start(&world, &[]));
            }
        }
        for instance in &mut running {
            instance.terminate();
            assert_eq!(instance.wait(), Some(0), "{}", instance.log());
        }
    });
    println!("happened: {happened:?}");
    let mut next = [0_i64; 6];
    let mut found = BTreeMap::new();
    for record in world.read("predictions") {
        assert_eq!(found.insert(record.input(), record.value), None, "answered twice");
    }
    let (mut refused, mut wrong) = (0, Vec::new());
    for ((line, customer), wanted) in payments.lines.iter().zip(&payments.customers).zip(replayed(&payments.lines)) {
        let offset = &mut next[usize::try_from(customer % 6).unwrap()];
        let place = (i32::try_from(customer % 6).unwrap(), *offset);
        *offset += 1;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        refused += usize::from(wanted.is_none());
        let (given, wanted) = (found.remove(&place).map(text), wanted.map(text));
        if given != wanted {
            wrong.push(format!(
                "the answer to {place:?}: {line}\ngiven:  {given:?}\nwanted: {wanted:?}\nits id: {:#?}",
                of_one_id(&payments, line)
            ));
        }
    }
    let letters = world.read("dead");
    if !wrong.is_empty() {
        let letters: Vec<String> = letters.iter().map(kafka_common::Record::text).collect();
        let count = wrong.len();
        wrong.truncate(5);
        let kept = world.keep();
        panic!("{count} wrong:\n{}\nof {refused} refused:\n{}\nlogs: {kept:?}", wrong.join("\n"), letters.join("\n"));
    }
    assert!(found.is_empty());
    let dead: std::collections::BTreeSet<(String, String)> = letters
        .iter()
        .map(|letter| {
            (letter.header("dead-letter-partition").to_owned(), letter.header("dead-letter-offset").to_owned())
        })
        .collect();
    assert_eq!((dead.len(), letters.len()), (refused, refused));
}

/// A group that begins with what comes next begins there also after a crash before its first commit.
#[test]
fn what_comes_after_the_start_is_answered() {
    let redis = Redis::start("latest");
    let mut world = World::new(Kafka::shared(), "latest", 1);
    for (key, value) in [
        ("store.kind", "redis"),
        ("store.redis.url", redis.url.as_str()),
        ("store.redis.prefix", "latest"),
        ("kafka.start", "latest"),
        ("kafka.session_timeout", "6s"),
        ("kafka.instance", "one"),
    ] {
        world.set(key, value);
    }
    let (producer, topic) = (producer(&world.kafka.address), world.topic("input"));
    let payments = in_order_payments(15, 42);
    let send_some = |lines: &[String]| {
        lines.iter().for_each(|line| send(&producer, &topic, &Sent::new(0, "k", line.as_bytes())));
        flush(&producer);
    };
    send_some(&payments.lines[..5]);
    let offsets = Offsets::of(&world, &topic);
    let wait_for = |instance: &Instance, next: i64| {
        let until = Instant::now() + Duration::from_mins(1);
        while offsets.committed() != [next] {
            assert!(Instant::now() < until, "{next} is not committed:\n{}", instance.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let mut instance = world.start(&[("test.crash_at", "after_observe")]);
    // Where it begins is written down before anything is read.
    wait_for(&instance, 5);
    send_some(&payments.lines[5..]);
    assert_eq!(instance.wait(), None, "{}", instance.log());
    let mut instance = world.start(&[]);
    wait_for(&instance, 15);
    instance.terminate();
    assert_eq!(instance.wait(), Some(0), "{}", instance.log());
    let mut inputs: Vec<_> = world.read("predictions").iter().map(kafka_common::Record::input).collect();
    inputs.sort_unstable();
    assert_eq!(inputs, (5..15).map(|offset| (0, offset)).collect::<Vec<_>>());
}
