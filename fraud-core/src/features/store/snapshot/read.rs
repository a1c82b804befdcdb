//! What stands in the blocks: the reading side. Every number in them may be anything.

use hashbrown::HashMap;

use super::super::key::{Key, Secret};
use super::super::labels::History;
use super::super::varint::Reader;
use super::super::{Core, MemoryStore, StoreSettings};
use super::body::{flag, kind};
use crate::transaction::{Amount, MAX_TIME, MIN_TIME};

/// A kept transaction, on its way into a store.
pub(crate) struct Kept<'a> {
    pub id: Key,
    pub customer: Key,
    pub terminal: Key,
    pub time: i64,
    pub amount: Amount,
    pub labels: History,
    /// Fingerprint of a plan, and the profile given under it.
    pub reply: Option<(u64, &'a [u8])>,
}

/// Builds a store from blocks in their order.
pub(super) struct Builder {
    settings: StoreSettings,
    store: Option<MemoryStore>,
    base: i64,
    meta: Vec<u8>,
    customers: HashMap<u32, Key>,
    terminals: HashMap<u32, Key>,
    plans: Vec<u64>,
    histories: HashMap<Key, History>,
    previous: i64,
    events: u64,
    ended: bool,
}

const SHORT: &str = "a record ends early or holds a number out of range";

impl Builder {
    pub fn new(settings: StoreSettings) -> Self {
        Self {
            settings,
            store: None,
            base: 0,
            meta: Vec::new(),
            customers: HashMap::new(),
            terminals: HashMap::new(),
            plans: Vec::new(),
            histories: HashMap::new(),
            previous: 0,
            events: 0,
            ended: false,
        }
    }

    /// Takes a block; the error says what is wrong with it.
    pub fn take(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        if self.ended {
            return Err("there are blocks after the last");
        }
        let mut reader = Reader::new(payload);
        let kind = reader.u8().ok_or("an empty block")?;
        match (kind, &self.store) {
            (kind::HEADER, None) => self.header(&mut reader).ok_or(SHORT)?,
            (_, None) => return Err("the first block is no header"),
            (kind::META, _) => {
                self.meta.extend_from_slice(reader.bytes(reader.left()).unwrap_or_default());
            }
            (kind::CUSTOMERS, _) => read_keys(&mut reader, &mut self.customers)?,
            (kind::TERMINALS, _) => read_keys(&mut reader, &mut self.terminals)?,
            (kind::PLANS, _) => {
                while reader.left() > 0 {
                    self.plans.push(reader.u64_le().ok_or(SHORT)?);
                }
            }
            (kind::LABELS, _) => {
                while reader.left() > 0 {
                    self.history(&mut reader)?;
                }
            }
            (kind::EVENTS, _) => {
                while reader.left() > 0 {
                    self.event(&mut reader)?;
                }
            }
            (kind::END, _) => self.end(&mut reader)?,
            _ => return Err("a block of a kind that is not known"),
        }
        if reader.left() == 0 { Ok(()) } else { Err("a block is longer than what it holds") }
    }

    /// The store and the meta, once the last block was taken.
    pub fn finish(self) -> Result<(MemoryStore, Vec<u8>), &'static str> {
        let store = self.store.filter(|_| self.ended).ok_or("it ends early")?;
        Ok((store, self.meta))
    }

    fn header(&mut self, reader: &mut Reader) -> Option<()> {
        let kept = i64::from(reader.u32()?) + i64::from(reader.u32()?);
        let mut words = [0; 5];
        for word in &mut words {
            *word = reader.u64_le()?;
        }
        let some = reader.u8()? == 1;
        let (now, earliest) = (reader.signed()?, reader.signed()?);
        let mut store = MemoryStore::with_secret(self.settings.clone(), Secret { words });
        if some {
            if !(MIN_TIME..=MAX_TIME).contains(&now) || earliest > now || earliest < MIN_TIME {
                return None;
            }
            self.base = Core::base_for(now);
            *store.core.get_mut() = Core { base: Some(self.base), frozen: false };
            *store.time.get_mut() = now;
            // What the file's own settings did not keep cannot count as history.
            let complete = if store.settings.kept() > kept { now - kept } else { earliest };
            *store.earliest.get_mut() = complete.max(earliest);
        }
        self.store = Some(store);
        Some(())
    }

    fn history(&mut self, reader: &mut Reader) -> Result<(), &'static str> {
        let text = reader.u8().ok_or(SHORT)? == 1;
        let history = self.histories.entry(read_key(reader, text)?).or_default();
        let count = reader.usize().ok_or(SHORT)?;
        for _ in 0..count {
            let (observed_at, fraud) = read_label(reader, 0)?;
            if history.last().is_some_and(|(last, _)| *last >= observed_at) {
                return Err("labels are out of order");
            }
            history.push((observed_at, fraud));
        }
        Ok(())
    }

    fn event(&mut self, reader: &mut Reader) -> Result<(), &'static str> {
        let Some(store) = &self.store else { return Err("the first block is no header") };
        let flags = reader.u8().ok_or(SHORT)?;
        let id = read_key(reader, flags & flag::TEXT != 0)?;
        let time = self.previous.checked_add(reader.signed().ok_or(SHORT)?).ok_or(SHORT)?;
        self.previous = time;
        let customer = *self.customers.get(&reader.u32().ok_or(SHORT)?).ok_or("an event of an unknown customer")?;
        let terminal = *self.terminals.get(&reader.u32().ok_or(SHORT)?).ok_or("an event of an unknown terminal")?;
        let amount = reader.u64().and_then(|units| Amount::from_units(i64::try_from(units).ok()?)).ok_or(SHORT)?;
        let labels = match (flags & flag::LABEL != 0, flags & flag::LABELS != 0) {
            (true, false) => vec![read_label(reader, time)?],
            (false, true) => self.histories.remove(&id).ok_or("an event without its labels")?,
            (false, false) => History::new(),
            (true, true) => return Err(SHORT),
        };
        let reply = if flags & flag::PROFILE != 0 {
            let plan = self.plans.get(reader.usize().ok_or(SHORT)?).ok_or("a profile of an unknown plan")?;
            let length = reader.usize().ok_or(SHORT)?;
            Some((*plan, reader.bytes(length).ok_or(SHORT)?))
        } else {
            None
        };
        self.events += 1;
        if store.time().is_none_or(|now| time > now) {
            return Err("an event is later than the store's time");
        }
        store.put_back(Kept { id, customer, terminal, time, amount, labels, reply })
    }

    fn end(&mut self, reader: &mut Reader) -> Result<(), &'static str> {
        let found = [self.customers.len() as u64, self.terminals.len() as u64, self.events, self.meta.len() as u64];
        for count in found {
            if reader.u64() != Some(count) {
                return Err("it does not hold as much as it says");
            }
        }
        self.ended = true;
        Ok(())
    }
}

fn read_keys(reader: &mut Reader, keys: &mut HashMap<u32, Key>) -> Result<(), &'static str> {
    while reader.left() > 0 {
        let number = reader.u32().ok_or(SHORT)?;
        let text = reader.u8().ok_or(SHORT)? == 1;
        if keys.insert(number, read_key(reader, text)?).is_some() {
            return Err("a customer or terminal stands twice");
        }
    }
    Ok(())
}

fn read_key(reader: &mut Reader, text: bool) -> Result<Key, &'static str> {
    let low = reader.u64_le().ok_or(SHORT)?;
    let high = if text { reader.u64_le().ok_or(SHORT)? } else { 0 };
    let key = Key { low, high };
    if key.is_valid() && key.is_integer() != text { Ok(key) } else { Err(SHORT) }
}

fn read_label(reader: &mut Reader, time: i64) -> Result<(i64, bool), &'static str> {
    let observed_at = reader.signed().ok_or(SHORT)?.wrapping_add(time);
    match reader.u8() {
        Some(fraud @ 0..=1) => Ok((observed_at, fraud == 1)),
        _ => Err(SHORT),
    }
}
