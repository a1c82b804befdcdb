//! A transaction that is sent again: what it gets, and for how long.

mod store_reference;

use fraud_core::error::StoreError;
use fraud_core::features::{FeaturePlan, FeatureSet, MemoryStore, Profile, StoreSettings};
use fraud_core::transaction::Transaction;
use store_reference::transaction;

const START: i64 = 1_700_000_000;

fn plan() -> FeaturePlan {
    FeaturePlan::compile(&FeatureSet::from_names(["CUSTOMER_ID_NB_TX_1DAY_WINDOW"]).expect("a feature"))
}

fn count(store: &MemoryStore, tx: &Transaction, plan: &FeaturePlan) -> (u64, bool) {
    let mut profile = Profile::default();
    store.observe(tx, plan.profile(), &mut profile).expect("observed");
    (profile.windows[0].count, profile.duplicate)
}

#[test]
fn the_profile_given_first_holds_until_the_last_second_of_dedupe() {
    let settings = StoreSettings { dedupe: 1_000, ..StoreSettings::default() };
    let (store, plan) = (MemoryStore::new(settings), plan());
    let first = transaction(0, (1, 1), (START, 5));
    assert_eq!(count(&store, &first, &plan), (1, false));
    // A second payment, in time before the first: made anew, the first one's profile would count two.
    assert_eq!(count(&store, &transaction(1, (1, 1), (START - 10, 5)), &plan), (1, false));
    assert_eq!(count(&store, &transaction(2, (9, 1), (START + 1_000, 5)), &plan), (1, false));
    assert_eq!(count(&store, &first, &plan), (1, true));
    assert_eq!(count(&store, &transaction(3, (9, 1), (START + 1_001, 5)), &plan), (2, false));
    assert_eq!(count(&store, &first, &plan), (2, true));
    assert_eq!(store.stats().events, 4);
}

#[test]
fn another_plan_gets_a_profile_of_its_own() {
    let (store, plan) = (MemoryStore::new(StoreSettings::default()), plan());
    let first = transaction(0, (1, 1), (START, 5));
    assert_eq!(count(&store, &first, &plan), (1, false));
    assert_eq!(count(&store, &transaction(1, (1, 1), (START - 10, 5)), &plan), (1, false));
    let other = FeaturePlan::compile(&FeatureSet::from_names(["CUSTOMER_ID_NB_TX_7DAY_WINDOW"]).expect("a feature"));
    assert_eq!(count(&store, &first, &other), (2, true));
    assert_eq!(count(&store, &first, &plan), (1, true));
}

#[test]
fn a_late_one_leaves_no_id_and_a_conflict_leaves_nothing() {
    let (store, plan) = (MemoryStore::new(StoreSettings::default()), plan());
    count(&store, &transaction(0, (1, 1), (START, 5)), &plan);
    let late = transaction(1, (1, 1), (START - 86_401, 5));
    assert_eq!(count(&store, &late, &plan), (1, false));
    assert_eq!(count(&store, &late, &plan), (1, false));
    assert_eq!(count(&store, &transaction(1, (1, 1), (START - 86_400, 5)), &plan), (1, false));
    let before = store.stats();
    let conflict = transaction(0, (2, 1), (START + 500, 5));
    let result = store.observe(&conflict, plan.profile(), &mut Profile::default());
    assert_eq!(result, Err(StoreError::Conflict));
    let after = store.stats();
    assert_eq!((after.events, after.time, after.customers), (before.events, before.time, before.customers));
    assert_eq!((after.late, after.conflicts), (2, 1));
}
