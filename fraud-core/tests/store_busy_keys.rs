//! Keys with very many transactions: exact as long as they are kept by the second, flagged after that.

mod store_reference;

use fraud_core::features::{FeaturePlan, FeatureSet, Label, MemoryStore, Profile, StoreSettings, WindowStats};
use rand::{RngExt, SeedableRng};
use store_reference::transaction;

const START: i64 = 1_699_999_980;
const DAY: i64 = 86_400;

fn plan() -> FeaturePlan {
    let mut features = Vec::new();
    for aggregate in ["count", "sum", "std_dev", "min", "max", "fraud_share", "seconds_since_previous"] {
        for (window, delay) in [("90s", "0s"), ("1d", "0s"), ("30d", "0s"), ("30d", "7d")] {
            features.push(format!(
                r#"{{"name":"{aggregate}{window}{delay}","source":"window","key":"terminal","aggregate":"{aggregate}","window":"{window}","delay":"{delay}"}}"#
            ));
        }
    }
    FeaturePlan::compile(&FeatureSet::from_json(&format!("[{}]", features.join(","))).expect("features"))
}

#[derive(Clone, Copy)]
struct Event {
    time: i64,
    units: i64,
    known_fraud_from: Option<i64>,
}

/// By definition, but over times `at`: of an event, and of the window's edges.
fn expected(events: &[Event], now: i64, (window, delay): (u32, u32)) -> WindowStats {
    let (right, left) = (now - i64::from(delay), now - i64::from(delay) - i64::from(window));
    let inside: Vec<_> = events.iter().filter(|event| left < event.time && event.time <= right).collect();
    let units = || inside.iter().map(|event| u128::from(event.units.unsigned_abs()));
    WindowStats {
        count: inside.len() as u64,
        sum: units().sum(),
        sum_of_squares: units().map(|units| units * units).sum(),
        min: inside.iter().map(|event| event.units).min().unwrap_or(0),
        max: inside.iter().map(|event| event.units).max().unwrap_or(0),
        frauds: inside.iter().filter(|event| event.known_fraud_from.is_some_and(|from| from <= now)).count() as u64,
        since_previous: inside
            .iter()
            .map(|event| event.time)
            .max()
            .map_or(window, |last| u32::try_from(right - last).expect("short")),
    }
}

/// `peek` has the transaction itself in the windows without delay; taken out again here.
fn stored(store: &MemoryStore, plan: &FeaturePlan, now: i64) -> (Vec<WindowStats>, bool) {
    let mut profile = Profile::default();
    let tx = transaction(-1, (-1, 0), (now, 0));
    store.peek(&tx, plan.profile(), &mut profile).expect("a profile");
    for (stats, spec) in profile.windows.iter_mut().zip(plan.profile().windows()) {
        stats.count -= u64::from(spec.delay == 0);
    }
    (profile.windows, profile.approximate)
}

fn fill(store: &MemoryStore, plan: &FeaturePlan, count: i64) -> Vec<Event> {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut profile = Profile::default();
    let mut events = Vec::new();
    for id in 0..count {
        let latest = START + id * 37 * DAY / count;
        let time = if random.random_bool(0.3) { latest - random.random_range(0..DAY / 2) } else { latest };
        let units = random.random_range(1..9_000_000_000_i64);
        let tx = transaction(id, (id % 1_000, 0), (time, units));
        store.observe(&tx, plan.profile(), &mut profile).expect("observed");
        assert!(!profile.late && !profile.duplicate);
        let mut event = Event { time, units, known_fraud_from: None };
        if random.random_bool(0.2) {
            let observed_at = time + random.random_range(-DAY..30 * DAY);
            store.label(&tx.transaction_id, Label { fraud: true, observed_at });
            event.known_fraud_from = Some(observed_at);
        }
        events.push(event);
    }
    events
}

#[test]
fn two_hundred_thousand_payments_at_one_terminal_are_exact() {
    let settings = StoreSettings { max_cells_per_key: usize::MAX, max_bytes: u64::MAX, ..StoreSettings::default() };
    let (store, plan) = (MemoryStore::new(settings), plan());
    let events = fill(&store, &plan, 200_000);
    for now in [0, 1, 59, 3_600, 20_000, 86_000].map(|back| START + 37 * DAY - back) {
        let (found, approximate) = stored(&store, &plan, now);
        assert!(!approximate);
        for (stats, spec) in found.iter().zip(plan.profile().windows()) {
            let mut expected = expected(&events, now, (spec.window, spec.delay));
            if spec.delay == 0 {
                expected.min = 0;
            }
            assert_eq!(*stats, expected, "{now} {spec:?}");
        }
    }
}

#[test]
fn merged_minutes_count_as_a_whole_at_their_first_second() {
    let settings = StoreSettings { max_cells_per_key: 5_000, ..StoreSettings::default() };
    let (store, plan) = (MemoryStore::new(settings), plan());
    let events = fill(&store, &plan, 60_000);
    let now = START + 37 * DAY;
    assert_eq!(store.stats().approximate_keys, 1);
    let (found, approximate) = stored(&store, &plan, now);
    assert!(approximate, "30 days reach into the merged part");
    // The newest 5,000, less those of the minute that was merged last.
    let mut times: Vec<_> = events.iter().map(|event| event.time).collect();
    times.sort_unstable();
    let kept_from = times[times.len() - 5_000].div_euclid(60) * 60 + 60;
    let merged: Vec<_> = events
        .iter()
        .map(|event| Event {
            time: if event.time < kept_from { event.time.div_euclid(60) * 60 } else { event.time },
            ..*event
        })
        .collect();
    for (stats, spec) in found.iter().zip(plan.profile().windows()) {
        let mut expected = expected(&merged, now, (spec.window, spec.delay));
        if spec.delay == 0 {
            expected.min = 0;
        }
        let frauds = stats.frauds;
        expected.frauds = frauds;
        assert_eq!(*stats, expected, "{spec:?}");
        assert!(frauds > 0 || spec.window < 1_000);
        assert!(frauds <= stats.count);
    }
    // What lies in the exact part is neither flagged nor different.
    let recent = r#"[{"name":"n","source":"window","key":"terminal","aggregate":"sum","window":"1h","delay":"0s"}]"#;
    let recent = FeaturePlan::compile(&FeatureSet::from_json(recent).expect("features"));
    let (found, approximate) = stored(&store, &recent, now);
    assert!(!approximate);
    assert_eq!(found[0].sum, expected(&events, now, (3_600, 0)).sum);
}
