//! Which kernel for which ensemble. By shape, not by a timing at load: the library reads no clock, and the same
//! file runs the same way everywhere.

use super::fast::{Kernel, MOST_TREES};
use super::normal::{Normal, NormalNode};

/// Bytes that tables of bit sets may take: they should stay in a core's second-level cache.
const TABLES: usize = 1 << 20;
/// Comparisons between two rows of a table, at least.
const LEAST_BLOCK: usize = 8;

/// The kernel that should be the fastest, costs in nanoseconds as fitted to measurements of ensembles of 100 to 500
/// trees with 26 to 424 leaves (`benches/README.md`). Only their order matters.
pub(super) fn choose(normal: &Normal) -> Kernel {
    let trees = normal.trees.len();
    let most_leaves = normal.trees.iter().map(|tree| tree.leaves).max().unwrap_or(0);
    if most_leaves > u64::BITS || trees > MOST_TREES {
        return Kernel::Lockstep;
    }
    let word = if most_leaves > u32::BITS { 8 } else { 4 };
    let row = trees.next_multiple_of(16) * word;
    let mut used = vec![false; normal.features];
    let mut comparisons = 0;
    for node in normal.trees.iter().flat_map(|tree| &tree.nodes) {
        if let NormalNode::Branch { feature, .. } = *node {
            used[feature as usize] = true;
            comparisons += 1;
        }
    }
    let used = used.iter().filter(|used| **used).count();
    let mut block = LEAST_BLOCK;
    while comparisons / block * row > TABLES {
        block *= 2;
    }
    let bits = 75.0 + used as f64 * (row as f64 / 64.0 * 0.8 + block as f64 * 0.5) + trees as f64 * 2.9;
    let steps: f64 = normal.trees.iter().map(|tree| f64::from(tree.depth + 2)).sum();
    if bits < steps * 0.75 { Kernel::Bits { block } } else { Kernel::Lockstep }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::trees::tests::random::{Recipe, spec};

    fn chosen(recipe: Recipe) -> Kernel {
        choose(&Normal::new(&spec(recipe, 7)))
    }

    #[test]
    fn many_small_trees_are_bit_sets_and_large_or_tiny_ones_are_walked() {
        let recipe =
            Recipe { features: 15, targets: 1, trees: 100, branching: 100, max_depth: 5, plain: true, dense: true };
        assert_eq!(chosen(Recipe { max_depth: 7, ..recipe }), Kernel::Lockstep);
        assert_eq!(chosen(Recipe { trees: 1, max_depth: 1, ..recipe }), Kernel::Lockstep);
        assert!(matches!(chosen(Recipe { trees: 300, branching: 95, max_depth: 12, ..recipe }), Kernel::Lockstep));
        let boosted = chosen(Recipe { features: 4, trees: 300, max_depth: 6, ..recipe });
        assert!(matches!(boosted, Kernel::Bits { .. }), "{boosted:?}");
    }
}
