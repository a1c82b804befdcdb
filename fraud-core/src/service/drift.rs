//! How far what comes in has moved from what the model was trained on: the population stability index,
//! Σ (actual − expected) · ln(actual / expected) over the baseline's bins.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::settings::DriftSettings;
use crate::model::Distribution;
use crate::scorer::Scorer;

/// Stands for a share of nothing, whose logarithm would be infinite.
const LEAST_SHARE: f64 = 1e-4;

/// A distribution over bins: the index of a value's bin is the number of edges ≤ the value.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Inner edges, ascending.
    pub edges: Box<[f64]>,
    /// The share of each bin, one more than edges; together 1.
    pub shares: Box<[f64]>,
}

impl Histogram {
    /// From counts per bin; `None` when they do not fit the edges or are all 0.
    #[must_use]
    pub fn from_counts(edges: &[f64], counts: &[u64]) -> Option<Self> {
        let total: u64 = counts.iter().sum();
        if total == 0 || counts.len() != edges.len() + 1 {
            return None;
        }
        let shares = counts.iter().map(|count| *count as f64 / total as f64).collect();
        Some(Self { edges: edges.into(), shares })
    }

    fn bin(&self, value: f64) -> usize {
        self.edges.partition_point(|edge| *edge <= value)
    }
}

/// What is compared with its baseline.
#[derive(Debug)]
struct Series {
    name: Arc<str>,
    baseline: Histogram,
    /// The window being filled and the one before, one after the other.
    counts: [Box<[AtomicU32]>; 2],
}

/// A figure of drift.
#[derive(Debug, Clone, PartialEq)]
pub struct Psi {
    /// The feature, or `score`.
    pub name: Arc<str>,
    /// The index: below 0.1 steady, above 0.2 moved.
    pub psi: f64,
    /// Over how many transactions.
    pub samples: u64,
}

/// Watches one model's inputs and score over a sliding window: figures are over the last full window and
/// what there is of the next. A model has a watch of its own.
#[derive(Debug)]
pub struct Drift {
    features: Vec<(usize, Series)>,
    score: Option<Series>,
    settings: DriftSettings,
    /// Windows begun.
    turn: AtomicU64,
    turned: Mutex<Instant>,
}

impl Drift {
    /// Watches the features (by position in the row) and the score that have a baseline.
    #[must_use]
    pub fn new(
        features: Vec<(usize, Arc<str>, Histogram)>,
        score: Option<Histogram>,
        settings: &DriftSettings,
    ) -> Self {
        let series = |name: Arc<str>, baseline: Histogram| {
            let empty = || baseline.shares.iter().map(|_| AtomicU32::new(0)).collect::<Box<[_]>>();
            Series { counts: [empty(), empty()], name, baseline }
        };
        Self {
            features: features.into_iter().map(|(at, name, baseline)| (at, series(name, baseline))).collect(),
            score: score.map(|baseline| series("score".into(), baseline)),
            settings: settings.clone(),
            turn: AtomicU64::new(0),
            turned: Mutex::new(Instant::now()),
        }
    }

    /// Watches what the scorer's model has a baseline for.
    #[must_use]
    pub fn of(scorer: &Scorer, settings: &DriftSettings) -> Self {
        let Some(baseline) = scorer.model().and_then(|model| model.metadata().baseline.as_ref()) else {
            return Self::new(Vec::new(), None, settings);
        };
        let read = |written: &Distribution| Histogram::from_counts(&written.edges, &written.counts);
        let feature = |(at, name): (usize, &str)| Some((at, name.into(), read(baseline.features.get(name)?)?));
        let features = scorer.features().names().enumerate().filter_map(feature).collect();
        Self::new(features, baseline.score.as_ref().and_then(read), settings)
    }

    /// Whether there is anything to compare with.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.settings.sample_every > 0 && (self.score.is_some() || !self.features.is_empty())
    }

    /// Adds one transaction: its row of features and its probability.
    pub fn add(&self, row: &[f64], probability: Option<f32>) {
        let side = self.side();
        for (at, series) in &self.features {
            if let Some(value) = row.get(*at) {
                series.add(side, *value);
            }
        }
        if let (Some(series), Some(p)) = (&self.score, probability) {
            series.add(side, p.into());
        }
    }

    fn side(&self) -> usize {
        usize::from(self.turn.load(Ordering::Relaxed) % 2 == 1)
    }

    /// Moves the window on when its time has come. Called whenever figures are asked for, and now and then.
    pub fn turn(&self) {
        let window: Duration = self.settings.window.0;
        let mut turned = self.turned.lock();
        while turned.elapsed() >= window {
            *turned += window;
            let next = 1 - self.side();
            let all = self.features.iter().map(|(_, series)| series).chain(&self.score);
            all.for_each(|series| series.counts[next].iter().for_each(|count| count.store(0, Ordering::Relaxed)));
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drift of the features with enough samples.
    #[must_use]
    pub fn features(&self) -> Vec<Psi> {
        self.turn();
        self.features.iter().filter_map(|(_, series)| series.psi(self.settings.min_samples)).collect()
    }

    /// Drift of the score, if it has enough samples.
    #[must_use]
    pub fn score(&self) -> Option<Psi> {
        self.turn();
        self.score.as_ref()?.psi(self.settings.min_samples)
    }
}

/// The population stability index of counts per bin against expected shares.
#[must_use]
pub fn index(counts: &[u64], expected: &[f64]) -> f64 {
    let samples = counts.iter().sum::<u64>().max(1) as f64;
    let term = |(count, expected): (&u64, &f64)| {
        let actual = (*count as f64 / samples).max(LEAST_SHARE);
        let expected = expected.max(LEAST_SHARE);
        (actual - expected) * (actual / expected).ln()
    };
    counts.iter().zip(expected).map(term).sum()
}

impl Series {
    fn add(&self, side: usize, value: f64) {
        if let Some(count) = self.counts[side].get(self.baseline.bin(value)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn psi(&self, min_samples: u64) -> Option<Psi> {
        let counts: Vec<u64> = self.counts[0]
            .iter()
            .zip(&self.counts[1])
            .map(|(one, other)| u64::from(one.load(Ordering::Relaxed)) + u64::from(other.load(Ordering::Relaxed)))
            .collect();
        let samples: u64 = counts.iter().sum();
        if samples < min_samples.max(1) {
            return None;
        }
        let psi = index(&counts, &self.baseline.shares);
        Some(Psi { name: self.name.clone(), psi, samples })
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Span;
    use super::*;

    fn drift(window: Span) -> Drift {
        let histogram = Histogram::from_counts(&[1.0, 2.0], &[50, 30, 20]).unwrap();
        let settings = DriftSettings { window, sample_every: 1, min_samples: 10 };
        Drift::new(vec![(1, "B".into(), histogram.clone())], Some(histogram), &settings)
    }

    #[test]
    fn the_same_distribution_has_an_index_of_zero_and_another_has_its_own() {
        let drift = drift(Span::seconds(3_600));
        for (value, times) in [(0.5, 50), (1.0, 30), (2.0, 20)] {
            (0..times).for_each(|_| drift.add(&[9.0, value], None));
        }
        let figures = drift.features();
        assert_eq!((figures[0].name.as_ref(), figures[0].samples), ("B", 100));
        assert!(figures[0].psi.abs() < 1e-12, "{}", figures[0].psi);
        assert_eq!(drift.score(), None);
        (0..100).for_each(|_| drift.add(&[9.0, 0.5], Some(0.1)));
        // Shares 0.75, 0.15, 0.1 against 0.5, 0.3, 0.2.
        let expected = 0.25 * 1.5_f64.ln() - 0.15 * 0.5_f64.ln() - 0.1 * 0.5_f64.ln();
        assert!((drift.features()[0].psi - expected).abs() < 1e-12);
        assert_eq!(drift.score().unwrap().samples, 100);
    }

    #[test]
    fn old_windows_are_forgotten() {
        let drift = drift(Span::millis(20));
        (0..100).for_each(|_| drift.add(&[0.0, 0.0], None));
        assert_eq!(drift.features().len(), 1);
        std::thread::sleep(Duration::from_millis(45));
        assert!(drift.features().is_empty());
    }

    #[test]
    fn an_empty_bin_does_not_make_it_infinite() {
        let histogram = Histogram::from_counts(&[0.0], &[100, 0]).unwrap();
        let settings = DriftSettings { min_samples: 1, ..DriftSettings::default() };
        let drift = Drift::new(vec![(0, "A".into(), histogram)], None, &settings);
        (0..10).for_each(|_| drift.add(&[5.0], None));
        assert!(drift.features()[0].psi.is_finite() && drift.features()[0].psi > 5.0);
    }
}
