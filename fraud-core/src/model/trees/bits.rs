//! The kernel for trees of at most 64 leaves: a row's leaves by intersecting bit sets instead of walking.
//!
//! The leaves of a tree are numbered from left to right, one bit each. A comparison that fails rules out the
//! leaves below its left child; the lowest bit left at the end is the leaf reached, whatever the order of
//! the comparisons. Those of one feature are sorted by threshold, so that the failing ones are the first so many.
//! Their intersection is tabulated for every `block` comparisons, one word per tree; what is left are at most `block`
//! single words per feature.

use super::keys::{GREATEST, threshold_key};
use super::normal::{Normal, NormalNode, NormalTree, Test};

/// A set of leaves.
pub(super) trait Word: Copy + std::fmt::Debug + std::ops::BitAnd<Output = Self> {
    const ALL: Self;
    const BITS: u32;
    /// All but the bits `from..to`.
    fn without(from: u32, to: u32) -> Self;
    fn lowest(self) -> usize;
}

macro_rules! word {
    ($type:ty) => {
        impl Word for $type {
            const ALL: Self = Self::MAX;
            const BITS: u32 = Self::BITS;
            fn without(from: u32, to: u32) -> Self {
                let below = |bit: u32| if bit >= Self::BITS { Self::MAX } else { (1 << bit) - 1 };
                !(below(to) & !below(from))
            }
            #[inline(always)]
            fn lowest(self) -> usize {
                self.trailing_zeros() as usize
            }
        }
    };
}
word!(u32);
word!(u64);

/// The comparisons of one feature.
#[derive(Debug, Clone)]
struct Feature<W> {
    index: usize,
    /// Greatest key of each full block, padded to lanes with the greatest key.
    coarse: Box<[i32]>,
    /// Threshold keys in order, padded to full blocks with the greatest key.
    keys: Box<[i32]>,
    /// Tree and mask of each comparison.
    masks: Box<[(u32, W)]>,
    /// For each number of full blocks, one word per tree.
    table: Box<[W]>,
}

/// An ensemble as bit sets.
#[derive(Debug, Clone)]
pub(super) struct Bits<W> {
    features: Box<[Feature<W>]>,
    /// Where each tree's leaves start.
    offsets: Box<[u32]>,
    /// Index of each leaf in the normal form, in the order of offsets and bits.
    pub(super) leaves: Box<[u32]>,
    /// Words in a row of a table: the trees, padded to lanes.
    width: usize,
    block: usize,
}

const LANES: usize = 16;

impl<W: Word> Bits<W> {
    /// `None` where a tree has more leaves than a word has bits.
    pub(super) fn new(normal: &Normal, block: usize) -> Option<Self> {
        if normal.trees.iter().any(|tree| tree.leaves > W::BITS) {
            return None;
        }
        let width = normal.trees.len().next_multiple_of(LANES);
        let mut comparisons: Vec<Vec<(i32, u32, W)>> = vec![Vec::new(); normal.features];
        let mut leaves = Vec::with_capacity(normal.leaves.len());
        let mut offsets = Vec::with_capacity(normal.trees.len());
        for (index, tree) in normal.trees.iter().enumerate() {
            offsets.push(leaves.len() as u32);
            let number = leaves_in_order(tree, &mut leaves);
            for (node, place) in tree.nodes.iter().zip(&number) {
                if let NormalNode::Branch { feature, test: Test::Leq(t), left, .. } = *node {
                    let mask = W::without(place.0, number[left as usize].1);
                    comparisons[feature as usize].push((threshold_key(t), index as u32, mask));
                }
            }
        }
        let features = comparisons.into_iter().enumerate().filter(|(_, list)| !list.is_empty());
        let features = features.map(|(index, list)| Feature::new(index, list, (width, block))).collect();
        Some(Self { features, offsets: offsets.into(), leaves: leaves.into(), width, block })
    }

    /// Scores of a row of keys: the sums of `values`, one entry per leaf of `self.leaves`.
    #[inline(always)]
    pub(super) fn scores<const T: usize>(&self, keys: &[i32], values: &[[i64; T]], sets: &mut [W]) -> [i64; T] {
        let sets = &mut sets[..self.width];
        sets.fill(W::ALL);
        for pair in self.features.chunks(4) {
            match pair {
                [a, b, c, d] => {
                    let (a, b, c, d) = (self.row(a, keys), self.row(b, keys), self.row(c, keys), self.row(d, keys));
                    for i in 0..sets.len() {
                        sets[i] = sets[i] & a[i] & b[i] & (c[i] & d[i]);
                    }
                }
                some => {
                    for feature in some {
                        let row = self.row(feature, keys);
                        for i in 0..sets.len() {
                            sets[i] = sets[i] & row[i];
                        }
                    }
                }
            }
        }
        for feature in &self.features {
            let key = keys[feature.index];
            let full = count(&feature.coarse, key);
            let from = full * self.block;
            let keys = &feature.keys[from..from + self.block];
            let rest = count(keys, key);
            for &(tree, mask) in &feature.masks[from..from + rest] {
                sets[tree as usize] = sets[tree as usize] & mask;
            }
        }
        let mut scores = [0; T];
        for (set, offset) in sets.iter().zip(&self.offsets) {
            let leaf = &values[*offset as usize + set.lowest()];
            for (score, value) in scores.iter_mut().zip(leaf) {
                *score += value;
            }
        }
        scores
    }

    #[inline(always)]
    fn row<'a>(&self, feature: &'a Feature<W>, keys: &[i32]) -> &'a [W] {
        let full = count(&feature.coarse, keys[feature.index]);
        &feature.table[full * self.width..][..self.width]
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }
}

impl<W: Word> Feature<W> {
    fn new(index: usize, mut list: Vec<(i32, u32, W)>, (width, block): (usize, usize)) -> Self {
        list.sort_by_key(|(key, tree, _)| (*key, *tree));
        let full = list.len() / block;
        let mut table = Vec::with_capacity((full + 1) * width);
        let mut row = vec![W::ALL; width];
        table.extend_from_slice(&row);
        for block in list.chunks_exact(block) {
            for (_, tree, mask) in block {
                row[*tree as usize] = row[*tree as usize] & *mask;
            }
            table.extend_from_slice(&row);
        }
        let mut coarse: Vec<i32> = list.chunks_exact(block).map(|block| block[block.len() - 1].0).collect();
        coarse.resize(coarse.len().next_multiple_of(LANES), GREATEST);
        let mut keys: Vec<i32> = list.iter().map(|(key, ..)| *key).collect();
        keys.resize((full + 1) * block, GREATEST);
        let masks = list.iter().map(|(_, tree, mask)| (*tree, *mask)).collect();
        Self { index, coarse: coarse.into(), keys: keys.into(), masks, table: table.into() }
    }
}

/// How many keys are less than `key`.
#[inline(always)]
fn count(keys: &[i32], key: i32) -> usize {
    keys.iter().map(|other| i32::from(*other < key)).sum::<i32>() as usize
}

/// Appends the tree's leaves from left to right; answers each node's range of them.
fn leaves_in_order(tree: &NormalTree, leaves: &mut Vec<u32>) -> Vec<(u32, u32)> {
    let first = leaves.len() as u32;
    let mut ranges = vec![(0, 0); tree.nodes.len()];
    let mut pending = vec![0];
    while let Some(index) = pending.pop() {
        let next = leaves.len() as u32 - first;
        match tree.nodes[index as usize] {
            NormalNode::Leaf(leaf) => {
                leaves.push(leaf);
                ranges[index as usize] = (next, next + 1);
            }
            NormalNode::Branch { left, .. } => pending.extend([left + 1, left]),
        }
    }
    // Children stand after their parents.
    for index in (0..tree.nodes.len()).rev() {
        if let NormalNode::Branch { left, .. } = tree.nodes[index] {
            ranges[index] = (ranges[left as usize].0, ranges[left as usize + 1].1);
        }
    }
    ranges
}
