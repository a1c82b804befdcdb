//! A transaction that is sent again: what it gets, and for how long.

mod store_driver;
mod store_reference;

use fraud_core::error::StoreError;
use fraud_core::features::{FeaturePlan, FeatureSet, Profile, StoreSettings};
use fraud_core::transaction::Transaction;
use store_driver::{Driver, Kind};
use store_reference::transaction;

const START: i64 = 1_700_000_000;

fn plan() -> FeaturePlan {
    FeaturePlan::compile(&FeatureSet::from_names(["CUSTOMER_ID_NB_TX_1DAY_WINDOW"]).expect("a feature"))
}

fn count(store: &dyn Driver, tx: &Transaction, plan: &FeaturePlan) -> (u64, bool) {
    let mut profile = Profile::default();
    store.observe(tx, plan.profile(), &mut profile).expect("observed");
    (profile.windows[0].count, profile.duplicate)
}

fn the_profile_given_first_holds_until_the_last_second_of_dedupe(kind: Kind) {
    let settings = StoreSettings { dedupe: 1_000, ..StoreSettings::default() };
    let (store, plan) = (store_driver::store(kind, &settings), plan());
    let first = transaction(0, (1, 1), (START, 5));
    assert_eq!(count(store.as_ref(), &first, &plan), (1, false));
    // A second payment, in time before the first: made anew, the first one's profile would count two.
    assert_eq!(count(store.as_ref(), &transaction(1, (1, 1), (START - 10, 5)), &plan), (1, false));
    assert_eq!(count(store.as_ref(), &transaction(2, (9, 1), (START + 1_000, 5)), &plan), (1, false));
    assert_eq!(count(store.as_ref(), &first, &plan), (1, true));
    assert_eq!(count(store.as_ref(), &transaction(3, (9, 1), (START + 1_001, 5)), &plan), (2, false));
    assert_eq!(count(store.as_ref(), &first, &plan), (2, true));
    assert_eq!(store.counts(), (2, 1, 4));
}

fn another_plan_gets_a_profile_of_its_own(kind: Kind) {
    let (store, plan) = (store_driver::store(kind, &StoreSettings::default()), plan());
    let first = transaction(0, (1, 1), (START, 5));
    assert_eq!(count(store.as_ref(), &first, &plan), (1, false));
    assert_eq!(count(store.as_ref(), &transaction(1, (1, 1), (START - 10, 5)), &plan), (1, false));
    let other = FeaturePlan::compile(&FeatureSet::from_names(["CUSTOMER_ID_NB_TX_7DAY_WINDOW"]).expect("a feature"));
    assert_eq!(count(store.as_ref(), &first, &other), (2, true));
    assert_eq!(count(store.as_ref(), &first, &plan), (1, true));
}

fn a_late_one_leaves_no_id_and_a_conflict_leaves_nothing(kind: Kind) {
    let (store, plan) = (store_driver::store(kind, &StoreSettings::default()), plan());
    count(store.as_ref(), &transaction(0, (1, 1), (START, 5)), &plan);
    let late = transaction(1, (1, 1), (START - 86_401, 5));
    assert_eq!(count(store.as_ref(), &late, &plan), (1, false));
    assert_eq!(count(store.as_ref(), &late, &plan), (1, false));
    assert_eq!(count(store.as_ref(), &transaction(1, (1, 1), (START - 86_400, 5)), &plan), (1, false));
    let before = (store.counts(), store.time());
    let conflict = transaction(0, (2, 1), (START + 500, 5));
    let result = store.observe(&conflict, plan.profile(), &mut Profile::default());
    assert_eq!(result, Err(StoreError::Conflict));
    assert_eq!((store.counts(), store.time()), before);
    assert_eq!(store.refusals(), (2, 1));
}

on_every_store!(
    the_profile_given_first_holds_until_the_last_second_of_dedupe,
    another_plan_gets_a_profile_of_its_own,
    a_late_one_leaves_no_id_and_a_conflict_leaves_nothing,
);
