//! The events of one shard, found by transaction id: what everything else is an index of.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};

use super::heap_bytes;
use super::key::{Key, Secret};
use super::labels::{self, Compact, History, Interval, Label};
use super::replies::Replies;

/// Events of a chunk.
pub(super) const CHUNK: usize = 64;
/// Expired events that are cleared at a time: more than are added meanwhile, so that they never pile up.
const SWEEP: usize = 32;
/// Additions from one time to the next.
const SWEEP_EVERY: u32 = 8;

/// A recorded transaction, apart from its id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    /// Second, counted from the store's base.
    pub time: u32,
    /// Number of the customer, over all shards.
    pub customer: u32,
    /// Number of the terminal, over all shards.
    pub terminal: u32,
    amount_low: u32,
    label: Compact,
    amount_high: u16,
}

impl Event {
    const NONE: Self = Self { time: 0, customer: 0, terminal: 0, amount_low: 0, label: Compact::NONE, amount_high: 0 };

    /// `amount` in 1/10,000 of a unit: at most 10¹³, which 48 bits hold.
    #[allow(clippy::cast_possible_truncation)] // The parts of 48 bits.
    pub fn new(time: u32, amount: u64, (customer, terminal): (u32, u32)) -> Self {
        let (amount_low, amount_high) = (amount as u32, (amount >> 32) as u16);
        Self { time, customer, terminal, amount_low, label: Compact::NONE, amount_high }
    }

    /// Its label, if it has exactly one; `time` is its own, in Unix seconds.
    pub fn label(&self, time: i64) -> Option<(i64, bool)> {
        self.label.label(time)
    }

    /// Whether its labels stand in a history of their own.
    pub fn has_history(&self) -> bool {
        self.label == Compact::ELSEWHERE
    }

    pub fn amount(&self) -> u64 {
        u64::from(self.amount_high) << 32 | u64::from(self.amount_low)
    }
}

/// Events in order of arrival.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    low: [u64; CHUNK],
    /// Only where some id is a text.
    high: Option<Box<[u64; CHUNK]>>,
    events: [Event; CHUNK],
    len: usize,
    /// Second of the latest of them.
    newest: u32,
}

impl Chunk {
    fn empty() -> Self {
        Self { low: [0; CHUNK], high: None, events: [Event::NONE; CHUNK], len: 0, newest: 0 }
    }

    fn key(&self, index: usize) -> Key {
        let high = self.high.as_ref().map_or(0, |high| high.get(index).copied().unwrap_or_default());
        Key { low: self.low.get(index).copied().unwrap_or_default(), high }
    }

    /// Ids and events, in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Event)> {
        self.events.iter().take(self.len).enumerate().map(|(index, event)| (self.key(index), event))
    }
}

/// Label histories that do not fit into an event, by the event's slot.
pub(super) type Histories = HashMap<u32, History>;

/// The events of one shard. They leave in the order in which they came, a chunk at a time.
#[derive(Debug, Default)]
pub(super) struct Ids {
    table: HashTable<u32>,
    chunks: VecDeque<Arc<Chunk>>,
    /// Slot of the first event of the first chunk. Slots count up and wrap.
    first: u32,
    /// Slot of the next event.
    next: u32,
    /// How many events of the first chunk were cleared.
    cleared: usize,
    spare: Option<Arc<Chunk>>,
    histories: Arc<Histories>,
    history_bytes: usize,
    texts: usize,
    pub replies: Replies,
    /// [`Ids::bytes`] when the store last counted them.
    pub counted: usize,
}

/// What a label changed: when the transaction was known to be fraud before, and when it is now.
pub(super) struct Relabelled {
    pub old: Vec<Interval>,
    pub new: Vec<Interval>,
}

impl Ids {
    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Heap memory, in bytes.
    pub fn bytes(&self) -> usize {
        let chunks = self.chunks.len() + usize::from(self.spare.is_some());
        heap_bytes(self.table.allocation_size())
            + chunks * heap_bytes(size_of::<Chunk>() + 2 * size_of::<usize>())
            + heap_bytes(self.chunks.capacity() * size_of::<Arc<Chunk>>())
            + self.texts * heap_bytes(CHUNK * size_of::<u64>())
            + heap_bytes(self.histories.allocation_size())
            + self.history_bytes
            + self.replies.bytes()
    }

    /// The slot of an id whose event is at `keep_from` or later.
    pub fn find(&self, key: Key, hash: u64, keep_from: u32) -> Option<(u32, &Event)> {
        let slot = *self.table.find(hash, |slot| key_at(&self.chunks, self.first, *slot) == key)?;
        let event = self.event(slot)?;
        (event.time >= keep_from).then_some((slot, event))
    }

    fn event(&self, slot: u32) -> Option<&Event> {
        let (chunk, index) = place(self.first, slot);
        self.chunks.get(chunk)?.events.get(index)
    }

    /// Adds an event; an expired one of the same id is forgotten.
    pub fn add(&mut self, key: Key, event: Event, secret: &Secret) -> u32 {
        if self.chunks.back().is_none_or(|chunk| chunk.len == CHUNK) {
            let chunk = self.spare.take().unwrap_or_else(|| Arc::new(Chunk::empty()));
            self.chunks.push_back(chunk);
        }
        let slot = self.next;
        self.next = slot.wrapping_add(1);
        if let Some(chunk) = self.chunks.back_mut() {
            let chunk = Arc::make_mut(chunk);
            if let (Some(low), Some(place)) = (chunk.low.get_mut(chunk.len), chunk.events.get_mut(chunk.len)) {
                (*low, *place) = (key.low, event);
            }
            if !key.is_integer() && chunk.high.is_none() {
                chunk.high = Some(Box::new([0; CHUNK]));
                self.texts += 1;
            }
            if let Some(high) = chunk.high.as_mut().and_then(|high| high.get_mut(chunk.len)) {
                *high = key.high;
            }
            chunk.len += 1;
            chunk.newest = chunk.newest.max(event.time);
        }
        let Self { table, chunks, first, .. } = self;
        let key_of = |slot: &u32| key_at(chunks, *first, *slot);
        match table.entry(secret.hash(key), |slot| key_of(slot) == key, |slot| secret.hash(key_of(slot))) {
            Entry::Occupied(mut expired) => *expired.get_mut() = slot,
            Entry::Vacant(vacant) => {
                vacant.insert(slot);
            }
        }
        slot
    }

    /// Clears a few of the events before `keep_from`.
    pub fn sweep(&mut self, keep_from: u32, secret: &Secret) {
        if !self.next.is_multiple_of(SWEEP_EVERY) {
            return;
        }
        for _ in 0..SWEEP {
            let Some(front) = self.chunks.front().filter(|chunk| chunk.newest < keep_from) else { return };
            if self.cleared < front.len {
                let slot = self.first.wrapping_add(u32::try_from(self.cleared).unwrap_or_default());
                let hash = secret.hash(front.key(self.cleared));
                if let Ok(found) = self.table.find_entry(hash, |other| *other == slot) {
                    found.remove();
                }
                self.forget_history(slot);
                self.cleared += 1;
            } else if front.len == CHUNK {
                self.drop_front();
            } else {
                return;
            }
        }
    }

    fn drop_front(&mut self) {
        let Some(mut chunk) = self.chunks.pop_front() else { return };
        self.first = self.first.wrapping_add(CHUNK as u32);
        self.cleared = 0;
        self.texts -= usize::from(chunk.high.is_some());
        if let Some(unused) = Arc::get_mut(&mut chunk) {
            (unused.len, unused.newest, unused.high) = (0, 0, None);
            self.spare = Some(chunk);
        }
    }

    fn forget_history(&mut self, slot: u32) {
        if self.histories.contains_key(&slot)
            && let Some(history) = Arc::make_mut(&mut self.histories).remove(&slot)
        {
            self.history_bytes -= heap_bytes(history.capacity() * size_of::<(i64, bool)>());
        }
    }

    /// The labels of an event at `time`, in Unix seconds.
    pub fn history(&self, slot: u32, time: i64) -> History {
        match self.event(slot).map(|event| event.label) {
            Some(Compact::ELSEWHERE) => self.histories.get(&slot).cloned().unwrap_or_default(),
            Some(compact) => compact.label(time).into_iter().collect(),
            None => History::new(),
        }
    }

    /// Adds a label to an event at `time`, in Unix seconds; `None` when it says nothing new.
    pub fn label(&mut self, slot: u32, time: i64, label: Label) -> Option<Relabelled> {
        let mut history = self.history(slot, time);
        let old = labels::intervals(&history);
        if !labels::add(&mut history, label) {
            return None;
        }
        let new = labels::intervals(&history);
        self.set_history(slot, time, history);
        Some(Relabelled { old, new })
    }

    /// Replaces the labels of an event at `time`, in Unix seconds.
    pub fn set_history(&mut self, slot: u32, time: i64, history: History) {
        let compact = match history.as_slice() {
            [] => Some(Compact::NONE),
            [only] => Compact::one(time, *only),
            _ => None,
        };
        let (chunk, index) = place(self.first, slot);
        let Some(chunk) = self.chunks.get_mut(chunk) else { return };
        if let Some(event) = Arc::make_mut(chunk).events.get_mut(index) {
            event.label = compact.unwrap_or(Compact::ELSEWHERE);
        }
        if compact.is_none() {
            self.forget_history(slot);
            self.history_bytes += heap_bytes(history.capacity() * size_of::<(i64, bool)>());
            Arc::make_mut(&mut self.histories).insert(slot, history);
        }
    }

    /// All events as they are now. Cheap: what is there is shared until it changes.
    pub fn view(&self) -> View {
        View {
            chunks: self.chunks.clone(),
            first: self.first,
            histories: Arc::clone(&self.histories),
            segments: self.replies.segments.clone(),
            plans: self.replies.plans(),
        }
    }
}

/// The events of a shard at one moment, while the shard goes on.
pub(super) struct View {
    pub chunks: VecDeque<Arc<Chunk>>,
    pub first: u32,
    pub histories: Arc<Histories>,
    pub segments: VecDeque<Arc<super::replies::Segment>>,
    pub plans: Arc<Vec<u64>>,
}

fn place(first: u32, slot: u32) -> (usize, usize) {
    let offset = slot.wrapping_sub(first) as usize;
    (offset / CHUNK, offset % CHUNK)
}

fn key_at(chunks: &VecDeque<Arc<Chunk>>, first: u32, slot: u32) -> Key {
    let (chunk, index) = place(first, slot);
    chunks.get(chunk).map_or(Key::default(), |chunk| chunk.key(index))
}
