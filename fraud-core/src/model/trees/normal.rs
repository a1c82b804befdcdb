//! The ensemble in normal form: three kinds of test instead of seven, f32 thresholds, integer weights.

use super::finish::Seen;
use super::spec::{Aggregate, Mode, Node, Precision, Task, TreeSpec};

/// A test of a feature `x` that is not NaN; where it holds the path goes left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Test {
    /// `x <= t`; a NaN threshold never holds.
    Leq(f32),
    /// `x == t`.
    Eq(f32),
    /// `x` is in the set of this index.
    Member(u32),
}

/// A node of a tree; children are indices in the tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum NormalNode {
    /// The left child's index; the right child stands next to it.
    Branch { feature: u32, test: Test, left: u32, nan_left: bool },
    /// Index of the leaf in [`Normal::leaves`].
    Leaf(u32),
}

/// One tree; its root is the first node, and every node stands before its children.
#[derive(Debug, Clone)]
pub(super) struct NormalTree {
    pub(super) nodes: Vec<NormalNode>,
    /// Comparisons on the longest path.
    pub(super) depth: u32,
    pub(super) leaves: u32,
}

/// An ensemble in normal form.
#[derive(Debug, Clone)]
pub(super) struct Normal {
    pub(super) features: usize,
    pub(super) targets: usize,
    pub(super) trees: Vec<NormalTree>,
    /// Range of each leaf in `weights`; at most one weight per target.
    pub(super) leaves: Vec<(u32, u32)>,
    /// Target, and weight in units of `unit`.
    pub(super) weights: Vec<(u32, i64)>,
    /// The value of 1: a power of two.
    pub(super) unit: f64,
    pub(super) aggregate: Aggregate,
    /// Which of the first two targets every row's leaves name; `None` where it depends on the row.
    pub(super) seen: Option<Seen>,
    /// Each sorted, -0 as 0, without NaN.
    pub(super) sets: Vec<Vec<f32>>,
}

impl Normal {
    /// Of a spec that was validated.
    pub(super) fn new(spec: &TreeSpec) -> Self {
        let mut normal = Self {
            features: spec.features,
            targets: spec.targets,
            trees: Vec::with_capacity(spec.roots.len()),
            leaves: Vec::new(),
            weights: Vec::new(),
            unit: unit(spec),
            aggregate: if spec.task == Task::Classifier { Aggregate::Sum } else { spec.aggregate },
            seen: None,
            sets: spec.sets.iter().map(|set| sorted(set)).collect(),
        };
        for &root in &spec.roots {
            let tree = normal.tree(spec, root);
            normal.trees.push(tree);
        }
        normal.seen = normal.always(0).zip(normal.always(1)).map(|(first, second)| Seen { first, second });
        normal
    }

    /// The weight of a leaf for a target, in units.
    pub(super) fn weight(&self, leaf: u32, target: u32) -> i64 {
        self.weights(leaf).iter().find(|weight| weight.0 == target).map_or(0, |weight| weight.1)
    }

    /// Whether scores are sums.
    pub(super) fn sums(&self) -> bool {
        matches!(self.aggregate, Aggregate::Sum | Aggregate::Average)
    }

    /// Whether the leaves of a row name the target; `None` where some rows' do and others' do not.
    fn always(&self, target: u32) -> Option<bool> {
        let names = |node: &NormalNode| match *node {
            NormalNode::Leaf(leaf) => Some(self.weights(leaf).iter().any(|weight| weight.0 == target)),
            NormalNode::Branch { .. } => None,
        };
        let mut ever = false;
        for tree in &self.trees {
            if tree.nodes.iter().filter_map(names).all(|named| named) {
                return Some(true);
            }
            ever |= tree.nodes.iter().filter_map(names).any(|named| named);
        }
        if ever { None } else { Some(false) }
    }

    fn weights(&self, leaf: u32) -> &[(u32, i64)] {
        let (from, to) = self.leaves[leaf as usize];
        &self.weights[from as usize..to as usize]
    }

    /// Copies one tree, breadth first, so that siblings stand together.
    fn tree(&mut self, spec: &TreeSpec, root: u32) -> NormalTree {
        let mut tree = NormalTree { nodes: Vec::new(), depth: 0, leaves: 0 };
        let mut level = vec![root];
        let mut below = Vec::new();
        let mut next_level = 1;
        while !level.is_empty() {
            for &index in &level {
                let node = &spec.nodes[index as usize];
                if node.mode == Mode::Leaf {
                    tree.nodes.push(NormalNode::Leaf(self.leaf(spec, node)));
                    tree.leaves += 1;
                    continue;
                }
                let (test, swap) = test(node, spec.precision);
                let left = next_level + below.len() as u32;
                below.extend(if swap { [node.no, node.yes] } else { [node.yes, node.no] });
                // NEQ is the one comparison that NaN passes.
                let nan_yes = node.missing_tracks_true || node.mode == Mode::Neq;
                let nan_left = nan_yes != swap;
                let feature = node.feature;
                tree.nodes.push(NormalNode::Branch { feature, test, left, nan_left });
            }
            tree.depth += u32::from(!below.is_empty());
            next_level += below.len() as u32;
            level.clear();
            std::mem::swap(&mut level, &mut below);
        }
        tree
    }

    fn leaf(&mut self, spec: &TreeSpec, node: &Node) -> u32 {
        let from = self.weights.len();
        let first = node.first_weight as usize;
        let mut weights: Vec<(u32, f64)> = spec.weights[first..first + node.weight_count as usize]
            .iter()
            .map(|weight| (weight.target, rounded(weight.weight, spec.precision)))
            .collect();
        weights.sort_by_key(|(target, _)| *target);
        for (target, weight) in weights {
            let units = (weight / self.unit).round() as i64;
            match self.weights[from..].last_mut() {
                Some(last) if last.0 == target => last.1 = last.1.saturating_add(units),
                _ => self.weights.push((target, units)),
            }
        }
        self.leaves.push((from as u32, self.weights.len() as u32));
        self.leaves.len() as u32 - 1
    }
}

/// The grid of the weights: 2^61 units are at least the greatest sum there can be.
fn unit(spec: &TreeSpec) -> f64 {
    let greatest = spec.weights.iter().map(|weight| weight.weight.abs()).fold(0.0, f64::max);
    let listed = spec.nodes.iter().filter(|node| node.mode == Mode::Leaf).map(|node| node.weight_count);
    let bound = greatest * f64::from(listed.max().unwrap_or(0)) * spec.roots.len() as f64;
    let exponent = if bound > 0.0 { bound.log2().ceil() as i32 + 1 } else { 0 };
    2f64.powi((exponent - 62).max(-1000))
}

fn rounded(value: f64, precision: Precision) -> f64 {
    match precision {
        Precision::Float => f64::from(value as f32),
        Precision::Double => value,
    }
}

fn sorted(set: &[f32]) -> Vec<f32> {
    let mut set: Vec<f32> = set.iter().filter(|member| !member.is_nan()).map(|member| member + 0.0).collect();
    set.sort_by(f32::total_cmp);
    set.dedup();
    set
}

/// The test whose left child is `yes`, or, where the second value is true, `no`.
fn test(node: &Node, precision: Precision) -> (Test, bool) {
    let t = rounded(node.threshold, precision);
    match node.mode {
        Mode::Leq => (Test::Leq(at_most(t)), false),
        Mode::Gt => (Test::Leq(at_most(t)), true),
        Mode::Lt => (Test::Leq(below(t)), false),
        Mode::Gte => (Test::Leq(below(t)), true),
        Mode::Eq => (equal(t), false),
        Mode::Neq => (equal(t), true),
        Mode::Member(set) => (Test::Member(set), false),
        Mode::Leaf => (Test::Leq(f32::NAN), false),
    }
}

/// The greatest f32 that is at most `t`: `x <= t` and `x <= at_most(t)` agree for every f32.
fn at_most(t: f64) -> f32 {
    let near = t as f32;
    (if f64::from(near) > t { near.next_down() } else { near }) + 0.0
}

/// The greatest f32 below `t`, NaN where there is none: `x < t` and `x <= below(t)` agree for every f32.
fn below(t: f64) -> f32 {
    let most = at_most(t);
    if f64::from(most) < t {
        most
    } else if most == f32::NEG_INFINITY {
        f32::NAN
    } else {
        most.next_down()
    }
}

fn equal(t: f64) -> Test {
    let near = t as f32;
    // No f32 equals a threshold between two of them.
    if f64::from(near) == t { Test::Eq(near) } else { Test::Leq(f32::NAN) }
}
