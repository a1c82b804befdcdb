//! Post transforms of the linear operators, as ONNX Runtime applies them.

use crate::model::trees::PostTransform;

/// Transforms one row of scores in place.
pub(crate) fn apply(post: PostTransform, row: &mut [f32]) {
    match post {
        PostTransform::None => {}
        PostTransform::Logistic => row.iter_mut().for_each(|value| *value = logistic(*value)),
        PostTransform::Softmax => softmax(row, |_| true),
        PostTransform::SoftmaxZero => softmax(row, |value| value.abs() > 1e-7),
        PostTransform::Probit => row.iter_mut().for_each(|value| *value = probit(*value)),
    }
}

pub(crate) fn logistic(value: f32) -> f32 {
    let decay = (-value.abs()).exp();
    let positive = 1.0 / (1.0 + decay);
    if value < 0.0 { 1.0 - positive } else { positive }
}

/// e^x over the sum of e^x, over those that take part; the others stay zero.
fn softmax(row: &mut [f32], takes_part: impl Fn(f32) -> bool) {
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        if takes_part(*value) {
            *value = (*value - greatest).exp();
            sum += *value;
        } else {
            *value *= (-greatest).exp();
        }
    }
    row.iter_mut().for_each(|value| *value /= sum);
}

/// √2 · erf⁻¹(2p − 1), erf⁻¹ by Winitzki's approximation: the one that ONNX Runtime uses.
fn probit(p: f32) -> f32 {
    const A: f32 = 0.147;
    let x = 2.0 * p - 1.0;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let v = 2.0 / (std::f32::consts::PI * A) + 0.5 * log;
    std::f32::consts::SQRT_2 * sign * ((v * v - log / A).sqrt() - v).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_what_onnx_runtime_answered() {
        let close = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        close(probit(0.1), -1.281_712_9);
        close(probit(0.01), -2.324_090_2);
        close(probit(0.7), 0.524_445_9);
        close(logistic(-2.0), 0.119_202_91);
        let mut row = [2.0, -2.0];
        apply(PostTransform::Softmax, &mut row);
        close(row[1], 0.017_986_21);
    }
}
