//! The same portable code compiled for several instruction sets; the best that the processor has is used.

use super::fast::{Fast, Rows};

/// An instruction set that was found on this processor. Only [`Level::detect`] makes the ones beyond the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    pub(super) const BASELINE: Self = Self(Set::Baseline);

    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let bits = is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2");
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if bits && wide {
                return Self(Set::Avx512);
            }
            if bits && is_x86_feature_detected!("avx2") {
                return Self(Set::Avx2);
            }
        }
        Self::BASELINE
    }

    /// One row: [`Fast::scores`].
    #[inline]
    #[allow(unsafe_code)]
    pub(super) fn scores<const T: usize>(self, fast: &Fast, x: &[f32], values: &[[i64; T]]) -> Option<[i64; T]> {
        match self.0 {
            Set::Baseline => fast.scores(x, values),
            // SAFETY: the functions are safe but for the instructions they use. `Level` is private to `detect`, which
            // makes these values only after it found every feature that the functions enable.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { avx2(fast, x, values) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { avx512(fast, x, values) },
        }
    }

    /// A block of rows: [`Fast::block`].
    #[inline]
    #[allow(unsafe_code)]
    pub(super) fn block<const T: usize>(self, fast: &Fast, rows: Rows<'_>, to: Table<'_, T>) -> Option<u64> {
        match self.0 {
            Set::Baseline => fast.block(rows, to),
            // SAFETY: as for `scores`.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { block_avx2(fast, rows, to) },
            // SAFETY: as for `scores`.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { block_avx512(fast, rows, to) },
        }
    }
}

/// The weights of the leaves, and where the scores go.
type Table<'a, const T: usize> = (&'a [[i64; T]], &'a mut [[i64; T]]);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn avx2<const T: usize>(fast: &Fast, x: &[f32], values: &[[i64; T]]) -> Option<[i64; T]> {
    fast.scores(x, values)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2")]
fn avx512<const T: usize>(fast: &Fast, x: &[f32], values: &[[i64; T]]) -> Option<[i64; T]> {
    fast.scores(x, values)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn block_avx2<const T: usize>(fast: &Fast, rows: Rows<'_>, to: Table<'_, T>) -> Option<u64> {
    fast.block(rows, to)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2")]
fn block_avx512<const T: usize>(fast: &Fast, rows: Rows<'_>, to: Table<'_, T>) -> Option<u64> {
    fast.block(rows, to)
}
