//! The embedded store: one transaction at a time, warm, and on a terminal with a long history.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fraud_core::features::{FeaturePlan, FeatureSet, Label, MemoryStore, Profile, StoreSettings};
use fraud_core::transaction::{Amount, Id, Transaction};

const START: i64 = 1_522_540_800;
const DAY: i64 = 86_400;
const CUSTOMERS: u64 = 5_000;
const TERMINALS: u64 = 10_000;

/// Numbers without a pattern, the same in every run.
fn scatter(number: u64) -> u64 {
    let mixed = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

/// The n-th of two payments a day of each customer.
fn nth(number: i64) -> Option<Transaction> {
    let random = scatter(number.cast_unsigned());
    let key = |count: u64, shift: u32| i64::try_from((random >> shift) % count).map(Id::from).ok();
    Some(Transaction {
        transaction_id: Id::from(number),
        customer_id: key(CUSTOMERS, 0)?,
        terminal_id: key(TERMINALS, 13)?,
        amount: Amount::from_units(i64::try_from(random % 20_000).ok()? * 100)?,
        time: START + number * DAY / (2 * CUSTOMERS.cast_signed()),
    })
}

fn warm(plan: &FeaturePlan, settings: StoreSettings) -> (MemoryStore, i64) {
    let (store, mut profile) = (MemoryStore::new(settings), Profile::default());
    let count = 45 * 2 * CUSTOMERS.cast_signed();
    for tx in (0..count).filter_map(nth) {
        store.observe(&tx, plan.profile(), &mut profile).expect("observed");
    }
    (store, count)
}

fn store(criterion: &mut Criterion) {
    let plan = FeaturePlan::compile(&FeatureSet::handbook());
    let mut profile = Profile::default();
    let (store, mut next) = warm(&plan, StoreSettings::default());
    let stats = store.stats();
    println!("{} bytes per customer, {} per transaction", stats.bytes / stats.customers, stats.bytes / stats.events);

    let mut group = criterion.benchmark_group("store");
    group.bench_function("observe, 15 features", |bencher| {
        let fresh = || {
            next += 1;
            nth(next).expect("in range")
        };
        let observe = |tx| store.observe(black_box(&tx), plan.profile(), &mut profile).expect("observed");
        bencher.iter_batched(fresh, observe, BatchSize::SmallInput);
    });
    let known = nth(next - 1_000).expect("in range");
    group.bench_function("observe, a duplicate", |bencher| {
        bencher.iter(|| store.observe(black_box(&known), plan.profile(), &mut profile).expect("observed"));
    });
    let mut labelled = next - 300_000;
    group.bench_function("label", |bencher| {
        bencher.iter(|| {
            labelled += 1;
            let label = Label { fraud: labelled % 100 == 0, observed_at: START + 40 * DAY };
            store.label(black_box(&Id::from(labelled)), label)
        });
    });
    let folder = std::env::temp_dir().join("fraud-store-bench");
    group.sample_size(10);
    group.bench_function("snapshot, 380,000 transactions", |bencher| {
        bencher.iter(|| store.snapshot(&folder, b"").expect("written"));
    });
    group.bench_function("restore, 380,000 transactions", |bencher| {
        bencher.iter(|| MemoryStore::restore(&folder, StoreSettings::default()).expect("read"));
    });
    let _best_effort = std::fs::remove_file(&folder);
    group.finish();
}

/// All payments at one terminal: the time must not follow its number of payments.
fn busy_terminal(criterion: &mut Criterion) {
    let plan = FeaturePlan::compile(&FeatureSet::handbook());
    let mut profile = Profile::default();
    let mut group = criterion.benchmark_group("store, one terminal");
    for count in [1_000, 30_000, 1_000_000_i64] {
        let settings = StoreSettings { max_cells_per_key: usize::MAX, ..StoreSettings::default() };
        let store = MemoryStore::new(settings);
        let at = |number: i64, time: i64| {
            let tx = nth(number).expect("in range");
            Transaction { terminal_id: Id::from(0), time, ..tx }
        };
        for number in 0..count {
            let tx = at(number, START + number * 37 * DAY / count);
            store.observe(&tx, plan.profile(), &mut profile).expect("observed");
            if number % 100 == 0 {
                store.label(&tx.transaction_id, Label { fraud: true, observed_at: tx.time + 7 * DAY });
            }
        }
        let mut next = count;
        group.bench_function(format!("{count} payments, one up to a day late"), |bencher| {
            let fresh = || {
                next += 1;
                at(next, START + 37 * DAY - i64::try_from(scatter(next.cast_unsigned()) % 86_000).unwrap_or(0))
            };
            let observe = |tx| store.observe(black_box(&tx), plan.profile(), &mut profile).expect("observed");
            bencher.iter_batched(fresh, observe, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, store, busy_terminal);
criterion_main!(benches);
