//! Comparisons where exactness matters, one by one.

use crate::model::trees::{Aggregate, LeafWeight, Mode, Node, PostTransform, Precision, Task, TreeEvaluator, TreeSpec};

/// Whether `x` goes to `yes`.
fn yes((mode, threshold): (Mode, f64), precision: Precision, (x, tracks): (f32, bool)) -> bool {
    let node = Node { missing_tracks_true: tracks, ..Node::branch(0, mode, threshold, (1, 2)) };
    let spec = TreeSpec {
        features: 1,
        targets: 1,
        task: Task::Regressor,
        roots: vec![0],
        nodes: vec![node, Node::leaf(0, 1), Node::leaf(1, 1)],
        weights: vec![LeafWeight { target: 0, weight: 1.0 }, LeafWeight { target: 0, weight: 0.0 }],
        sets: vec![vec![-0.0, 7.0]],
        base_values: vec![],
        aggregate: Aggregate::Sum,
        post: PostTransform::None,
        precision,
    };
    TreeEvaluator::new(spec).unwrap().probability_row(&[x], 0) == 1.0
}

#[test]
fn nan_goes_where_its_track_says() {
    for mode in [Mode::Leq, Mode::Lt, Mode::Gte, Mode::Gt, Mode::Eq, Mode::Member(0)] {
        assert!(!yes((mode, 0.0), Precision::Float, (f32::NAN, false)), "{mode:?}");
        assert!(yes((mode, 0.0), Precision::Float, (f32::NAN, true)), "{mode:?}");
    }
    assert!(yes((Mode::Neq, 0.0), Precision::Float, (f32::NAN, false)), "NaN differs from everything");
    assert!(yes((Mode::Neq, 0.0), Precision::Float, (f32::NAN, true)));
}

#[test]
fn zeros_are_equal() {
    for (x, t) in [(0.0f32, -0.0), (-0.0, 0.0), (-0.0, -0.0)] {
        for mode in [Mode::Leq, Mode::Gte, Mode::Eq, Mode::Member(0)] {
            assert!(yes((mode, t), Precision::Float, (x, false)), "{mode:?} {x} {t}");
        }
        for mode in [Mode::Lt, Mode::Gt, Mode::Neq] {
            assert!(!yes((mode, t), Precision::Float, (x, false)), "{mode:?} {x} {t}");
        }
    }
}

#[test]
fn infinities_compare() {
    let (up, down) = (f32::INFINITY, f32::NEG_INFINITY);
    assert!(yes((Mode::Leq, f64::INFINITY), Precision::Float, (up, false)));
    assert!(!yes((Mode::Lt, f64::INFINITY), Precision::Float, (up, false)));
    assert!(yes((Mode::Lt, f64::INFINITY), Precision::Float, (f32::MAX, false)));
    assert!(!yes((Mode::Lt, f64::NEG_INFINITY), Precision::Float, (down, false)));
    assert!(yes((Mode::Gte, f64::NEG_INFINITY), Precision::Float, (down, false)));
    assert!(!yes((Mode::Leq, 1e300), Precision::Double, (up, false)), "1e300 is less than infinity as f64");
    assert!(yes((Mode::Leq, 1e300), Precision::Float, (up, false)), "as f32 it is infinity");
    assert!(!yes((Mode::Lt, -1e300), Precision::Float, (down, false)));
    assert!(yes((Mode::Lt, -1e300), Precision::Double, (down, false)));
}

#[test]
fn double_thresholds_decide_as_doubles() {
    let near = 0.1f32;
    // The f32 nearest to 0.1 is above 0.1.
    assert!(yes((Mode::Leq, 0.1), Precision::Float, (near, false)));
    assert!(!yes((Mode::Leq, 0.1), Precision::Double, (near, false)));
    assert!(yes((Mode::Leq, 0.1), Precision::Double, (near.next_down(), false)));
    assert!(yes((Mode::Gt, 0.1), Precision::Double, (near, false)));
    assert!(yes((Mode::Gte, 0.1), Precision::Double, (near, false)));
    assert!(!yes((Mode::Lt, 0.1), Precision::Double, (near, false)));
    assert!(!yes((Mode::Eq, 0.1), Precision::Double, (near, false)), "no f32 is 0.1");
    assert!(yes((Mode::Neq, 0.1), Precision::Double, (near, false)));
    assert!(yes((Mode::Eq, 0.1), Precision::Float, (near, false)));
}
