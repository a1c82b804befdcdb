//! Many transactions at once on the shared store: what they would give one after the other.
#![cfg(feature = "redis")]

mod store_driver;
mod store_reference;

use fraud_core::error::StoreError;
use fraud_core::features::{FeaturePlan, FeatureSet, Label, LabelOutcome, MemoryStore, Profile, StoreSettings};
use fraud_core::store::redis::{BlockingRedisStore, Observation, RedisSettings};
use fraud_core::transaction::{Id, Transaction};
use proptest::prelude::*;
use store_driver::shared;
use store_reference::{Reference, transaction};

const START: i64 = 1_700_000_000;

fn begin(store: &StoreSettings) -> RedisSettings {
    begin_on(&shared::url(), store)
}

fn begin_on(url: &str, store: &StoreSettings) -> RedisSettings {
    let settings = shared::settings(url, store);
    BlockingRedisStore::begin(settings.clone()).expect("a store");
    settings
}

fn plan() -> FeaturePlan {
    let features = r#"["CUSTOMER_ID_NB_TX_1DAY_WINDOW",
        {"name": "sum", "source": "window", "key": "customer", "aggregate": "sum", "window": "10m", "delay": "0s"},
        {"name": "last", "source": "window", "key": "customer", "aggregate": "seconds_since_previous", "window": "10m", "delay": "0s"},
        {"name": "risk", "source": "window", "key": "terminal", "aggregate": "fraud_share", "window": "10m", "delay": "1m"},
        {"name": "max", "source": "window", "key": "terminal", "aggregate": "max", "window": "10m", "delay": "0s"}]"#;
    FeaturePlan::compile(&FeatureSet::from_json(features).expect("features"))
}

fn observe(store: &BlockingRedisStore, rows: &[Transaction], plan: &FeaturePlan) -> Vec<Result<Profile, StoreError>> {
    let rows: Vec<Observation> = rows.iter().map(Observation::from).collect();
    let mut profiles = vec![Profile::default(); rows.len()];
    let results = store.observe_batch(&rows, plan.profile(), &mut profiles);
    results.into_iter().zip(profiles).map(|(result, profile)| result.map(|()| profile)).collect()
}

/// A step of time, customer, terminal, amount; or an earlier row again with something changed.
type Step = (i64, i64, i64, i64, Option<(usize, u8)>);

fn rows(steps: &[Step]) -> Vec<Transaction> {
    let mut time = START;
    let mut sent: Vec<Transaction> = Vec::new();
    for (id, (step, customer, terminal, units, again)) in (0..).zip(steps) {
        let mut tx = transaction(id, (*customer, *terminal), (time + step, *units));
        if let Some((back, change)) = again
            && let Some(index) = sent.len().checked_sub(back + 1)
        {
            tx = sent[index].clone();
            match change {
                1 => tx.customer_id = Id::from(*customer),
                2 => tx.time += step,
                3 => tx.terminal_id = Id::from(*terminal),
                _ => {}
            }
        }
        time = time.max(tx.time.min(time + 400));
        sent.push(tx);
    }
    sent
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![6 => 0..20_i64, 2 => -300..0_i64, 1 => -700..0_i64, 1 => 0..2_000_i64];
    let again = proptest::option::weighted(0.25, (0..30_usize, prop_oneof![4 => Just(0_u8), 3 => 1..4_u8]));
    proptest::collection::vec((step, 0..3_i64, 0..2_i64, 0..1_000_i64, again), 1..120)
}

fn batches((steps, size): (&[Step], usize), url: &str) {
    let settings = StoreSettings { history: 90_000, lateness: 300, dedupe: 200, ..StoreSettings::default() };
    let (plan, rows) = (plan(), rows(steps));
    let store = BlockingRedisStore::connect(begin_on(url, &settings)).expect("connected");
    let other = store.sibling().expect("a sibling");
    let mut reference = Reference::new(settings);
    for (index, rows) in rows.chunks(size).enumerate() {
        let found = observe(if index % 2 == 0 { &store } else { &other }, rows, &plan);
        for (row, found) in rows.iter().zip(found) {
            assert_eq!(found, reference.observe(row, plan.profile()), "{row:?}");
        }
        assert_eq!(store.store().time(), reference.time());
        let labels: Vec<(&Id, Label)> = rows
            .iter()
            .step_by(3)
            .map(|row| (&row.transaction_id, Label { fraud: row.time % 2 == 0, observed_at: row.time + 30 }))
            .collect();
        let found = other.label_batch(&labels).expect("labels");
        let expected: Vec<LabelOutcome> = labels.iter().map(|(id, label)| reference.label(id, *label)).collect();
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn batches_give_what_single_transactions_give(steps in steps(), size in 1..60_usize) {
        batches((&steps, size), &shared::url());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn on_a_cluster_too(steps in steps(), size in 1..60_usize) {
        batches((&steps, size), &shared::cluster());
    }
}

#[test]
fn the_same_reading_is_no_duplicate() {
    let store = BlockingRedisStore::connect(begin(&StoreSettings::default())).expect("connected");
    let plan = plan();
    let rows: Vec<_> = (0..5).map(|id| transaction(id, (1, 1), (START + id, 10))).collect();
    let observe = |origin: u64| {
        let rows: Vec<_> = rows.iter().map(|transaction| Observation { transaction, origin }).collect();
        let mut profiles = vec![Profile::default(); rows.len()];
        let results = store.observe_batch(&rows, plan.profile(), &mut profiles);
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        profiles
    };
    let first = observe(77);
    assert_eq!(first[4].windows[0].sum, 50);
    assert_eq!(observe(77), first, "read again");
    for origin in [78, 0] {
        let duplicates = observe(origin);
        for (duplicate, first) in duplicates.iter().zip(&first) {
            assert_eq!(*duplicate, Profile { duplicate: true, ..first.clone() });
        }
    }
}

#[test]
fn what_an_embedded_store_holds_goes_on_in_redis() {
    let settings = StoreSettings { history: 90_000, lateness: 300, dedupe: 10_000, ..StoreSettings::default() };
    let (plan, embedded) = (plan(), MemoryStore::new(settings.clone()));
    let mut reference = Reference::new(settings.clone());
    let mut profile = Profile::default();
    for id in 0..300 {
        let tx = transaction(id, (id % 7, id % 5), (START + id * 40, id * 10));
        embedded.observe(&tx, plan.profile(), &mut profile).expect("observed");
        reference.observe(&tx, plan.profile()).expect("observed");
        for n in 0..id % 4 {
            let label = Label { fraud: n % 2 == 0, observed_at: tx.time + n * 50 };
            assert_eq!(embedded.label(&tx.transaction_id, label), reference.label(&tx.transaction_id, label));
        }
    }
    let url = shared::server().lock().unwrap_or_else(|broken| broken.into_inner()).url();
    let target = shared::settings(&url, &settings);
    BlockingRedisStore::begin_with(target.clone(), &embedded).expect("taken over");
    let store = BlockingRedisStore::connect(target).expect("connected");
    // Repeats, conflicts, labels and new ones, on what came over.
    let rows: Vec<_> = (0..340)
        .map(|id| transaction(id, (id % 7, id % 5), (START + id * 40, id * 10 + i64::from(id % 50 == 49))))
        .collect();
    for (row, found) in rows.iter().zip(observe(&store, &rows, &plan)) {
        assert_eq!(found, reference.observe(row, plan.profile()), "{row:?}");
    }
    let label = Label { fraud: true, observed_at: START + 13_000 };
    for row in &rows {
        let found = store.label_batch(&[(&row.transaction_id, label)]).expect("labelled");
        assert_eq!(found, [reference.label(&row.transaction_id, label)]);
    }
    let after = transaction(1_000, (3, 3), (START + 13_700, 5));
    assert_eq!(observe(&store, std::slice::from_ref(&after), &plan), [reference.observe(&after, plan.profile())]);
}
