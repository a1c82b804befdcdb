//! The same portable code compiled for several instruction sets; the best that the processor has is used.

use super::fast::{Fast, Rows};
pub(super) use crate::model::simd::Level;
use crate::model::simd::Set;

impl Level {
    /// One row: [`Fast::scores`].
    #[inline]
    #[allow(unsafe_code)]
    pub(super) fn scores<const T: usize>(self, fast: &Fast, x: &[f32], values: &[[i64; T]]) -> Option<[i64; T]> {
        match self.set() {
            Set::Baseline => fast.scores(x, values),
            // SAFETY: the functions are safe but for the instructions they use. Levels beyond the baseline are made by
            // `Level::detect` alone, which found every feature that the functions enable.
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
        match self.set() {
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
