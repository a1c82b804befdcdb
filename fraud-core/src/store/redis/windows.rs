//! From what a customer and a terminal answered to the profile: all sums are made here, of exact integers.

use std::collections::BTreeMap;

use super::cells::{self, Cell};
use super::names::{Digest, read_label_member, read_member};
use super::part::{PARTIES, PartyAnswer};
use crate::features::profile::{Profile, ProfilePlan, WindowSpec};
use crate::features::store::labels::{History, Label, add, intervals};
use crate::features::store::sums::Sums;
use crate::features::store::windows::View;

/// A party's events, read.
#[derive(Default)]
pub(super) struct Events {
    /// Second and amount.
    pub plain: Vec<(i64, u64)>,
    /// Labels of the plain ones that were ever called fraud: by second and digest.
    pub labelled: BTreeMap<(i64, Digest), History>,
    /// The event's second of each such label.
    pub label_seconds: Vec<i64>,
    pub cells: Vec<Cell>,
}

impl Events {
    pub fn read(answer: &PartyAnswer) -> Result<Self, String> {
        let mut events = Self::default();
        for member in answer.members() {
            let (second, amount, _) = read_member(member);
            events.plain.push((second, amount));
        }
        for member in answer.labels.as_chunks().0 {
            let (second, digest, (observed_at, fraud)) = read_label_member(member);
            events.label_seconds.push(second);
            add(events.labelled.entry((second, digest)).or_default(), Label { fraud, observed_at });
        }
        for pair in answer.found.chunks_exact(2) {
            events.cells.push(cells::read(&pair[0], &pair[1]).ok_or("a cell cannot be read")?);
        }
        Ok(events)
    }

    /// What the events with second in [from, to) add up to. No cell crosses a bound.
    pub fn sums(&self, from: i64, to: i64, view: &View) -> Sums {
        let mut sums = Sums::NONE;
        for (second, amount) in &self.plain {
            if (from..to).contains(second) {
                sums.add_one(view.offset(*second), *amount);
            }
        }
        for cell in self.cells.iter().filter(|cell| from <= cell.start && cell.end <= to) {
            sums.add(&Sums { latest: view.offset(cell.start + i64::from(cell.sums.latest)), ..cell.sums });
        }
        sums
    }

    /// How many with second in [from, to) are known to be fraud at `now`.
    fn frauds(&self, from: i64, to: i64, now: i64) -> u64 {
        let known = |history: &History| intervals(history).iter().any(|span| span.from <= now && now < span.until);
        let plain = self.labelled.iter().filter(|((second, _), history)| (from..to).contains(second) && known(history));
        let cells = self.cells.iter().filter(|cell| from <= cell.start && cell.end <= to);
        plain.count() as u64 + cells.map(|cell| cell.frauds).sum::<u64>()
    }
}

/// Fills in the windows of a profile. `views` tells of each party whether the transaction stands in its events.
pub(super) fn fill(views: [View; 2], plan: &ProfilePlan, parties: [&Events; 2], out: &mut Profile) {
    out.plan = plan.fingerprint();
    out.windows.clear();
    out.approximate = false;
    for spec in plan.windows() {
        let at = usize::from(spec.key == PARTIES[1]);
        let (view, events) = (&views[at], parties[at]);
        let right = view.time - i64::from(spec.delay);
        let left = (right - i64::from(spec.window)).max(view.floor);
        let (from, to) = (left.saturating_add(1), right.saturating_add(1));
        let sums = events.sums(from, to, view);
        let frauds = if spec.needs.frauds { events.frauds(from, to, view.time) } else { 0 };
        let mut stats = view.stats(spec, &sums, frauds);
        if spec.needs.previous {
            stats.since_previous = since_previous(view, spec, (events, &sums, from));
        }
        out.windows.push(stats);
    }
}

/// Seconds from the latest other event to the window's right edge.
fn since_previous(view: &View, spec: &WindowSpec, (events, sums, from): (&Events, &Sums, i64)) -> u32 {
    let right = view.time - i64::from(spec.delay);
    let latest = if view.recorded && spec.delay == 0 {
        let same = events.sums(right.max(from), right + 1, view);
        if same.count > 1 { same } else { events.sums(from, right, view) }
    } else {
        *sums
    };
    if latest.count == 0 { spec.window } else { view.offset(right).saturating_sub(latest.latest) }
}

/// The view of a transaction's own second on a party's events.
pub(super) fn view((time, amount): (i64, u64), recorded: bool, floor: Option<i64>) -> View {
    // Decades of room on either side of what any window reaches.
    let base = (time - (1 << 31)).div_euclid(60) * 60;
    View { time, amount, recorded, base, floor: floor.unwrap_or(i64::MIN) }
}
