//! Random ensembles.

use proptest::prelude::*;

use crate::model::trees::Kernel;
use crate::model::trees::reference::eval;
use crate::model::trees::{Aggregate, LeafWeight, Mode, Node, PostTransform, Precision, Task, TreeEvaluator, TreeSpec};

/// Thresholds and inputs meet often: few values, among them the awkward ones.
const NUMBERS: [f64; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    0.100_000_001_490_116_12,
    1e-45,
    -1e-45,
    2.5,
    1e300,
    -1e300,
    f64::INFINITY,
    f64::NEG_INFINITY,
    3.402_823_466_385_288_6e38,
];

/// What an ensemble is made of.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    pub features: u32,
    pub targets: u32,
    pub trees: u32,
    /// Chance out of 100 that a node branches.
    pub branching: u32,
    pub max_depth: u32,
    /// All tests are LEQ, as exporters write them.
    pub plain: bool,
    /// Every leaf names every target.
    pub dense: bool,
}

/// A small generator of its own: a spec is a function of recipe and seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % u64::from(end.max(1))) as u32
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u32) as usize]
    }

    fn number(&mut self) -> f64 {
        if self.below(2) == 0 { self.pick(&NUMBERS) } else { f64::from(self.below(2000)) / 300.0 - 3.0 }
    }

    pub fn input(&mut self) -> f32 {
        if self.below(12) == 0 { f32::NAN } else { self.number() as f32 }
    }
}

pub fn spec(recipe: Recipe, seed: u64) -> TreeSpec {
    let mut dice = Dice(seed | 1);
    let mut spec = TreeSpec {
        features: recipe.features as usize,
        targets: recipe.targets as usize,
        task: dice.pick(&[Task::Classifier, Task::Regressor]),
        roots: Vec::new(),
        nodes: Vec::new(),
        weights: Vec::new(),
        sets: vec![vec![0.0, 2.5, f32::NAN], vec![-0.0], vec![]],
        base_values: (0..dice.pick(&[0, 1, recipe.targets, 2])).map(|_| f64::from(dice.below(8)) / 8.0).collect(),
        aggregate: if recipe.plain {
            Aggregate::Sum
        } else {
            dice.pick(&[Aggregate::Sum, Aggregate::Average, Aggregate::Min, Aggregate::Max])
        },
        post: dice.pick(&[
            PostTransform::None,
            PostTransform::Softmax,
            PostTransform::Logistic,
            PostTransform::SoftmaxZero,
            PostTransform::Probit,
        ]),
        precision: dice.pick(&[Precision::Float, Precision::Double]),
    };
    let missing = dice.below(3);
    for _ in 0..recipe.trees {
        let root = spec.nodes.len() as u32;
        spec.roots.push(root);
        spec.nodes.push(Node::leaf(0, 0));
        let mut open = vec![(root, 0)];
        while let Some((index, depth)) = open.pop() {
            let branches = depth < recipe.max_depth && dice.below(100) < recipe.branching;
            spec.nodes[index as usize] = if branches {
                let left = spec.nodes.len() as u32;
                spec.nodes.extend([Node::leaf(0, 0), Node::leaf(0, 0)]);
                open.extend([(left, depth + 1), (left + 1, depth + 1)]);
                let modes =
                    [Mode::Leq, Mode::Lt, Mode::Gte, Mode::Gt, Mode::Eq, Mode::Neq, Mode::Member(dice.below(3))];
                let mode = if recipe.plain { modes[dice.below(4) as usize] } else { dice.pick(&modes) };
                let children = if dice.below(2) == 0 { (left, left + 1) } else { (left + 1, left) };
                let node = Node::branch(dice.below(recipe.features), mode, dice.number(), children);
                Node { missing_tracks_true: [false, true, dice.below(2) == 0][missing as usize], ..node }
            } else {
                let first = spec.weights.len() as u32;
                for target in 0..recipe.targets {
                    if recipe.dense || dice.below(3) > 0 {
                        spec.weights.push(LeafWeight { target, weight: f64::from(dice.below(4001)) / 2000.0 - 1.0 });
                    }
                }
                Node::leaf(first, spec.weights.len() as u32 - first)
            };
        }
    }
    spec
}

fn recipes() -> impl Strategy<Value = Recipe> {
    (1u32..20, 1u32..5, 1u32..40, 0u32..100, 0u32..9, any::<(bool, bool)>()).prop_map(
        |(features, targets, trees, branching, max_depth, (plain, dense))| {
            let trees = if max_depth > 6 { trees.min(12) } else { trees };
            Recipe { features, targets, trees, branching, max_depth, plain, dense }
        },
    )
}

pub fn close(a: f32, b: f32) -> bool {
    a.is_nan() && b.is_nan() || a == b || (a - b).abs() <= 1e-6 * (1.0 + a.abs().max(b.abs()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_kernel_agrees_with_the_reference(recipe in recipes(), seed in any::<u64>()) {
        let spec = spec(recipe, seed);
        let mut dice = Dice(seed ^ 0x5555 | 1);
        let stride = spec.features + 2;
        let x: Vec<f32> = (0..ROWS * stride).map(|_| dice.input()).collect();
        prop_assume!(!spec.weights.is_empty());
        let mut bits: Option<Vec<u32>> = None;
        prop_assert!(TreeEvaluator::new(spec.clone()).is_ok());
        for kernel in KERNELS {
            let evaluator = TreeEvaluator::with_kernel(spec.clone(), kernel).unwrap();
            let all = every_way(&evaluator, &x, stride);
            if bits.is_none() {
                let outputs = evaluator.outputs();
                for (row, out) in x.chunks(stride).zip(all.chunks(outputs)) {
                    let expected = eval(&spec, &row[..spec.features]);
                    for (a, b) in out.iter().zip(&expected) {
                        prop_assert!(close(*a, *b), "{:?} is not {:?} for {:?}", out, expected, row);
                    }
                }
            }
            let all: Vec<u32> = all.iter().map(|value| value.to_bits()).collect();
            prop_assert_eq!(bits.get_or_insert(all.clone()), &all, "{:?}", kernel);
        }
    }
}

const ROWS: usize = 150;

const KERNELS: [Kernel; 5] =
    [Kernel::Walk, Kernel::Lockstep, Kernel::Bits { block: 1 }, Kernel::Bits { block: 3 }, Kernel::Bits { block: 64 }];

/// All outputs of all rows, which every method must give to the bit.
fn every_way(evaluator: &TreeEvaluator, x: &[f32], stride: usize) -> Vec<f32> {
    let outputs = evaluator.outputs();
    let mut all = vec![0.0; ROWS * outputs];
    evaluator.rows(x, stride, &mut all);
    for (index, expected) in all.chunks(outputs).enumerate() {
        let row = &x[index * stride..][..evaluator.features()];
        let mut out = vec![0.0; outputs];
        evaluator.row(row, &mut out);
        for column in 0..outputs {
            assert_eq!(out[column].to_bits(), expected[column].to_bits());
            assert_eq!(evaluator.probability_row(row, column).to_bits(), expected[column].to_bits());
        }
    }
    for column in 0..outputs {
        let mut one = vec![0.0; ROWS];
        evaluator.probability_rows(x, stride, (column, &mut one));
        for (index, value) in one.iter().enumerate() {
            assert_eq!(value.to_bits(), all[index * outputs + column].to_bits());
        }
    }
    all
}
