//! The one path: features → model → policy. Every edge calls it.

use std::sync::Arc;

use crate::assessment::{Assessment, Decision, DecisionSource, ModelType, Reason, RiskLevel};
use crate::error::{FeatureError, ModelError, PolicyError};
use crate::features::{FeatureDefinition, FeaturePlan, FeatureSet, Profile, ProfilePlan};
use crate::model::Model;
use crate::policy::{CompiledPolicy, CompiledRule, Policy};
use crate::transaction::Transaction;

mod reasons;
mod shared;

pub use shared::SharedScorer;

/// A model and a policy, fitted to each other. Pure: it knows no store, clock, network or environment.
#[derive(Debug)]
pub struct Scorer {
    model: Option<Arc<Model>>,
    /// The policy as written, to fit it to another model.
    written: Policy,
    policy: Arc<CompiledPolicy>,
    /// The model's inputs in order, then what only rules look at.
    features: FeatureSet,
    plan: FeaturePlan,
    explainer: Arc<reasons::Explainer>,
    model_version: Arc<str>,
}

impl Scorer {
    /// Fits a policy to a model.
    ///
    /// # Errors
    /// [`PolicyError`] when the thresholds contradict each other or a rule cannot be used.
    pub fn new(model: Arc<Model>, policy: &Policy) -> Result<Self, PolicyError> {
        Self::fit(Some(model), policy)
    }

    /// A scorer for when no model can be had: only the policy's rules marked `without_model` decide, and
    /// every other transaction is [`ModelError::NoModel`].
    ///
    /// # Errors
    /// As [`Scorer::new`].
    pub fn without_model(policy: &Policy) -> Result<Self, PolicyError> {
        Self::fit(None, policy)
    }

    /// This model under the policy of another scorer.
    ///
    /// # Errors
    /// As [`Scorer::new`].
    pub fn with_policy_of(&self, other: &Self) -> Result<Self, PolicyError> {
        Self::fit(self.model.clone(), &other.written)
    }

    /// Whether any transaction can get a decision: by the model, or by a rule that does without one.
    #[must_use]
    pub fn can_decide(&self) -> bool {
        self.model.is_some() || self.policy.decides_without_model()
    }

    fn fit(model: Option<Arc<Model>>, policy: &Policy) -> Result<Self, PolicyError> {
        let inputs = model.as_ref().map(|model| model.features().definitions().to_vec()).unwrap_or_default();
        let features = with_rule_features(inputs, policy)?;
        let model_thresholds = model.as_ref().and_then(|model| model.metadata().thresholds);
        Ok(Self {
            policy: Arc::new(CompiledPolicy::new(policy, model_thresholds, &features)?),
            explainer: Arc::new(reasons::Explainer {
                names: features.names().map(Arc::from).collect(),
                medians: model.as_ref().and_then(|model| model.metadata().medians(model.features())),
            }),
            plan: FeaturePlan::compile(&features),
            model_version: model.as_ref().map_or_else(|| "none".into(), |model| model.version().into()),
            written: policy.clone(),
            features,
            model,
        })
    }

    /// The same model and policy, with profiles that also answer what `others` ask for. Its answers are the
    /// same, to the bit.
    #[must_use]
    pub fn with_windows_of<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> Self {
        let others = others.into_iter().map(|other| other.plan.profile().as_ref());
        self.planned(FeaturePlan::compile_with(&self.features, others))
    }

    /// The same model and policy, reading the profiles that `other` asks for; `None` where those lack a window.
    /// Its answers are the same, to the bit.
    #[must_use]
    pub fn reading_profiles_of(&self, other: &Self) -> Option<Self> {
        FeaturePlan::compile_onto(&self.features, other.profile_plan()).map(|plan| self.planned(plan))
    }

    fn planned(&self, plan: FeaturePlan) -> Self {
        Self {
            model: self.model.clone(),
            written: self.written.clone(),
            policy: self.policy.clone(),
            features: self.features.clone(),
            plan,
            explainer: self.explainer.clone(),
            model_version: self.model_version.clone(),
        }
    }

    /// What a store has to answer for this scorer.
    #[must_use]
    pub fn profile_plan(&self) -> &Arc<ProfilePlan> {
        self.plan.profile()
    }

    /// The features computed: the model's inputs in order, then what only rules look at.
    #[must_use]
    pub fn features(&self) -> &FeatureSet {
        &self.features
    }

    /// The model, if there is one.
    #[must_use]
    pub fn model(&self) -> Option<&Arc<Model>> {
        self.model.as_ref()
    }

    /// The model's version as every answer has it; `none` without a model. Scorers made of one
    /// another share one text, so that its address tells them from any other.
    #[must_use]
    pub fn model_version(&self) -> &Arc<str> {
        &self.model_version
    }

    /// (`review_at`, `decline_at`) in force.
    #[must_use]
    pub fn thresholds(&self) -> (f32, f32) {
        self.policy.thresholds()
    }

    /// The policy's version.
    #[must_use]
    pub fn policy_version(&self) -> &Arc<str> {
        &self.policy.version
    }

    /// Writes the features of a transaction as exact as they are, in the order of [`Scorer::features`].
    pub fn write_features(&self, transaction: &Transaction, profile: &Profile, out: &mut [f64]) {
        self.plan.write(transaction, profile, out);
    }

    /// Assesses one transaction. Reasons come with review and decline.
    ///
    /// # Errors
    /// [`ModelError`] when the model failed and no rule decides in its place, or when `profile` was made by
    /// another plan.
    pub fn assess(&self, transaction: &Transaction, profile: &Profile) -> Result<Assessment, ModelError> {
        self.assess_as(transaction, profile, false)
    }

    /// Assesses one transaction and gives reasons whatever the decision.
    ///
    /// # Errors
    /// As [`Scorer::assess`].
    pub fn explain(&self, transaction: &Transaction, profile: &Profile) -> Result<Assessment, ModelError> {
        self.assess_as(transaction, profile, true)
    }

    fn assess_as(&self, transaction: &Transaction, profile: &Profile, explain: bool) -> Result<Assessment, ModelError> {
        self.check_plan(profile)?;
        let mut row = Row::zeroed(self.plan.width());
        self.plan.write(transaction, profile, &mut row);
        let probability = self.probability(&row);
        self.decide(&Seen { transaction, profile, row: &row, explain }, probability)
    }

    /// The probability and the decision alone, for comparing models: what [`Scorer::assess`] says, without the
    /// reasons and their cost.
    ///
    /// # Errors
    /// As [`Scorer::assess`].
    pub fn verdict(&self, transaction: &Transaction, profile: &Profile) -> Result<(Option<f32>, Decision), ModelError> {
        self.check_plan(profile)?;
        let mut row = Row::zeroed(self.plan.width());
        self.plan.write(transaction, profile, &mut row);
        let probability = self.probability(&row);
        let seen = Seen { transaction, profile, row: &row, explain: false };
        self.judge(&seen, probability).map(|(probability, decision, _)| (probability, decision))
    }

    /// Assesses many transactions, each with its profile; answers stand in order in `out`, which is
    /// cleared first. Every answer is the one that [`Scorer::assess`] gives, to the bit.
    pub fn assess_batch(
        &self,
        transactions: &[Transaction],
        profiles: &[Profile],
        out: &mut Vec<Result<Assessment, ModelError>>,
    ) {
        out.clear();
        let width = self.plan.width();
        let count = transactions.len().min(profiles.len());
        let mut rows = vec![0.0_f64; count * width];
        for (index, (transaction, profile)) in transactions.iter().zip(profiles).enumerate() {
            self.plan.write(transaction, profile, &mut rows[index * width..][..width]);
        }
        let mut probabilities = vec![0.0_f32; count];
        let together = self.probabilities(&rows, &mut probabilities);
        for (index, (transaction, profile)) in transactions.iter().zip(profiles).enumerate() {
            let row = &rows[index * width..][..width];
            // One row that the model cannot answer must not cost the others their answer.
            let probability = if together.is_ok() { Ok(probabilities[index]) } else { self.probability(row) };
            let seen = Seen { transaction, profile, row, explain: false };
            out.push(self.check_plan(profile).and_then(|()| self.decide(&seen, probability)));
        }
    }

    fn check_plan(&self, profile: &Profile) -> Result<(), ModelError> {
        if profile.plan == self.plan.profile().fingerprint() { Ok(()) } else { Err(ModelError::ForeignProfile) }
    }

    fn probability(&self, row: &[f64]) -> Result<f32, ModelError> {
        let model = self.model.as_ref().ok_or(ModelError::NoModel)?;
        let inputs: smallvec::SmallVec<[f32; ROW]> = cast(&row[..model.features().len()]).collect();
        model.predict(&inputs)
    }

    fn probabilities(&self, rows: &[f64], out: &mut [f32]) -> Result<(), ModelError> {
        let model = self.model.as_ref().ok_or(ModelError::NoModel)?;
        let (width, inputs) = (self.plan.width(), model.features().len());
        let cast: Vec<f32> = rows.chunks_exact(width.max(1)).flat_map(|row| cast(&row[..inputs])).collect();
        model.predict_batch(&cast, out)
    }

    /// The probability, the decision, and the rule that took it, if one did.
    fn judge(&self, seen: &Seen<'_>, probability: Result<f32, ModelError>) -> Result<Judged<'_>, ModelError> {
        let fired = self.policy.fired(seen.transaction, seen.row, probability.is_ok());
        match (probability, fired) {
            (Ok(p), Some(rule)) => Ok((Some(p), rule.decision, fired)),
            (Ok(p), None) => Ok((Some(p), self.policy.threshold_decision(p), None)),
            (Err(_), Some(rule)) => Ok((None, rule.decision, fired)),
            (Err(error), None) => Err(error),
        }
    }

    fn decide(&self, seen: &Seen<'_>, probability: Result<f32, ModelError>) -> Result<Assessment, ModelError> {
        let (probability, decision, fired) = self.judge(seen, probability)?;
        let mut reasons = Vec::new();
        if seen.explain || decision != Decision::Approve {
            if let (Some(p), Some(model)) = (probability, &self.model) {
                self.explainer.strongest(model, (seen.row, p), &mut reasons);
            }
            reasons.extend(fired.map(|rule| Reason::Rule { rule: rule.name.clone() }));
        }
        Ok(Assessment {
            transaction_id: seen.transaction.transaction_id.clone(),
            fraud_probability: probability,
            risk_level: probability.map_or_else(|| severity(decision), RiskLevel::of),
            decision,
            decision_source: if fired.is_some() { DecisionSource::Rules } else { DecisionSource::Model },
            reasons,
            duplicate: seen.profile.duplicate,
            late: seen.profile.late,
            history_complete: seen.profile.history_complete,
            approximate: seen.profile.approximate,
            model_version: if probability.is_some() { self.model_version.clone() } else { "none".into() },
            model_type: if probability.is_some() { ModelType::Onnx } else { ModelType::Rules },
            policy_version: self.policy.version.clone(),
            confidence_score: probability.map(|p| p.max(1.0 - p)),
        })
    }
}

type Judged<'a> = (Option<f32>, Decision, Option<&'a CompiledRule>);

/// What is known of a transaction when the decision is made.
struct Seen<'a> {
    transaction: &'a Transaction,
    profile: &'a Profile,
    row: &'a [f64],
    explain: bool,
}

/// Features that fit without an allocation.
const ROW: usize = 32;

/// A row of features on the stack, unless it is unusually wide.
struct Row(smallvec::SmallVec<[f64; ROW]>);

impl Row {
    fn zeroed(width: usize) -> Self {
        Self(smallvec::smallvec![0.0; width])
    }
}

impl std::ops::Deref for Row {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.0
    }
}

impl std::ops::DerefMut for Row {
    fn deref_mut(&mut self) -> &mut [f64] {
        &mut self.0
    }
}

/// The one cast from features to model inputs.
fn cast(row: &[f64]) -> impl Iterator<Item = f32> {
    row.iter().map(|value| *value as f32)
}

fn severity(decision: Decision) -> RiskLevel {
    match decision {
        Decision::Approve => RiskLevel::Low,
        Decision::Review => RiskLevel::Medium,
        Decision::Decline => RiskLevel::High,
    }
}

fn with_rule_features(mut inputs: Vec<FeatureDefinition>, policy: &Policy) -> Result<FeatureSet, PolicyError> {
    for (rule, name) in policy.features() {
        if !inputs.iter().any(|feature| feature.name == name) {
            let refuse = |source: FeatureError| PolicyError::RuleFeature { rule: rule.to_owned(), source };
            inputs.push(FeatureDefinition::from_name(name).map_err(refuse)?);
        }
    }
    FeatureSet::new(inputs).map_err(|source| PolicyError::RuleFeature { rule: String::new(), source })
}
