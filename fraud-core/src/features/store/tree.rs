//! Cells sorted by time under sums of sums: every operation touches a few nodes, however many cells there are.

use super::heap_bytes;
use super::sums::{Cell, Sums, Wanted};

/// Cells of a leaf.
const LEAF: usize = 128;
/// Branches of an inner node.
const FAN: usize = 32;

/// A B+ tree whose branches carry the sums of what is under them.
#[derive(Debug)]
pub(super) struct Tree<C> {
    root: Node<C>,
    leaves: usize,
    inners: usize,
}

#[derive(Debug)]
enum Node<C> {
    Leaf(Vec<C>),
    Inner(Vec<Branch<C>>),
}

#[derive(Debug)]
struct Branch<C> {
    first: u32,
    last: u32,
    sums: Sums,
    node: Box<Node<C>>,
}

impl<C: Cell> Tree<C> {
    pub fn new() -> Self {
        Self { root: Node::Leaf(Vec::with_capacity(LEAF + 1)), leaves: 1, inners: 0 }
    }

    pub fn is_empty(&self) -> bool {
        matches!(&self.root, Node::Leaf(cells) if cells.is_empty())
    }

    /// Time of the first cell.
    pub fn first(&self) -> Option<u32> {
        match &self.root {
            Node::Leaf(cells) => cells.first().map(C::time),
            Node::Inner(branches) => branches.first().map(|branch| branch.first),
        }
    }

    /// Reads a little of what a search goes through.
    pub fn touch(&self) -> u32 {
        self.root.touch()
    }

    /// Heap memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.leaves * (heap_bytes((LEAF + 1) * size_of::<C>()) + heap_bytes(size_of::<Node<C>>()))
            + self.inners * (heap_bytes((FAN + 1) * size_of::<Branch<C>>()) + heap_bytes(size_of::<Node<C>>()))
    }

    /// Puts a cell in its place, after those of the same time.
    pub fn insert(&mut self, cell: C) {
        let Some(right) = self.root.insert(cell, &mut self.leaves, &mut self.inners) else { return };
        let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
        let mut branches = Vec::with_capacity(FAN + 1);
        branches.extend([left, right].into_iter().filter_map(Branch::new));
        self.inners += 1;
        self.root = Node::Inner(branches);
    }

    /// Adds the cells with time in [from, to).
    pub fn add_range(&self, from: u32, to: u32, wanted: Wanted, sums: &mut Sums) {
        self.root.add_range(from, to, wanted, sums);
    }

    /// Calls `visit` with every cell before `limit`, in order.
    pub fn visit_before(&self, limit: u32, visit: &mut impl FnMut(&C)) {
        self.root.visit_before(limit, visit);
    }

    /// Forgets the cells before `limit`, or of them only those that fill whole leaves. Returns how many
    /// transactions that were.
    pub fn expire(&mut self, limit: u32, whole_leaves: bool) -> u64 {
        let gone = self.root.expire(limit, whole_leaves, (&mut self.leaves, &mut self.inners));
        loop {
            match &mut self.root {
                Node::Inner(branches) if branches.len() == 1 => {
                    if let Some(only) = branches.pop() {
                        self.root = *only.node;
                        self.inners -= 1;
                    }
                }
                Node::Inner(branches) if branches.is_empty() => *self = Self::new(),
                _ => return gone,
            }
        }
    }
}

impl<C: Cell> Node<C> {
    fn touch(&self) -> u32 {
        match self {
            Self::Leaf(cells) => cells.iter().step_by(LEAF / 4).fold(0, |all, cell| all.wrapping_add(cell.time())),
            Self::Inner(branches) => branches.iter().fold(0, |all, branch| all.wrapping_add(branch.node.touch())),
        }
    }

    /// The node to the right of this one, when it had to be split.
    fn insert(&mut self, cell: C, leaves: &mut usize, inners: &mut usize) -> Option<Self> {
        match self {
            Self::Leaf(cells) => {
                let at = cells.partition_point(|other| other.time() <= cell.time());
                if let Some(before) = at.checked_sub(1).and_then(|index| cells.get_mut(index))
                    && before.time() == cell.time()
                    && before.absorb(&cell)
                {
                    return None;
                }
                cells.insert(at, cell);
                let right = split(cells, at, LEAF)?;
                *leaves += 1;
                Some(Self::Leaf(right))
            }
            Self::Inner(branches) => {
                let time = cell.time();
                let at = branches.partition_point(|branch| branch.last < time).min(branches.len().saturating_sub(1));
                let branch = branches.get_mut(at)?;
                let split_off = branch.node.insert(cell, leaves, inners);
                match split_off {
                    None => {
                        branch.first = branch.first.min(time);
                        branch.last = branch.last.max(time);
                        cell.add_to(&mut branch.sums);
                        None
                    }
                    Some(right) => {
                        branch.measure();
                        branches.insert(at + 1, Branch::new(right)?);
                        let right = split(branches, at + 1, FAN)?;
                        *inners += 1;
                        Some(Self::Inner(right))
                    }
                }
            }
        }
    }

    fn add_range(&self, from: u32, to: u32, wanted: Wanted, sums: &mut Sums) {
        match self {
            Self::Leaf(cells) => {
                let start = cells.partition_point(|cell| cell.time() < from);
                let rest = cells.get(start..).unwrap_or_default();
                let end = rest.partition_point(|cell| cell.time() < to);
                sums.add_cells(rest.get(..end).unwrap_or_default(), wanted);
            }
            Self::Inner(branches) => {
                let start = branches.partition_point(|branch| branch.last < from);
                for branch in branches.iter().skip(start).take_while(|branch| branch.first < to) {
                    if from <= branch.first && branch.last < to {
                        sums.add(&branch.sums);
                    } else {
                        branch.node.add_range(from, to, wanted, sums);
                    }
                }
            }
        }
    }

    fn visit_before(&self, limit: u32, visit: &mut impl FnMut(&C)) {
        match self {
            Self::Leaf(cells) => cells.iter().take_while(|cell| cell.time() < limit).for_each(visit),
            Self::Inner(branches) => {
                for branch in branches.iter().take_while(|branch| branch.first < limit) {
                    branch.node.visit_before(limit, visit);
                }
            }
        }
    }

    fn expire(&mut self, limit: u32, whole_leaves: bool, (leaves, inners): (&mut usize, &mut usize)) -> u64 {
        match self {
            Self::Leaf(cells) => {
                let gone = cells.partition_point(|cell| cell.time() < limit);
                if whole_leaves && gone < cells.len() {
                    return 0;
                }
                let mut sums = Sums::NONE;
                cells.drain(..gone).for_each(|cell| cell.add_to(&mut sums));
                sums.count
            }
            Self::Inner(branches) => {
                let mut gone = 0;
                let before = branches.partition_point(|branch| branch.last < limit);
                for branch in branches.drain(..before) {
                    gone += branch.sums.count;
                    branch.node.count(leaves, inners);
                }
                if let Some(branch) = branches.first_mut().filter(|branch| branch.first < limit) {
                    let within = branch.node.expire(limit, whole_leaves, (leaves, inners));
                    if within > 0 {
                        branch.measure();
                    }
                    gone += within;
                }
                gone
            }
        }
    }

    /// Takes the nodes from here down off the counts.
    fn count(&self, leaves: &mut usize, inners: &mut usize) {
        match self {
            Self::Leaf(_) => *leaves -= 1,
            Self::Inner(branches) => {
                *inners -= 1;
                branches.iter().for_each(|branch| branch.node.count(leaves, inners));
            }
        }
    }

    fn summary(&self) -> Option<(u32, u32, Sums)> {
        let mut sums = Sums::NONE;
        match self {
            Self::Leaf(cells) => {
                sums.add_cells(cells, Wanted::ALL);
                Some((cells.first()?.time(), cells.last()?.time(), sums))
            }
            Self::Inner(branches) => {
                branches.iter().for_each(|branch| sums.add(&branch.sums));
                Some((branches.first()?.first, branches.last()?.last, sums))
            }
        }
    }
}

impl<C: Cell> Branch<C> {
    /// A branch to a node that is not empty.
    fn new(node: Node<C>) -> Option<Self> {
        let (first, last, sums) = node.summary()?;
        Some(Self { first, last, sums, node: Box::new(node) })
    }

    fn measure(&mut self) {
        if let Some((first, last, sums)) = self.node.summary() {
            (self.first, self.last, self.sums) = (first, last, sums);
        }
    }
}

/// Splits an over-full list to which the item at `at` was just added. Growth at the end, the usual case,
/// leaves full nodes behind; any other splits in half.
fn split<T>(items: &mut Vec<T>, at: usize, limit: usize) -> Option<Vec<T>> {
    if items.len() <= limit {
        return None;
    }
    let middle = if at + 1 == items.len() { at } else { items.len() / 2 };
    let mut right = Vec::with_capacity(limit + 1);
    right.extend(items.drain(middle..));
    Some(right)
}
