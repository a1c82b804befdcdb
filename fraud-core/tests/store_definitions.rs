//! Every store gives what the definitions say, whatever comes in whatever order.

mod store_driver;
mod store_reference;

use fraud_core::features::{
    Aggregate, FeatureDefinition, FeaturePlan, FeatureSet, KeyKind, Label, MemoryStore, Profile, Source, StoreSettings,
    StoreStats,
};
use fraud_core::transaction::Transaction;
use proptest::prelude::*;
use store_driver::{Driver, Kind};
use store_reference::{Reference, identifier, transaction};

const AGGREGATES: [Aggregate; 8] = [
    Aggregate::Count,
    Aggregate::Sum,
    Aggregate::Mean,
    Aggregate::Min,
    Aggregate::Max,
    Aggregate::StdDev,
    Aggregate::FraudShare,
    Aggregate::SecondsSincePrevious,
];

/// Sixteen weeks before the end of a 32-bit second count and such: no time is special.
const START: i64 = 1_700_000_000;

#[derive(Debug, Clone)]
enum Action {
    /// A new transaction: seconds after (or before) the store's time, customer, terminal, amount.
    Observe {
        step: i64,
        customer: i64,
        terminal: i64,
        units: i64,
        plan: usize,
    },
    /// One that was sent before, perhaps with something changed.
    Again {
        back: usize,
        change: u8,
        plan: usize,
        record: bool,
    },
    Peek {
        step: i64,
        customer: i64,
        terminal: i64,
        units: i64,
        plan: usize,
    },
    Label {
        back: usize,
        fraud: bool,
        after: i64,
    },
    /// A snapshot, and on with what it gives, perhaps under other settings.
    Restart {
        history: Option<u32>,
        shards: usize,
    },
}

fn window(key: KeyKind, aggregate: Aggregate, (window, delay): (u32, u32)) -> Source {
    Source::Window { key, aggregate, window, delay }
}

fn set(sources: Vec<Source>) -> FeatureSet {
    let named = sources.into_iter().enumerate();
    FeatureSet::new(named.map(|(index, source)| FeatureDefinition { name: format!("f{index}"), source }).collect())
        .expect("a feature set")
}

/// Plans within `history` seconds.
fn plans(history: u32) -> impl Strategy<Value = FeaturePlan> {
    let key = prop_oneof![Just(KeyKind::Customer), Just(KeyKind::Terminal)];
    let span =
        (1..=history, prop_oneof![Just(0), 0..=history], any::<bool>()).prop_map(move |(window, delay, small)| {
            let window = if small { window % 100 + 1 } else { window };
            let delay = delay.min(history.saturating_sub(window));
            (window.min(history), delay)
        });
    let source = (key, proptest::sample::select(&AGGREGATES), span).prop_map(|(k, a, span)| window(k, a, span));
    proptest::collection::vec(source, 0..12).prop_map(|sources| FeaturePlan::compile(&set(sources)))
}

fn units() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..5_000_000_i64, 1 => Just(0), 1 => Just(10_000_000_000_000), 1 => 4_294_967_290..4_294_967_300_i64]
}

fn steps(settings: &StoreSettings) -> impl Strategy<Value = i64> + use<> {
    let (history, lateness) = (i64::from(settings.history), i64::from(settings.lateness));
    prop_oneof![
        4 => Just(0_i64),
        12 => 0..history / 20 + 2,
        8 => -lateness..=0,
        1 => -lateness - 3..=-lateness + 1,
        1 => -lateness - history - 2..-lateness,
        1 => history - 2..history + lateness + 2,
    ]
}

fn actions(settings: &StoreSettings, plans: usize, length: usize) -> impl Strategy<Value = Vec<Action>> + use<> {
    let tx = || (steps(settings), 0..4_i64, 0..3_i64, units(), 0..plans);
    let reach = i64::from(settings.history) + 10;
    let action = prop_oneof![
        20 => tx().prop_map(|(step, customer, terminal, units, plan)| Action::Observe { step, customer, terminal, units, plan }),
        3 => tx().prop_map(|(step, customer, terminal, units, plan)| Action::Peek { step, customer, terminal, units, plan }),
        4 => (0..60_usize, prop_oneof![6 => Just(0_u8), 1 => 1..5_u8], 0..plans, any::<bool>())
            .prop_map(|(back, change, plan, record)| Action::Again { back, change, plan, record }),
        10 => (0..40_usize, any::<bool>(), prop_oneof![8 => -20..reach, 4 => Just(30), 1 => Just(i64::MAX), 1 => Just(i64::MIN)])
            .prop_map(|(back, fraud, after)| Action::Label { back, fraud, after }),
        1 => (proptest::option::of(1..2 * settings.history), 1..5_usize)
            .prop_map(|(history, shards)| Action::Restart { history, shards }),
    ];
    proptest::collection::vec(action, 1..length)
}

fn cases() -> impl Strategy<Value = (StoreSettings, Vec<FeaturePlan>, Vec<Action>)> {
    let history = prop_oneof![3 => 200..2_000_u32, 1 => 1..50_u32, 1 => Just(100_000)];
    let settings = (history, prop_oneof![Just(0), 1..300_u32], prop_oneof![Just(0), 1..400_u32], 1..5_usize);
    settings.prop_flat_map(|(history, lateness, dedupe, shards)| {
        let settings = StoreSettings { history, lateness, dedupe, shards, ..StoreSettings::default() };
        let plans = proptest::collection::vec(plans(history), 1..4);
        let length = prop_oneof![3 => Just(120_usize), 1 => Just(900)];
        (Just(settings), plans, length).prop_flat_map(|(settings, plans, length)| {
            let actions = actions(&settings, plans.len(), length);
            (Just(settings), Just(plans), actions)
        })
    })
}

/// Both stores, side by side.
struct Pair {
    store: Box<dyn Driver>,
    reference: Reference,
    settings: StoreSettings,
    sent: Vec<Transaction>,
    next: i64,
}

impl Pair {
    fn new(kind: Kind, settings: &StoreSettings) -> Self {
        Self {
            store: store_driver::store(kind, settings),
            reference: Reference::new(settings.clone()),
            settings: settings.clone(),
            sent: Vec::new(),
            next: 0,
        }
    }

    fn compare(&mut self, tx: &Transaction, plan: &FeaturePlan, record: bool) {
        let mut profile = Profile::default();
        let plan = plan.profile();
        let (found, expected) = if record {
            (self.store.observe(tx, plan, &mut profile), self.reference.observe(tx, plan))
        } else {
            (self.store.peek(tx, plan, &mut profile), self.reference.peek(tx, plan))
        };
        assert_eq!(found.map(|()| profile), expected, "{tx:?} of {:?}", plan.windows());
        assert_eq!(self.store.time(), self.reference.time());
    }

    fn run(&mut self, plans: &[FeaturePlan], action: &Action) {
        let now = self.reference.time().unwrap_or(START);
        match action {
            Action::Observe { step, customer, terminal, units, plan } => {
                let tx = transaction(self.next, (*customer, *terminal), (now + step, *units));
                self.next += 1;
                self.compare(&tx, &plans[*plan], true);
                self.sent.push(tx);
            }
            Action::Peek { step, customer, terminal, units, plan } => {
                let tx = transaction(-1, (*customer, *terminal), (now + step, *units));
                self.compare(&tx, &plans[*plan], false);
            }
            Action::Again { back, change, plan, record } => {
                let Some(index) = self.sent.len().checked_sub(back + 1) else { return };
                let mut tx = self.sent[index].clone();
                match change {
                    1 => tx.customer_id = identifier("c", 77),
                    2 => tx.terminal_id = identifier("t", 1),
                    3 => tx.time += 1,
                    4 => tx.amount = transaction(0, (0, 0), (0, 7)).amount,
                    _ => {}
                }
                self.compare(&tx, &plans[*plan], *record);
            }
            Action::Label { back, fraud, after } => {
                let Some(index) = self.sent.len().checked_sub(back + 1) else { return };
                let tx = &self.sent[index];
                let label = Label { fraud: *fraud, observed_at: tx.time.saturating_add(*after) };
                let found = self.store.label(&tx.transaction_id, label);
                assert_eq!(found, self.reference.label(&tx.transaction_id, label), "{tx:?} {label:?}");
            }
            Action::Restart { history, shards } => {
                let mut settings = self.settings.clone();
                settings.shards = *shards;
                if let Some(history) = history {
                    let least = plans.iter().map(|plan| plan.profile().history()).max().unwrap_or(1);
                    settings.history = (*history).max(least).max(1);
                }
                if let Some(store) = self.store.restarted(&settings) {
                    self.store = store;
                    self.reference = self.reference.restored(settings.clone());
                    self.settings = settings;
                }
            }
        }
    }
}

fn run(kind: Kind, (settings, plans, actions): &(StoreSettings, Vec<FeaturePlan>, Vec<Action>)) {
    let mut pair = Pair::new(kind, settings);
    for action in actions {
        pair.run(plans, action);
    }
}

/// The transactions of some actions, in batches: the same as one at a time.
fn in_batches((settings, plans, actions): &(StoreSettings, Vec<FeaturePlan>, Vec<Action>), length: usize) {
    let [single, batched, ahead] = std::array::from_fn(|_| MemoryStore::new(settings.clone()));
    let plan = plans[0].profile();
    let mut now = START;
    let mut sent: Vec<Transaction> = Vec::new();
    for action in actions {
        match action {
            Action::Observe { step, customer, terminal, units, .. } => {
                let id = i64::try_from(sent.len()).unwrap();
                sent.push(transaction(id, (*customer, *terminal), (now + step, *units)));
                now = now.max(now + step);
            }
            Action::Again { back, change, .. } if sent.len() > *back => {
                let mut again = sent[sent.len() - 1 - back].clone();
                again.time += i64::from(*change == 1);
                sent.push(again);
            }
            // Further than a store can count seconds: it starts anew. Once: times have four digits of a year.
            Action::Restart { .. } if now < START + (1 << 33) => now += 1 << 33,
            _ => {}
        }
    }
    for batch in sent.chunks(length) {
        let mut profiles = vec![Profile::default(); batch.len()];
        let results = batched.observe_batch(batch, plan, &mut profiles);
        ahead.look_ahead(batch);
        for (tx, found) in batch.iter().zip(results.into_iter().zip(profiles)) {
            let mut profile = Profile::default();
            let expected = single.observe(tx, plan, &mut profile).map(|()| profile);
            assert_eq!(found.0.map(|()| found.1), expected, "{tx:?}");
            let mut profile = Profile::default();
            assert_eq!(ahead.observe(tx, plan, &mut profile).map(|()| profile), expected, "{tx:?}");
        }
        let label = Label { fraud: true, observed_at: batch[0].time + 50 };
        let outcomes = [&single, &batched, &ahead].map(|store| store.label(&batch[0].transaction_id, label));
        assert_eq!(outcomes, [outcomes[0]; 3]);
    }
    // When idle keys are cleared away depends on the shards, which are chosen by a secret of each store.
    let figures = |store: &MemoryStore| StoreStats { bytes: 0, customers: 0, terminals: 0, events: 0, ..store.stats() };
    assert_eq!(figures(&batched), figures(&single));
    assert_eq!(figures(&ahead), figures(&single));
}

fn some(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(some(256))]

    #[test]
    fn whatever_comes_profiles_are_as_defined(case in cases()) {
        run(Kind::Embedded, &case);
    }

    #[test]
    fn in_batches_all_is_as_one_at_a_time(case in cases(), length in prop_oneof![1..70_usize, Just(1_000)]) {
        in_batches(&case, length);
    }
}

#[cfg(feature = "redis")]
proptest! {
    // A round trip each: fewer, and another few with each run.
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..some(12) })]

    #[test]
    fn whatever_comes_profiles_on_redis_are_as_defined(case in cases()) {
        run(Kind::Redis, &case);
    }

    #[test]
    fn whatever_comes_profiles_on_a_cluster_are_as_defined(case in cases()) {
        run(Kind::Cluster, &case);
    }

    #[test]
    fn whatever_comes_replicas_on_one_redis_give_the_profiles_of_one_store(case in cases()) {
        run(Kind::Replicas, &case);
    }
}
