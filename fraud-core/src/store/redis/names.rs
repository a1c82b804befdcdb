//! What the keys in Redis are called, and how a transaction is written in them.
//!
//! Everything of a customer, a terminal or an id lies under one of [`TAGS`] hash tags, so that a cluster spreads
//! them over its nodes while a script finds what it needs on one:
//!
//! | key | type | holds |
//! |---|---|---|
//! | `fraud:{meta}` | hash | format, epoch, secret |
//! | `fraud:{meta}:latest`, `:earliest` | sorted sets | the greatest and smallest event times |
//! | `fraud:{T}` | hash | marker: epoch, number of writes under the tag, counts |
//! | `fraud:{T}:c:KEY:e`, `:t:KEY:e` | sorted set | events of a customer, a terminal, by second |
//! | `…:f` | sorted set | labels of its transactions that were ever called fraud, by the event's second |
//! | `…:x` | hash | cells: what the events of a past day, hour or minute add up to |
//! | `fraud:{T}:i:N` | hash | ids whose events lie in the N-th ten days |
//! | `fraud:{T}:l:N` | hash | their labels |
//! | `fraud:{T}:r:N` | hash | profiles given to events of day N |
//! | `fraud:{T}:i`, `:r` | sets | the numbers N that there are |

use std::fmt::Write;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::features::KeyKind;
use crate::features::store::key::{Key, Secret};
use crate::transaction::{Amount, MIN_TIME, Transaction};

/// Hash tags: in how many parts a store can be spread over nodes.
pub(super) const TAGS: usize = 1_024;
/// Seconds of event time whose ids share a hash.
pub(super) const ID_CHUNK: i64 = 10 * 86_400;
/// Seconds of event time whose given profiles share a hash.
pub(super) const REPLY_CHUNK: i64 = 86_400;
const DIGEST: usize = 10;

/// Digest of a whole transaction: tells it from any other with its id.
pub(super) type Digest = [u8; DIGEST];
/// An event as it stands in the sorted set of its customer or terminal.
pub(super) type Member = [u8; 21];

/// A key of the store with the tag that it lies under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub key: Key,
    pub tag: usize,
}

impl Placed {
    pub fn new(secret: &Secret, key: Key) -> Self {
        // Bits that the embedded store's tables do not look at first either.
        Self { key, tag: (secret.hash(key) >> 36) as usize % TAGS }
    }

    /// Its name inside of a hash: 8 bytes of an integer, 16 of a text.
    pub fn field(&self) -> Vec<u8> {
        let mut field = self.key.low.to_be_bytes().to_vec();
        if !self.key.is_integer() {
            field.extend_from_slice(&self.key.high.to_be_bytes());
        }
        field
    }
}

/// A transaction as Redis sees it.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub id: Placed,
    pub customer: Placed,
    pub terminal: Placed,
    pub digest: Digest,
    pub member: Member,
    pub time: i64,
    pub amount: u64,
}

impl Written {
    pub fn of(secret: &Secret, transaction: &Transaction) -> Self {
        let keys = [&transaction.transaction_id, &transaction.customer_id, &transaction.terminal_id];
        Self::new(secret, keys.map(|id| secret.key(id)), (transaction.time, transaction.amount))
    }

    pub fn new(secret: &Secret, [id, customer, terminal]: [Key; 3], (time, amount): (i64, Amount)) -> Self {
        let units = amount.units().unsigned_abs();
        let mut hasher = SipHasher13::new_with_keys(secret.words[2], secret.words[4]);
        for word in [id.low, id.high, customer.low, customer.high, terminal.low, terminal.high, units] {
            hasher.write(&word.to_le_bytes());
        }
        hasher.write(&time.to_le_bytes());
        let mut digest = [0; DIGEST];
        digest.copy_from_slice(&hasher.finish128().as_bytes()[..DIGEST]);
        let mut member = [0; 21];
        member[..5].copy_from_slice(&second_bytes(time));
        member[5..11].copy_from_slice(&units.to_be_bytes()[2..]);
        member[11..].copy_from_slice(&digest);
        let place = |key| Placed::new(secret, key);
        Self {
            id: place(id),
            customer: place(customer),
            terminal: place(terminal),
            digest,
            member,
            time,
            amount: units,
        }
    }

    pub fn party(&self, kind: KeyKind) -> &Placed {
        match kind {
            KeyKind::Customer => &self.customer,
            KeyKind::Terminal => &self.terminal,
        }
    }

    /// What stands at its id: digest, second, customer, terminal, and where it came from if that is told (not 0).
    pub fn entry(&self, origin: u64) -> Vec<u8> {
        let mut entry = Vec::with_capacity(57);
        entry.extend_from_slice(&self.digest);
        entry.extend_from_slice(&second_bytes(self.time));
        for placed in [&self.customer, &self.terminal] {
            let field = placed.field();
            entry.push(if placed.key.is_integer() { 0 } else { 1 });
            entry.extend_from_slice(&field);
        }
        if origin != 0 {
            entry.extend_from_slice(&origin.to_be_bytes());
        }
        entry
    }
}

/// What was read from an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub digest: Digest,
    pub time: i64,
    pub customer: Key,
    pub terminal: Key,
    /// 0 where none was told.
    pub origin: u64,
}

impl Entry {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (digest, rest) = bytes.split_first_chunk::<DIGEST>()?;
        let (second, rest) = rest.split_first_chunk::<5>()?;
        let (customer, rest) = read_key(rest)?;
        let (terminal, rest) = read_key(rest)?;
        let origin = match rest {
            [] => 0,
            rest => u64::from_be_bytes(rest.try_into().ok()?),
        };
        Some(Self { digest: *digest, time: second_of(second), customer, terminal, origin })
    }
}

fn read_key(bytes: &[u8]) -> Option<(Key, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (low, rest) = rest.split_first_chunk::<8>()?;
    let (high, rest) = match kind {
        0 => (0, rest),
        _ => {
            let (high, rest) = rest.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*high), rest)
        }
    };
    let key = Key { low: u64::from_be_bytes(*low), high };
    key.is_valid().then_some((key, rest))
}

/// A second in five bytes that sort as it does.
fn second_bytes(time: i64) -> [u8; 5] {
    let since = time.saturating_sub(MIN_TIME).max(0).unsigned_abs();
    let [_, _, _, bytes @ ..] = since.to_be_bytes();
    bytes
}

fn second_of(bytes: &[u8; 5]) -> i64 {
    bytes.iter().fold(0_i64, |second, byte| second << 8 | i64::from(*byte)) + MIN_TIME
}

/// Second, amount and digest of a member.
pub(super) fn read_member(member: &Member) -> (i64, u64, &[u8]) {
    let (second, rest) = member.split_first_chunk::<5>().unwrap_or((&[0; 5], &[]));
    let (amount, digest) = rest.split_at_checked(6).unwrap_or_default();
    (second_of(second), amount.iter().fold(0, |units, byte| units << 8 | u64::from(*byte)), digest)
}

/// Labels of an event that was ever called fraud, as they stand at a customer or terminal: 24 bytes each.
pub(super) fn label_member(entry: &Entry, (observed_at, fraud): (i64, bool)) -> Vec<u8> {
    let mut member = Vec::with_capacity(24);
    member.extend_from_slice(&second_bytes(entry.time));
    member.extend_from_slice(&entry.digest);
    member.extend_from_slice(&observed_at.to_be_bytes());
    member.push(u8::from(fraud));
    member
}

/// Event second, digest, and label of a label's member.
pub(super) fn read_label_member(member: &[u8; 24]) -> (i64, Digest, (i64, bool)) {
    let (second, rest) = member.split_first_chunk::<5>().unwrap_or((&[0; 5], &[]));
    let (digest, rest) = rest.split_first_chunk::<DIGEST>().unwrap_or((&[0; DIGEST], &[]));
    let observed_at = rest.first_chunk::<8>().copied().map_or(0, i64::from_be_bytes);
    (second_of(second), *digest, (observed_at, rest.last() == Some(&1)))
}

/// Names of keys.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub fn meta(&self) -> String {
        format!("{}:{{meta}}", self.prefix)
    }

    pub fn times(&self) -> [String; 2] {
        ["latest", "earliest"].map(|name| format!("{}:{{meta}}:{name}", self.prefix))
    }

    /// The marker of a tag.
    pub fn marker(&self, tag: usize) -> String {
        format!("{}:{{{tag}}}", self.prefix)
    }

    /// How the other keys of a tag begin.
    pub fn tag(&self, tag: usize) -> String {
        format!("{}:{{{tag}}}:", self.prefix)
    }

    /// Events, labels of frauds, and cells of a customer or terminal.
    pub fn party(&self, kind: KeyKind, placed: &Placed) -> [String; 3] {
        let mut name = format!("{}:{{{}}}:{}:", self.prefix, placed.tag, initial(kind));
        // Writing to a text cannot fail.
        let _ = match placed.key {
            Key { low, high: 0 } => write!(name, "{}", low.cast_signed()),
            Key { low, high } => write!(name, "{low:016x}{high:016x}"),
        };
        ["e", "f", "x"].map(|part| format!("{name}:{part}"))
    }

    /// Pattern of the events of all customers and terminals, with the text that the keys begin with.
    pub fn all_parties(&self) -> String {
        format!("{}:{{*}}:[ct]:*:e", self.prefix)
    }

    /// Of the name of a party's events: its kind, its tag, and the name without its last letter.
    pub fn read_party<'a>(&self, events: &'a str) -> Option<(KeyKind, usize, &'a str)> {
        let rest = events.strip_prefix(self.prefix.as_str())?.strip_prefix(":{")?;
        let (tag, rest) = rest.split_once("}:")?;
        let kind = match rest.split_once(':')?.0 {
            "c" => KeyKind::Customer,
            "t" => KeyKind::Terminal,
            _ => return None,
        };
        Some((kind, tag.parse().ok().filter(|tag| *tag < TAGS)?, events.strip_suffix('e')?))
    }
}

/// `c` or `t`: in names of keys, and of the marker's counts.
pub(super) fn initial(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Customer => "c",
        KeyKind::Terminal => "t",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::{Id, MAX_TIME};

    #[test]
    fn what_is_written_is_read() {
        let secret = Secret::random();
        for time in [MIN_TIME, -1, 0, 1_700_000_000, MAX_TIME] {
            let transaction = Transaction {
                transaction_id: Id::from(-5),
                customer_id: Id::from_text("someone").unwrap(),
                terminal_id: Id::from(i64::MAX),
                amount: Amount::from_units(10_000_000_000_000).unwrap(),
                time,
            };
            let written = Written::of(&secret, &transaction);
            let (second, amount, digest) = read_member(&written.member);
            assert_eq!((second, amount, digest), (time, 10_000_000_000_000, written.digest.as_slice()));
            assert_eq!(Entry::read(&written.entry(7)).unwrap().origin, 7);
            let entry = Entry::read(&written.entry(0)).unwrap();
            assert_eq!((entry.digest, entry.time, entry.origin), (written.digest, time, 0));
            assert_eq!((entry.customer, entry.terminal), (written.customer.key, written.terminal.key));
            for label in [(i64::MIN, true), (i64::MAX, false)] {
                let member: [u8; 24] = label_member(&entry, label).try_into().unwrap();
                assert_eq!(read_label_member(&member), (time, written.digest, label));
            }
            assert_eq!(Entry::read(&written.entry(0)[1..]), None);
        }
    }

    #[test]
    fn names_of_parties_are_read_again() {
        let (names, secret) = (Names::new("a:b"), Secret::random());
        for id in [Id::from(-7), Id::from_text("x:}{y").unwrap()] {
            let placed = Placed::new(&secret, secret.key(&id));
            let [events, _, cells] = names.party(KeyKind::Terminal, &placed);
            let (kind, tag, stem) = names.read_party(&events).unwrap();
            assert_eq!((kind, tag, format!("{stem}x")), (KeyKind::Terminal, placed.tag, cells));
        }
        assert_eq!(names.read_party("a:b:{1024}:c:1:e"), None);
    }
}
