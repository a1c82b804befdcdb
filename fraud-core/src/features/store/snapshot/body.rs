//! What stands in the blocks: the writing side.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;

use super::super::ids::{Event, View};
use super::super::key::Key;
#[cfg(feature = "redis")]
use super::super::keys::Keys;
use super::super::replies::Record;
use super::super::{Core, MemoryStore, Shard, varint};
#[cfg(feature = "redis")]
use super::Kept;
use super::file::MAX_BLOCK;
use super::written_time;
#[cfg(feature = "redis")]
use crate::transaction::Amount;

/// Payloads are handed on from this size; a record more still fits in a block.
const FLUSH: usize = MAX_BLOCK / 4;

/// Labels of a record; a longer history takes several.
const LABELS: usize = 4_096;

/// First byte of a payload.
pub(super) mod kind {
    pub const HEADER: u8 = b'H';
    pub const META: u8 = b'M';
    pub const CUSTOMERS: u8 = b'C';
    pub const TERMINALS: u8 = b'T';
    pub const PLANS: u8 = b'P';
    /// Histories of more than one label.
    pub const LABELS: u8 = b'L';
    pub const EVENTS: u8 = b'E';
    pub const END: u8 = b'Z';
}

/// Bits of an event's first byte.
pub(super) mod flag {
    pub const TEXT: u8 = 1;
    pub const LABEL: u8 = 2;
    /// The labels stood before, in a block of their own.
    pub const LABELS: u8 = 4;
    pub const PROFILE: u8 = 8;
}

/// How many of each were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub customers: u64,
    pub terminals: u64,
    pub events: u64,
}

/// A store at one moment.
pub(in super::super) struct Cut {
    shards: Vec<View>,
    base: i64,
    keep_from: u32,
    now: i64,
    earliest: i64,
}

/// Collects records and hands them on in blocks of one kind.
struct Blocks<'a, E> {
    payload: Vec<u8>,
    empty: usize,
    sink: &'a mut dyn FnMut(&[u8]) -> Result<(), E>,
}

impl<E> Blocks<'_, E> {
    fn start(&mut self, kind: u8) -> Result<(), E> {
        self.flush()?;
        self.payload.clear();
        self.payload.push(kind);
        self.empty = 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), E> {
        if self.payload.len() > self.empty {
            (self.sink)(&self.payload)?;
            self.payload.truncate(self.empty);
        }
        Ok(())
    }

    fn flush_if_full(&mut self) -> Result<(), E> {
        if self.payload.len() >= FLUSH { self.flush() } else { Ok(()) }
    }
}

impl MemoryStore {
    /// The store as it is; `core` keeps it from changing meanwhile.
    pub(super) fn cut(&self, core: &Core) -> Cut {
        let now = self.time.load(Ordering::Acquire);
        Cut {
            shards: self.ids.iter().map(|Shard(ids)| ids.lock().view()).collect(),
            base: core.base.unwrap_or_default(),
            keep_from: self.keep_from(core, now),
            now,
            earliest: self.earliest.load(Ordering::Acquire),
        }
    }

    /// Shows every kept transaction of a store that nobody else uses.
    #[cfg(feature = "redis")]
    pub(crate) fn each_kept(&self, visit: &mut dyn FnMut(Kept<'_>)) {
        let cut = self.cut(&self.core.read());
        let key_of = |shards: &[Shard<Keys>], over_all: u32| {
            let (shard, number) = self.in_shard(over_all);
            let keys = shards.get(shard)?.0.lock();
            keys.entry(number).map(|entry| entry.key)
        };
        for view in &cut.shards {
            let replies = reply_index(view);
            for (slot, id, event) in events(view).filter(|(_, _, event)| event.time >= cut.keep_from) {
                let customer = key_of(&self.customers, event.customer);
                let terminal = key_of(&self.terminals, event.terminal);
                let amount = i64::try_from(event.amount()).ok().and_then(Amount::from_units);
                let (Some(customer), Some(terminal), Some(amount)) = (customer, terminal, amount) else { continue };
                let time = cut.base + i64::from(event.time);
                let labels = match event.has_history() {
                    true => view.histories.get(&slot).cloned().unwrap_or_default(),
                    false => event.label(time).into_iter().collect(),
                };
                let reply = replies.get(&slot).map(|record| (record.plan, record.profile));
                visit(Kept { id, customer, terminal, time, amount, labels, reply });
            }
        }
    }

    /// Hands the blocks of a cut to `sink`. Keys must not be freed meanwhile.
    pub(super) fn write_body<E>(
        &self,
        cut: &Cut,
        meta: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Counts, E> {
        let mut blocks = Blocks { payload: Vec::with_capacity(FLUSH * 2), empty: 0, sink };
        self.write_header(cut, &mut blocks)?;
        for part in meta.chunks(FLUSH) {
            blocks.start(kind::META)?;
            blocks.payload.extend_from_slice(part);
        }
        let customers = self.write_keys(kind::CUSTOMERS, &mut blocks)?;
        let terminals = self.write_keys(kind::TERMINALS, &mut blocks)?;
        let plans = write_plans(cut, &mut blocks)?;
        write_histories(cut, &mut blocks)?;
        let events = write_events(cut, &plans, &mut blocks)?;
        blocks.start(kind::END)?;
        for count in [customers, terminals, events, meta.len() as u64] {
            varint::put(&mut blocks.payload, count.into());
        }
        blocks.flush()?;
        Ok(Counts { customers, terminals, events })
    }

    fn write_header<E>(&self, cut: &Cut, blocks: &mut Blocks<E>) -> Result<(), E> {
        blocks.start(kind::HEADER)?;
        let out = &mut blocks.payload;
        varint::put(out, u128::from(self.settings.history));
        varint::put(out, u128::from(self.settings.lateness));
        for word in self.secret.words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.push(u8::from(written_time(cut.now).is_some()));
        varint::put_signed(out, written_time(cut.now).unwrap_or_default());
        varint::put_signed(out, if written_time(cut.now).is_some() { cut.earliest } else { 0 });
        Ok(())
    }

    fn write_keys<E>(&self, kind: u8, blocks: &mut Blocks<E>) -> Result<u64, E> {
        blocks.start(kind)?;
        let shards = if kind == kind::CUSTOMERS { &self.customers } else { &self.terminals };
        let mut count = 0;
        for (shard, Shard(keys)) in shards.iter().enumerate() {
            // Copied, so that observers wait for no disk.
            let keys: Vec<(u32, Key)> = keys.lock().iter().collect();
            for (number, key) in keys {
                varint::put(&mut blocks.payload, u128::from(self.over_all(shard, number)));
                blocks.payload.push(u8::from(!key.is_integer()));
                put_key(&mut blocks.payload, key);
                count += 1;
                blocks.flush_if_full()?;
            }
        }
        Ok(count)
    }
}

fn put_key(out: &mut Vec<u8>, key: Key) {
    out.extend_from_slice(&key.low.to_le_bytes());
    if !key.is_integer() {
        out.extend_from_slice(&key.high.to_le_bytes());
    }
}

/// The profiles given lately, by slot, of one shard.
type ReplyIndex<'a> = HashMap<u32, Record<'a>>;

/// Writes the plans that profiles refer to; their places are the ones in the answer.
fn write_plans<E>(cut: &Cut, blocks: &mut Blocks<E>) -> Result<Vec<u64>, E> {
    let mut plans: Vec<u64> = cut.shards.iter().flat_map(|view| view.plans.iter().copied()).collect();
    plans.sort_unstable();
    plans.dedup();
    blocks.start(kind::PLANS)?;
    for plan in &plans {
        blocks.payload.extend_from_slice(&plan.to_le_bytes());
        blocks.flush_if_full()?;
    }
    Ok(plans)
}

fn write_histories<E>(cut: &Cut, blocks: &mut Blocks<E>) -> Result<(), E> {
    blocks.start(kind::LABELS)?;
    for view in &cut.shards {
        let kept = events(view).filter(|(_, _, event)| event.has_history() && event.time >= cut.keep_from);
        for (slot, key, _) in kept {
            let history = view.histories.get(&slot).map(Vec::as_slice).unwrap_or_default();
            for labels in history.chunks(LABELS) {
                blocks.payload.push(u8::from(!key.is_integer()));
                put_key(&mut blocks.payload, key);
                varint::put(&mut blocks.payload, labels.len() as u128);
                for label in labels {
                    put_label(&mut blocks.payload, 0, *label);
                }
                blocks.flush_if_full()?;
            }
        }
    }
    Ok(())
}

/// Labels lie near their event, mostly.
fn put_label(out: &mut Vec<u8>, time: i64, (observed_at, fraud): (i64, bool)) {
    varint::put_signed(out, observed_at.wrapping_sub(time));
    out.push(u8::from(fraud));
}

fn write_events<E>(cut: &Cut, plans: &[u64], blocks: &mut Blocks<E>) -> Result<u64, E> {
    let replies: Vec<ReplyIndex> = cut.shards.iter().map(reply_index).collect();
    blocks.start(kind::EVENTS)?;
    let mut previous = 0_i64;
    let mut count = 0;
    // Each shard is nearly sorted by time; merged they are, too, and restoring appends.
    let mut walks: Vec<_> = cut.shards.iter().map(|view| events(view).peekable()).collect();
    let mut heap: BinaryHeap<Reverse<(u32, usize)>> = BinaryHeap::new();
    for (shard, walk) in walks.iter_mut().enumerate() {
        heap.extend(walk.peek().map(|(_, _, event)| Reverse((event.time, shard))));
    }
    while let Some(Reverse((_, shard))) = heap.pop() {
        let Some(walk) = walks.get_mut(shard) else { continue };
        let Some((slot, key, event)) = walk.next() else { continue };
        heap.extend(walk.peek().map(|(_, _, next)| Reverse((next.time, shard))));
        if event.time < cut.keep_from {
            continue;
        }
        let time = cut.base + i64::from(event.time);
        let label = event.label(time);
        let reply = replies.get(shard).and_then(|replies| replies.get(&slot));
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(!key.is_integer(), flag::TEXT)
            | bit(label.is_some(), flag::LABEL)
            | bit(event.has_history(), flag::LABELS)
            | bit(reply.is_some(), flag::PROFILE);
        let out = &mut blocks.payload;
        out.push(flags);
        put_key(out, key);
        varint::put_signed(out, time - previous);
        previous = time;
        for number in [u64::from(event.customer), u64::from(event.terminal), event.amount()] {
            varint::put(out, number.into());
        }
        if let Some(label) = label {
            put_label(out, time, label);
        }
        if let Some(reply) = reply {
            varint::put(out, plans.binary_search(&reply.plan).unwrap_or_default() as u128);
            varint::put(out, reply.profile.len() as u128);
            out.extend_from_slice(reply.profile);
        }
        count += 1;
        blocks.flush_if_full()?;
    }
    Ok(count)
}

fn events(view: &View) -> impl Iterator<Item = (u32, Key, &Event)> {
    let all = view.chunks.iter().flat_map(|chunk| chunk.iter());
    all.zip(0_u32..).map(|((key, event), index)| (view.first.wrapping_add(index), key, event))
}

fn reply_index(view: &View) -> ReplyIndex<'_> {
    let records = view.segments.iter().flat_map(|segment| segment.records(&view.plans));
    records.map(|record| (record.slot, record)).collect()
}
