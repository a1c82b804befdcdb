use super::*;
use crate::features::FeatureSet;
use crate::transaction::{Amount, Transaction};

fn compile(text: &str) -> Result<CompiledPolicy, PolicyError> {
    CompiledPolicy::new(&Policy::from_toml(text)?, Some((0.2, 0.6)), &FeatureSet::handbook())
}

fn refused(text: &str) -> String {
    compile(text).map(|_| ()).unwrap_err().to_string()
}

fn payment(amount: f64, terminal: &str) -> Transaction {
    let id = Id::from(1);
    Transaction {
        transaction_id: id.clone(),
        customer_id: id,
        terminal_id: Id::from_text(terminal).unwrap(),
        amount: Amount::from_major(amount).unwrap(),
        time: 0,
    }
}

#[test]
fn policy_stands_over_model_over_defaults() {
    assert_eq!(compile("").unwrap().thresholds(), (0.2, 0.6));
    assert_eq!(compile("thresholds = { decline_at = 0.9 }").unwrap().thresholds(), (0.2, 0.9));
    let plain = CompiledPolicy::new(&Policy::default(), None, &FeatureSet::handbook()).unwrap();
    assert_eq!(plain.thresholds(), (DEFAULT_REVIEW_AT, DEFAULT_DECLINE_AT));
    assert_eq!(&*plain.version, "default");
}

#[test]
fn thresholds_are_inclusive_in_f32() {
    let policy = compile("thresholds = { review_at = 0.3, decline_at = 0.7 }").unwrap();
    for (probability, decision) in [
        (0.3_f32.next_down(), Decision::Approve),
        (0.3, Decision::Review),
        (0.7_f32.next_down(), Decision::Review),
        (0.7, Decision::Decline),
    ] {
        assert_eq!(policy.threshold_decision(probability), decision, "{probability}");
    }
}

#[test]
fn contradictions_name_both_sides() {
    let error = refused("thresholds = { review_at = 0.8, decline_at = 0.7 }");
    assert_eq!(error, "`review_at` 0.8 (from the policy) must not exceed `decline_at` 0.7 (from the policy)");
    let error = refused("thresholds = { review_at = 0.8 }");
    assert_eq!(error, "`review_at` 0.8 (from the policy) must not exceed `decline_at` 0.6 (from the model)");
    assert!(refused("thresholds = { decline_at = nan }").contains("`decline_at` is NaN"));
    assert!(refused("thresholds = { decline_at = 1.5 }").contains("`decline_at` is 1.5"));
}

#[test]
fn the_first_rule_that_holds_decides() {
    let policy = compile(
        r#"
        [lists]
        stolen = ["T-17", 4711]
        [[rules]]
        name = "stolen"
        decision = "decline"
        without_model = true
        when = { terminal_id = { in = "stolen" } }
        [[rules]]
        name = "small"
        decision = "approve"
        when = { all = [ { amount = { at_most = 5 } }, { not = { feature = { name = "TX_DURING_NIGHT", above = 0 } } } ] }
        [[rules]]
        name = "large or busy"
        decision = "review"
        when = { any = [ { amount = { above = 220 } }, { feature = { name = "CUSTOMER_ID_NB_TX_1DAY_WINDOW", at_least = 9 } } ] }
        "#,
    )
    .unwrap();
    let fired = |transaction: &Transaction, changes: &[(usize, f64)], has_model| {
        let mut row = [0.0; 15];
        changes.iter().for_each(|(at, value)| row[*at] = *value);
        policy.fired(transaction, &row, has_model).map(|rule| (rule.name.to_string(), rule.decision))
    };
    let named = |name: &str, decision| Some((name.to_owned(), decision));
    assert_eq!(fired(&payment(1.0, "4711"), &[], true), named("stolen", Decision::Decline));
    assert_eq!(fired(&payment(5.0, "t"), &[], true), named("small", Decision::Approve));
    assert_eq!(fired(&payment(5.0, "t"), &[(2, 1.0)], true), None);
    assert_eq!(fired(&payment(220.0, "t"), &[], true), None);
    assert_eq!(fired(&payment(220.01, "t"), &[], true), named("large or busy", Decision::Review));
    assert_eq!(fired(&payment(20.0, "t"), &[(3, 9.0)], true), named("large or busy", Decision::Review));
    assert_eq!(fired(&payment(500.0, "t"), &[], false), None, "only rules marked so decide without a model");
    assert_eq!(fired(&payment(500.0, "T-17"), &[], false), named("stolen", Decision::Decline));
}

#[test]
fn bad_rules_are_refused_by_name() {
    let rule = |when: &str| format!("[[rules]]\nname = \"r\"\ndecision = \"review\"\nwhen = {when}");
    for (when, part) in [
        ("{ terminal_id = { in = \"nowhere\" } }", "rule `r`: there is no list `nowhere`"),
        ("{ all = [] }", "rule `r`: `all` needs at least one condition"),
        ("{ amount = {} }", "rule `r`: `amount` needs a bound"),
        ("{ amount = { at_least = 5, below = 5 } }", "`amount`: no value is at_least 5 and below 5"),
        ("{ amount = { above = nan } }", "`above` is not a number"),
        ("{ amount = { abve = 5 } }", "unknown field `abve`"),
        ("{ amnt = { above = 5 } }", "unknown variant `amnt`"),
        ("{ feature = { name = \"TX_AMOUNT\", over = 1 } }", "unknown field `over`"),
        ("{ feature = { name = \"NOPE\", above = 1 } }", "`NOPE` is not computed"),
    ] {
        let error = refused(&rule(when));
        assert!(error.contains(part), "{error}");
    }
    assert!(refused(&format!("{0}\n{0}", rule("{ amount = { above = 1 } }"))).contains("a name of its own"));
    assert!(refused("[[rules]]\nname = \"r\"\ndecision = \"refuse\"\nwhen = { all = [] }").contains("unknown variant"));
    assert!(refused("threshold = {}").contains("unknown field `threshold`"));
    assert!(refused("lists = { a = [1.5] }").contains("cannot be read"));
    assert!(Policy::from_toml(&format!("[[rules]]\nwhen = {}", "{ not = ".repeat(100_000))).is_err());
}

#[test]
fn a_policy_without_a_version_is_called_by_its_hash() {
    let version = |text: &str| Policy::from_toml(text).unwrap().version().to_string();
    assert_eq!(version("version = \"7\""), "7");
    assert_eq!(version("[thresholds]").len(), 12);
    assert_ne!(version("[thresholds]"), version("[thresholds] "));
}
