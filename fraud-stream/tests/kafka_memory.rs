//! Ten million transactions of the same customers and terminals: memory must not grow. Some minutes, so not by default:
//! `cargo test --release -p fraud-stream --test kafka_memory -- --ignored --nocapture`
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kafka_common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kafka_common::{Chance, Kafka, Offsets, Sent, World, flush, producer, send};

const COUNT: u64 = 10_000_000;
const CUSTOMERS: u64 = 20_000;
const TERMINALS: u64 = 40_000;
/// Event time runs through so many days: what is kept (38 days) is full after a tenth of them.
const DAYS: u64 = 400;

fn feed(brokers: &str, topic: &str, answered: &AtomicU64) {
    let (producer, mut chance) = (producer(brokers), Chance::new(1));
    for index in 0..COUNT {
        // Enough to keep it busy; a backlog on disk would only take time.
        while index > answered.load(Ordering::Relaxed) + 1_000_000 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let (customer, terminal) = (chance.below(CUSTOMERS), chance.below(TERMINALS));
        let time = 1_600_000_000 + index * DAYS * 86_400 / COUNT;
        let line = format!(
            "{{\"transaction_id\":{index},\"customer_id\":{customer},\"terminal_id\":{terminal},\
             \"tx_amount\":{}.5,\"tx_time_seconds\":{time}}}",
            chance.below(300)
        );
        let partition = i32::try_from(customer % 6).unwrap();
        send(&producer, topic, &Sent::new(partition, &customer.to_string(), line.as_bytes()));
    }
    flush(&producer);
}

#[test]
#[ignore = "ten million transactions take some minutes"]
fn memory_stays_flat_over_ten_million_transactions() {
    let mut world = World::new(Arc::new(Kafka::start()), "memory", 6);
    world.set("labels.enabled", "false");
    let answered = AtomicU64::new(0);
    // What was answered, and the resident memory then, in MiB.
    let mut samples: Vec<(u64, u64)> = Vec::new();
    std::thread::scope(|scope| {
        let input = world.topic("input");
        let (brokers, topic, done) = (world.kafka.address.clone(), input.clone(), &answered);
        scope.spawn(move || feed(&brokers, &topic, done));
        let offsets = Offsets::of(&world, &input);
        let mut instance = world.start(&[]);
        while answered.load(Ordering::Relaxed) < COUNT {
            assert!(!instance.ended_within(Duration::from_secs(2)), "{}", instance.log());
            let sum: i64 = offsets.committed().iter().sum();
            answered.store(u64::try_from(sum).unwrap(), Ordering::Relaxed);
            samples.push((sum.unsigned_abs(), instance.resident_mebibytes()));
            println!("{sum} answered, {} MiB", samples[samples.len() - 1].1);
        }
        instance.terminate();
        assert_eq!(instance.wait(), Some(0), "{}", instance.log());
    });
    let most = |from: u64, to: u64| {
        let within = samples.iter().filter(|(answered, _)| (from..=to).contains(&(answered * 10 / COUNT)));
        within.map(|(_, memory)| *memory).max().unwrap()
    };
    let (early, late) = (most(2, 4), most(8, 10));
    println!("at most {early} MiB in the third to fifth tenth, {late} MiB in the last ones");
    assert!(late * 10 <= early * 11, "it grew from {early} to {late} MiB");
}
