//! The parts of one observation: what is asked of the id, the customer and the terminal, and what they answer.

use redis::Value;

use super::answer;
use super::names::{Entry, ID_CHUNK, Member, Names, REPLY_CHUNK, Written, initial};
use super::script::{Call, Script};
use super::shared::Shared;
use crate::features::KeyKind;
use crate::features::profile::ProfilePlan;

/// Both parties of a transaction, in the order in which they are asked.
pub(super) const PARTIES: [KeyKind; 2] = [KeyKind::Customer, KeyKind::Terminal];
/// Commands of one observation, the times apart.
pub(super) const PARTS: usize = 3;

/// A transaction on its way, under the store's time that it is asked with.
pub(super) struct Row {
    pub written: Written,
    /// Where it came from, 0 where nobody said.
    pub origin: u64,
    /// The store's time, as far as known when asking.
    pub assumed: Option<i64>,
    /// Whether it is to be recorded: asked for, and not late at that time.
    pub records: bool,
}

/// First and last chunk of ids that are looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    pub first: i64,
    pub last: i64,
    pub own: i64,
}

impl Chunks {
    pub fn of(shared: &Shared, time: i64, now: Option<i64>) -> Self {
        let own = time.div_euclid(ID_CHUNK);
        let kept = shared.store.kept();
        let (first, last) =
            now.map_or((own, own), |now| ((now - kept + 1).div_euclid(ID_CHUNK), now.div_euclid(ID_CHUNK)));
        Self { first, last, own }
    }

    /// Its own first, then from the latest to the earliest.
    fn numbers(self) -> impl Iterator<Item = i64> {
        std::iter::once(self.own).chain((self.first..=self.last).rev().filter(move |number| *number != self.own))
    }
}

/// Last second that is not kept at a time of the store.
pub(super) fn floor(shared: &Shared, now: Option<i64>) -> Option<i64> {
    now.map(|now| now - shared.store.kept())
}

impl Row {
    /// The commands: id, customer, terminal.
    pub fn calls(&self, shared: &Shared, plan: &ProfilePlan) -> [Call; PARTS] {
        [self.id_call(shared), self.party_call(shared, plan, PARTIES[0]), self.party_call(shared, plan, PARTIES[1])]
    }

    fn id_call(&self, shared: &Shared) -> Call {
        let (names, id) = (&shared.names, &self.written.id);
        let chunks = Chunks::of(shared, self.written.time, self.assumed);
        let begin = names.tag(id.tag);
        let mut keys = vec![names.marker(id.tag), format!("{begin}i"), reply_key(&begin, self.written.time)];
        keys.extend(chunks.numbers().map(|number| format!("{begin}i:{number}")));
        Call::script(Script::Id, &keys)
            .arg(shared.epoch().unwrap_or_default())
            .arg(i32::from(self.records))
            .arg(id.field())
            .arg(self.written.entry(self.origin))
            .number(floor(shared, self.assumed))
            .arg(begin)
            .arg(chunks.own)
            .number(shared.deletable().map(|second| (second + 1).div_euclid(ID_CHUNK)))
    }

    fn party_call(&self, shared: &Shared, plan: &ProfilePlan, kind: KeyKind) -> Call {
        let placed = self.written.party(kind);
        let [events, frauds, cells] = shared.names.party(kind, placed);
        let time = self.written.time;
        let floor = floor(shared, self.assumed);
        let mut bounds = Vec::with_capacity(8);
        let mut counts_frauds = false;
        for spec in plan.windows().iter().filter(|spec| spec.key == kind) {
            counts_frauds |= spec.needs.frauds;
            let right = time - i64::from(spec.delay);
            let left = (right - i64::from(spec.window)).max(floor.unwrap_or(i64::MIN));
            if left < right {
                bounds.extend([left + 1, right + 1]);
                // Of its own second the events must be told apart.
                bounds.extend((spec.needs.previous && spec.delay == 0).then_some(right));
            }
        }
        bounds.sort_unstable();
        bounds.dedup();
        Call::script(Script::Key, &[shared.names.marker(placed.tag), events, frauds, cells])
            .arg(shared.epoch().unwrap_or_default())
            .arg(i32::from(self.records))
            .arg(time)
            .arg(&self.written.member)
            .number(shared.deletable())
            .number(counts_frauds.then_some(time))
            .arg(initial(kind))
            .arg(bounds)
    }

    /// The command that takes its id back; it answers 1 when it did.
    pub fn id_retraction(&self, shared: &Shared) -> Call {
        let (names, id) = (&shared.names, &self.written.id);
        let begin = names.tag(id.tag);
        let chunk = format!("{begin}i:{}", self.written.time.div_euclid(ID_CHUNK));
        let keys = [names.marker(id.tag), chunk, reply_key(&begin, self.written.time)];
        let call = Call::script(Script::Retract, &keys).arg(shared.epoch().unwrap_or_default());
        call.arg(id.field()).arg(self.written.entry(self.origin))
    }

    /// The commands that take it back from its parties.
    pub fn party_retractions(&self, shared: &Shared) -> [Call; 2] {
        PARTIES.map(|kind| {
            let placed = self.written.party(kind);
            let [events, _, cells] = shared.names.party(kind, placed);
            let call = Call::script(Script::Retract, &[shared.names.marker(placed.tag), events, cells]);
            let call = call.arg(shared.epoch().unwrap_or_default());
            call.arg(self.written.time).arg(&self.written.member).arg(initial(kind))
        })
    }
}

fn reply_key(begin: &str, time: i64) -> String {
    format!("{begin}r:{}", time.div_euclid(REPLY_CHUNK))
}

/// Reads the profile given for a transaction.
pub(super) fn reply_read(names: &Names, written: &Written) -> Call {
    let key = reply_key(&names.tag(written.id.tag), written.time);
    Call::plain("HGET").arg(key).arg(written.id.field())
}

/// Keeps a profile given for a transaction, unless one is kept.
pub(super) fn reply_write(shared: &Shared, written: &Written, (now, reply): (i64, &[u8])) -> Call {
    let begin = shared.names.tag(written.id.tag);
    let keep_from = (now - i64::from(shared.store.dedupe)).div_euclid(REPLY_CHUNK);
    let keys = [shared.names.marker(written.id.tag), format!("{begin}r"), reply_key(&begin, written.time)];
    Call::script(Script::Reply, &keys)
        .arg(shared.epoch().unwrap_or_default())
        .arg(written.id.field())
        .arg(reply)
        .arg(begin)
        .arg(written.time.div_euclid(REPLY_CHUNK))
        .arg(keep_from)
}

/// What an id answered.
pub(super) struct IdAnswer {
    pub known: Option<Entry>,
    /// Empty where none is kept.
    pub reply: Vec<u8>,
}

/// What a customer or terminal answered.
pub(super) struct PartyAnswer {
    /// Whether the transaction stood there before.
    pub there: bool,
    pub version: Vec<u8>,
    /// Events one by one.
    pub events: Vec<u8>,
    /// Labels of those, one by one.
    pub labels: Vec<u8>,
    /// Names and contents of cells.
    pub found: Vec<Value>,
    /// Names of the cells that would have spared events one by one.
    pub missing: Vec<Value>,
}

impl PartyAnswer {
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.events.as_chunks().0.iter()
    }
}

/// Reads an answer of the id's script; the number of writes comes with it.
pub(super) fn read_id(value: Value) -> Result<(u64, IdAnswer), String> {
    let read = |values: &[Value]| {
        let [writes, entry, reply] = values else { return None };
        let entry = answer::bytes(entry)?;
        let known = if entry.is_empty() { None } else { Some(Entry::read(entry)?) };
        let reply = answer::bytes(reply).unwrap_or_default().to_vec();
        Some((u64::try_from(answer::integer(writes)?).ok()?, IdAnswer { known, reply }))
    };
    answer::list(answer::checked(&value)?).and_then(read).ok_or_else(|| "an id gave something else".to_owned())
}

/// Reads an answer of a party's script; the number of writes comes with it.
pub(super) fn read_party(value: Value) -> Result<(u64, PartyAnswer), String> {
    answer::checked(&value)?;
    let read = |value: Value| {
        let Value::Array(values) = value else { return None };
        let [writes, there, version, events, labels, found, missing] = <[Value; 7]>::try_from(values).ok()?;
        let owned = |value: Value| match value {
            Value::BulkString(bytes) => Some(bytes),
            _ => None,
        };
        let listed = |value: Value| match value {
            Value::Array(values) => Some(values),
            _ => None,
        };
        let answer = PartyAnswer {
            there: answer::integer(&there)? == 1,
            version: owned(version)?,
            events: owned(events)?,
            labels: owned(labels)?,
            found: listed(found)?,
            missing: listed(missing)?,
        };
        Some((u64::try_from(answer::integer(&writes)?).ok()?, answer))
    };
    read(value).ok_or_else(|| "a customer or terminal gave something else".to_owned())
}
