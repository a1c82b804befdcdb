//! Time without bounds: decades between two payments, both ends of the calendar.

mod store_driver;
mod store_reference;

use fraud_core::features::{FeaturePlan, FeatureSet, Label, MemoryStore, Profile, StoreSettings};
use fraud_core::transaction::{MAX_TIME, MIN_TIME};
use proptest::prelude::*;
use store_driver::Kind;
use store_reference::{Reference, transaction};

const YEAR: i64 = 31_557_600;

fn plan() -> FeaturePlan {
    let features = r#"["CUSTOMER_ID_NB_TX_1DAY_WINDOW", "CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW", "TERMINAL_ID_RISK_7DAY_WINDOW",
        {"name": "fresh_risk", "source": "window", "key": "terminal", "aggregate": "fraud_share", "window": "30d", "delay": "0s"}]"#;
    FeaturePlan::compile(&FeatureSet::from_json(features).expect("features"))
}

fn settings() -> StoreSettings {
    StoreSettings { shards: 2, ..StoreSettings::default() }
}

fn run(kind: Kind, start: i64, steps: &[(i64, i64, bool)]) {
    let (plan, store) = (plan(), store_driver::store(kind, &settings()));
    let mut reference = Reference::new(settings());
    let mut profile = Profile::default();
    let mut time = start;
    for (id, (step, key, fraud)) in (0..).zip(steps) {
        time = time.saturating_add(*step).clamp(MIN_TIME, MAX_TIME);
        // Ids come round again: expired ones are unknown, kept ones in conflict.
        let tx = transaction(id % 50, (*key, key % 2), (time, 1_000 + id));
        let found = store.peek(&tx, plan.profile(), &mut profile).map(|()| profile.clone());
        assert_eq!(found, reference.peek(&tx, plan.profile()), "peek {id} at {time}");
        let found = store.observe(&tx, plan.profile(), &mut profile).map(|()| profile.clone());
        assert_eq!(found, reference.observe(&tx, plan.profile()), "{id} at {time}");
        assert_eq!(store.time(), reference.time());
        let label = Label { fraud: *fraud, observed_at: time + key * 86_400 };
        assert_eq!(store.label(&tx.transaction_id, label), reference.label(&tx.transaction_id, label));
        time = store.time().unwrap_or(time);
    }
}

fn the_ends_of_the_calendar(kind: Kind) {
    let span = MAX_TIME - MIN_TIME;
    run(
        kind,
        MIN_TIME,
        &[(0, 0, true), (1, 0, true), (span, 0, true), (-1, 0, false), (-span, 0, false), (0, 1, false)],
    );
    run(kind, MAX_TIME, &[(0, 0, true), (-86_400, 0, true), (-86_400, 1, true), (-span, 0, false)]);
    run(kind, 0, &[(-5, 0, true), (5, 0, true), (1 << 32, 0, true), (-1, 0, true), (3, 0, false)]);
}

on_every_store!(the_ends_of_the_calendar);

#[test]
fn two_thousand_years_of_two_payments_a_month() {
    let steps: Vec<_> = (0..48_000).map(|n| (YEAR / 24, n % 3, n % 5 == 0)).collect();
    let (plan, store) = (plan(), MemoryStore::new(settings()));
    let mut profile = Profile::default();
    let mut time = MIN_TIME;
    for (id, (step, _, _)) in (0..).zip(&steps) {
        time += step;
        // A payment that is seven days old, then the one of today.
        for (n, back) in [(0, 7 * 86_400), (1, 0)] {
            let tx = transaction(2 * id + n, (0, 0), (time - back + n, 100 * n));
            store.observe(&tx, plan.profile(), &mut profile).expect("observed");
        }
        assert_eq!(profile.windows[0].count, 1);
        store.label(&transaction(2 * id + 1, (0, 0), (0, 0)).transaction_id, Label { fraud: true, observed_at: time });
    }
    let stats = store.stats();
    assert!(stats.events < 1_500 && stats.customers == 1, "{stats:?}");
}

fn steps() -> impl Strategy<Value = Vec<(i64, i64, bool)>> {
    let step = prop_oneof![
        6 => -90_000..90_000_i64,
        3 => 0..40 * 86_400_i64,
        1 => -60 * YEAR..140 * YEAR,
        1 => ((1_i64 << 31) - 100)..((1_i64 << 31) + 100),
        1 => ((3_i64 << 30) - (1 << 30) - 100)..((3_i64 << 30) + 100),
    ];
    proptest::collection::vec((step, 0..3_i64, any::<bool>()), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn steps_of_any_size(start in MIN_TIME..MAX_TIME, steps in steps()) {
        run(Kind::Embedded, start, &steps);
    }
}

#[cfg(feature = "redis")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn steps_of_any_size_on_redis(start in MIN_TIME..MAX_TIME, steps in steps()) {
        run(Kind::Redis, start, &steps);
    }
}
