//! Features as integers that compare as the floats do: one cycle a comparison, and no rule for -0.

use super::normal::{Normal, NormalNode, Test};

/// Below the key of every number.
pub(super) const LEAST: i32 = i32::MIN;
/// Above the key of every number.
pub(super) const GREATEST: i32 = i32::MAX;

/// The key of a number that is not NaN: `a <= b` as floats exactly when `key(a) <= key(b)`.
#[inline(always)]
pub(super) fn key(value: f32) -> i32 {
    let bits = (value + 0.0).to_bits() as i32;
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// The key of a threshold `t` of a test `x <= t`; NaN is a test that never holds.
pub(super) fn threshold_key(t: f32) -> i32 {
    if t.is_nan() { LEAST } else { key(t) }
}

/// How rows become keys.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// Per feature the key that stands for NaN. `None`: nodes disagree on where it goes, the row needs the
    /// general kernel.
    nan: Box<[Option<i32>]>,
}

impl Keys {
    /// `None` when the ensemble has other tests than `x <= t`.
    pub(super) fn new(normal: &Normal) -> Option<Self> {
        let mut left = vec![false; normal.features];
        let mut right = vec![false; normal.features];
        for node in normal.trees.iter().flat_map(|tree| &tree.nodes) {
            match *node {
                NormalNode::Branch { feature, test: Test::Leq(_), nan_left, .. } => {
                    (if nan_left { &mut left } else { &mut right })[feature as usize] = true;
                }
                NormalNode::Branch { .. } => return None,
                NormalNode::Leaf(_) => {}
            }
        }
        let nan = left.iter().zip(&right).map(|(left, right)| match (left, right) {
            (true, true) => None,
            (true, false) => Some(LEAST),
            _ => Some(GREATEST),
        });
        Some(Self { nan: nan.collect() })
    }

    /// Features of a row.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.nan.len()
    }

    /// Writes the keys of a row; false when the row needs the general kernel.
    #[inline(always)]
    pub(super) fn write(&self, x: &[f32], keys: &mut [i32]) -> bool {
        let x = &x[..self.nan.len()];
        let keys = &mut keys[..self.nan.len()];
        let mut missing = false;
        for (key_of_x, value) in keys.iter_mut().zip(x) {
            *key_of_x = key(*value);
            missing |= value.is_nan();
        }
        !missing || self.write_missing(x, keys)
    }

    #[cold]
    fn write_missing(&self, x: &[f32], keys: &mut [i32]) -> bool {
        for (index, value) in x.iter().enumerate() {
            if value.is_nan() {
                let Some(key) = self.nan[index] else { return false };
                keys[index] = key;
            }
        }
        true
    }
}
