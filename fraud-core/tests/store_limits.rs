//! What a store refuses, what it forgets, and how much memory it takes.

mod store_reference;

use fraud_core::error::{FeatureError, StoreError};
use fraud_core::features::{FeaturePlan, FeatureSet, MemoryStore, Profile, StoreSettings};
use store_reference::transaction;

const START: i64 = 1_700_000_000;
const DAY: i64 = 86_400;

fn plan() -> FeaturePlan {
    FeaturePlan::compile(&FeatureSet::handbook())
}

#[test]
fn a_plan_that_looks_back_too_far_is_refused() {
    let store = MemoryStore::new(StoreSettings { history: 36 * 86_400, ..StoreSettings::default() });
    let tx = transaction(0, (0, 0), (START, 1));
    let error = store.observe(&tx, plan().profile(), &mut Profile::default()).expect_err("refused");
    assert!(
        matches!(&error, StoreError::Feature(FeatureError::TooMuchHistory { needed_seconds: 3_196_800, .. })),
        "{error}"
    );
    assert_eq!(store.time(), None);
}

#[test]
fn at_the_ceiling_new_keys_are_refused_and_known_ones_go_on() {
    let (plan, mut profile) = (plan(), Profile::default());
    let store = MemoryStore::new(StoreSettings { max_bytes: 300_000, shards: 1, ..StoreSettings::default() });
    let mut id = 0;
    let refused = loop {
        let tx = transaction(id, (id, id), (START, 5));
        match store.observe(&tx, plan.profile(), &mut profile) {
            Ok(()) => id += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full { limit: 300_000, .. }), "{refused}");
    let before = store.stats();
    assert!(before.bytes >= 300_000 && id > 100);
    for (customer, terminal) in [(id, 0), (0, id)] {
        let tx = transaction(id, (customer, terminal), (START + 100, 5));
        assert!(matches!(store.observe(&tx, plan.profile(), &mut profile), Err(StoreError::Full { .. })));
        store.peek(&tx, plan.profile(), &mut profile).expect("reading needs no room");
    }
    assert_eq!((store.time(), store.stats().events), (Some(START), before.events));
    store.observe(&transaction(id, (0, 1), (START + 100, 5)), plan.profile(), &mut profile).expect("known keys");
    assert_eq!(profile.windows[0].count, 2);
}

#[test]
fn what_expired_is_cleared_away() {
    let (plan, mut profile) = (plan(), Profile::default());
    let store = MemoryStore::new(StoreSettings { shards: 4, ..StoreSettings::default() });
    for id in 0..30_000 {
        let tx = transaction(id, (id, id % 100), (START + id, 5));
        store.observe(&tx, plan.profile(), &mut profile).expect("observed");
    }
    let full = store.stats();
    assert_eq!((full.customers, full.terminals, full.events), (30_000, 100, 30_000));
    for id in 30_000..60_000 {
        let tx = transaction(id, (id % 100, id % 100), (START + id + 60 * DAY, 5));
        store.observe(&tx, plan.profile(), &mut profile).expect("observed");
    }
    let after = store.stats();
    assert!(after.customers <= 110 && after.events <= 31_000, "{after:?}");
    assert!(after.bytes < full.bytes, "{} then {}", full.bytes, after.bytes);
}

/// Two payments a day for 60 days, of which 38 are kept; everything that the store holds for them.
#[test]
fn a_customer_takes_less_than_eight_kilobytes() {
    let (plan, mut profile) = (plan(), Profile::default());
    let store = MemoryStore::new(StoreSettings::default());
    let customers = 2_000_i64;
    for id in 0..customers * 2 * 60 {
        let spread = id.wrapping_mul(0x9e37_79b9).rem_euclid(2 * customers);
        let tx =
            transaction(id, (id % customers, spread), (START + id * DAY / (2 * customers), 1_234_500 + id % 9_999));
        store.observe(&tx, plan.profile(), &mut profile).expect("observed");
    }
    let stats = store.stats();
    let each = stats.bytes / stats.customers;
    println!("{each} bytes per customer, {} per transaction", stats.bytes / stats.events);
    assert!((3_000..8_192).contains(&each), "{stats:?}");
}
