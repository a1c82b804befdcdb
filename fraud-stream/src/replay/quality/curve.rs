//! Areas under the ROC and the precision-recall curve.

/// Up to here every score is kept, 4 bytes each (200 MB); beyond it they are counted in bins.
const EXACT_ROWS: usize = 50_000_000;
/// A bin is a score's bits without the lowest of them: about 1 in 2,000 of its value.
const BIN_SHIFT: u32 = 12;

/// Scores with their labels.
pub(super) struct Scores {
    /// A score's bits, which order like non-negative floats do, then one bit for the label.
    kept: Vec<u32>,
    limit: usize,
    /// Legitimate transactions and frauds per bin.
    bins: Option<Vec<[u64; 2]>>,
}

pub(super) struct Areas {
    pub(super) roc_auc: Option<f64>,
    pub(super) average_precision: Option<f64>,
    pub(super) exact: bool,
}

impl Default for Scores {
    fn default() -> Self {
        Self::keeping(EXACT_ROWS)
    }
}

impl Scores {
    fn keeping(limit: usize) -> Self {
        Self { kept: Vec::new(), limit, bins: None }
    }

    /// A probability from 0 to 1.
    pub(super) fn add(&mut self, probability: f32, fraud: bool) {
        let bits = probability.max(0.0).to_bits();
        if let Some(bins) = &mut self.bins {
            return count(bins, bits, fraud);
        }
        self.kept.push(bits << 1 | u32::from(fraud));
        if self.kept.len() > self.limit {
            let mut bins = vec![[0; 2]; (1.0f32.to_bits() >> BIN_SHIFT) as usize + 1];
            for entry in std::mem::take(&mut self.kept) {
                count(&mut bins, entry >> 1, entry & 1 == 1);
            }
            self.bins = Some(bins);
        }
    }

    pub(super) fn finish(mut self) -> Areas {
        if let Some(bins) = self.bins {
            return areas(bins.into_iter().rev(), false);
        }
        self.kept.sort_unstable_by(|one, other| other.cmp(one));
        let groups = self.kept.chunk_by(|one, other| one >> 1 == other >> 1);
        let counted = groups.map(|group| {
            let frauds = group.iter().filter(|entry| *entry & 1 == 1).count() as u64;
            [group.len() as u64 - frauds, frauds]
        });
        areas(counted, true)
    }
}

fn count(bins: &mut [[u64; 2]], bits: u32, fraud: bool) {
    let last = bins.len() - 1;
    bins[((bits >> BIN_SHIFT) as usize).min(last)][usize::from(fraud)] += 1;
}

/// From groups of equal scores, the highest first: how many others and how many frauds each holds.
fn areas(groups: impl Iterator<Item = [u64; 2]>, exact: bool) -> Areas {
    let (mut others_above, mut frauds_above) = (0u64, 0u64);
    // Twice the number of pairs that are in the wrong order, a tie being half a pair.
    let mut wrong: u128 = 0;
    let mut precision_gained = 0.0;
    for [others, frauds] in groups {
        wrong += u128::from(frauds) * (2 * u128::from(others_above) + u128::from(others));
        others_above += others;
        frauds_above += frauds;
        if frauds > 0 {
            precision_gained += frauds as f64 * (frauds_above as f64 / (frauds_above + others_above) as f64);
        }
    }
    let pairs = u128::from(others_above) * u128::from(frauds_above);
    Areas {
        roc_auc: (pairs > 0).then(|| 1.0 - wrong as f64 / (2.0 * pairs as f64)),
        average_precision: (frauds_above > 0).then(|| precision_gained / frauds_above as f64),
        exact,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(rows: &[(f32, bool)], limit: usize) -> Areas {
        let mut scores = Scores::keeping(limit);
        rows.iter().for_each(|(score, fraud)| scores.add(*score, *fraud));
        scores.finish()
    }

    /// The examples of scikit-learn's documentation of `roc_auc_score` and `average_precision_score`.
    #[test]
    fn known_values() {
        let rows = [(0.1, false), (0.4, false), (0.35, true), (0.8, true)];
        let areas = of(&rows, 10);
        assert_eq!(areas.roc_auc, Some(0.75));
        assert!((areas.average_precision.unwrap() - 0.833_333_333_333_333_3).abs() < 1e-15);
        assert_eq!(of(&[(0.5, true), (0.5, false)], 10).roc_auc, Some(0.5));
        assert_eq!(of(&[(0.5, false)], 10).roc_auc, None);
        assert_eq!(of(&[(0.5, true)], 10).average_precision, Some(1.0));
    }

    proptest! {
        /// Against the definitions, pair by pair and threshold by threshold.
        #[test]
        fn agrees_with_the_definitions(rows in prop::collection::vec((0u8..20, any::<bool>()), 1..200)) {
            let rows: Vec<_> = rows.into_iter().map(|(score, fraud)| (f32::from(score) / 19.0, fraud)).collect();
            let areas = of(&rows, 1_000);
            let frauds = || rows.iter().filter(|row| row.1);
            let (mut right, mut pairs) = (0.0, 0.0);
            for fraud in frauds() {
                for other in rows.iter().filter(|row| !row.1) {
                    pairs += 1.0;
                    right += if fraud.0 > other.0 { 1.0 } else if fraud.0 == other.0 { 0.5 } else { 0.0 };
                }
            }
            prop_assert_eq!(areas.roc_auc.is_some(), pairs > 0.0);
            if let Some(area) = areas.roc_auc {
                prop_assert!((area - right / pairs).abs() < 1e-12);
            }
            let total = frauds().count() as f64;
            let expected: f64 = frauds().map(|fraud| {
                let flagged = rows.iter().filter(|row| row.0 >= fraud.0);
                let (mut hits, mut all) = (0.0, 0.0);
                for row in flagged {
                    all += 1.0;
                    hits += f64::from(u8::from(row.1));
                }
                hits / all / total
            }).sum();
            prop_assert!((areas.average_precision.unwrap_or(0.0) - expected).abs() < 1e-12);
            // Scores so few and so far apart stand in bins of their own.
            let binned = of(&rows, 0);
            prop_assert!(!binned.exact);
            prop_assert_eq!(binned.roc_auc, areas.roc_auc);
        }
    }
}
