//! The fast kernels behind one face: which there are, and how a row reaches one.

use super::bits::Bits;
use super::keys::Keys;
use super::lockstep::Lockstep;
use super::normal::Normal;
use super::simd::Level;

/// How an ensemble is run. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kernel {
    /// One tree after another; every ensemble and every row.
    Walk,
    /// Several trees, or several rows of a tree, at once; tests of `x <= t` only, after rewriting.
    Lockstep,
    /// Bit sets, tabulated every so many comparisons of a feature; trees of at most 64 leaves.
    Bits {
        /// Comparisons between two rows of a table.
        block: usize,
    },
}

#[derive(Debug)]
pub(super) enum Engine {
    Lockstep(Lockstep),
    Bits32(Bits<u32>),
    Bits64(Bits<u64>),
}

/// Most trees that the bit sets are used for.
pub(super) const MOST_TREES: usize = 2048;
/// Rows of a block in lockstep; as many as a `u64` has bits, at most.
pub(super) const ROWS: usize = 64;
/// Features, and one more, up to which blocks are used.
const NARROW: usize = 32;

/// An ensemble, ready for one fast kernel.
#[derive(Debug)]
pub(super) struct Fast {
    keys: Keys,
    engine: Engine,
    level: Level,
    /// Per target, the weight of each leaf in units.
    columns: Box<[Box<[[i64; 1]]>]>,
    /// Both weights of each leaf, where there are two targets.
    pairs: Box<[[i64; 2]]>,
}

impl Fast {
    /// `None` where the kernel does not fit the ensemble.
    pub(super) fn new(normal: &Normal, kernel: Kernel, level: Level) -> Option<Self> {
        let keys = Keys::new(normal)?;
        if normal.features >= 4096 {
            return None;
        }
        let engine = match kernel {
            Kernel::Walk => return None,
            Kernel::Lockstep => Engine::Lockstep(Lockstep::new(normal)?),
            Kernel::Bits { .. } if normal.trees.len() > MOST_TREES => return None,
            Kernel::Bits { block } => match Bits::new(normal, block) {
                Some(bits) => Engine::Bits32(bits),
                None => Engine::Bits64(Bits::new(normal, block)?),
            },
        };
        let identity: Box<[u32]>;
        let order = match &engine {
            Engine::Bits32(bits) => &bits.leaves,
            Engine::Bits64(bits) => &bits.leaves,
            Engine::Lockstep(_) => {
                identity = (0..normal.leaves.len() as u32).collect();
                &identity
            }
        };
        let column = |target| order.iter().map(|leaf| [normal.weight(*leaf, target)]).collect();
        // A table per target only while they are few.
        let columns =
            if normal.targets <= 8 { (0..normal.targets as u32).map(column).collect() } else { Box::default() };
        let pair = |leaf: &u32| [normal.weight(*leaf, 0), normal.weight(*leaf, 1)];
        let pairs = if normal.targets == 2 { order.iter().map(pair).collect() } else { Box::default() };
        Some(Self { keys, engine, level, columns, pairs })
    }

    /// The score of one target; `None` when the row needs the general kernel.
    #[inline]
    pub(super) fn one(&self, x: &[f32], target: usize) -> Option<[i64; 1]> {
        self.level.scores(self, x, self.columns.get(target)?)
    }

    /// The scores of both of two targets.
    #[inline]
    pub(super) fn two(&self, x: &[f32]) -> Option<[i64; 2]> {
        if self.pairs.is_empty() { None } else { self.level.scores(self, x, &self.pairs) }
    }

    /// One row, compiled once per instruction set by its callers.
    #[inline(always)]
    pub(super) fn scores<const T: usize>(&self, x: &[f32], values: &[[i64; T]]) -> Option<[i64; T]> {
        match self.keys.len() {
            0..32 => self.scores_of::<T, NARROW>(x, values),
            32..512 => self.scores_of::<T, 512>(x, values),
            _ => self.scores_of::<T, 4096>(x, values),
        }
    }

    #[inline(always)]
    fn scores_of<const T: usize, const N: usize>(&self, x: &[f32], values: &[[i64; T]]) -> Option<[i64; T]> {
        let mut keys = [0; N];
        if !self.keys.write(x, &mut keys) {
            return None;
        }
        Some(match &self.engine {
            Engine::Lockstep(lockstep) => lockstep.scores(&mut keys, values),
            Engine::Bits32(bits) if bits.width() <= 128 => bits.scores(&keys, values, &mut [0; 128]),
            Engine::Bits32(bits) if bits.width() <= 512 => bits.scores(&keys, values, &mut [0; 512]),
            Engine::Bits32(bits) => bits.scores(&keys, values, &mut [0; MOST_TREES]),
            Engine::Bits64(bits) if bits.width() <= 128 => bits.scores(&keys, values, &mut [0; 128]),
            Engine::Bits64(bits) if bits.width() <= 512 => bits.scores(&keys, values, &mut [0; 512]),
            Engine::Bits64(bits) => bits.scores(&keys, values, &mut [0; MOST_TREES]),
        })
    }

    /// Whether blocks of rows are faster than rows.
    pub(super) fn blocks(&self) -> bool {
        matches!(self.engine, Engine::Lockstep(_)) && self.keys.len() < NARROW
    }

    /// The score of one target for up to [`ROWS`] rows; bits of the answer name rows for the general kernel.
    pub(super) fn block_of_one(&self, rows: Rows<'_>, target: usize, scores: &mut [[i64; 1]]) -> Option<u64> {
        self.level.block(self, rows, (self.columns.get(target)?, scores))
    }

    /// The scores of both of two targets for up to [`ROWS`] rows.
    pub(super) fn block_of_two(&self, rows: Rows<'_>, scores: &mut [[i64; 2]]) -> Option<u64> {
        if self.pairs.is_empty() { None } else { self.level.block(self, rows, (&self.pairs, scores)) }
    }

    /// One block, compiled once per instruction set by its callers.
    #[inline(always)]
    pub(super) fn block<const T: usize>(
        &self,
        rows: Rows<'_>,
        (values, scores): (&[[i64; T]], &mut [[i64; T]]),
    ) -> Option<u64> {
        let Engine::Lockstep(lockstep) = &self.engine else { return None };
        let mut keys = [[0; NARROW]; ROWS];
        let keys = &mut keys[..scores.len()];
        let mut general = 0;
        for (index, keys) in keys.iter_mut().enumerate() {
            general |= u64::from(!self.keys.write(rows.row(index), keys)) << index;
        }
        lockstep.block(keys, values, scores);
        Some(general)
    }
}

/// Rows side by side: row `i` starts at `i * stride`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) x: &'a [f32],
    pub(super) stride: usize,
}

impl<'a> Rows<'a> {
    /// The rows from `index` on.
    pub(super) fn from(self, index: usize) -> Self {
        Self { x: &self.x[index * self.stride..], stride: self.stride }
    }

    #[inline]
    pub(super) fn row(self, index: usize) -> &'a [f32] {
        &self.x[index * self.stride..]
    }
}
