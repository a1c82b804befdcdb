//! Programs compiled for several instruction sets; the best that the processor has is used.

use super::dense::Dense;
#[cfg(target_arch = "x86_64")]
use super::lanes::{Ymm, Zmm};
use super::{Program, Registers};
use crate::model::simd::{Level, Set};

/// An instruction set, as far as the steps' code differs by it.
pub(super) trait Instructions {
    /// Whether a·b + c is one instruction that rounds once.
    const FUSED: bool;

    /// [`Dense`] for rows.
    fn dense(layer: &Dense, x: &[f32], out: &mut [f32]);
}

/// What every processor of the architecture has.
pub(super) struct Baseline;

impl Instructions for Baseline {
    const FUSED: bool = cfg!(target_arch = "aarch64");

    #[inline(always)]
    fn dense(layer: &Dense, x: &[f32], out: &mut [f32]) {
        layer.portable::<Self>(x, out);
    }
}

#[cfg(target_arch = "x86_64")]
struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx2 {
    const FUSED: bool = true;

    #[inline(always)]
    fn dense(layer: &Dense, x: &[f32], out: &mut [f32]) {
        // Eight of the sixteen registers hold sums.
        layer.tiled::<Ymm, 4, 1, 4>(x, out);
    }
}

#[cfg(target_arch = "x86_64")]
struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx512 {
    const FUSED: bool = true;

    #[inline(always)]
    fn dense(layer: &Dense, x: &[f32], out: &mut [f32]) {
        layer.tiled::<Zmm, 4, 2, 4>(x, out);
    }
}

impl Level {
    /// One block: [`Program::block`].
    #[inline]
    #[allow(unsafe_code)]
    pub(super) fn run(self, program: &Program, registers: Registers<'_>, out: &mut [f32]) {
        match self.set() {
            Set::Baseline => program.block::<Baseline>(registers, out),
            // SAFETY: the functions are safe but for the instructions they use. Levels beyond the baseline are made by
            // `Level::detect` alone, which found every feature that the functions enable.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { avx2(program, registers, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { avx512(program, registers, out) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2")]
fn avx2(program: &Program, registers: Registers<'_>, out: &mut [f32]) {
    program.block::<Avx2>(registers, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
fn avx512(program: &Program, registers: Registers<'_>, out: &mut [f32]) {
    program.block::<Avx512>(registers, out);
}
