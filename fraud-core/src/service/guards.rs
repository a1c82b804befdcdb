//! What a new model must keep to after its swap, beside the one before it on the same transactions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::drift;
use super::metrics::RollbackReason;
use super::settings::GuardSettings;
use super::shadow::Seen;
use crate::assessment::Decision;
use crate::scorer::Scorer;

/// Inner edges of the bins that scores are compared in, beside the thresholds of the model before: what moves within
/// a bin changes no decision by much.
const EDGES: [f32; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// How many of the latest times the medians are of.
const TIMES: usize = 1_024;
/// Added to both counts of declines: a ratio of a handful says nothing.
const DECLINES: f64 = 10.0;

/// What the guards say.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Too early to tell, or the window is not over.
    Going,
    /// The window is over and nothing was amiss.
    Passed,
    /// A bound is broken.
    Breach {
        /// Which one.
        reason: RollbackReason,
        /// The figures.
        figures: String,
    },
}

/// Watches one new model.
#[derive(Debug)]
pub struct Guard {
    settings: GuardSettings,
    began: Instant,
    served: Arc<Scorer>,
    /// The model before, reading the same profiles.
    previous: Scorer,
    answered: AtomicU64,
    failed: AtomicU64,
    pairs: Mutex<Pairs>,
}

/// What was seen of both models on the same transactions: the new one first.
#[derive(Debug, Default)]
struct Pairs {
    count: u64,
    edges: Vec<f32>,
    scores: [Vec<u64>; 2],
    declines: [u64; 2],
    times: VecDeque<[Duration; 2]>,
}

impl Guard {
    /// Begins to watch `served`; `None` when `previous` cannot read its profiles.
    #[must_use]
    pub fn new(settings: &GuardSettings, served: &Arc<Scorer>, previous: &Scorer) -> Option<Self> {
        Some(Self {
            settings: settings.clone(),
            began: Instant::now(),
            previous: previous.reading_profiles_of(served)?,
            served: served.clone(),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            pairs: Mutex::new(Pairs::new(previous.thresholds())),
        })
    }

    /// The same watch over the same model, whose profiles answer more or less.
    #[must_use]
    pub fn refit(&self, served: &Arc<Scorer>) -> Option<Self> {
        Some(Self {
            settings: self.settings.clone(),
            began: self.began,
            previous: self.previous.reading_profiles_of(served)?,
            served: served.clone(),
            answered: AtomicU64::new(self.answered.load(Ordering::Relaxed)),
            failed: AtomicU64::new(self.failed.load(Ordering::Relaxed)),
            pairs: Mutex::new(std::mem::take(&mut *self.pairs.lock())),
        })
    }

    /// The model that is watched.
    #[must_use]
    pub fn served(&self) -> &Arc<Scorer> {
        &self.served
    }

    /// The model before.
    #[must_use]
    pub fn previous(&self) -> &Scorer {
        &self.previous
    }

    /// Counts an answer of the watched model.
    pub fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a transaction that it failed on.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets both models judge a transaction and notes how they differ.
    pub fn compare(&self, seen: &Seen) {
        let mut pairs = self.pairs.lock();
        let timed = |scorer: &Scorer| {
            let begin = Instant::now();
            let verdict = scorer.verdict(&seen.transaction, &seen.profile);
            (verdict, begin.elapsed())
        };
        // Who comes second finds the caches warm: they take turns.
        let (served, previous) = if pairs.count.is_multiple_of(2) {
            let served = timed(&self.served);
            (served, timed(&self.previous))
        } else {
            let previous = timed(&self.previous);
            (timed(&self.served), previous)
        };
        if let (Ok((Some(_), _)), Ok((Some(before), was))) = (served.0, previous.0) {
            pairs.add([(seen.probability, seen.decision), (before, was)], [served.1, previous.1]);
        }
    }

    /// What is to be said by now.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let (answered, failed) = (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        let pairs = self.pairs.lock();
        let breach = self.errors(answered + failed, failed).or_else(|| pairs.breach(&self.settings));
        match breach {
            Some((reason, figures)) => Verdict::Breach { reason, figures },
            None if self.began.elapsed() >= self.settings.window.0 && pairs.count >= self.settings.min_count => {
                Verdict::Passed
            }
            None => Verdict::Going,
        }
    }

    /// Failures need no great number of transactions to be told: so many as `min_count` may have are enough.
    fn errors(&self, total: u64, failed: u64) -> Option<(RollbackReason, String)> {
        let allowed = self.settings.max_error_rate * total.max(self.settings.min_count) as f64;
        (failed as f64 > allowed).then(|| {
            let figures = format!(
                "it failed on {failed} of {total} transactions, `model.guards.max_error_rate` is {}",
                self.settings.max_error_rate
            );
            (RollbackReason::Errors, figures)
        })
    }
}

impl Pairs {
    fn new((review_at, decline_at): (f32, f32)) -> Self {
        let mut edges: Vec<f32> = EDGES.into_iter().chain([review_at, decline_at]).collect();
        edges.sort_by(f32::total_cmp);
        edges.dedup();
        let empty = vec![0; edges.len() + 1];
        Self { edges, scores: [empty.clone(), empty], ..Self::default() }
    }

    fn add(&mut self, judged: [(f32, Decision); 2], times: [Duration; 2]) {
        self.count += 1;
        for (side, (probability, decision)) in judged.into_iter().enumerate() {
            if let Some(count) = self.scores[side].get_mut(self.edges.partition_point(|edge| *edge <= probability)) {
                *count += 1;
            }
            self.declines[side] += u64::from(decision == Decision::Decline);
        }
        if self.times.len() == TIMES {
            self.times.pop_front();
        }
        self.times.push_back(times);
    }

    fn breach(&self, settings: &GuardSettings) -> Option<(RollbackReason, String)> {
        if self.count < settings.min_count {
            return None;
        }
        let expected: Vec<f64> = self.scores[1].iter().map(|count| *count as f64 / self.count as f64).collect();
        let psi = drift::index(&self.scores[0], &expected);
        if psi > settings.max_score_psi {
            let figures = format!(
                "its scores have a population stability index of {psi:.3} against those of the model before over {} \
                 transactions, `model.guards.max_score_psi` is {}",
                self.count, settings.max_score_psi
            );
            return Some((RollbackReason::ScoreShift, figures));
        }
        let [new, old] = self.declines.map(|declines| declines as f64 + DECLINES);
        if (new / old).max(old / new) > settings.max_decline_ratio {
            let figures = format!(
                "it declined {} of {} transactions, the model before {}; `model.guards.max_decline_ratio` is {}",
                self.declines[0], self.count, self.declines[1], settings.max_decline_ratio
            );
            return Some((RollbackReason::DeclineRate, figures));
        }
        let [new, old] = [self.median(0), self.median(1)];
        if new > settings.latency_floor.0 && new.as_secs_f64() > settings.max_latency_ratio * old.as_secs_f64() {
            let figures = format!(
                "its median time is {new:?}, that of the model before {old:?}; `model.guards.max_latency_ratio` is {}",
                settings.max_latency_ratio
            );
            return Some((RollbackReason::Latency, figures));
        }
        None
    }

    fn median(&self, side: usize) -> Duration {
        let mut times: Vec<Duration> = self.times.iter().map(|pair| pair[side]).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::settings::Span;

    fn pairs(count: u64, judged: impl Fn(u64) -> [(f32, Decision); 2]) -> Pairs {
        let mut pairs = Pairs::new((0.03, 0.6));
        (0..count).for_each(|n| pairs.add(judged(n), [Duration::from_micros(10); 2]));
        pairs
    }

    fn reason(pairs: &Pairs) -> Option<RollbackReason> {
        pairs.breach(&GuardSettings::default()).map(|(reason, _)| reason)
    }

    /// Scores as they come: most of them low, one in fifty declined.
    fn usual(n: u64) -> (f32, Decision) {
        if n.is_multiple_of(50) { (0.92, Decision::Decline) } else { ((n % 7) as f32 * 0.004, Decision::Approve) }
    }

    #[test]
    fn a_model_like_the_one_before_passes() {
        assert_eq!(reason(&pairs(5_000, |n| [usual(n), usual(n)])), None);
        // A little better at everything is no breach.
        let better = |n: u64| {
            let (p, decision) = usual(n);
            if n.is_multiple_of(100) { (0.8, Decision::Decline) } else { (p * 0.9, decision) }
        };
        assert_eq!(reason(&pairs(5_000, |n| [better(n), usual(n)])), None);
    }

    #[test]
    fn scores_elsewhere_are_a_breach_from_the_least_count_on() {
        let high = |n: u64| [(0.5, Decision::Review), usual(n)];
        assert_eq!(reason(&pairs(499, high)), None);
        assert_eq!(reason(&pairs(500, high)), Some(RollbackReason::ScoreShift));
    }

    #[test]
    fn a_move_across_a_threshold_is_seen_and_one_below_all_of_them_is_not() {
        let up = |by: f32| move |n: u64| [(usual(n).0 + by, usual(n).1), usual(n)];
        assert_eq!(reason(&pairs(5_000, up(0.004))), None);
        assert_eq!(reason(&pairs(5_000, up(0.02))), Some(RollbackReason::ScoreShift));
    }

    #[test]
    fn far_more_or_far_fewer_declines_are_a_breach() {
        let declining = |n: u64| if n.is_multiple_of(8) { (0.92, Decision::Decline) } else { usual(n) };
        assert_eq!(reason(&pairs(5_000, |n| [declining(n), usual(n)])), Some(RollbackReason::DeclineRate));
        let approving = |n: u64| (usual(n).0, Decision::Approve);
        assert_eq!(reason(&pairs(5_000, |n| [approving(n), usual(n)])), Some(RollbackReason::DeclineRate));
        // A handful more is none.
        assert_eq!(reason(&pairs(500, |n| [usual(n), approving(n)])), None);
    }

    #[test]
    fn a_slower_model_is_a_breach_when_it_is_slow_enough_to_matter() {
        let timed = |new: Duration, old: Duration| {
            let mut pairs = Pairs::new((0.03, 0.6));
            (0..1_000).for_each(|n| pairs.add([usual(n), usual(n)], [new, old]));
            reason(&pairs)
        };
        assert_eq!(timed(Duration::from_micros(900), Duration::from_micros(1)), None);
        assert_eq!(timed(Duration::from_millis(2), Duration::from_millis(1)), None);
        assert_eq!(timed(Duration::from_millis(4), Duration::from_millis(1)), Some(RollbackReason::Latency));
    }

    #[test]
    fn failures_are_told_before_there_are_many_transactions() {
        let scorer = Arc::new(Scorer::without_model(&crate::policy::Policy::default()).unwrap());
        let settings = GuardSettings { window: Span::millis(1), ..GuardSettings::default() };
        let guard = Guard::new(&settings, &scorer, &scorer).unwrap();
        (0..5).for_each(|_| guard.failed());
        assert_eq!(guard.verdict(), Verdict::Going);
        guard.failed();
        assert!(matches!(guard.verdict(), Verdict::Breach { reason: RollbackReason::Errors, .. }));
        // Among many answers so few are within bounds.
        (0..1_000).for_each(|_| guard.answered());
        assert_eq!(guard.verdict(), Verdict::Going);
    }
}
