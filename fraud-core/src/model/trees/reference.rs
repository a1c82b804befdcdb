//! The obvious evaluator, for tests: one comparison after another as the definition reads, sums in f64.

use super::finish::{Finish, Seen};
use super::spec::{Aggregate, Mode, Node, Precision, Task, TreeSpec};

/// All outputs of one row; slow. `spec` must be valid and `x` as wide as it says.
#[must_use]
pub fn eval(spec: &TreeSpec, x: &[f32]) -> Vec<f32> {
    let mut scores: Vec<Option<f64>> = vec![None; spec.targets];
    for &root in &spec.roots {
        let mut node = &spec.nodes[root as usize];
        while node.mode != Mode::Leaf {
            node = &spec.nodes[if goes_to_yes(spec, node, x) { node.yes } else { node.no } as usize];
        }
        let first = node.first_weight as usize;
        let mut leaf: Vec<Option<f64>> = vec![None; spec.targets];
        for weight in &spec.weights[first..first + node.weight_count as usize] {
            let value = match spec.precision {
                Precision::Float => f64::from(weight.weight as f32),
                Precision::Double => weight.weight,
            };
            let sum = &mut leaf[weight.target as usize];
            *sum = Some(sum.unwrap_or(0.0) + value);
        }
        for (score, value) in scores.iter_mut().zip(leaf) {
            let Some(value) = value else { continue };
            *score = Some(match (*score, aggregate(spec)) {
                (None, _) => value,
                (Some(score), Aggregate::Sum | Aggregate::Average) => score + value,
                (Some(score), Aggregate::Min) => score.min(value),
                (Some(score), Aggregate::Max) => score.max(value),
            });
        }
    }
    let named = |target: usize| scores.get(target).is_some_and(Option::is_some);
    let seen = Seen { first: named(0), second: named(1) };
    let mut out = vec![0.0; spec.targets];
    Finish::new(spec, None).all(|target| scores[target].unwrap_or(0.0), seen, &mut out);
    out
}

fn aggregate(spec: &TreeSpec) -> Aggregate {
    if spec.task == Task::Classifier { Aggregate::Sum } else { spec.aggregate }
}

fn goes_to_yes(spec: &TreeSpec, node: &Node, x: &[f32]) -> bool {
    let value = f64::from(x[node.feature as usize]);
    let threshold = match spec.precision {
        Precision::Float => f64::from(node.threshold as f32),
        Precision::Double => node.threshold,
    };
    let holds = match node.mode {
        Mode::Leq => value <= threshold,
        Mode::Lt => value < threshold,
        Mode::Gte => value >= threshold,
        Mode::Gt => value > threshold,
        Mode::Eq => value == threshold,
        Mode::Neq => value != threshold,
        Mode::Member(set) => spec.sets[set as usize].iter().any(|member| f64::from(*member) == value),
        Mode::Leaf => false,
    };
    holds || (value.is_nan() && node.missing_tracks_true)
}
