//! The profiles given lately, for the case that a transaction is sent again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::heap_bytes;
use super::varint::{self, Reader};
use crate::features::profile::{Needs, Profile, ProfilePlan, WindowStats};

/// Bytes of a segment that holds more than one record.
const SEGMENT: usize = 2_048;
const COMPLETE: u64 = 1;
const APPROXIMATE: u64 = 2;

/// Profiles in the order in which they were given, that of the events' slots, in segments that are dropped whole.
#[derive(Debug, Default)]
pub(super) struct Replies {
    pub segments: VecDeque<Arc<Segment>>,
    /// Fingerprints of the plans that the records name by their place here.
    plans: Arc<Vec<u64>>,
    scratch: Vec<u8>,
    held: usize,
}

/// Records one after the other: slot of the event (4 bytes), place of the plan, length, profile.
#[derive(Debug)]
pub(super) struct Segment {
    data: Vec<u8>,
    first_slot: u32,
    /// Second of the latest event in it.
    newest: u32,
}

/// One record of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub slot: u32,
    pub plan: u64,
    pub profile: &'a [u8],
}

impl Replies {
    /// Keeps the profile given for an event, the latest of all.
    pub fn put(&mut self, (slot, time): (u32, u32), plan: &ProfilePlan, profile: &Profile) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        encode(plan, profile, &mut scratch);
        self.put_encoded((slot, time), plan.fingerprint(), &scratch);
        self.scratch = scratch;
    }

    /// Keeps a profile that was encoded before.
    pub fn put_encoded(&mut self, (slot, time): (u32, u32), plan: u64, profile: &[u8]) {
        let plan = self.plan_place(plan);
        let needed = 4 + 2 * varint::MAX_LEN + profile.len();
        // A segment that a snapshot still reads is left as it is.
        let fits = |segment: &mut Arc<Segment>| {
            Arc::get_mut(segment).is_some_and(|segment| segment.data.capacity() - segment.data.len() >= needed)
        };
        if !self.segments.back_mut().is_some_and(fits) {
            let data = Vec::with_capacity(SEGMENT.max(needed));
            self.held += heap_bytes(data.capacity()) + heap_bytes(size_of::<Segment>());
            self.segments.push_back(Arc::new(Segment { data, first_slot: slot, newest: 0 }));
        }
        let Some(segment) = self.segments.back_mut().and_then(Arc::get_mut) else { return };
        segment.data.extend_from_slice(&slot.to_le_bytes());
        varint::put(&mut segment.data, plan as u128);
        varint::put(&mut segment.data, profile.len() as u128);
        segment.data.extend_from_slice(profile);
        segment.newest = segment.newest.max(time);
    }

    fn plan_place(&mut self, plan: u64) -> usize {
        match self.plans.iter().rposition(|known| *known == plan) {
            Some(place) => place,
            None => {
                Arc::make_mut(&mut self.plans).push(plan);
                self.plans.len() - 1
            }
        }
    }

    /// The profile given for an event, if it is still held and was made by this plan.
    pub fn get(&self, slot: u32, plan: &ProfilePlan, out: &mut Profile) -> bool {
        let Some(first) = self.segments.front().map(|segment| segment.first_slot) else { return false };
        // Slots wrap; counted from the first one here they do not.
        let order = |other: u32| other.wrapping_sub(first);
        let after = self.segments.partition_point(|segment| order(segment.first_slot) <= order(slot));
        let Some(segment) = after.checked_sub(1).and_then(|index| self.segments.get(index)) else { return false };
        let record = segment.records(&self.plans).find(|record| record.slot == slot);
        record.is_some_and(|record| record.plan == plan.fingerprint() && decode(plan, record.profile, out).is_some())
    }

    /// Drops the segments whose events are all before `limit`.
    pub fn expire(&mut self, limit: u32) {
        while let Some(segment) = self.segments.pop_front_if(|segment| segment.newest < limit) {
            self.held -= heap_bytes(segment.data.capacity()) + heap_bytes(size_of::<Segment>());
        }
    }

    /// Heap memory, in bytes.
    pub fn bytes(&self) -> usize {
        heap_bytes(self.segments.capacity() * size_of::<Arc<Segment>>())
            + heap_bytes(self.scratch.capacity())
            + self.held
    }

    /// The fingerprints that records refer to.
    pub fn plans(&self) -> Arc<Vec<u64>> {
        Arc::clone(&self.plans)
    }
}

impl Segment {
    /// The records in order of their slots.
    pub fn records<'a>(&'a self, plans: &'a [u64]) -> Records<'a> {
        Records { reader: Reader::new(&self.data), plans }
    }
}

pub(super) struct Records<'a> {
    reader: Reader<'a>,
    plans: &'a [u64],
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let slot = self.reader.u32_le()?;
        let plan = *self.plans.get(self.reader.usize()?)?;
        let length = self.reader.usize()?;
        let profile = self.reader.bytes(length)?;
        Some(Record { slot, plan, profile })
    }
}

/// A profile in bytes; [`decode`] needs the same plan.
pub(crate) fn encode(plan: &ProfilePlan, profile: &Profile, out: &mut Vec<u8>) {
    let flag = |set: bool, bit: u64| if set { bit } else { 0 };
    let flags = flag(profile.history_complete, COMPLETE) | flag(profile.approximate, APPROXIMATE);
    varint::put(out, u128::from(flags));
    for (spec, stats) in plan.windows().iter().zip(&profile.windows) {
        let Needs { sum, sum_of_squares, extremes, frauds, previous } = spec.needs;
        let mut put = |wanted: bool, value: u128| {
            if wanted {
                varint::put(out, value);
            }
        };
        put(true, stats.count.into());
        put(sum, stats.sum);
        put(sum_of_squares, stats.sum_of_squares);
        put(extremes, u128::from(stats.min.unsigned_abs()));
        put(extremes, u128::from(stats.max.unsigned_abs()));
        put(frauds, stats.frauds.into());
        put(previous, stats.since_previous.into());
    }
}

/// Reads what [`encode`] wrote; `None` for anything else.
pub(crate) fn decode(plan: &ProfilePlan, bytes: &[u8], out: &mut Profile) -> Option<()> {
    let mut reader = Reader::new(bytes);
    let flags = reader.u64()?;
    out.windows.clear();
    for spec in plan.windows() {
        let Needs { sum, sum_of_squares, extremes, frauds, previous } = spec.needs;
        let mut get = |wanted: bool| if wanted { reader.u128() } else { Some(0) };
        out.windows.push(WindowStats {
            count: u64::try_from(get(true)?).ok()?,
            sum: get(sum)?,
            sum_of_squares: get(sum_of_squares)?,
            min: i64::try_from(get(extremes)?).ok()?,
            max: i64::try_from(get(extremes)?).ok()?,
            frauds: u64::try_from(get(frauds)?).ok()?,
            since_previous: u32::try_from(get(previous)?).ok()?,
        });
    }
    out.history_complete = flags & COMPLETE != 0;
    out.approximate = flags & APPROXIMATE != 0;
    (reader.left() == 0).then_some(())
}
