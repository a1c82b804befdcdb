//! Cells: what the events of a past day, hour or minute of one key add up to, kept beside them so that a busy key's
//! history is not sent again and again. They are made here, from the events, and kept by the script only where those
//! are still all there are; they hold nothing that the events do not.

use redis::Value;

use super::answer;
use super::names::Placed;
use super::part::PartyAnswer;
use super::script::{Call, Script};
use super::shared::Shared;
use super::windows::Events;
use crate::features::KeyKind;
use crate::features::store::labels::intervals;
use crate::features::store::sums::Sums;
use crate::features::store::varint::{self, Reader};

/// A cell is made so many seconds after its end: until then events still come.
const SETTLED_AFTER: i64 = 600;

/// What the events of [start, end) add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub start: i64,
    pub end: i64,
    /// [`Sums::latest`] counts from `start`.
    pub sums: Sums,
    /// Events known to be fraud once all their labels are in force.
    pub frauds: u64,
    /// Labels of events that were ever called fraud.
    labels: u64,
    /// When the last label comes into force.
    settled: Option<i64>,
}

/// Bounds of a cell by its name: `d`, `h` or `m`, and its first second.
fn bounds(field: &Value) -> Option<(i64, i64)> {
    let (kind, start) = answer::text(field)?.split_at_checked(1)?;
    let span = match kind {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        _ => return None,
    };
    let start = start.parse::<i64>().ok()?;
    Some((start, start + span))
}

/// Reads a cell as Redis holds it.
pub(super) fn read(field: &Value, content: &Value) -> Option<Cell> {
    let (start, end) = bounds(field)?;
    let content = answer::bytes(content)?;
    let at = content.iter().position(|byte| *byte == b'|')?;
    let settled = match std::str::from_utf8(content.get(..at)?).ok()? {
        "" => None,
        second => Some(second.parse().ok()?),
    };
    let mut reader = Reader::new(content.get(at + 1..)?);
    let sums = Sums {
        count: reader.u64()?,
        sum: reader.u128()?,
        squares: reader.u128()?,
        min: reader.u64()?,
        max: reader.u64()?,
        latest: reader.u32()?,
    };
    let cell = Cell { start, end, sums, frauds: reader.u64()?, labels: reader.u64()?, settled };
    (reader.left() == 0).then_some(cell)
}

fn write(cell: &Cell) -> Vec<u8> {
    let mut content = cell.settled.map_or_else(String::new, |second| second.to_string()).into_bytes();
    content.push(b'|');
    let Sums { count, sum, squares, min, max, latest } = cell.sums;
    for number in [count.into(), sum, squares, min.into(), max.into(), latest.into()] {
        varint::put(&mut content, number);
    }
    varint::put(&mut content, cell.frauds.into());
    varint::put(&mut content, cell.labels.into());
    content
}

/// The cell of [start, end), made of what a party answered.
fn make(events: &Events, (start, end): (i64, i64)) -> Cell {
    let mut cell = Cell { start, end, sums: Sums::NONE, frauds: 0, labels: 0, settled: None };
    let offset = |second: i64| u32::try_from(second - start).unwrap_or_default();
    for (second, amount) in events.plain.iter().filter(|(second, _)| (start..end).contains(second)) {
        cell.sums.add_one(offset(*second), *amount);
    }
    for ((second, _), history) in &events.labelled {
        if (start..end).contains(second) {
            cell.frauds += u64::from(intervals(history).last().is_some_and(|span| span.until == i64::MAX));
            cell.settled = cell.settled.max(history.last().map(|(observed_at, _)| *observed_at));
        }
    }
    cell.labels = events.label_seconds.iter().filter(|second| (start..end).contains(second)).count() as u64;
    for inner in events.cells.iter().filter(|inner| start <= inner.start && inner.end <= end) {
        cell.sums.add(&Sums { latest: offset(inner.start + i64::from(inner.sums.latest)), ..inner.sums });
        cell.frauds += inner.frauds;
        cell.labels += inner.labels;
        cell.settled = cell.settled.max(inner.settled);
    }
    cell
}

/// The command that keeps the cells that a party missed and that nothing new is expected in.
pub(super) fn keep(
    shared: &Shared,
    (kind, placed): (KeyKind, &Placed),
    (answer, events): (&PartyAnswer, &Events),
    now: Option<i64>,
) -> Option<Call> {
    let now = now?;
    let settled = answer.missing.iter().filter_map(|field| Some((field, bounds(field)?)));
    let settled: Vec<_> = settled.filter(|(_, (_, end))| end + SETTLED_AFTER <= now).collect();
    if settled.is_empty() {
        return None;
    }
    let [names_events, frauds, cells] = shared.names.party(kind, placed);
    let keys = [shared.names.marker(placed.tag), names_events, frauds, cells];
    let mut call = Call::script(Script::Cells, &keys).arg(shared.epoch().unwrap_or_default()).arg(&answer.version);
    for (field, (start, end)) in settled {
        let cell = make(events, (start, end));
        let name = answer::bytes(field).unwrap_or_default();
        call = call.arg(name).arg(start).arg(end - 1).arg(cell.sums.count).arg(cell.labels).arg(write(&cell));
    }
    Some(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_comes_back() {
        let mut sums = Sums::NONE;
        sums.add_one(59, 10_000_000_000_000);
        sums.add_one(0, 0);
        for settled in [None, Some(-5), Some(i64::MAX)] {
            let cell = Cell { start: -60, end: 0, sums, frauds: 1, labels: 3, settled };
            let (field, content) = (Value::BulkString(b"m-60".to_vec()), Value::BulkString(write(&cell)));
            assert_eq!(read(&field, &content), Some(cell));
        }
        assert_eq!(read(&Value::BulkString(b"y0".to_vec()), &Value::Nil), None);
    }
}
