//! The transactions of one key that were, at some time, known to be fraud.

use super::heap_bytes;

/// A chunk takes at least this many before it is split.
const CHUNK: usize = 64;

/// One transaction for one span of time in which it was known to be fraud. Seconds from the store's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fraud {
    pub event: u32,
    /// Known from this second on.
    pub from: u32,
    /// And until before this one; `u32::MAX`: to this day.
    pub until: u32,
}

/// Frauds by event time, in chunks of about the square root of their number, so that neither adding nor
/// counting looks at all of them.
#[derive(Debug, Default)]
pub(super) struct Frauds {
    chunks: Vec<Chunk>,
    len: usize,
}

/// Neighbours in event time. A span is open at a second when it has begun and not ended, so the open ones
/// are those begun less those ended: two searches in sorted lists.
#[derive(Debug, Default)]
struct Chunk {
    frauds: Vec<Fraud>,
    begins: Vec<u32>,
    ends: Vec<u32>,
}

impl Frauds {
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn add(&mut self, fraud: Fraud) {
        let last = self.chunks.len().saturating_sub(1);
        let at = self.chunks.partition_point(|chunk| chunk.last() < fraud.event).min(last);
        if self.chunks.is_empty() {
            self.chunks.push(Chunk::default());
        }
        let limit = CHUNK.max(self.len.isqrt() * 2);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        chunk.add(fraud);
        self.len += 1;
        if chunk.frauds.len() > limit {
            let right = chunk.split();
            self.chunks.insert(at + 1, right);
        }
    }

    /// Removes one equal to this.
    pub fn remove(&mut self, fraud: Fraud) {
        let start = self.chunks.partition_point(|chunk| chunk.last() < fraud.event);
        for at in start..self.chunks.len() {
            let Some(chunk) = self.chunks.get_mut(at) else { return };
            if chunk.first() > fraud.event {
                return;
            }
            if chunk.remove(fraud) {
                self.len -= 1;
                if chunk.frauds.is_empty() {
                    self.chunks.remove(at);
                }
                return;
            }
        }
    }

    /// How many with event in [from, to) are known to be fraud at `now`.
    pub fn count(&self, from: u32, to: u32, now: u32) -> u64 {
        let start = self.chunks.partition_point(|chunk| chunk.last() < from);
        let chunks = self.chunks.get(start..).unwrap_or_default();
        chunks.iter().take_while(|chunk| chunk.first() < to).map(|chunk| chunk.count(from, to, now) as u64).sum()
    }

    /// Forgets the events before `limit`, as far as they fill chunks; those of a single chunk all.
    pub fn expire(&mut self, limit: u32) {
        let gone = self.chunks.partition_point(|chunk| chunk.last() < limit);
        for chunk in self.chunks.drain(..gone) {
            self.len -= chunk.frauds.len();
        }
        if let [only] = self.chunks.as_mut_slice()
            && only.first() < limit
        {
            only.frauds.retain(|fraud| fraud.event >= limit);
            only.sort_spans();
            self.len = only.frauds.len();
        }
    }

    /// Heap memory, in bytes.
    pub fn bytes(&self) -> usize {
        // Growth by doubling leaves a third free on average; to sum up capacities would be linear.
        let spans = (self.len * (size_of::<Fraud>() + 2 * size_of::<u32>())) * 4 / 3;
        heap_bytes(size_of::<Self>()) + heap_bytes(self.chunks.capacity() * size_of::<Chunk>()) + heap_bytes(spans)
    }
}

impl Chunk {
    fn first(&self) -> u32 {
        self.frauds.first().map_or(u32::MAX, |fraud| fraud.event)
    }

    fn last(&self) -> u32 {
        self.frauds.last().map_or(0, |fraud| fraud.event)
    }

    fn add(&mut self, fraud: Fraud) {
        self.frauds.insert(self.frauds.partition_point(|other| other.event <= fraud.event), fraud);
        put(&mut self.begins, fraud.from);
        put(&mut self.ends, fraud.until);
    }

    fn remove(&mut self, fraud: Fraud) -> bool {
        let start = self.frauds.partition_point(|other| other.event < fraud.event);
        let equal = self.frauds.iter().skip(start).take_while(|other| other.event == fraud.event);
        let Some(offset) = equal.into_iter().position(|other| *other == fraud) else { return false };
        self.frauds.remove(start + offset);
        take(&mut self.begins, fraud.from);
        take(&mut self.ends, fraud.until);
        true
    }

    fn split(&mut self) -> Self {
        let frauds = self.frauds.split_off(self.frauds.len() / 2);
        let mut right = Self { frauds, ..Self::default() };
        right.sort_spans();
        self.sort_spans();
        right
    }

    fn sort_spans(&mut self) {
        self.begins = self.frauds.iter().map(|fraud| fraud.from).collect();
        self.begins.sort_unstable();
        self.ends = self.frauds.iter().map(|fraud| fraud.until).collect();
        self.ends.sort_unstable();
    }

    fn count(&self, from: u32, to: u32, now: u32) -> usize {
        if from <= self.first() && self.last() < to {
            return upto(&self.begins, now) - upto(&self.ends, now);
        }
        let start = self.frauds.partition_point(|fraud| fraud.event < from);
        let within = self.frauds.iter().skip(start).take_while(|fraud| fraud.event < to);
        within.filter(|fraud| fraud.from <= now && now < fraud.until).count()
    }
}

/// How many of a sorted list are at most `now`. Mostly all of them or none.
fn upto(sorted: &[u32], now: u32) -> usize {
    match (sorted.first(), sorted.last()) {
        (Some(first), _) if now < *first => 0,
        (_, Some(last)) if *last <= now => sorted.len(),
        _ => sorted.partition_point(|time| *time <= now),
    }
}

fn put(sorted: &mut Vec<u32>, time: u32) {
    sorted.insert(sorted.partition_point(|other| *other <= time), time);
}

fn take(sorted: &mut Vec<u32>, time: u32) {
    if let Ok(at) = sorted.binary_search(&time) {
        sorted.remove(at);
    }
}
