//! What a shared store costs: how much a call moves does not grow with a key's history.
//!
//! `cargo test --release -p fraud-core --features redis --test redis_cost -- --ignored --nocapture` prints the figures.
#![cfg(feature = "redis")]

mod store_driver;
mod store_reference;

use std::time::Instant;

use fraud_core::features::{FeaturePlan, FeatureSet, MemoryStore, Profile, StoreSettings};
use fraud_core::store::redis::{BlockingRedisStore, Observation};
use store_driver::redis::Redis;
use store_driver::shared;
use store_reference::transaction;

const START: i64 = 1_700_006_400;
const DAY: i64 = 86_400;

fn figure(redis: &Redis, section: &str, name: &str) -> f64 {
    let text = redis.cli(&["info", section]);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("a figure").trim().parse().expect("a number")
}

fn connected(redis: &Redis) -> BlockingRedisStore {
    let settings = shared::settings(&redis.url(), &StoreSettings::default());
    BlockingRedisStore::begin(settings.clone()).expect("begun");
    BlockingRedisStore::connect(settings).expect("connected")
}

/// A terminal with ever more payments, spread over 37 days: the profiles are those of the embedded store, and once its
/// past days are summed up, a look at twice as many payments moves hardly more.
#[test]
fn a_busy_key_is_exact_and_moves_no_more_with_a_longer_history() {
    let redis = Redis::start();
    let (store, plan) = (connected(&redis), FeaturePlan::compile(&FeatureSet::handbook()));
    let embedded = MemoryStore::new(StoreSettings::default());
    let mut moved = Vec::new();
    let mut sent = 0;
    for count in [4_000_i64, 4_000] {
        let from = sent;
        sent += count;
        let rows: Vec<_> = (from..sent)
            .map(|id| {
                // The first half fills 37 days, the second lies between; late ones are not among them.
                let spread = if from == 0 { id * 37 * DAY / count } else { 36 * DAY + (id - from) * DAY / count };
                transaction(id, (id % 900, 0), (START + spread, 100 + id))
            })
            .collect();
        for rows in rows.chunks(250) {
            let observations: Vec<_> = rows.iter().map(Observation::from).collect();
            let mut profiles = vec![Profile::default(); rows.len()];
            let results = store.observe_batch(&observations, plan.profile(), &mut profiles);
            for ((row, result), found) in rows.iter().zip(results).zip(&profiles) {
                result.expect("observed");
                let mut expected = Profile::default();
                embedded.observe(row, plan.profile(), &mut expected).expect("observed");
                assert_eq!(*found, expected);
            }
        }
        let look = transaction(-1, (1, 0), (START + 37 * DAY, 1));
        let peek = || {
            let mut profiles = [Profile::default()];
            let results = store.peek_batch(&[Observation::from(&look)], plan.profile(), &mut profiles);
            assert_eq!(results, [Ok(())]);
            let [found] = profiles;
            let mut expected = Profile::default();
            embedded.peek(&look, plan.profile(), &mut expected).expect("a profile");
            assert_eq!(found, expected);
        };
        peek();
        let before = figure(&redis, "stats", "total_net_output_bytes");
        (0..10).for_each(|_| peek());
        // What asking for the figure moves itself is in it.
        moved.push((figure(&redis, "stats", "total_net_output_bytes") - before) / 10.0);
    }
    println!("bytes from Redis for one look at 4,000 and at 8,000 payments of one terminal: {moved:?}");
    assert!(moved[1] < moved[0] * 1.6 + 4_096.0 && moved[1] < 40_000.0, "{moved:?}");
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    let redis = Redis::start();
    let store = connected(&redis);
    let (plan, runtime) = (FeaturePlan::compile(&FeatureSet::handbook()), shared::runtime());
    let settings = shared::settings(&redis.url(), &StoreSettings::default());
    runtime.block_on(fraud_core::store::redis::RedisStore::begin(settings.clone())).expect("begun");
    let single = runtime.block_on(fraud_core::store::redis::RedisStore::connect(settings)).expect("connected");
    // 500 customers and as many terminals at two payments a day for 38 days.
    let row = |id: i64| transaction(id, (id % 500, id * 7 % 501), (START + id * 38 * DAY / 38_000, 1_000 + id % 9_999));
    let mut profile = Profile::default();
    let cpu = || figure(&redis, "cpu", "used_cpu_user") + figure(&redis, "cpu", "used_cpu_sys");
    for id in 0..34_000 {
        runtime.block_on(single.observe(&row(id), plan.profile(), &mut profile)).expect("observed");
    }
    let (begin, used, reads) = (Instant::now(), cpu(), figure(&redis, "stats", "total_reads_processed"));
    let [came, went] = ["total_net_input_bytes", "total_net_output_bytes"].map(|it| figure(&redis, "stats", it));
    for id in 34_000..38_000 {
        runtime.block_on(single.observe(&row(id), plan.profile(), &mut profile)).expect("observed");
    }
    let each = |figure: f64| figure / 4_000.0;
    println!(
        "single: {:.0} us of Redis' CPU, {:.2} reads of its socket, {:.0} bytes in, {:.0} out, {:.0} us of wall clock",
        each(cpu() - used) * 1e6,
        each(figure(&redis, "stats", "total_reads_processed") - reads),
        each(figure(&redis, "stats", "total_net_input_bytes") - came),
        each(figure(&redis, "stats", "total_net_output_bytes") - went),
        each(begin.elapsed().as_secs_f64()) * 1e6
    );
    println!(
        "{:.0} bytes of Redis' memory per transaction",
        figure(&redis, "memory", "used_memory_dataset") / 38_000.0
    );
    let (begin, used) = (Instant::now(), cpu());
    let rows: Vec<_> = (0..38_000).map(row).collect();
    for rows in rows.chunks(250) {
        let observations: Vec<_> = rows.iter().map(Observation::from).collect();
        let mut profiles = vec![Profile::default(); rows.len()];
        let results = store.observe_batch(&observations, plan.profile(), &mut profiles);
        assert!(results.iter().all(Result::is_ok));
    }
    let each = |figure: f64| figure / 38_000.0 * 1e6;
    println!(
        "batches of 250: {:.0} us of Redis' CPU, {:.0} us of wall clock per transaction",
        each(cpu() - used),
        each(begin.elapsed().as_secs_f64())
    );
}
