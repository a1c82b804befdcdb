//! The transactions of one key in time: a short list for most keys, a tree for the busy ones.

use super::heap_bytes;
use super::sums::{Cell, Minute, Narrow, Sums, Wanted, Wide};
use super::tree::Tree;

/// Longest list; a key with more transactions gets a tree.
const LIST: usize = 128;
/// A tree of at most this many cells becomes a list again.
const SHORT: usize = 48;
/// Seconds of a merged cell.
const MINUTE: u32 = 60;

/// What holds for every series of a store at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Cells by the second before the oldest are merged by the minute.
    pub max_cells: usize,
    /// First second that is kept.
    pub keep_from: u32,
}

/// A key's transactions, sorted by second. Seconds count from the store's base, a multiple of a minute.
#[derive(Debug)]
pub(super) enum Series {
    Narrow(Vec<Narrow>),
    Wide(Vec<Wide>),
    Tree(Box<Long>),
}

/// The series of a busy key.
#[derive(Debug)]
pub(super) struct Long {
    seconds: Tree<Wide>,
    cells: usize,
    /// The oldest part, by the minute.
    minutes: Option<Tree<Minute>>,
    /// First second after the merged part.
    merged_until: u32,
}

impl Series {
    pub const EMPTY: Self = Self::Narrow(Vec::new());

    /// Puts a transaction in its place, after those of the same second.
    pub fn insert(&mut self, time: u32, amount: u64, limits: Limits) {
        if self.is_full_list(limits) {
            self.expire(limits.keep_from);
        }
        let full = self.is_full_list(limits);
        match self {
            Self::Narrow(cells) => match u32::try_from(amount) {
                Ok(narrow) if !full => put(cells, Narrow { time, amount: narrow }, limits.keep_from),
                _ => {
                    self.widen();
                    self.insert(time, amount, limits);
                }
            },
            Self::Wide(cells) if !full => put(cells, Wide::new(time, amount), limits.keep_from),
            Self::Wide(cells) => {
                let mut long = Box::new(Long { seconds: Tree::new(), cells: 0, minutes: None, merged_until: 0 });
                for cell in cells.iter() {
                    long.insert(cell.time(), cell.amount(), limits);
                }
                long.insert(time, amount, limits);
                *self = Self::Tree(long);
            }
            Self::Tree(long) => long.insert(time, amount, limits),
        }
    }

    fn is_full_list(&self, limits: Limits) -> bool {
        let cells = match self {
            Self::Narrow(cells) => cells.len(),
            Self::Wide(cells) => cells.len(),
            Self::Tree(_) => return false,
        };
        cells >= LIST.min(limits.max_cells)
    }

    fn widen(&mut self) {
        if let Self::Narrow(cells) = self {
            let mut wide = Vec::with_capacity(cells.len() + 1);
            wide.extend(cells.iter().map(|cell| Wide::new(cell.time, cell.amount())));
            *self = Self::Wide(wide);
        }
    }

    /// Adds the transactions with second in [from, to).
    pub fn add_range(&self, from: u32, to: u32, wanted: Wanted, sums: &mut Sums) {
        self.extend((from, to), &mut None, wanted, sums);
    }

    /// As [`Series::add_range`]; for ranges each of which ends where the one before began, `edge` carries
    /// the place from one to the next.
    pub fn extend(&self, (from, to): (u32, u32), edge: &mut Option<usize>, wanted: Wanted, sums: &mut Sums) {
        match self {
            Self::Narrow(cells) => sums.add_cells(between(cells, (from, to), edge), wanted),
            Self::Wide(cells) => sums.add_cells(between(cells, (from, to), edge), wanted),
            Self::Tree(long) => {
                long.seconds.add_range(from, to, wanted, sums);
                if let Some(minutes) = &long.minutes {
                    minutes.add_range(from, to, wanted, sums);
                }
            }
        }
    }

    /// Reads a little of every cache line that windows are added up from, so that all of them are on their way.
    pub fn touch(&self) -> u32 {
        match self {
            Self::Narrow(cells) => touch(cells),
            Self::Wide(cells) => touch(cells),
            Self::Tree(long) => long.seconds.touch(),
        }
    }

    /// Whether a merged cell has a part in [from, to).
    pub fn approximate(&self, from: u32, to: u32) -> bool {
        if from >= to {
            return false;
        }
        let Self::Tree(long) = self else { return false };
        let Some(minutes) = &long.minutes else { return false };
        let mut sums = Sums::NONE;
        minutes.add_range(from - from % MINUTE, to, Wanted::default(), &mut sums);
        sums.count > 0
    }

    /// Second of the oldest transaction, or of the minute that it is merged into.
    pub fn first(&self) -> Option<u32> {
        match self {
            Self::Narrow(cells) => cells.first().map(Cell::time),
            Self::Wide(cells) => cells.first().map(Cell::time),
            Self::Tree(long) => long.minutes.as_ref().and_then(Tree::first).or_else(|| long.seconds.first()),
        }
    }

    /// Whether a part of it is merged.
    pub fn is_merged(&self) -> bool {
        matches!(self, Self::Tree(long) if long.minutes.is_some())
    }

    /// Where a bound lies for whatever keeps its own exact seconds beside this series: a merged cell counts
    /// as a whole, at its first second.
    pub fn align(&self, bound: u32) -> u32 {
        match self {
            Self::Tree(long) if bound < long.merged_until => bound.next_multiple_of(MINUTE),
            _ => bound,
        }
    }

    /// Forgets what is before `limit`; gives memory back where much became free.
    pub fn expire(&mut self, limit: u32) {
        match self {
            Self::Narrow(cells) => drop_before(cells, limit),
            Self::Wide(cells) => drop_before(cells, limit),
            Self::Tree(long) => {
                // A busy key is visited often: whole leaves then, which costs it next to nothing.
                long.expire(limit, long.cells > 2 * LIST);
                if long.minutes.is_none() && long.cells <= SHORT {
                    let mut cells = Vec::with_capacity(long.cells + 4);
                    long.seconds.visit_before(u32::MAX, &mut |cell| cells.push(*cell));
                    *self = Self::Wide(cells);
                }
            }
        }
    }

    /// Heap memory, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Narrow(cells) => heap_bytes(cells.capacity() * size_of::<Narrow>()),
            Self::Wide(cells) => heap_bytes(cells.capacity() * size_of::<Wide>()),
            Self::Tree(long) => {
                heap_bytes(size_of::<Long>()) + long.seconds.bytes() + long.minutes.as_ref().map_or(0, Tree::bytes)
            }
        }
    }
}

impl Long {
    fn insert(&mut self, time: u32, amount: u64, limits: Limits) {
        if time < self.merged_until {
            self.merge(time, amount);
            return;
        }
        self.seconds.insert(Wide::new(time, amount));
        self.cells += 1;
        if self.cells > limits.max_cells {
            self.expire(limits.keep_from, false);
        }
        while self.cells > limits.max_cells {
            let Some(first) = self.seconds.first() else { return };
            let limit = first - first % MINUTE + MINUTE;
            let mut oldest = Minute { start: limit - MINUTE, sums: Sums::NONE };
            self.seconds.visit_before(limit, &mut |cell| oldest.sums.add_one(oldest.start, cell.amount()));
            self.forget_seconds(limit, false);
            self.minutes.get_or_insert_with(Tree::new).insert(oldest);
            self.merged_until = self.merged_until.max(limit);
        }
    }

    fn forget_seconds(&mut self, limit: u32, whole_leaves: bool) {
        let gone = self.seconds.expire(limit, whole_leaves);
        self.cells -= usize::try_from(gone).unwrap_or(self.cells).min(self.cells);
    }

    fn merge(&mut self, time: u32, amount: u64) {
        let mut minute = Minute { start: time - time % MINUTE, sums: Sums::NONE };
        minute.sums.add_one(minute.start, amount);
        self.minutes.get_or_insert_with(Tree::new).insert(minute);
    }

    fn expire(&mut self, limit: u32, whole_leaves: bool) {
        if self.seconds.first().is_some_and(|first| first < limit) {
            self.forget_seconds(limit, whole_leaves);
        }
        if let Some(minutes) = &mut self.minutes {
            // A minute goes when its last second does.
            minutes.expire(limit.saturating_sub(MINUTE - 1), whole_leaves);
            if minutes.is_empty() {
                self.minutes = None;
                self.merged_until = 0;
            }
        }
    }
}

/// Inserts into a sorted list. It grows by a quarter: at a hundred million cells the usual doubling shows.
fn put<C: Cell>(cells: &mut Vec<C>, cell: C, keep_from: u32) {
    if cells.len() == cells.capacity() {
        let gone = cells.partition_point(|other| other.time() < keep_from);
        cells.drain(..gone);
        if gone == 0 {
            cells.reserve_exact(cells.len() / 4 + 4);
        }
    }
    let at = match cells.last() {
        Some(last) if last.time() > cell.time() => cells.partition_point(|other| other.time() <= cell.time()),
        _ => cells.len(),
    };
    cells.insert(at, cell);
}

fn between<'a, C: Cell>(cells: &'a [C], (from, to): (u32, u32), edge: &mut Option<usize>) -> &'a [C] {
    let end = match *edge {
        Some(end) => end,
        None if cells.last().is_none_or(|last| last.time() < to) => cells.len(),
        None => count_before(cells, to),
    };
    let cells = cells.get(..end).unwrap_or_default();
    let start = count_before(cells, from);
    *edge = Some(start);
    cells.get(start..).unwrap_or_default()
}

/// A binary search waits for memory at each step; a short list is read through faster.
fn count_before<C: Cell>(cells: &[C], bound: u32) -> usize {
    cells.iter().map(|cell| u32::from(cell.time() < bound)).sum::<u32>() as usize
}

fn touch<C: Cell>(cells: &[C]) -> u32 {
    cells.iter().step_by(64 / size_of::<C>()).fold(0, |all, cell| all.wrapping_add(cell.time()))
}

fn drop_before<C: Cell>(cells: &mut Vec<C>, limit: u32) {
    let gone = cells.partition_point(|cell| cell.time() < limit);
    cells.drain(..gone);
    if cells.capacity() > cells.len() * 2 + 8 {
        cells.shrink_to(cells.len() + 4);
    }
}
