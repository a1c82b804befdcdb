//! The path from outside, on the embedded model.

use std::sync::Arc;

use fraud_core::error::ModelError;
use fraud_core::features::{Label, MemoryStore, Profile, StoreSettings};
use fraud_core::{
    Amount, Assessment, Decision, DecisionSource, Id, Model, ModelType, Policy, Reason, RiskLevel, Scorer,
    SharedScorer, Transaction,
};
use rand::{RngExt, SeedableRng};

fn model() -> Arc<Model> {
    Arc::new(Model::embedded().unwrap())
}

fn scorer(policy: &str) -> Scorer {
    Scorer::new(model(), &Policy::from_toml(policy).unwrap()).unwrap()
}

/// Fifty days of payments of forty customers at ten terminals, one of which turns fraudulent; each with its
/// profile, the store's answer in order.
fn payments(scorer: &Scorer) -> Vec<(Transaction, Profile)> {
    let history = scorer.profile_plan().history();
    let store = MemoryStore::new(StoreSettings { history, ..StoreSettings::default() });
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut seen = Vec::new();
    for n in 0..8_000_i64 {
        let terminal = random.random_range(0..10);
        let amount = if random.random_bool(0.02) { 300.0 } else { random.random_range(1.0..90.0) };
        let transaction = Transaction {
            transaction_id: Id::from(n),
            customer_id: Id::from(random.random_range(0..40)),
            terminal_id: Id::from(terminal),
            amount: Amount::from_major(amount).unwrap(),
            time: 1_700_000_000 + n * 540,
        };
        let mut profile = Profile::default();
        store.observe(&transaction, scorer.profile_plan(), &mut profile).unwrap();
        let fraud = terminal == 3 && n > 2_000;
        store.label(&transaction.transaction_id, Label { fraud, observed_at: transaction.time + 7 * 86_400 });
        seen.push((transaction, profile));
    }
    seen
}

#[test]
fn a_batch_answers_as_single_calls_do() {
    let scorer = scorer("");
    let (transactions, profiles): (Vec<_>, Vec<_>) = payments(&scorer).into_iter().unzip();
    let single: Vec<_> = transactions.iter().zip(&profiles).map(|(t, p)| scorer.assess(t, p).unwrap()).collect();
    let mut batch = Vec::new();
    for size in [1, 7, 256, transactions.len()] {
        let mut answers = Vec::new();
        for (transactions, profiles) in transactions.chunks(size).zip(profiles.chunks(size)) {
            scorer.assess_batch(transactions, profiles, &mut batch);
            answers.extend(batch.drain(..).map(Result::unwrap));
        }
        assert_eq!(answers, single, "in batches of {size}");
    }
    let decisions = |decision| single.iter().filter(|assessment| assessment.decision == decision).count();
    for decision in [Decision::Approve, Decision::Review, Decision::Decline] {
        assert!(decisions(decision) > 0, "the traffic shows no {decision:?}");
    }
}

#[test]
fn decisions_levels_and_confidence_follow_the_probability() {
    let scorer = scorer("thresholds = { review_at = 0.2, decline_at = 0.6 }");
    for (transaction, profile) in payments(&scorer) {
        let a = scorer.assess(&transaction, &profile).unwrap();
        let p = a.fraud_probability.unwrap();
        let decision = if p >= 0.6 {
            Decision::Decline
        } else if p >= 0.2 {
            Decision::Review
        } else {
            Decision::Approve
        };
        assert_eq!((a.decision, a.decision_source, a.model_type), (decision, DecisionSource::Model, ModelType::Onnx));
        assert_eq!(a.risk_level, RiskLevel::of(p));
        assert_eq!(a.confidence_score, Some(p.max(1.0 - p)));
        assert!(decision != Decision::Approve || a.reasons.is_empty());
    }
}

#[test]
fn reasons_are_what_replacing_a_feature_by_its_median_does() {
    let scorer = scorer("");
    let model = model();
    let medians = model.metadata().medians(model.features()).expect("the embedded model has medians");
    let mut explained = 0;
    for (transaction, profile) in payments(&scorer) {
        let a = scorer.explain(&transaction, &profile).unwrap();
        let mut row = vec![0.0; scorer.features().len()];
        scorer.write_features(&transaction, &profile, &mut row);
        let predict = |row: &[f64]| model.predict(&row.iter().map(|value| *value as f32).collect::<Vec<_>>()).unwrap();
        let p = predict(&row);
        let mut expected: Vec<(usize, f32)> = Vec::new();
        for feature in 0..row.len() {
            let kept = std::mem::replace(&mut row[feature], medians[feature]);
            expected.push((feature, predict(&row) - p));
            row[feature] = kept;
        }
        expected.retain(|(_, change)| *change < 0.0);
        expected.sort_by(|a, b| a.1.total_cmp(&b.1));
        let expected: Vec<_> = expected
            .into_iter()
            .take(3)
            .map(|(feature, change)| Reason::Feature {
                feature: scorer.features().definitions()[feature].name.as_str().into(),
                value: row[feature],
                median: medians[feature],
                change,
            })
            .collect();
        assert_eq!(a.reasons, expected);
        explained += usize::from(!expected.is_empty());
        let plain = scorer.assess(&transaction, &profile).unwrap();
        assert_eq!(plain, Assessment { reasons: plain.reasons.clone(), ..a });
    }
    assert!(explained > 1_000);
}

#[test]
fn a_rule_overrides_and_may_look_at_a_feature_the_model_does_not_have() {
    let scorer = scorer(
        r#"
        version = "r1"
        [[rules]]
        name = "ten today"
        decision = "decline"
        when = { feature = { name = "TERMINAL_ID_NB_TX_40DAY_WINDOW", at_least = 5 } }
        "#,
    );
    assert_eq!(scorer.features().len(), 16);
    let mut fired = 0;
    for (transaction, profile) in payments(&scorer) {
        let a = scorer.assess(&transaction, &profile).unwrap();
        let mut row = [0.0; 16];
        scorer.write_features(&transaction, &profile, &mut row);
        assert_eq!(row[15] >= 5.0, a.decision_source == DecisionSource::Rules);
        if row[15] >= 5.0 {
            fired += 1;
            assert_eq!((a.decision, &*a.policy_version), (Decision::Decline, "r1"));
            assert_eq!(a.reasons.last(), Some(&Reason::Rule { rule: "ten today".into() }));
        }
    }
    assert!(fired > 1_000);
}

#[test]
fn without_a_model_only_the_rules_meant_for_it_decide() {
    let text = r#"
        [[rules]]
        name = "large"
        decision = "review"
        without_model = true
        when = { amount = { above = 220 } }
        [[rules]]
        name = "small"
        decision = "approve"
        when = { amount = { at_most = 220 } }
    "#;
    let scorer = Scorer::without_model(&Policy::from_toml(text).unwrap()).unwrap();
    let (mut decided, mut refused) = (0, 0);
    for (transaction, profile) in payments(&scorer) {
        match scorer.assess(&transaction, &profile) {
            Ok(a) => {
                decided += 1;
                assert!(transaction.amount.major() > 220.0);
                assert_eq!((a.fraud_probability, a.confidence_score, a.model_type), (None, None, ModelType::Rules));
                assert_eq!(
                    (a.decision, a.risk_level, &*a.model_version),
                    (Decision::Review, RiskLevel::Medium, "none")
                );
                assert_eq!(a.reasons, [Reason::Rule { rule: "large".into() }]);
            }
            Err(error) => {
                refused += 1;
                assert!(matches!(error, ModelError::NoModel), "{error}");
            }
        }
    }
    assert!(decided > 50 && refused > 5_000);
}

#[test]
fn a_profile_of_other_windows_is_refused() {
    let plain = scorer("");
    let wider = scorer(
        "[[rules]]\nname = \"r\"\ndecision = \"review\"\nwhen = { feature = { name = \"CUSTOMER_ID_NB_TX_2DAY_WINDOW\", above = 1 } }",
    );
    let (transaction, profile) = payments(&plain).swap_remove(0);
    assert!(matches!(wider.assess(&transaction, &profile), Err(ModelError::ForeignProfile)));
    let mut batch = Vec::new();
    wider.assess_batch(std::slice::from_ref(&transaction), &[profile], &mut batch);
    assert!(matches!(batch[..], [Err(ModelError::ForeignProfile)]));
}

#[test]
fn scorers_are_exchanged_and_taken_back_while_others_score() {
    let shared = SharedScorer::new(scorer("version = \"0\""));
    let (transaction, profile) = payments(&shared.load()).swap_remove(9);
    assert!(!shared.rollback(), "there is nothing to go back to yet");
    let version = |shared: &SharedScorer| shared.load().policy_version().to_string();
    std::thread::scope(|scope| {
        let scoring = scope.spawn(|| {
            let mut versions = std::collections::HashSet::new();
            while versions.len() < 3 {
                let scorer = shared.load();
                let a = scorer.assess(&transaction, &profile).unwrap();
                assert_eq!(&a.policy_version, scorer.policy_version(), "one answer, one scorer");
                versions.insert(a.policy_version.to_string());
            }
        });
        for number in 1.. {
            if scoring.is_finished() {
                break;
            }
            shared.swap(Arc::new(scorer(&format!("version = \"{}\"", number % 3))));
        }
    });
    shared.swap(Arc::new(scorer("version = \"a\"")));
    shared.swap(Arc::new(scorer("version = \"b\"")));
    assert!(shared.rollback());
    assert_eq!(version(&shared), "a");
    assert!(shared.rollback());
    assert_eq!(version(&shared), "b");
}

#[test]
fn an_assessment_is_written_and_read_in_one_shape() {
    let scorer = scorer("thresholds = { review_at = 0.0 }");
    let (transaction, profile) = payments(&scorer).swap_remove(100);
    let assessment = scorer.explain(&transaction, &profile).unwrap();
    let text = serde_json::to_string(&assessment).unwrap();
    assert_eq!(serde_json::from_str::<Assessment>(&text).unwrap(), assessment);
    let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let mut names: Vec<_> = value.keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "confidence_score",
        "decision",
        "decision_source",
        "duplicate",
        "fraud_probability",
        "history_complete",
        "late",
        "model_type",
        "model_version",
        "policy_version",
        "reasons",
        "risk_level",
        "transaction_id",
    ];
    assert_eq!(names, expected);
    assert_eq!(value["transaction_id"], "100", "identifiers are answered as text");
    assert_eq!(value["decision"], "review");
}
