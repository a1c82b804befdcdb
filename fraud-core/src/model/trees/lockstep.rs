//! The kernel for trees of any size: several trees are walked at once, so that their waits overlap.
//!
//! A node is eight bytes: the threshold's key, and feature and left child packed into one word; siblings stand
//! together. A leaf compares a feature that is always least, and is its own left child: walking on does
//! no harm, and no step needs a branch.

use super::keys::{LEAST, threshold_key};
use super::normal::{Normal, NormalNode, Test};

#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
struct Packed {
    /// Threshold key; of a leaf, its index.
    key: i32,
    /// Left child above, feature in the lowest bits.
    link: u32,
}

/// An ensemble to walk in lockstep.
#[derive(Debug, Clone)]
pub(super) struct Lockstep {
    nodes: Box<[Packed]>,
    /// Root and depth, by depth.
    trees: Box<[(u32, u32)]>,
    feature_bits: u32,
    /// The feature that leaves compare: the one after the last.
    never: usize,
}

/// Trees walked at once.
const WIDE: usize = 8;
/// Steps between two looks at whether all have arrived.
const STRIDE: u32 = 2;

impl Lockstep {
    /// `None` where indices do not fit into the packed nodes.
    pub(super) fn new(normal: &Normal) -> Option<Self> {
        let feature_bits = (normal.features + 1).next_power_of_two().trailing_zeros();
        let total: usize = normal.trees.iter().map(|tree| tree.nodes.len()).sum();
        if feature_bits > 12 || total >= 1 << (32 - feature_bits) {
            return None;
        }
        let mut order: Vec<_> = normal.trees.iter().collect();
        order.sort_by_key(|tree| tree.depth);
        let mut nodes = Vec::with_capacity(total);
        let mut trees = Vec::with_capacity(order.len());
        for tree in order {
            let base = nodes.len() as u32;
            trees.push((base, tree.depth));
            for (index, node) in tree.nodes.iter().enumerate() {
                let (key, feature, left) = match *node {
                    NormalNode::Leaf(leaf) => (leaf as i32, normal.features as u32, index as u32),
                    NormalNode::Branch { feature, test: Test::Leq(t), left, .. } => (threshold_key(t), feature, left),
                    NormalNode::Branch { .. } => return None,
                };
                nodes.push(Packed { key, link: (base + left) << feature_bits | feature });
            }
        }
        Some(Self { nodes: nodes.into(), trees: trees.into(), feature_bits, never: normal.features })
    }

    /// Scores of a row of keys: the sums of `values`, one entry per leaf. One more key is used than there are features.
    #[inline(always)]
    pub(super) fn scores<const T: usize, const N: usize>(&self, keys: &mut [i32; N], values: &[[i64; T]]) -> [i64; T] {
        keys[self.never & (N - 1)] = LEAST;
        let mut scores = [0; T];
        for group in self.trees.chunks(WIDE) {
            let mut at = [self.trees[0].0; WIDE];
            for (at, tree) in at.iter_mut().zip(group) {
                *at = tree.0;
            }
            for _ in 0..group[group.len() - 1].1.div_ceil(STRIDE) {
                let mut moved = 0;
                for at in &mut at {
                    let next = self.stride(*at, keys);
                    moved |= *at ^ next;
                    *at = next;
                }
                if moved == 0 {
                    break;
                }
            }
            for at in &at[..group.len()] {
                add(&mut scores, &values[self.nodes[*at as usize].key as usize]);
            }
        }
        scores
    }

    /// The scores of several rows of keys, as from [`Lockstep::scores`]: tree by tree, several rows at once.
    #[inline(always)]
    pub(super) fn block<const T: usize, const N: usize>(
        &self,
        keys: &mut [[i32; N]],
        values: &[[i64; T]],
        scores: &mut [[i64; T]],
    ) {
        scores.fill([0; T]);
        for keys in keys.iter_mut() {
            keys[self.never & (N - 1)] = LEAST;
        }
        for &(root, depth) in &self.trees {
            let mut rows = keys.chunks_exact(WIDE);
            let mut sums = scores.chunks_exact_mut(WIDE);
            for (rows, sums) in (&mut rows).zip(&mut sums) {
                let mut at = [root; WIDE];
                for _ in 0..depth.div_ceil(STRIDE) {
                    let mut moved = 0;
                    for (at, keys) in at.iter_mut().zip(rows) {
                        let next = self.stride(*at, keys);
                        moved |= *at ^ next;
                        *at = next;
                    }
                    if moved == 0 {
                        break;
                    }
                }
                for (at, sum) in at.iter().zip(sums) {
                    add(sum, &values[self.nodes[*at as usize].key as usize]);
                }
            }
            for (keys, sum) in rows.remainder().iter().zip(sums.into_remainder()) {
                let mut at = root;
                for _ in 0..depth {
                    at = self.step(at, keys);
                }
                add(sum, &values[self.nodes[at as usize].key as usize]);
            }
        }
    }

    #[inline(always)]
    fn stride<const N: usize>(&self, at: u32, keys: &[i32; N]) -> u32 {
        (0..STRIDE).fold(at, |at, _| self.step(at, keys))
    }

    #[inline(always)]
    fn step<const N: usize>(&self, at: u32, keys: &[i32; N]) -> u32 {
        let node = self.nodes[at as usize];
        let feature = node.link & ((1 << self.feature_bits) - 1);
        let right = keys[feature as usize & (N - 1)] > node.key;
        (node.link >> self.feature_bits) + u32::from(right)
    }
}

#[inline(always)]
fn add<const T: usize>(scores: &mut [i64; T], leaf: &[i64; T]) {
    for (score, value) in scores.iter_mut().zip(leaf) {
        *score += value;
    }
}
