//! Labels of one transaction over time.

/// What somebody found out about a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Whether it was fraud.
    pub fraud: bool,
    /// When that became known, in Unix seconds. It counts in profiles at event times from then on; the label
    /// with the greatest such time wins, and at equal times fraud wins.
    pub observed_at: i64,
}

/// What a label did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelOutcome {
    /// It was added to what is known of the transaction.
    Applied,
    /// It says nothing that was not known: the same label, or not fraud where fraud is known of the same time.
    Unchanged,
    /// No transaction of that id is kept.
    UnknownTransaction,
}

/// When a transaction was known to be fraud: from `from` on, until before `until` (`i64::MAX`: to this day).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub from: i64,
    pub until: i64,
}

/// All labels of one transaction, by time, one for each.
pub(crate) type History = Vec<(i64, bool)>;

/// Adds a label; whether that changed anything.
pub(crate) fn add(history: &mut History, label: Label) -> bool {
    match history.binary_search_by_key(&label.observed_at, |(observed_at, _)| *observed_at) {
        Err(at) => {
            history.insert(at, (label.observed_at, label.fraud));
            true
        }
        Ok(at) => match history.get_mut(at) {
            Some((_, fraud)) if label.fraud && !*fraud => {
                *fraud = true;
                true
            }
            _ => false,
        },
    }
}

/// The times at which a history says fraud.
pub(crate) fn intervals(history: &[(i64, bool)]) -> Vec<Interval> {
    let mut found = Vec::new();
    let mut open: Option<i64> = None;
    for (observed_at, fraud) in history {
        match (open, fraud) {
            (None, true) => open = Some(*observed_at),
            (Some(from), false) => {
                found.push(Interval { from, until: *observed_at });
                open = None;
            }
            _ => {}
        }
    }
    found.extend(open.map(|from| Interval { from, until: i64::MAX }));
    found
}

/// The usual history of at most one label, in four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Compact(u32);

impl Compact {
    pub const NONE: Self = Self(0);
    /// The history stands elsewhere.
    pub const ELSEWHERE: Self = Self(1);
    /// Offsets of observation from the event reach half as far, in seconds: 34 years, either way.
    const HALF: i64 = 1 << 30;

    /// A label of an event, unless it lies too far from it.
    pub fn one(event_time: i64, (observed_at, fraud): (i64, bool)) -> Option<Self> {
        let offset = observed_at.checked_sub(event_time)?.checked_add(Self::HALF)?;
        let offset = u32::try_from(offset).ok().filter(|offset| (1..1 << 31).contains(offset))?;
        Some(Self(offset << 1 | u32::from(fraud)))
    }

    /// The label, if this holds one.
    pub fn label(self, event_time: i64) -> Option<(i64, bool)> {
        (self.0 > 1).then(|| (event_time + i64::from(self.0 >> 1) - Self::HALF, self.0 & 1 == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compact_label_gives_back_what_it_took() {
        for event in [0, -62_135_596_800, 253_402_300_799] {
            for offset in [0, 1, -1, 604_800, (1 << 30) - 1, 1 - (1 << 30)] {
                for fraud in [false, true] {
                    let compact = Compact::one(event, (event + offset, fraud)).expect("in reach");
                    assert_eq!(compact.label(event), Some((event + offset, fraud)));
                }
            }
            assert_eq!(Compact::one(event, (event + (1 << 30), true)), None);
            assert_eq!(Compact::one(event, (event - (1 << 30), true)), None);
        }
        assert_eq!(Compact::one(-1, (i64::MAX, true)), None);
        assert_eq!(Compact::NONE.label(0).or(Compact::ELSEWHERE.label(0)), None);
    }

    #[test]
    fn the_greatest_observation_wins_and_fraud_wins_ties() {
        let mut history = History::new();
        assert!(add(&mut history, Label { fraud: true, observed_at: 10 }));
        assert!(!add(&mut history, Label { fraud: false, observed_at: 10 }));
        assert!(add(&mut history, Label { fraud: false, observed_at: 20 }));
        assert!(add(&mut history, Label { fraud: true, observed_at: 15 }));
        assert_eq!(intervals(&history), [Interval { from: 10, until: 20 }]);
        assert!(add(&mut history, Label { fraud: true, observed_at: 20 }));
        assert_eq!(intervals(&history), [Interval { from: 10, until: i64::MAX }]);
        assert!(add(&mut history, Label { fraud: false, observed_at: 12 }));
        assert_eq!(intervals(&history).len(), 2);
    }
}
