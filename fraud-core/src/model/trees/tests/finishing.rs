//! Base values, class ids and post transforms against what ONNX Runtime 1.32 answered
//! (`finishing.txt`, made by `benches/peers/finishing.py`).

use super::random::close;
use crate::model::trees::{Aggregate, LeafWeight, Mode, Node, PostTransform, Precision, Task, TreeEvaluator, TreeSpec};

const RECORDED: &str = include_str!("finishing.txt");

fn spec(words: &[&str]) -> TreeSpec {
    let [kind, targets, post, base, leaves @ ..] = words else { panic!("{words:?}") };
    let mut weights = Vec::new();
    let mut nodes = Vec::new();
    for (tree, leaves) in leaves.chunks(2).enumerate() {
        let root = nodes.len() as u32;
        nodes.push(Node::branch(0, Mode::Leq, tree as f64, (root + 1, root + 2)));
        for leaf in leaves {
            let first = weights.len() as u32;
            weights.extend(leaf.split(',').map(|pair| {
                let (target, weight) = pair.split_once(':').unwrap();
                LeafWeight { target: target.parse().unwrap(), weight: weight.parse().unwrap() }
            }));
            nodes.push(Node::leaf(first, weights.len() as u32 - first));
        }
    }
    TreeSpec {
        features: 1,
        targets: targets.parse().unwrap(),
        task: if *kind == "C" { Task::Classifier } else { Task::Regressor },
        roots: vec![0, 3],
        nodes,
        weights,
        sets: vec![],
        base_values: base.split(',').filter(|text| *text != "-").map(|text| text.parse().unwrap()).collect(),
        aggregate: Aggregate::Sum,
        post: match *post {
            "NONE" => PostTransform::None,
            "LOGISTIC" => PostTransform::Logistic,
            "SOFTMAX" => PostTransform::Softmax,
            "SOFTMAX_ZERO" => PostTransform::SoftmaxZero,
            _ => PostTransform::Probit,
        },
        precision: Precision::Float,
    }
}

#[test]
fn outputs_are_those_of_onnx_runtime() {
    let mut checked = 0;
    for line in RECORDED.lines() {
        let mut parts = line.split(" | ");
        let words: Vec<&str> = parts.next().unwrap().split(' ').collect();
        let spec = spec(&words);
        let evaluator = TreeEvaluator::new(spec.clone()).unwrap();
        for (x, expected) in [-1.0, 0.5, 2.0].iter().zip(parts) {
            let expected: Vec<f32> = expected.split(' ').map(|value| value.parse().unwrap()).collect();
            let mut out = vec![0.0; evaluator.outputs()];
            evaluator.row(&[*x], &mut out);
            // Where ONNX Runtime writes one place of two, nothing is defined of the other.
            let written = if words[0] == "C" && spec.targets == 2 { written(&spec, *x) } else { out.len() };
            for column in 0..written {
                assert!(close(out[column], expected[column]), "{line}\nx = {x}: {out:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 700, "{checked}");
}

/// How many of the outputs of two classes ONNX Runtime defines.
fn written(spec: &TreeSpec, x: f32) -> usize {
    let leaves = [if x <= 0.0 { 1 } else { 2 }, if x <= 1.0 { 4 } else { 5 }];
    let weights = |leaf: usize| {
        let node = &spec.nodes[leaf];
        &spec.weights[node.first_weight as usize..(node.first_weight + node.weight_count) as usize]
    };
    let second = leaves.iter().any(|leaf| weights(*leaf).iter().any(|weight| weight.target == 1));
    let one_class = spec.weights.iter().all(|weight| weight.target == 0);
    match (second, spec.base_values.len()) {
        (false, 1) if !one_class => 0,
        (false, 0 | 1) if spec.post == PostTransform::Probit => 1,
        _ => 2,
    }
}
