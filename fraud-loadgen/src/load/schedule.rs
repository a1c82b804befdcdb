//! When requests are intended to start.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::clock::SECOND;

/// How arrivals are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// As independent callers arrive: exponential gaps.
    #[default]
    Poisson,
    /// Equal gaps.
    Constant,
}

/// A stretch of a profile: a rate that is held, or that rises or falls in a straight line.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// What it is called in the report.
    pub name: String,
    /// Requests a second at its beginning.
    pub from: f64,
    /// Requests a second at its end.
    pub to: f64,
    /// Nanoseconds.
    pub duration: u64,
}

impl Phase {
    /// A phase of one rate.
    #[must_use]
    pub fn steady(name: impl Into<String>, rate: f64, seconds: f64) -> Self {
        Self { name: name.into(), from: rate, to: rate, duration: to_nanoseconds(seconds) }
    }

    /// Whether nothing is sent in it.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        self.from == 0.0 && self.to == 0.0
    }

    /// Its length in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.duration as f64 / SECOND as f64
    }

    /// Requests expected from its beginning to `seconds` into it.
    fn expected(&self, seconds: f64) -> f64 {
        let slope = if self.duration == 0 { 0.0 } else { (self.to - self.from) / self.seconds() };
        self.from * seconds + slope * seconds * seconds / 2.0
    }

    /// Requests expected in all of it.
    #[must_use]
    pub fn requests(&self) -> f64 {
        self.expected(self.seconds())
    }

    /// Seconds into it after which `count` requests are expected; the inverse of [`Self::expected`].
    fn reached(&self, count: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds();
        if slope.abs() < 1e-12 {
            return count / self.from;
        }
        // The stable form of the quadratic's root: it holds for rates that rise from 0 and that fall to 0.
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        2.0 * count / (self.from + root)
    }
}

/// Nanoseconds of a number of seconds; 0 for what is no length of time.
#[must_use]
#[allow(clippy::cast_possible_truncation)] // Saturates.
pub fn to_nanoseconds(seconds: f64) -> u64 {
    (seconds * SECOND as f64).round() as u64
}

/// One intended start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Nanoseconds since the start of the run.
    pub due: u64,
    /// Which phase it belongs to.
    pub phase: u16,
}

/// The intended starts of a list of phases, in order. The same phases, spacing and seed give the same ones.
#[derive(Debug)]
pub struct Arrivals {
    phases: Vec<Phase>,
    spacing: Spacing,
    random: ChaCha8Rng,
    /// The phase under way.
    phase: usize,
    /// When it began.
    began: u64,
    /// Expected requests between its beginning and the next arrival.
    next: f64,
}

impl Arrivals {
    /// Arrivals through these phases, one after another.
    #[must_use]
    pub fn new(phases: Vec<Phase>, spacing: Spacing, seed: u64) -> Self {
        let mut arrivals =
            Self { phases, spacing, random: ChaCha8Rng::seed_from_u64(seed), phase: 0, began: 0, next: 0.0 };
        if spacing == Spacing::Poisson {
            arrivals.next = arrivals.step();
        }
        arrivals
    }

    /// Distance to the next arrival, in expected requests. A Poisson process of any changing rate is one of rate 1
    /// on this scale.
    fn step(&mut self) -> f64 {
        match self.spacing {
            Spacing::Constant => 1.0,
            // 1 − u lies in (0, 1], so that the logarithm is finite.
            Spacing::Poisson => -(1.0 - self.random.random::<f64>()).ln(),
        }
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            let phase = self.phases.get(self.phase)?;
            let requests = phase.requests();
            if self.next < requests {
                let into = to_nanoseconds(phase.reached(self.next)).min(phase.duration.saturating_sub(1));
                let due = self.began + into;
                self.next += self.step();
                return Some(Arrival { due, phase: u16::try_from(self.phase).unwrap_or(u16::MAX) });
            }
            self.next -= requests;
            self.began += phase.duration;
            self.phase += 1;
        }
    }
}

/// The end of the last phase, in nanoseconds.
#[must_use]
pub fn length(phases: &[Phase]) -> u64 {
    phases.iter().map(|phase| phase.duration).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(phases: &[Phase], spacing: Spacing, seed: u64) -> Vec<Arrival> {
        Arrivals::new(phases.to_vec(), spacing, seed).collect()
    }

    #[test]
    fn constant_arrivals_are_equally_spaced() {
        let all = arrivals(&[Phase::steady("a", 100.0, 2.0)], Spacing::Constant, 1);
        assert_eq!(all.len(), 200);
        for (index, arrival) in all.iter().enumerate() {
            assert!(arrival.due.abs_diff(index as u64 * 10_000_000) <= 1, "{index}: {arrival:?}");
        }
    }

    #[test]
    fn phases_follow_each_other_and_pauses_are_empty() {
        let phases =
            [Phase::steady("a", 50.0, 1.0), Phase::steady("pause", 0.0, 3.0), Phase::steady("b", 1_000.0, 2.0)];
        let all = arrivals(&phases, Spacing::Constant, 1);
        let of = |phase| all.iter().filter(|arrival| arrival.phase == phase).count();
        assert_eq!([of(0), of(1), of(2)], [50, 0, 2_000]);
        assert!(all.iter().all(|arrival| arrival.phase == 0 || (4 * SECOND..6 * SECOND).contains(&arrival.due)));
        assert_eq!(length(&phases), 6 * SECOND);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_one() {
        let all = arrivals(&[Phase::steady("a", 1_000.0, 100.0)], Spacing::Poisson, 7);
        // A hundred thousand ± four standard deviations.
        assert!((98_735..=101_265).contains(&all.len()), "{}", all.len());
        let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1].due - pair[0].due) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Exponential: the deviation equals the mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "{} {mean}", variance.sqrt());
    }

    #[test]
    fn ramps_bring_as_many_as_the_area_under_them() {
        for (from, to) in [(0.0, 100.0), (100.0, 0.0), (20.0, 80.0), (50.0, 50.0)] {
            let phase = Phase { name: "r".into(), from, to, duration: 20 * SECOND };
            let all = arrivals(std::slice::from_ref(&phase), Spacing::Constant, 1);
            assert_eq!(all.len(), 1_000, "{from} {to}");
            assert!(all.windows(2).all(|pair| pair[0].due <= pair[1].due));
            let half = all.iter().filter(|arrival| arrival.due < 10 * SECOND).count() as f64;
            assert!((half - phase.expected(10.0)).abs() <= 1.0, "{from} {to}: {half}");
        }
    }

    #[test]
    fn the_seed_decides() {
        let phases = [Phase { name: "r".into(), from: 10.0, to: 500.0, duration: 5 * SECOND }];
        assert_eq!(arrivals(&phases, Spacing::Poisson, 3), arrivals(&phases, Spacing::Poisson, 3));
        assert_ne!(arrivals(&phases, Spacing::Poisson, 3), arrivals(&phases, Spacing::Poisson, 4));
    }
}
