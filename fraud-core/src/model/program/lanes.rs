//! Sixteen sums side by side in vector registers.
//!
//! Written out, because whether the compiler keeps an array of sums in registers changes with the size of the tile, and
//! costs a factor of a hundred where it does not.

/// Sixteen numbers.
pub(super) type Sixteen = [f32; 16];

/// Sixteen numbers in registers.
pub(super) trait Lanes: Copy {
    fn load(values: &Sixteen) -> Self;
    fn splat(value: f32) -> Self;
    /// `self + a · b`, rounded once or twice.
    fn plus(self, a: Self, b: Self) -> Self;
    fn store(self) -> Sixteen;
}

/// For what every processor has.
impl Lanes for Sixteen {
    #[inline(always)]
    fn load(values: &Sixteen) -> Self {
        *values
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        [value; 16]
    }

    #[inline(always)]
    fn plus(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + a[lane] * b[lane])
    }

    #[inline(always)]
    fn store(self) -> Sixteen {
        self
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Ymm, Zmm};

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
    };

    use super::{Lanes, Sixteen};

    /// Two registers of AVX2. Only code that is compiled for AVX2 and FMA names it: `simd.rs`.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Ymm(__m256, __m256);

    impl Lanes for Ymm {
        #[inline(always)]
        fn load(values: &Sixteen) -> Self {
            let (low, high) = values.split_at(8);
            // SAFETY: both halves are eight numbers long, any alignment will do, and the processor has the instructions,
            // as the type's users are compiled for them.
            unsafe { Self(_mm256_loadu_ps(low.as_ptr()), _mm256_loadu_ps(high.as_ptr())) }
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: the processor has the instructions, as above.
            let values = unsafe { _mm256_set1_ps(value) };
            Self(values, values)
        }

        #[inline(always)]
        fn plus(self, a: Self, b: Self) -> Self {
            // SAFETY: the processor has the instructions, as above.
            unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
        }

        #[inline(always)]
        fn store(self) -> Sixteen {
            let mut values = [0.0; 16];
            let (low, high) = values.split_at_mut(8);
            // SAFETY: both halves are eight numbers long; the rest as above.
            unsafe {
                _mm256_storeu_ps(low.as_mut_ptr(), self.0);
                _mm256_storeu_ps(high.as_mut_ptr(), self.1);
            }
            values
        }
    }

    /// A register of AVX-512. Only code that is compiled for AVX-512 names it: `simd.rs`.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Zmm(__m512);

    impl Lanes for Zmm {
        #[inline(always)]
        fn load(values: &Sixteen) -> Self {
            // SAFETY: there are sixteen numbers, any alignment will do, and the processor has the instructions, as the
            // type's users are compiled for them.
            Self(unsafe { _mm512_loadu_ps(values.as_ptr()) })
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: the processor has the instructions, as above.
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        fn plus(self, a: Self, b: Self) -> Self {
            // SAFETY: the processor has the instructions, as above.
            Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        fn store(self) -> Sixteen {
            let mut values = [0.0; 16];
            // SAFETY: there are sixteen numbers; the rest as above.
            unsafe { _mm512_storeu_ps(values.as_mut_ptr(), self.0) };
            values
        }
    }
}
