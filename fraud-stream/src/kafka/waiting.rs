//! Labels whose transaction has not come yet.

use std::collections::VecDeque;

use fraud_core::features::Label;
use fraud_core::transaction::Id;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::settings::StreamSettings;

/// Keeps labels for a while, by the records' own times, so that it does the same whenever it is done again.
#[derive(Debug)]
pub(super) struct Waiting {
    keep_millis: i64,
    most: usize,
    /// Greatest record time seen, in milliseconds.
    now: i64,
    /// In order of arrival. An entry that was joined leaves its place empty.
    queue: VecDeque<Option<Kept>>,
    /// Number of the first place of the queue.
    first: u64,
    /// Places by id.
    by_id: HashMap<Id, Vec<u64>>,
    count: usize,
}

/// One label that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    id: Id,
    fraud: bool,
    observed_at: i64,
    /// The record's time in milliseconds.
    since: i64,
}

impl Waiting {
    pub(super) fn new(keep_millis: i64, most: usize) -> Self {
        Self { keep_millis, most, now: 0, queue: VecDeque::new(), first: 0, by_id: HashMap::new(), count: 0 }
    }

    /// As the settings say.
    pub(super) fn of(settings: &StreamSettings) -> Self {
        let keep = i64::try_from(settings.labels.keep_unknown.0.as_millis()).unwrap_or(i64::MAX / 2);
        Self::new(keep, settings.labels.max_unknown)
    }

    /// Whether a label waits for a transaction.
    pub(super) fn holds(&self, id: &Id) -> bool {
        self.count > 0 && self.by_id.contains_key(id)
    }

    /// Whether no label waits.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many labels wait.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Notes a record's time and lets go of what waited too long. How many were let go.
    pub(super) fn pass(&mut self, millis: i64) -> usize {
        self.now = self.now.max(millis);
        let before = self.count;
        while let Some(place) = self.queue.front() {
            match place {
                Some(kept) if kept.since >= self.now - self.keep_millis => break,
                _ => self.drop_front(),
            }
        }
        before - self.count
    }

    /// Keeps a label. Whether the oldest had to give way.
    pub(super) fn keep(&mut self, id: Id, label: Label, since: i64) -> bool {
        if self.most == 0 {
            return true;
        }
        let full = self.count >= self.most;
        while self.count >= self.most {
            self.drop_front();
        }
        let place = self.first + self.queue.len() as u64;
        self.by_id.entry(id.clone()).or_default().push(place);
        self.queue.push_back(Some(Kept { id, fraud: label.fraud, observed_at: label.observed_at, since }));
        self.count += 1;
        full
    }

    /// The labels of a transaction, which wait no longer, in order of arrival.
    pub(super) fn join(&mut self, id: &Id) -> Vec<Label> {
        if self.count == 0 {
            return Vec::new();
        }
        let places = self.by_id.remove(id).unwrap_or_default();
        let mut labels = Vec::with_capacity(places.len());
        for place in places {
            let index = usize::try_from(place - self.first).unwrap_or(usize::MAX);
            if let Some(kept) = self.queue.get_mut(index).and_then(Option::take) {
                labels.push(Label { fraud: kept.fraud, observed_at: kept.observed_at });
                self.count -= 1;
            }
        }
        labels
    }

    fn drop_front(&mut self) {
        let Some(place) = self.queue.pop_front() else { return };
        if let Some(kept) = place {
            self.count -= 1;
            if let Some(places) = self.by_id.get_mut(&kept.id) {
                places.retain(|place| *place != self.first);
                if places.is_empty() {
                    self.by_id.remove(&kept.id);
                }
            }
        }
        self.first += 1;
    }

    /// All that waits, and the time, for a snapshot.
    pub(super) fn save(&self) -> (i64, Vec<Kept>) {
        (self.now, self.queue.iter().flatten().cloned().collect())
    }

    /// Takes over what was saved.
    pub(super) fn load(&mut self, (now, kept): (i64, Vec<Kept>)) {
        self.now = now;
        for Kept { id, fraud, observed_at, since } in kept {
            self.keep(id, Label { fraud, observed_at }, since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YES: Label = Label { fraud: true, observed_at: 5 };

    #[test]
    fn labels_wait_join_and_expire() {
        let mut waiting = Waiting::new(1_000, 10);
        waiting.pass(0);
        waiting.keep(Id::from(1), YES, 0);
        waiting.keep(Id::from(2), YES, 500);
        waiting.keep(Id::from(1), Label { fraud: false, observed_at: 9 }, 600);
        assert_eq!(waiting.len(), 3);
        assert_eq!(waiting.join(&Id::from(1)), [YES, Label { fraud: false, observed_at: 9 }]);
        assert_eq!(waiting.join(&Id::from(1)), []);
        assert_eq!(waiting.pass(1_500), 0);
        assert_eq!(waiting.pass(1_501), 1);
        assert!(waiting.is_empty() && waiting.queue.is_empty() && waiting.by_id.is_empty());
    }

    #[test]
    fn the_oldest_gives_way_and_a_copy_does_the_same() {
        let mut waiting = Waiting::new(i64::MAX / 2, 2);
        for id in 0..5 {
            assert_eq!(waiting.keep(Id::from(id), YES, id), id >= 2);
        }
        let mut copy = Waiting::new(i64::MAX / 2, 2);
        copy.load(waiting.save());
        for kept in [&mut waiting, &mut copy] {
            assert_eq!((kept.join(&Id::from(2)).len(), kept.join(&Id::from(3)).len(), kept.len()), (0, 1, 1));
        }
        assert!(Waiting::new(1, 0).keep(Id::from(1), YES, 0));
    }
}
