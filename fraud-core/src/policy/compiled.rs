//! A policy fitted to a model's features: lists at hand, features by position.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Bounds, Condition, DEFAULT_DECLINE_AT, DEFAULT_REVIEW_AT, Listed, Policy, Written};
use crate::assessment::Decision;
use crate::error::PolicyError;
use crate::features::FeatureSet;
use crate::transaction::{Id, Transaction};

#[derive(Debug)]
pub(crate) struct CompiledPolicy {
    pub(crate) version: Arc<str>,
    review_at: f32,
    decline_at: f32,
    rules: Box<[CompiledRule]>,
}

#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) name: Arc<str>,
    pub(crate) decision: Decision,
    without_model: bool,
    when: Test,
}

#[derive(Debug)]
enum Test {
    All(Box<[Test]>),
    Any(Box<[Test]>),
    Not(Box<Test>),
    Amount(Bounds),
    /// Position in the row, and the bounds.
    Feature(usize, Bounds),
    TransactionId(Arc<HashSet<Id>>),
    CustomerId(Arc<HashSet<Id>>),
    TerminalId(Arc<HashSet<Id>>),
}

impl CompiledPolicy {
    /// `model_thresholds` are the model's own (review, decline); `features` must hold every feature that a
    /// rule looks at.
    pub(crate) fn new(
        policy: &Policy,
        model_thresholds: Option<(f32, f32)>,
        features: &FeatureSet,
    ) -> Result<Self, PolicyError> {
        let (review_at, decline_at) = thresholds(&policy.written, model_thresholds)?;
        let mut names = HashSet::new();
        let mut rules = Vec::with_capacity(policy.written.rules.len());
        for rule in &policy.written.rules {
            let bad = |problem: String| PolicyError::Rule { rule: rule.name.clone(), problem };
            if rule.name.is_empty() || !names.insert(&rule.name) {
                return Err(bad("every rule needs a name of its own".to_owned()));
            }
            rules.push(CompiledRule {
                name: rule.name.as_str().into(),
                decision: rule.decision,
                without_model: rule.without_model,
                when: compile(&rule.when, &policy.written, features).map_err(bad)?,
            });
        }
        Ok(Self { version: policy.version(), review_at, decline_at, rules: rules.into() })
    }

    /// What the thresholds say of a probability.
    pub(crate) fn threshold_decision(&self, probability: f32) -> Decision {
        match probability {
            p if p >= self.decline_at => Decision::Decline,
            p if p >= self.review_at => Decision::Review,
            _ => Decision::Approve,
        }
    }

    /// (`review_at`, `decline_at`) in force.
    pub(crate) fn thresholds(&self) -> (f32, f32) {
        (self.review_at, self.decline_at)
    }

    /// Whether a rule may decide when no model can.
    pub(crate) fn decides_without_model(&self) -> bool {
        self.rules.iter().any(|rule| rule.without_model)
    }

    /// The first rule that holds; without a model, the first of those that may decide then.
    pub(crate) fn fired(&self, transaction: &Transaction, row: &[f64], has_model: bool) -> Option<&CompiledRule> {
        self.rules.iter().find(|rule| (has_model || rule.without_model) && rule.when.holds(transaction, row))
    }
}

fn thresholds(written: &Written, model: Option<(f32, f32)>) -> Result<(f32, f32), PolicyError> {
    let pick = |policy: Option<f32>, model: Option<f32>, default| match (policy, model) {
        (Some(value), _) => (value, "the policy"),
        (None, Some(value)) => (value, "the model"),
        (None, None) => (default, "the defaults"),
    };
    let (review_at, review_from) = pick(written.thresholds.review_at, model.map(|pair| pair.0), DEFAULT_REVIEW_AT);
    let (decline_at, decline_from) = pick(written.thresholds.decline_at, model.map(|pair| pair.1), DEFAULT_DECLINE_AT);
    for (field, value) in [("review_at", review_at), ("decline_at", decline_at)] {
        if !(0.0..=1.0).contains(&value) {
            return Err(PolicyError::Threshold { field, value });
        }
    }
    if review_at > decline_at {
        return Err(PolicyError::ThresholdOrder { review_at, review_from, decline_at, decline_from });
    }
    Ok((review_at, decline_at))
}

fn compile(condition: &Condition, written: &Written, features: &FeatureSet) -> Result<Test, String> {
    let parts = |parts: &[Condition], word: &str| {
        if parts.is_empty() {
            return Err(format!("`{word}` needs at least one condition"));
        }
        parts.iter().map(|part| compile(part, written, features)).collect::<Result<Box<[Test]>, String>>()
    };
    let list = |listed: &Listed| {
        written.lists.get(&listed.r#in).cloned().ok_or_else(|| format!("there is no list `{}`", listed.r#in))
    };
    Ok(match condition {
        Condition::All(all) => Test::All(parts(all, "all")?),
        Condition::Any(any) => Test::Any(parts(any, "any")?),
        Condition::Not(part) => Test::Not(Box::new(compile(part, written, features)?)),
        Condition::Amount(bounds) => Test::Amount(check(*bounds, "amount")?),
        Condition::Feature(feature) => {
            let unknown = || format!("the feature `{}` is not computed", feature.name);
            Test::Feature(
                features.position(&feature.name).ok_or_else(unknown)?,
                check(feature.bounds(), &feature.name)?,
            )
        }
        Condition::TransactionId(listed) => Test::TransactionId(list(listed)?),
        Condition::CustomerId(listed) => Test::CustomerId(list(listed)?),
        Condition::TerminalId(listed) => Test::TerminalId(list(listed)?),
    })
}

fn check(bounds: Bounds, of: &str) -> Result<Bounds, String> {
    let Bounds { at_least, above, at_most, below } = bounds;
    let named = [("at_least", at_least), ("above", above), ("at_most", at_most), ("below", below)];
    if let Some((name, _)) = named.iter().find(|(_, value)| value.is_some_and(f64::is_nan)) {
        return Err(format!("`{of}`: `{name}` is not a number"));
    }
    let given =
        |pair: [(&'static str, Option<f64>); 2]| pair.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let lower: Vec<_> = given([named[0], named[1]]).collect();
    let upper: Vec<_> = given([named[2], named[3]]).collect();
    if lower.is_empty() && upper.is_empty() {
        return Err(format!("`{of}` needs a bound: at_least, above, at_most or below"));
    }
    for (lower_name, low) in &lower {
        for (upper_name, high) in &upper {
            let strict = *lower_name == "above" || *upper_name == "below";
            if low > high || (strict && low >= high) {
                return Err(format!("`{of}`: no value is {lower_name} {low} and {upper_name} {high}"));
            }
        }
    }
    Ok(bounds)
}

impl Bounds {
    fn hold(&self, value: f64) -> bool {
        self.at_least.is_none_or(|bound| value >= bound)
            && self.above.is_none_or(|bound| value > bound)
            && self.at_most.is_none_or(|bound| value <= bound)
            && self.below.is_none_or(|bound| value < bound)
    }
}

impl Test {
    fn holds(&self, transaction: &Transaction, row: &[f64]) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(transaction, row)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(transaction, row)),
            Self::Not(part) => !part.holds(transaction, row),
            Self::Amount(bounds) => bounds.hold(transaction.amount.major()),
            Self::Feature(position, bounds) => row.get(*position).is_some_and(|value| bounds.hold(*value)),
            Self::TransactionId(list) => list.contains(&transaction.transaction_id),
            Self::CustomerId(list) => list.contains(&transaction.customer_id),
            Self::TerminalId(list) => list.contains(&transaction.terminal_id),
        }
    }
}
