//! An hour's worth of traffic against the real command, compressed: every answer is compared with what the
//! library says in this process, while models are exchanged, settings reread, clients break off, and the service is
//! stopped and started again. Minutes: `scripts/test.sh --only soak`.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod disturbance;
mod lane;
#[path = "../../../fraud-core/tests/support/redis.rs"]
mod redis;
mod service;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};

use disturbance::{break_off, exchange_models, watch};
use lane::{Lane, Models};
use service::{Process, Store};

/// 500 payments a second for an hour.
const PAYMENTS: u64 = 500 * 3_600;
/// Clients whose answers are checked, each with customers and terminals of its own.
const LANES: u64 = 8;
/// Days of event time that they are spread over: past what the store keeps, so that it forgets as fast as it learns.
const DAYS: u64 = 60;
/// At the end of these days the service is stopped and started again.
const RESTARTS: [u64; 2] = [25, 42];
/// In the middle of these days Redis is killed and started again.
const REDIS_RESTARTS: [u64; 3] = [10, 31, 50];
/// From here on memory must not grow: the store has been full for two weeks, and the last start lies behind.
const STEADY: u64 = 53;

/// What happened, all lanes together.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicU64,
    repeated: AtomicU64,
    labelled: AtomicU64,
    /// Answered 503 and sent again.
    put_off: AtomicU64,
    /// Connections that ended and were opened again.
    reopened: AtomicU64,
    broken_off: AtomicU64,
    exchanges: AtomicU64,
    /// Event time at which the day of all lanes began, in Unix seconds.
    today: AtomicI64,
}

#[test]
#[ignore = "minutes: scripts/test.sh --only soak"]
fn an_hour_of_traffic_on_the_embedded_store() {
    // For a short look: FRAUD_SOAK_PAYMENTS=40000.
    let payments = std::env::var("FRAUD_SOAK_PAYMENTS").map_or(PAYMENTS, |text| text.parse().unwrap());
    soak(Store::Embedded, payments);
}

/// Fewer of them: each is half a dozen commands to one Redis.
#[test]
#[ignore = "minutes: scripts/test.sh --only soak"]
fn traffic_on_redis() {
    let payments = std::env::var("FRAUD_SOAK_PAYMENTS").map_or(PAYMENTS / 8, |text| text.parse().unwrap());
    soak(Store::Redis, payments);
}

fn soak(store: Store, payments: u64) {
    let models = Models::new();
    let process = Process::start(store);
    let start = fraud_core::service::clock::unix_seconds() - (DAYS as i64 + 1) * lane::DAY;
    let (tally, over) = (Tally { today: AtomicI64::new(start), ..Tally::default() }, AtomicBool::new(false));
    let barrier = Barrier::new(LANES as usize);
    let resident = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let (process, tally, over, barrier, models) = (&process, &tally, &over, &barrier, &models);
        let resident = &resident;
        scope.spawn(|| exchange_models(process, tally, over));
        scope.spawn(|| watch(process, over));
        (0..2).for_each(|number| drop(scope.spawn(move || break_off(process, number, (tally, over)))));
        let lanes: Vec<_> = (0..LANES)
            .map(|number| {
                let days = move || {
                    let mut lane = Lane::new(number, models, start);
                    for day in 0..DAYS {
                        if number == 0 && REDIS_RESTARTS.contains(&day) {
                            scope.spawn(|| process.restart_redis());
                        }
                        lane.day(day, payments / LANES / DAYS, (process, tally));
                        // No lane is ever more than a day ahead: none comes too late for the store.
                        if barrier.wait().is_leader() {
                            resident.lock().unwrap().push(process.resident_mib());
                            tally.today.fetch_add(lane::DAY, Ordering::Relaxed);
                            if RESTARTS.contains(&day) {
                                process.restart();
                            }
                        }
                        barrier.wait();
                    }
                    lane.nothing_was_lost((process, tally));
                };
                scope.spawn(move || {
                    // The other lanes would wait for this one for ever.
                    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(days)).is_err() {
                        process.kill();
                        std::process::exit(101);
                    }
                })
            })
            .collect();
        lanes.into_iter().for_each(|lane| lane.join().unwrap());
        over.store(true, Ordering::Relaxed);
    });
    let resident = resident.into_inner().unwrap();
    println!("{tally:?}\nresident MiB, by day: {resident:.1?}");
    let steady = &resident[STEADY as usize..];
    let (first, last) = (steady[0], steady[steady.len() - 1]);
    assert!(last <= first * 1.05 + 6.0, "memory grows: {first:.1} MiB on day {STEADY}, {last:.1} MiB at the end");
    assert!(tally.exchanges.into_inner() > 20 && tally.broken_off.into_inner() > 100);
    process.check_figures(payments);
    process.finish();
}
