//! A feature set, compiled: no name and no search is left when a transaction comes.

use std::sync::Arc;

use super::definition::{Aggregate, Calendar, FeatureSet, Source};
use super::profile::{Needs, Profile, ProfilePlan, WindowSpec, WindowStats};
use crate::transaction::{AMOUNT_SCALE, Transaction};

const DAY: i64 = 86_400;
const SCALE: f64 = AMOUNT_SCALE as f64;

#[derive(Debug, Clone, Copy)]
enum Step {
    Amount,
    Calendar(Calendar),
    /// Index of the window in the profile.
    Window(usize, Aggregate),
}

/// Turns a transaction and its profile into a row of features.
#[derive(Debug, Clone)]
pub struct FeaturePlan {
    steps: Box<[Step]>,
    profile: Arc<ProfilePlan>,
}

impl FeaturePlan {
    /// Compiles the set; its features keep their order.
    #[must_use]
    pub fn compile(features: &FeatureSet) -> Self {
        Self::compile_with(features, [])
    }

    /// Compiles the set so that its profiles also answer what `others` ask, as when two models look at the same
    /// transactions. The features, and what their profiles say of themselves, are as without them.
    #[must_use]
    pub fn compile_with<'a>(features: &FeatureSet, others: impl IntoIterator<Item = &'a ProfilePlan>) -> Self {
        let own = features.definitions().iter().filter_map(|feature| spec(feature.source));
        let mut windows: Vec<WindowSpec> = Vec::new();
        for spec in own.chain(others.into_iter().flat_map(|plan| plan.windows.iter().copied())) {
            match windows.iter_mut().find(|known| known.is_same_window(&spec)) {
                Some(known) => known.needs.merge(spec.needs),
                None => windows.push(spec),
            }
        }
        windows.sort_by_key(|spec| (spec.key, spec.delay, spec.window));
        let profile = ProfilePlan::new(windows, features.history());
        let steps = steps(features, &profile).unwrap_or_default();
        Self { steps, profile: Arc::new(profile) }
    }

    /// Compiles the set for profiles that another plan asks for; `None` where those lack something.
    #[must_use]
    pub fn compile_onto(features: &FeatureSet, profile: &Arc<ProfilePlan>) -> Option<Self> {
        Some(Self { steps: steps(features, profile)?, profile: profile.clone() })
    }

    /// What a store has to answer for this plan.
    #[must_use]
    pub fn profile(&self) -> &Arc<ProfilePlan> {
        &self.profile
    }

    /// How many features a row has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.steps.len()
    }

    /// Writes the features of one transaction, in order, as exact as they are.
    ///
    /// `profile` is one made by [`FeaturePlan::profile`]; a window that it lacks counts as empty. Writes
    /// `min(out.len(), width)` values.
    pub fn write(&self, transaction: &Transaction, profile: &Profile, out: &mut [f64]) {
        for (step, place) in self.steps.iter().zip(out) {
            *place = value(*step, transaction, profile);
        }
    }

    /// The same values, each cast once to the model's f32.
    pub fn write_f32(&self, transaction: &Transaction, profile: &Profile, out: &mut [f32]) {
        for (step, place) in self.steps.iter().zip(out) {
            // The one cast from feature to model input.
            let cast = value(*step, transaction, profile) as f32;
            *place = cast;
        }
    }
}

/// The window that a feature looks at, if it looks at one.
fn spec(source: Source) -> Option<WindowSpec> {
    match source {
        Source::Window { key, aggregate, window, delay } => {
            Some(WindowSpec { key, window, delay, needs: needs(aggregate) })
        }
        Source::Amount | Source::Calendar(_) => None,
    }
}

fn steps(features: &FeatureSet, profile: &ProfilePlan) -> Option<Box<[Step]>> {
    let step = |source| match source {
        Source::Amount => Some(Step::Amount),
        Source::Calendar(calendar) => Some(Step::Calendar(calendar)),
        Source::Window { aggregate, .. } => {
            let wanted = spec(source)?;
            let answers = |known: &WindowSpec| known.is_same_window(&wanted) && known.needs.cover(wanted.needs);
            Some(Step::Window(profile.windows.iter().position(answers)?, aggregate))
        }
    };
    features.definitions().iter().map(|feature| step(feature.source)).collect()
}

fn value(step: Step, transaction: &Transaction, profile: &Profile) -> f64 {
    match step {
        Step::Amount => transaction.amount.major(),
        Step::Calendar(calendar) => f64::from(calendar_value(calendar, transaction.time)),
        Step::Window(index, aggregate) => {
            profile.windows.get(index).map_or(0.0, |stats| aggregate_value(aggregate, stats))
        }
    }
}

fn needs(aggregate: Aggregate) -> Needs {
    let none = Needs::default();
    match aggregate {
        Aggregate::Count => none,
        Aggregate::Sum | Aggregate::Mean => Needs { sum: true, ..none },
        Aggregate::StdDev => Needs { sum: true, sum_of_squares: true, ..none },
        Aggregate::Min | Aggregate::Max => Needs { extremes: true, ..none },
        Aggregate::FraudShare => Needs { frauds: true, ..none },
        Aggregate::SecondsSincePrevious => Needs { previous: true, ..none },
    }
}

fn calendar_value(calendar: Calendar, time: i64) -> u8 {
    let hour = time.rem_euclid(DAY) / 3_600;
    // Day 0 of Unix time was a Thursday, 3 when Monday is 0.
    let day_of_week = (time.div_euclid(DAY) + 3).rem_euclid(7);
    let value = match calendar {
        Calendar::Weekend => i64::from(day_of_week >= 5),
        Calendar::Night => i64::from(hour <= 6),
        Calendar::Hour => hour,
        Calendar::DayOfWeek => day_of_week,
    };
    u8::try_from(value).unwrap_or_default()
}

fn aggregate_value(aggregate: Aggregate, stats: &WindowStats) -> f64 {
    let count = stats.count as f64;
    match aggregate {
        Aggregate::Count => count,
        Aggregate::Sum => stats.sum as f64 / SCALE,
        _ if stats.count == 0 && aggregate != Aggregate::SecondsSincePrevious => 0.0,
        Aggregate::Mean => stats.sum as f64 / (count * SCALE),
        Aggregate::Min => stats.min as f64 / SCALE,
        Aggregate::Max => stats.max as f64 / SCALE,
        Aggregate::StdDev => standard_deviation(stats),
        Aggregate::FraudShare => stats.frauds as f64 / count,
        Aggregate::SecondsSincePrevious => f64::from(stats.since_previous),
    }
}

/// √(n·Σx² − (Σx)²) / n, the difference taken between exact integers: no cancellation.
fn standard_deviation(stats: &WindowStats) -> f64 {
    let count = u128::from(stats.count);
    let scaled = count.checked_mul(stats.sum_of_squares).zip(stats.sum.checked_mul(stats.sum));
    let variance = match scaled {
        Some((squares, square)) => squares.saturating_sub(square) as f64,
        // More than a million payments of the greatest amount in one window.
        None => (count as f64 * stats.sum_of_squares as f64 - (stats.sum as f64).powi(2)).max(0.0),
    };
    variance.sqrt() / (count as f64 * SCALE)
}

#[cfg(test)]
mod tests;
