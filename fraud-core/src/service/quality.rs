//! How good the decisions were, once their labels have come.
//!
//! Scores are remembered in a fixed table, so memory is bounded. Where more come than it can hold until their labels, one
//! in two, in four, … is remembered, chosen by the id: a fair sample, of which nearly all are still there when the label
//! comes, be it days later.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::settings::QualitySettings;
use crate::transaction::{Id, IdRef};

const HOUR: i64 = 3_600;
/// The share in which scores are remembered is looked at after so many of them, or so many hours.
const LOOK: u32 = 1_024;
const LOOK_HOURS: u16 = 24;
/// Of so many, at most a quarter may take the place of one that still waits for its label,
const MOST_LOST: u32 = LOOK / 4;
/// and below so many twice the share is remembered.
const FEW_LOST: u32 = LOOK / 32;
/// One in 2 to the power of it is remembered at least.
const MAX_HALVINGS: u32 = 20;
/// Scores are remembered in so many steps.
const STEPS: f32 = 65_535.0;

/// How long after the transaction its label came: names of `label_age`, with their bounds in hours.
const AGES: [(&str, u16); 3] = [("under_1d", 24), ("1d_to_7d", 7 * 24), ("over_7d", u16::MAX)];

/// Remembers scores and compares them with labels.
#[derive(Debug)]
pub struct Quality {
    /// A slot: 32 bits of the id's hash, 16 of the probability, 16 of the event's hour. 0 is an empty one.
    slots: Box<[AtomicU64]>,
    hasher: hashbrown::DefaultHashBuilder,
    /// One in 2 to the power of it is remembered.
    halvings: AtomicU32,
    /// Since the last look: scores remembered, and those that took the place of one that waited.
    stored: AtomicU32,
    lost: AtomicU32,
    /// The hour of the last look.
    looked: AtomicU32,
    /// Hours in which a label may come.
    patience: u16,
    labelled: Mutex<VecDeque<Labelled>>,
    capacity: usize,
}

#[derive(Debug, Clone, Copy)]
struct Labelled {
    probability: f32,
    fraud: bool,
    /// Hours from the event to the label.
    age: u16,
}

/// Quality over some labelled transactions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Which labels: `all`, or one of the ages.
    pub label_age: &'static str,
    /// How many labelled transactions.
    pub samples: u64,
    /// How many of them are fraud.
    pub frauds: u64,
    /// The share of fraud among those flagged; none when nothing was flagged.
    pub precision: Option<f64>,
    /// The share flagged among the frauds; none when there was no fraud.
    pub recall: Option<f64>,
    /// The area under the precision–recall curve, by steps; none without fraud.
    pub average_precision: Option<f64>,
}

impl Quality {
    /// An empty memory.
    #[must_use]
    pub fn new(settings: &QualitySettings) -> Self {
        let slots = match settings.remembered {
            0 => 0,
            remembered => (remembered as usize).next_power_of_two(),
        };
        Self {
            slots: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            hasher: hashbrown::DefaultHashBuilder::default(),
            halvings: AtomicU32::new(0),
            stored: AtomicU32::new(0),
            lost: AtomicU32::new(0),
            looked: AtomicU32::new(0),
            patience: u16::try_from(settings.labels_within.whole_seconds() / 3_600).unwrap_or(u16::MAX),
            labelled: Mutex::default(),
            capacity: settings.labelled as usize,
        }
    }

    /// Two empty memories that keep and forget the same transactions, to compare two models.
    #[must_use]
    pub fn pair(settings: &QualitySettings) -> [Self; 2] {
        let (one, mut other) = (Self::new(settings), Self::new(settings));
        other.hasher = one.hasher.clone();
        [one, other]
    }

    /// Remembers a score until its label comes. `time` is the event's, in Unix seconds.
    pub fn scored(&self, id: &Id, time: i64, probability: f32) {
        let Some((slot, tag)) = self.place(id) else { return };
        let halvings = self.halvings.load(Ordering::Relaxed);
        let now = hour(time);
        if halvings > 0
            && now.wrapping_sub(u16::try_from(self.looked.load(Ordering::Relaxed)).unwrap_or(now)) >= LOOK_HOURS
        {
            self.look(halvings, now);
        }
        if !is_chosen(tag, halvings) {
            return;
        }
        #[allow(clippy::cast_possible_truncation)]
        let step = (probability.clamp(0.0, 1.0) * STEPS).round() as u16;
        let entry = slot.swap(tag << 32 | u64::from(step) << 16 | u64::from(now), Ordering::Relaxed);
        #[allow(clippy::cast_possible_truncation)] // 16 bits wide.
        let waits = now.wrapping_sub(entry as u16) <= self.patience;
        if entry != 0 && entry >> 32 != tag && waits && is_chosen(entry >> 32, halvings) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        if self.stored.fetch_add(1, Ordering::Relaxed) + 1 >= LOOK {
            self.look(halvings, now);
        }
    }

    /// Remembers a smaller share where too much is lost, and a greater one where there is room.
    fn look(&self, halvings: u32, now: u16) {
        self.looked.store(u32::from(now), Ordering::Relaxed);
        self.stored.store(0, Ordering::Relaxed);
        match self.lost.swap(0, Ordering::Relaxed) {
            lost if lost > MOST_LOST => self.halvings.store((halvings + 1).min(MAX_HALVINGS), Ordering::Relaxed),
            lost if lost < FEW_LOST => self.halvings.store(halvings.saturating_sub(1), Ordering::Relaxed),
            _ => {}
        }
    }

    /// Takes a label in. `observed_at` in Unix seconds. A transaction whose score is not remembered adds
    /// nothing, and so does a second label of the same one.
    pub fn labelled(&self, id: &Id, observed_at: i64, fraud: bool) {
        let Some((slot, tag)) = self.place(id) else { return };
        let entry = slot.load(Ordering::Relaxed);
        let found = entry != 0 && entry >> 32 == tag;
        if !found || slot.compare_exchange(entry, 0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        #[allow(clippy::cast_possible_truncation)] // Both are 16 bits wide.
        let (step, scored) = ((entry >> 16) as u16, entry as u16);
        let age = hour(observed_at).wrapping_sub(scored);
        let mut labelled = self.labelled.lock();
        if self.capacity > 0 && labelled.len() >= self.capacity {
            labelled.pop_front();
        }
        if self.capacity > 0 {
            labelled.push_back(Labelled { probability: f32::from(step) / STEPS, fraud, age });
        }
    }

    fn place(&self, id: &Id) -> Option<(&AtomicU64, u64)> {
        let mut hasher = self.hasher.build_hasher();
        match id.as_ref() {
            IdRef::Integer(value) => hasher.write_i64(value),
            IdRef::Text(text) => hasher.write(text.as_bytes()),
        }
        let hash = hasher.finish();
        // Tag and slot come from different halves of the hash; a tag is never 0, as an empty slot is.
        let at = hash as u32 as usize & self.slots.len().checked_sub(1)?;
        Some((self.slots.get(at)?, (hash >> 32) | 1))
    }

    /// The figures over all labels, then per age, for a threshold from which on a transaction is flagged.
    /// Ages without labels are left out.
    #[must_use]
    pub fn figures(&self, threshold: f32) -> Vec<Figures> {
        let mut all: Vec<Labelled> = self.labelled.lock().iter().copied().collect();
        all.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        let mut figures = vec![of(&all, "all", threshold)];
        let mut from = 0;
        for (name, to) in AGES {
            let part: Vec<Labelled> = all.iter().copied().filter(|one| (from..to).contains(&one.age)).collect();
            figures.push(of(&part, name, threshold));
            from = to;
        }
        figures.retain(|figures| figures.samples > 0);
        figures
    }
}

/// Whether the transaction of that tag is of the share that is remembered. The lowest bit is always set.
fn is_chosen(tag: u64, halvings: u32) -> bool {
    (tag >> 1) & ((1 << halvings) - 1) == 0
}

/// Hours since 1970, the low 16 bits: unambiguous over seven years.
fn hour(time: i64) -> u16 {
    #[allow(clippy::cast_possible_truncation)]
    let hour = time.div_euclid(HOUR) as u16;
    hour
}

/// `sorted` by falling probability.
fn of(sorted: &[Labelled], label_age: &'static str, threshold: f32) -> Figures {
    let frauds = sorted.iter().filter(|one| one.fraud).count();
    let flagged = sorted.iter().filter(|one| one.probability >= threshold).count();
    let caught = sorted.iter().filter(|one| one.probability >= threshold && one.fraud).count();
    let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    Figures {
        label_age,
        samples: sorted.len() as u64,
        frauds: frauds as u64,
        precision: share(caught, flagged),
        recall: share(caught, frauds),
        average_precision: (frauds > 0).then(|| average_precision(sorted, frauds)),
    }
}

/// Σ (recall step) · (precision there); equal scores are one step.
fn average_precision(sorted: &[Labelled], frauds: usize) -> f64 {
    let (mut seen, mut caught, mut area) = (0_usize, 0_usize, 0.0);
    for group in sorted.chunk_by(|a, b| a.probability.total_cmp(&b.probability).is_eq()) {
        let here = group.iter().filter(|one| one.fraud).count();
        seen += group.len();
        caught += here;
        area += here as f64 / frauds as f64 * (caught as f64 / seen as f64);
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality() -> Quality {
        Quality::new(&QualitySettings { remembered: 1 << 16, labelled: 1_000, ..QualitySettings::default() })
    }

    #[test]
    fn figures_are_those_of_the_definition() {
        let quality = quality();
        // By falling score: fraud, legitimate, fraud, legitimate.
        for (id, p, fraud) in [(1, 0.9, true), (2, 0.6, false), (3, 0.5, true), (4, 0.1, false)] {
            quality.scored(&Id::from(id), 1_000_000, p);
            quality.labelled(&Id::from(id), 1_000_000 + 2 * 86_400, fraud);
        }
        let figures = quality.figures(0.55);
        assert_eq!(figures.len(), 2);
        assert_eq!((figures[0].label_age, figures[1].label_age), ("all", "1d_to_7d"));
        assert_eq!((figures[0].samples, figures[0].frauds), (4, 2));
        assert_eq!((figures[0].precision, figures[0].recall), (Some(0.5), Some(0.5)));
        let expected = 0.5 * 1.0 + 0.5 * 2.0 / 3.0;
        assert!((figures[0].average_precision.unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_remembered_adds_nothing() {
        let quality = quality();
        quality.labelled(&Id::from(7), 0, true);
        assert!(quality.figures(0.5).is_empty());
        let none = Quality::new(&QualitySettings { remembered: 0, labelled: 10, ..QualitySettings::default() });
        none.scored(&Id::from(7), 0, 0.5);
        none.labelled(&Id::from(7), 0, true);
        assert!(none.figures(0.5).is_empty());
    }

    #[test]
    fn a_label_that_comes_twice_counts_once() {
        let quality = quality();
        quality.scored(&Id::from(7), 0, 0.5);
        quality.labelled(&Id::from(7), 0, true);
        quality.labelled(&Id::from(7), 0, true);
        assert_eq!(quality.figures(0.5)[0].samples, 1);
    }

    #[test]
    fn labels_find_their_scores_a_week_later_however_many_came_meanwhile() {
        let quality =
            Quality::new(&QualitySettings { remembered: 1 << 12, labelled: 1_000, ..QualitySettings::default() });
        let id = |hour: i64, n: i64| Id::from(hour * 1_000 + n);
        let (a_week, by_hour) = (7 * 24, 500);
        for hour in 0..4 * a_week {
            for n in 0..by_hour {
                quality.scored(&id(hour, n), hour * HOUR, 0.5);
            }
            for n in (0..by_hour).filter(|_| hour >= a_week) {
                quality.labelled(&id(hour - a_week, n), hour * HOUR, n % 100 == 0);
            }
        }
        let figures = quality.figures(0.4);
        assert_eq!(figures[1].label_age, "over_7d");
        assert!(figures[1].samples > 500, "{figures:?}");
        // A quieter time is remembered whole again.
        for hour in 5 * a_week..9 * a_week {
            (0..10).for_each(|n| quality.scored(&id(hour, n), hour * HOUR, 0.5));
        }
        assert_eq!(quality.halvings.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let quality = Quality::new(&QualitySettings { remembered: 1_024, labelled: 10, ..QualitySettings::default() });
        for id in 0..5_000 {
            quality.scored(&Id::from(id), 0, 0.5);
            quality.labelled(&Id::from(id), 0, false);
        }
        assert_eq!(quality.figures(0.5)[0].samples, 10);
    }
}
