//! The customers, or the terminals, of one shard.

use hashbrown::HashTable;

use super::frauds::{Fraud, Frauds};
use super::heap_bytes;
use super::key::{Key, Secret};
use super::series::{Limits, Series};

const CHUNK: usize = 32;
/// Entries that are looked at at a time: more than are added meanwhile.
const SWEEP: u32 = 16;
/// Touches from one time to the next: neighbours together cost little more than one alone.
const SWEEP_EVERY: u32 = 8;

/// A customer or terminal.
#[derive(Debug)]
// All of it on one cache line: it is what a look-up waits for.
#[repr(align(64))]
pub(super) struct Entry {
    pub key: Key,
    pub series: Series,
    pub frauds: Option<Box<Frauds>>,
    /// Second of its latest transaction.
    newest: u32,
    /// Second of its oldest transaction, or earlier.
    oldest: u32,
    live: bool,
}

/// Entries by key. An entry keeps its number until it is freed.
#[derive(Debug, Default)]
pub(super) struct Keys {
    table: HashTable<u32>,
    chunks: Vec<Box<[Entry]>>,
    free: Vec<u32>,
    /// How many numbers were given out.
    numbers: u32,
    /// Where the hand that looks for idle keys stands.
    hand: u32,
    touches: u32,
    /// Heap memory of the entries.
    held: usize,
    /// How many have a merged part.
    pub merged: usize,
    /// [`Keys::bytes`] when the store last counted them.
    pub counted: usize,
}

impl Keys {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Heap memory, in bytes.
    pub fn bytes(&self) -> usize {
        heap_bytes(self.table.allocation_size())
            + self.chunks.len() * (heap_bytes(CHUNK * size_of::<Entry>()) + size_of::<Box<[Entry]>>())
            + heap_bytes(self.free.capacity() * size_of::<u32>())
            + self.held
    }

    pub fn entry(&self, number: u32) -> Option<&Entry> {
        self.chunks.get(number as usize / CHUNK)?.get(number as usize % CHUNK)
    }

    fn entry_mut(&mut self, number: u32) -> Option<&mut Entry> {
        self.chunks.get_mut(number as usize / CHUNK)?.get_mut(number as usize % CHUNK)
    }

    /// Number and key of each.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Key)> {
        let entries = self.chunks.iter().flat_map(|chunk| chunk.iter()).zip(0..self.numbers);
        entries.filter(|(entry, _)| entry.live).map(|(entry, number)| (number, entry.key))
    }

    pub fn find(&self, key: Key, hash: u64) -> Option<u32> {
        self.table.find(hash, |number| self.entry(*number).is_some_and(|entry| entry.key == key)).copied()
    }

    /// The number of a key that is not there yet.
    pub fn add(&mut self, key: Key, secret: &Secret) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            if self.numbers as usize == self.chunks.len() * CHUNK {
                self.chunks.push((0..CHUNK).map(|_| Entry::UNUSED).collect());
            }
            self.numbers += 1;
            self.numbers - 1
        });
        if let Some(entry) = self.entry_mut(number) {
            *entry = Entry { key, live: true, ..Entry::UNUSED };
        }
        let Self { table, chunks, .. } = self;
        let key_of = |number: &u32| {
            chunks.get(*number as usize / CHUNK).map_or(Key::default(), |chunk| {
                chunk.get(*number as usize % CHUNK).map_or(Key::default(), |entry| entry.key)
            })
        };
        table.insert_unique(secret.hash(key), number, |number| secret.hash(key_of(number)));
        number
    }

    /// Puts a transaction into a key's series.
    pub fn record(&mut self, number: u32, (time, amount): (u32, u64), limits: Limits) {
        self.change(number, |entry| {
            entry.newest = entry.newest.max(time);
            entry.oldest = entry.oldest.min(time);
            entry.series.insert(time, amount, limits);
        });
    }

    /// Takes away and adds spans in which transactions of a key were known to be fraud.
    pub fn relabel(&mut self, number: u32, old: &[Fraud], new: &[Fraud]) {
        self.change(number, |entry| {
            if old.is_empty() && new.is_empty() {
                return;
            }
            let frauds = entry.frauds.get_or_insert_default();
            old.iter().for_each(|fraud| frauds.remove(*fraud));
            new.iter().for_each(|fraud| frauds.add(*fraud));
            if frauds.is_empty() {
                entry.frauds = None;
            }
        });
    }

    /// Moves the hand on by some entries: what is before `keep_from` goes, and keys with nothing left.
    pub fn sweep(&mut self, keep_from: u32, secret: &Secret) {
        self.touches = self.touches.wrapping_add(1);
        if !self.touches.is_multiple_of(SWEEP_EVERY) {
            return;
        }
        for _ in 0..SWEEP.min(self.numbers) {
            self.hand = if self.hand + 1 < self.numbers { self.hand + 1 } else { 0 };
            let number = self.hand;
            let Some(entry) = self.entry(number).filter(|entry| entry.live) else { continue };
            if entry.newest < keep_from {
                self.free(number, secret);
            } else if entry.is_stale(keep_from) {
                self.change(number, |entry| entry.expire(keep_from));
            }
        }
    }

    fn free(&mut self, number: u32, secret: &Secret) {
        let Some(key) = self.entry(number).map(|entry| entry.key) else { return };
        if let Ok(found) = self.table.find_entry(secret.hash(key), |other| *other == number) {
            found.remove();
        }
        self.change(number, |entry| *entry = Entry::UNUSED);
        self.free.push(number);
    }

    fn change(&mut self, number: u32, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entry_mut(number) else { return };
        let (before, merged_before) = (entry.bytes(), entry.series.is_merged());
        change(entry);
        let (after, merged_after) = (entry.bytes(), entry.series.is_merged());
        self.held = self.held + after - before;
        self.merged = self.merged + usize::from(merged_after) - usize::from(merged_before);
    }
}

impl Entry {
    const UNUSED: Self = Self {
        key: Key { low: 0, high: 0 },
        series: Series::EMPTY,
        frauds: None,
        newest: 0,
        oldest: u32::MAX,
        live: false,
    };

    fn bytes(&self) -> usize {
        self.series.bytes() + self.frauds.as_ref().map_or(0, |frauds| frauds.bytes())
    }

    /// Whether so much of it is before `keep_from` that a visit pays. Busy series see to themselves.
    fn is_stale(&self, keep_from: u32) -> bool {
        keep_from.saturating_sub(self.oldest) > self.newest.saturating_sub(self.oldest) / 8
    }

    fn expire(&mut self, keep_from: u32) {
        self.series.expire(keep_from);
        if let Some(frauds) = &mut self.frauds {
            frauds.expire(keep_from);
            if frauds.is_empty() {
                self.frauds = None;
            }
        }
        self.oldest = self.series.first().unwrap_or(u32::MAX).max(keep_from);
    }
}
