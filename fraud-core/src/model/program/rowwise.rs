//! Steps that treat the numbers of a row together.

use super::functions::{exp, greater, lesser};
use super::simd::Instructions;

/// A function of some numbers to as many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Row {
    Softmax,
    /// Divided by the root of the mean of squares plus this.
    RmsNorm(f32),
}

impl Row {
    #[inline(always)]
    pub(super) fn apply<S: Instructions>(self, x: &mut [f32], group: usize) {
        for x in x.chunks_exact_mut(group) {
            match self {
                Self::Softmax => {
                    // Rows of NaN stay NaN: whatever the greatest is, NaN less that is NaN.
                    let greatest = x.iter().copied().fold(f32::NEG_INFINITY, greater);
                    x.iter_mut().for_each(|x| *x = exp::<S>(*x - greatest));
                    let sum: f32 = x.iter().sum();
                    x.iter_mut().for_each(|x| *x /= sum);
                }
                Self::RmsNorm(epsilon) => {
                    let scale = (Fold::MeanOfSquares.of(x) + epsilon).sqrt().recip();
                    x.iter_mut().for_each(|x| *x *= scale);
                }
            }
        }
    }
}

/// A function of some numbers to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    Sum,
    Max,
    Min,
    MeanOfSquares,
}

impl Fold {
    #[inline(always)]
    pub(super) fn apply(self, x: &[f32], group: usize, out: &mut [f32]) {
        for (x, out) in x.chunks_exact(group).zip(out) {
            *out = self.of(x);
        }
    }

    #[inline(always)]
    fn of(self, x: &[f32]) -> f32 {
        match self {
            Self::Sum => sum(x, |x| x),
            Self::Max => x.iter().copied().fold(f32::NEG_INFINITY, greater),
            Self::Min => x.iter().copied().fold(f32::INFINITY, lesser),
            #[allow(clippy::cast_precision_loss)]
            Self::MeanOfSquares => sum(x, |x| x * x) / x.len() as f32,
        }
    }
}

/// Four partial sums: closer than one, and quicker.
#[inline(always)]
fn sum(x: &[f32], function: impl Fn(f32) -> f32) -> f32 {
    let (fours, rest) = x.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for four in fours {
        for (sum, x) in sums.iter_mut().zip(four) {
            *sum += function(*x);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += function(*x);
    }
    (sums[0] + sums[2]) + (sums[1] + sums[3])
}
