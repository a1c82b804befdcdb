//! Functions of one number that the compiler can compute for several at a time: no branches, no calls.
//!
//! The polynomials are those of Cephes' single precision; NaN gives NaN.

use super::simd::Instructions;

/// a·b + c.
#[inline(always)]
pub(super) fn plus<S: Instructions>(a: f32, b: f32, c: f32) -> f32 {
    // Without the instruction `mul_add` is a call.
    if S::FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn polynomial<S: Instructions, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    coefficients.iter().fold(0.0, |sum, coefficient| plus::<S>(sum, x, *coefficient))
}

/// eˣ.
#[inline(always)]
pub(super) fn exp<S: Instructions>(x: f32) -> f32 {
    /// 1.5 · 2²³: added to a small number it leaves no room for a fraction.
    const ROUND: f32 = 12_582_912.0;
    // Beyond these the answer is infinite or 0 anyway.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    // ln 2 in two parts, the first so short that its product with n is exact.
    let r = plus::<S>(n, -0.693_359_4, x);
    let r = plus::<S>(n, 2.121_944_4e-4, r);
    let p = polynomial::<S, 6>(r, [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5]);
    let p = plus::<S>(p, r * r, r) + 1.0;
    // In two steps, because 2ⁿ may be no ordinary number where the answer is one.
    let n = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    p * power_of_two(n >> 1) * power_of_two(n.wrapping_sub(n >> 1))
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(super) fn sigmoid<S: Instructions>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<S>(-x))
}

#[inline(always)]
pub(super) fn tanh<S: Instructions>(x: f32) -> f32 {
    let square = x * x;
    let p = polynomial::<S, 5>(square, [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1]);
    let small = plus::<S>(p * square, x, x);
    let large = (1.0 - 2.0 / (exp::<S>(2.0 * x.abs()) + 1.0)).copysign(x);
    if x.abs() < 0.625 { small } else { large }
}

/// The greater; NaN where either is, as in ONNX Runtime.
#[inline(always)]
pub(super) fn greater(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// The lesser; NaN where either is.
#[inline(always)]
pub(super) fn lesser(a: f32, b: f32) -> f32 {
    if a < b || a.is_nan() { a } else { b }
}
