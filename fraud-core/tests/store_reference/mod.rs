//! The definitions, word by word, over a plain list: slow and obvious, with nothing in common with the store.
#![allow(dead_code)] // Each test uses a part of it.

use fraud_core::error::StoreError;
use fraud_core::features::{
    KeyKind, Label, LabelOutcome, Profile, ProfilePlan, StoreSettings, WindowSpec, WindowStats,
};
use fraud_core::transaction::{Amount, Id, Transaction};

/// A recorded transaction.
#[derive(Clone)]
struct Recorded {
    tx: Transaction,
    labels: Vec<Label>,
    given: Profile,
}

/// The store by definition.
#[derive(Clone)]
pub struct Reference {
    settings: StoreSettings,
    recorded: Vec<Recorded>,
    time: Option<i64>,
    /// Where complete history begins.
    earliest: Option<i64>,
}

impl Reference {
    pub fn new(settings: StoreSettings) -> Self {
        Self { settings, recorded: Vec::new(), time: None, earliest: None }
    }

    fn is_kept(&self, time: i64) -> bool {
        let span = i64::from(self.settings.history) + i64::from(self.settings.lateness);
        self.time.is_none_or(|now| time > now - span)
    }

    fn floor(&self) -> Option<i64> {
        Some(self.time? - i64::from(self.settings.history) - i64::from(self.settings.lateness))
    }

    fn find(&self, id: &Id) -> Option<usize> {
        self.recorded.iter().position(|event| event.tx.transaction_id == *id && self.is_kept(event.tx.time))
    }

    pub fn observe(&mut self, tx: &Transaction, plan: &ProfilePlan) -> Result<Profile, StoreError> {
        let profile = self.peek(tx, plan)?;
        if !profile.duplicate && !profile.late {
            self.recorded.push(Recorded { tx: tx.clone(), labels: Vec::new(), given: profile.clone() });
            self.time = self.time.max(Some(tx.time));
            self.earliest = Some(self.earliest.map_or(tx.time, |earliest| earliest.min(tx.time)));
        }
        Ok(profile)
    }

    pub fn peek(&self, tx: &Transaction, plan: &ProfilePlan) -> Result<Profile, StoreError> {
        let known = self.find(&tx.transaction_id);
        if let Some(index) = known {
            let event = &self.recorded[index];
            if event.tx != *tx {
                return Err(StoreError::Conflict);
            }
            let recent = self.time.is_some_and(|now| now - tx.time <= i64::from(self.settings.dedupe));
            // Recorded so late that the profile was outside of the span at once: never kept.
            if recent && event.given.plan == plan.fingerprint() {
                return Ok(Profile { duplicate: true, ..event.given.clone() });
            }
        }
        let late = known.is_none() && self.time.is_some_and(|now| tx.time < now - i64::from(self.settings.lateness));
        let windows = plan.windows().iter().map(|spec| self.window(tx, spec, known)).collect();
        Ok(Profile {
            windows,
            plan: plan.fingerprint(),
            duplicate: known.is_some(),
            late,
            history_complete: self.spans(tx, plan, late),
            approximate: false,
        })
    }

    fn spans(&self, tx: &Transaction, plan: &ProfilePlan, late: bool) -> bool {
        let mut begin = self.earliest.unwrap_or(tx.time);
        if !late {
            begin = begin.min(tx.time);
        }
        if let Some(floor) = self.floor() {
            begin = begin.max(floor);
        }
        (tx.time - begin).max(0) >= i64::from(plan.history())
    }

    fn window(&self, tx: &Transaction, spec: &WindowSpec, known: Option<usize>) -> WindowStats {
        let right = tx.time - i64::from(spec.delay);
        let left = right - i64::from(spec.window);
        let same_key = |other: &Transaction| match spec.key {
            KeyKind::Customer => other.customer_id == tx.customer_id,
            KeyKind::Terminal => other.terminal_id == tx.terminal_id,
        };
        let inside = |time: i64| left < time && time <= right;
        let mut amounts = Vec::new();
        let mut frauds = 0;
        let mut previous: Option<i64> = None;
        for (index, event) in self.recorded.iter().enumerate() {
            if !same_key(&event.tx) || !inside(event.tx.time) || !self.is_kept(event.tx.time) {
                continue;
            }
            amounts.push(i128::from(event.tx.amount.units()));
            if known != Some(index) {
                previous = previous.max(Some(event.tx.time));
            }
            let counting = event.labels.iter().filter(|label| label.observed_at <= tx.time);
            // By time, then false before true: the greatest wins, at equal times fraud.
            if counting.max_by_key(|label| (label.observed_at, label.fraud)).is_some_and(|label| label.fraud) {
                frauds += 1;
            }
        }
        if known.is_none() && inside(tx.time) {
            amounts.push(i128::from(tx.amount.units()));
        }
        let needs = spec.needs;
        let unsigned = |value: i128| u128::try_from(value).expect("amounts are not negative");
        let units = |value: Option<&i128>| value.map_or(0, |value| i64::try_from(*value).expect("an amount"));
        WindowStats {
            count: amounts.len() as u64,
            sum: if needs.sum { unsigned(amounts.iter().sum()) } else { 0 },
            sum_of_squares: if needs.sum_of_squares { unsigned(amounts.iter().map(|a| a * a).sum()) } else { 0 },
            min: if needs.extremes { units(amounts.iter().min()) } else { 0 },
            max: if needs.extremes { units(amounts.iter().max()) } else { 0 },
            frauds: if needs.frauds { frauds } else { 0 },
            since_previous: match (needs.previous, previous) {
                (false, _) => 0,
                (true, None) => spec.window,
                (true, Some(time)) => u32::try_from(right - time).expect("inside the window"),
            },
        }
    }

    pub fn label(&mut self, id: &Id, label: Label) -> LabelOutcome {
        let Some(index) = self.find(id) else { return LabelOutcome::UnknownTransaction };
        let labels = &mut self.recorded[index].labels;
        let same_time = |other: &&Label| other.observed_at == label.observed_at;
        if labels.iter().filter(same_time).any(|other| other.fraud >= label.fraud) {
            return LabelOutcome::Unchanged;
        }
        labels.push(label);
        LabelOutcome::Applied
    }

    /// What a snapshot and a restore under other settings leave.
    pub fn restored(&self, settings: StoreSettings) -> Self {
        let mut restored = self.clone();
        restored.recorded.retain(|event| self.is_kept(event.tx.time));
        let kept = |settings: &StoreSettings| i64::from(settings.history) + i64::from(settings.lateness);
        if kept(&settings) > kept(&self.settings) {
            restored.earliest = self.earliest.max(self.floor());
        }
        restored.settings = settings;
        restored
            .recorded
            .retain(|event| restored.time.is_none_or(|now| event.tx.time > now - kept(&restored.settings)));
        restored
    }

    pub fn kept(&self) -> usize {
        self.recorded.iter().filter(|event| self.is_kept(event.tx.time)).count()
    }

    pub fn time(&self) -> Option<i64> {
        self.time
    }
}

/// A transaction of small numbers.
pub fn transaction(id: i64, (customer, terminal): (i64, i64), (time, units): (i64, i64)) -> Transaction {
    Transaction {
        transaction_id: identifier("tx", id),
        customer_id: identifier("c", customer),
        terminal_id: identifier("t", terminal),
        amount: Amount::from_units(units).expect("in range"),
        time,
    }
}

/// Every third is a text.
pub fn identifier(prefix: &str, number: i64) -> Id {
    if number % 3 == 2 { Id::from_text(&format!("{prefix}-{number}")).expect("valid") } else { Id::from(number) }
}
