//! The kernel for every ensemble: one tree after another, node by node, with every test and every NaN rule.

use super::finish::Seen;
use super::normal::{Normal, NormalNode, Test};
use super::spec::Aggregate;

const LEQ: u32 = 0;
const EQ: u32 = 1;
const MEMBER: u32 = 2;
const LEAF: u32 = 3;
const NAN_LEFT: u32 = 1 << 2;
const FEATURE_SHIFT: u32 = 3;

#[derive(Debug, Clone, Copy)]
struct WalkNode {
    /// The bits of the threshold, or the index of the set.
    operand: u32,
    /// Kind in two bits, where NaN goes in one, the feature above.
    test: u32,
    /// The left child, its sibling being next; of a leaf, its index.
    left: u32,
}

/// An ensemble to walk.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    nodes: Box<[WalkNode]>,
    roots: Box<[u32]>,
    leaves: Box<[(u32, u32)]>,
    weights: Box<[(u32, i64)]>,
    sets: Box<[Vec<f32>]>,
    aggregate: Aggregate,
}

impl Walk {
    pub(super) fn new(normal: &Normal) -> Self {
        let mut nodes = Vec::with_capacity(normal.trees.iter().map(|tree| tree.nodes.len()).sum());
        let mut roots = Vec::with_capacity(normal.trees.len());
        for tree in &normal.trees {
            let base = nodes.len() as u32;
            roots.push(base);
            nodes.extend(tree.nodes.iter().map(|node| walk_node(node, base)));
        }
        Self {
            nodes: nodes.into(),
            roots: roots.into(),
            leaves: normal.leaves.clone().into(),
            weights: normal.weights.clone().into(),
            sets: normal.sets.clone().into(),
            aggregate: normal.aggregate,
        }
    }

    /// Scores of one row in units, one per target, 0 where no leaf has a weight; and which targets have one.
    pub(super) fn scores(&self, x: &[f32], scores: &mut [i64]) -> Seen {
        let absent = match self.aggregate {
            Aggregate::Sum | Aggregate::Average => 0,
            Aggregate::Min => i64::MAX,
            Aggregate::Max => i64::MIN,
        };
        scores.fill(absent);
        let mut seen = Seen::default();
        for &root in &self.roots {
            let (from, to) = self.leaves[self.leaf(root, x) as usize];
            for &(target, weight) in &self.weights[from as usize..to as usize] {
                let score = &mut scores[target as usize];
                seen.first |= target == 0;
                seen.second |= target == 1;
                *score = match self.aggregate {
                    Aggregate::Sum | Aggregate::Average => *score + weight,
                    Aggregate::Min => weight.min(*score),
                    Aggregate::Max => weight.max(*score),
                };
            }
        }
        if absent != 0 {
            scores.iter_mut().filter(|score| **score == absent).for_each(|score| *score = 0);
        }
        seen
    }

    /// The leaf that the row reaches from `root`.
    fn leaf(&self, root: u32, x: &[f32]) -> u32 {
        let mut node = self.nodes[root as usize];
        loop {
            let kind = node.test & 3;
            if kind == LEAF {
                return node.left;
            }
            let value = x[(node.test >> FEATURE_SHIFT) as usize];
            let left = if value.is_nan() {
                node.test & NAN_LEFT != 0
            } else {
                match kind {
                    LEQ => value <= f32::from_bits(node.operand),
                    EQ => value == f32::from_bits(node.operand),
                    _ => self.contains(node.operand, value),
                }
            };
            node = self.nodes[node.left as usize + usize::from(!left)];
        }
    }

    fn contains(&self, set: u32, value: f32) -> bool {
        self.sets[set as usize].binary_search_by(|member| member.total_cmp(&(value + 0.0))).is_ok()
    }
}

fn walk_node(node: &NormalNode, base: u32) -> WalkNode {
    match *node {
        NormalNode::Leaf(leaf) => WalkNode { operand: 0, test: LEAF, left: leaf },
        NormalNode::Branch { feature, test, left, nan_left } => {
            let (kind, operand) = match test {
                Test::Leq(t) => (LEQ, t.to_bits()),
                Test::Eq(t) => (EQ, t.to_bits()),
                Test::Member(set) => (MEMBER, set),
            };
            let nan = if nan_left { NAN_LEFT } else { 0 };
            WalkNode { operand, test: feature << FEATURE_SHIFT | nan | kind, left: base + left }
        }
    }
}
