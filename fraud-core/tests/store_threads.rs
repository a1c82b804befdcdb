//! Many threads at once: nothing is lost, nothing counted twice, no half of an event is ever seen.

mod store_reference;

use std::sync::atomic::{AtomicI64, Ordering};

use fraud_core::features::{FeaturePlan, FeatureSet, Label, LabelOutcome, MemoryStore, Profile, StoreSettings};
use store_reference::transaction;

const START: i64 = 1_700_000_000;
const THREADS: i64 = 4;
const EACH: i64 = 10_000;

fn plan() -> FeaturePlan {
    let window = |key: &str, aggregate: &str| {
        format!(
            r#"{{"name":"{key}_{aggregate}","source":"window","key":"{key}","aggregate":"{aggregate}","window":"30d","delay":"0s"}}"#
        )
    };
    let all = [
        window("customer", "sum"),
        window("customer", "min"),
        window("terminal", "sum"),
        window("terminal", "fraud_share"),
    ];
    FeaturePlan::compile(&FeatureSet::from_json(&format!("[{}]", all.join(","))).expect("features"))
}

/// Each payment is 7 units by one customer at one terminal: count and sum must agree in whatever is seen, and
/// both keys must have seen as many.
#[test]
fn totals_are_right_and_no_event_is_seen_half() {
    let store = MemoryStore::new(StoreSettings { shards: 2, ..StoreSettings::default() });
    let plan = plan();
    let seen = AtomicI64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, plan, seen) = (&store, &plan, &seen);
            scope.spawn(move || {
                let mut profile = Profile::default();
                for n in 0..EACH {
                    // Every payment is sent by two threads.
                    let id = thread / 2 * EACH + n;
                    let tx = transaction(id, (0, 0), (START, 7));
                    store.observe(&tx, plan.profile(), &mut profile).expect("observed");
                    let [customer, terminal] = profile.windows[..] else { panic!("two windows") };
                    assert_eq!(customer.count, terminal.count);
                    assert_eq!(customer.sum, u128::from(customer.count) * 7);
                    assert_eq!(terminal.sum, customer.sum);
                    if !profile.duplicate {
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                    let other = transaction(1_000_000 + id, (1 + id % 40, 1 + id % 17), (START + id % 3_000, 9));
                    store.observe(&other, plan.profile(), &mut profile).expect("observed");
                    store.label(&tx.transaction_id, Label { fraud: n % 2 == 0, observed_at: START + thread });
                }
            });
        }
    });
    let total = THREADS / 2 * EACH;
    assert_eq!(seen.load(Ordering::Relaxed), total);
    let mut profile = Profile::default();
    let tx = transaction(-5, (0, 0), (START + 4_000, 7));
    store.peek(&tx, plan.profile(), &mut profile).expect("a profile");
    let [customer, terminal] = profile.windows[..] else { panic!("two windows") };
    assert_eq!((customer.count, terminal.count), (total as u64 + 1, total as u64 + 1));
    assert_eq!(customer.sum, u128::from(total as u64) * 7 + 7);
    // The later of two equal labels is either thread's: both say the same.
    assert_eq!(terminal.frauds, total as u64 / 2);
    let tx = transaction(-6, (1, 1), (START + 4_000, 9));
    store.peek(&tx, plan.profile(), &mut profile).expect("a profile");
    let others = |modulus: i64| (0..total).filter(|id| id % modulus == 0).count() as u64;
    assert_eq!((profile.windows[0].count, profile.windows[1].count), (others(40) + 1, others(17) + 1));
    let again = Label { fraud: true, observed_at: START };
    assert_eq!(store.label(&transaction(0, (0, 0), (0, 0)).transaction_id, again), LabelOutcome::Unchanged);
    assert_eq!(store.stats().events, 2 * total as u64);
}
