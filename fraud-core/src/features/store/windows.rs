//! From the series of a transaction's customer and terminal to its profile.

use super::keys::Entry;
use super::series::Series;
use super::sums::{Sums, Wanted};
use crate::features::KeyKind;
use crate::features::profile::{Profile, ProfilePlan, WindowSpec, WindowStats};

/// From where, and at what moment, the windows look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// Event time of the transaction, in Unix seconds.
    pub time: i64,
    /// What it is about.
    pub amount: u64,
    /// Whether it stands in the series already.
    pub recorded: bool,
    /// Unix second of the series' second 0.
    pub base: i64,
    /// Last Unix second that is not kept any more.
    pub floor: i64,
}

/// A window in the seconds of a series: [from, to).
#[derive(Debug, Clone, Copy)]
struct Range {
    from: u32,
    to: u32,
}

impl View {
    /// A Unix second as a second of the series; what lies outside of those, at their ends.
    pub fn offset(&self, time: i64) -> u32 {
        offset(self.base, time)
    }

    fn range(&self, spec: &WindowSpec) -> Range {
        let right = self.time - i64::from(spec.delay);
        let left = (right - i64::from(spec.window)).max(self.floor);
        Range { from: self.offset(left.saturating_add(1)), to: self.offset(right.saturating_add(1)) }
    }

    /// Fills in the windows of a profile, and whether they are approximate.
    pub(super) fn fill(&self, plan: &ProfilePlan, keys: [Option<&Entry>; 2], out: &mut Profile) {
        let [customer, terminal] = keys;
        out.windows.clear();
        out.approximate = false;
        let specs = plan.windows();
        let mut walk = Walk::default();
        for (index, spec) in specs.iter().enumerate() {
            let entry = match spec.key {
                KeyKind::Customer => customer,
                KeyKind::Terminal => terminal,
            };
            let range = self.range(spec);
            let Some(entry) = entry else {
                out.windows.push(self.stats(spec, &Sums::NONE, 0));
                continue;
            };
            if walk.group != Some((spec.key, spec.delay)) || range.from > walk.from {
                walk = Walk::start(range.to, specs.get(index..).unwrap_or_default());
            }
            walk.extend(&entry.series, range.from);
            let mut stats = self.stats(spec, &walk.sums, self.frauds(spec, entry, range));
            if spec.needs.previous {
                stats.since_previous = self.since_previous(spec, &entry.series, (range, &walk.sums));
            }
            out.approximate |= entry.series.approximate(range.from, range.to);
            out.windows.push(stats);
        }
    }

    fn frauds(&self, spec: &WindowSpec, entry: &Entry, range: Range) -> u64 {
        match &entry.frauds {
            Some(frauds) if spec.needs.frauds => {
                let (from, to) = (entry.series.align(range.from), entry.series.align(range.to));
                if from < to { frauds.count(from, to, self.offset(self.time)) } else { 0 }
            }
            _ => 0,
        }
    }

    /// The statistics that are asked for, the transaction itself among them where the window has no delay.
    pub(crate) fn stats(&self, spec: &WindowSpec, stored: &Sums, frauds: u64) -> WindowStats {
        let needs = spec.needs;
        let mut sums = *stored;
        if spec.delay == 0 && !self.recorded {
            sums.add_one(0, self.amount);
        }
        let some = sums.count > 0;
        let units = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        WindowStats {
            count: sums.count,
            sum: if needs.sum { sums.sum } else { 0 },
            sum_of_squares: if needs.sum_of_squares { sums.squares } else { 0 },
            min: if needs.extremes && some { units(sums.min) } else { 0 },
            max: if needs.extremes && some { units(sums.max) } else { 0 },
            frauds,
            since_previous: if needs.previous { spec.window } else { 0 },
        }
    }

    fn since_previous(&self, spec: &WindowSpec, series: &Series, (range, sums): (Range, &Sums)) -> u32 {
        let latest = if self.recorded && spec.delay == 0 {
            let now = range.to.saturating_sub(1);
            let (mut same, mut before) = (Sums::NONE, Sums::NONE);
            series.add_range(now, range.to, Wanted::default(), &mut same);
            series.add_range(range.from, now, Wanted::default(), &mut before);
            if same.count > 1 { same } else { before }
        } else {
            *sums
        };
        if latest.count == 0 { spec.window } else { range.to.saturating_sub(1).saturating_sub(latest.latest) }
    }
}

/// Windows of one key and delay, shortest first: each adds what it has over the one before.
#[derive(Debug)]
struct Walk {
    group: Option<(KeyKind, u32)>,
    from: u32,
    edge: Option<usize>,
    wanted: Wanted,
    sums: Sums,
}

impl Default for Walk {
    fn default() -> Self {
        Self { group: None, from: 0, edge: None, wanted: Wanted::default(), sums: Sums::NONE }
    }
}

impl Walk {
    /// Starts at the right edge of the first of `specs`.
    fn start(to: u32, specs: &[WindowSpec]) -> Self {
        let group = specs.first().map(|spec| (spec.key, spec.delay));
        let mut wanted = Wanted::default();
        for spec in specs.iter().take_while(|spec| Some((spec.key, spec.delay)) == group) {
            wanted.sum |= spec.needs.sum;
            wanted.squares |= spec.needs.sum_of_squares;
            wanted.extremes |= spec.needs.extremes;
        }
        Self { group, from: to, edge: None, wanted, sums: Sums::NONE }
    }

    fn extend(&mut self, series: &Series, from: u32) {
        if from < self.from {
            series.extend((from, self.from), &mut self.edge, self.wanted, &mut self.sums);
            self.from = from;
        }
    }
}

/// A Unix second, counted from `base`; what lies outside of 32 bits, at their ends.
pub(crate) fn offset(base: i64, time: i64) -> u32 {
    u32::try_from(time.saturating_sub(base).max(0)).unwrap_or(u32::MAX)
}
