//! Reading and recording in one step, and labels.

mod many;

use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use super::frauds::Fraud;
use super::ids::{Event, Ids};
use super::key::Key;
use super::keys::Keys;
use super::labels::{Interval, Label, LabelOutcome, intervals};
use super::series::Limits;
use super::snapshot::Kept;
use super::windows::{View, offset};
use super::{Core, MemoryStore, NEVER, Shard};
use crate::error::StoreError;
use crate::features::profile::{Profile, ProfilePlan};
use crate::transaction::{Id, Transaction};

/// A key with its hash.
#[derive(Debug, Clone, Copy)]
struct Hashed {
    key: Key,
    hash: u64,
}

impl Hashed {
    /// Bits of the hash that tables do not look at first.
    fn shard(self, shards: usize) -> usize {
        (self.hash >> 36) as usize & (shards - 1)
    }
}

/// The keys of a transaction.
#[derive(Debug, Clone, Copy)]
struct TransactionKeys {
    id: Hashed,
    customer: Hashed,
    terminal: Hashed,
}

/// The shards of a transaction, all locked.
struct Locked<'a> {
    ids: &'a mut Ids,
    customers: &'a mut Keys,
    terminals: &'a mut Keys,
}

/// The locks of [`Locked`].
struct Guards<'a> {
    ids: MutexGuard<'a, Ids>,
    customers: MutexGuard<'a, Keys>,
    terminals: MutexGuard<'a, Keys>,
}

impl Guards<'_> {
    fn locked(&mut self) -> Locked<'_> {
        Locked { ids: &mut self.ids, customers: &mut self.customers, terminals: &mut self.terminals }
    }
}

impl Locked<'_> {
    /// What their memory has grown by since the last call; wraps where it shrank.
    fn growth(&mut self) -> u64 {
        let mut growth = 0_u64;
        for (now, counted) in [
            (self.ids.bytes(), &mut self.ids.counted),
            (self.customers.bytes(), &mut self.customers.counted),
            (self.terminals.bytes(), &mut self.terminals.counted),
        ] {
            growth = growth.wrapping_add(now as u64).wrapping_sub(*counted as u64);
            *counted = now;
        }
        growth
    }
}

/// One call: the transaction, the plan, and whether it is recorded.
struct Call<'a> {
    transaction: &'a Transaction,
    keys: TransactionKeys,
    plan: &'a ProfilePlan,
    record: bool,
}

impl MemoryStore {
    /// Fills in the transaction's profile and records it, in one step.
    ///
    /// A transaction that was recorded before changes nothing: it gets the profile given then, or, after
    /// [`StoreSettings::dedupe`](super::StoreSettings::dedupe) or for another plan, one made of what is kept;
    /// [`Profile::duplicate`] says so. One older than the lateness is not recorded; [`Profile::late`] says so.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Full`], or [`StoreError::Feature`] for a plan that looks further
    /// back than the store keeps. Nothing is changed then, and `out` means nothing.
    pub fn observe(&self, tx: &Transaction, plan: &ProfilePlan, out: &mut Profile) -> Result<(), StoreError> {
        self.run(tx, plan, (true, out))
    }

    /// Fills in the profile that [`MemoryStore::observe`] would, and records nothing.
    ///
    /// # Errors
    /// As [`MemoryStore::observe`], but never [`StoreError::Full`].
    pub fn peek(&self, tx: &Transaction, plan: &ProfilePlan, out: &mut Profile) -> Result<(), StoreError> {
        self.run(tx, plan, (false, out))
    }

    fn run(
        &self,
        transaction: &Transaction,
        plan: &ProfilePlan,
        (record, out): (bool, &mut Profile),
    ) -> Result<(), StoreError> {
        self.settings.check_history(plan)?;
        let call = Call { transaction, keys: self.keys(transaction), plan, record };
        let result = {
            let core = self.core.read();
            if core.reaches(transaction.time) || !record {
                self.step(&core, &call, self.lock(&call.keys).locked(), out)
            } else {
                drop(core);
                self.step_beyond(&call, out)
            }
        };
        self.counted(result, record, out)
    }

    /// The result, entered into the counters.
    fn counted(&self, result: Result<(), StoreError>, record: bool, out: &Profile) -> Result<(), StoreError> {
        match result {
            Err(StoreError::Conflict) if record => self.counters.conflicts.fetch_add(1, Ordering::Relaxed),
            Err(StoreError::Full { .. }) => self.counters.refused.fetch_add(1, Ordering::Relaxed),
            Ok(()) if record && out.duplicate => self.counters.duplicates.fetch_add(1, Ordering::Relaxed),
            Ok(()) if record && out.late => self.counters.late.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        result
    }

    fn keys(&self, transaction: &Transaction) -> TransactionKeys {
        TransactionKeys {
            id: self.hashed(&transaction.transaction_id),
            customer: self.hashed(&transaction.customer_id),
            terminal: self.hashed(&transaction.terminal_id),
        }
    }

    fn hashed(&self, id: &Id) -> Hashed {
        let key = self.secret.key(id);
        Hashed { key, hash: self.secret.hash(key) }
    }

    fn lock(&self, keys: &TransactionKeys) -> Guards<'_> {
        Guards {
            ids: pick(&self.ids, keys.id.shard(self.ids.len())),
            customers: pick(&self.customers, keys.customer.shard(self.customers.len())),
            terminals: pick(&self.terminals, keys.terminal.shard(self.terminals.len())),
        }
    }

    /// The transaction's time lies beyond what the shards can hold: gives them a new base first, alone.
    #[cold]
    fn step_beyond(&self, call: &Call, out: &mut Profile) -> Result<(), StoreError> {
        let _no_snapshot = self.snapshots.lock();
        let mut core = self.core.write();
        let time = call.transaction.time;
        if core.base.is_some() && !core.reaches(time) {
            self.rebase(&mut core);
        }
        if core.base.is_some() && !core.reaches(time) {
            // Decades beyond everything kept: a payment with this id can only be another one.
            let locked = self.lock(&call.keys);
            let keep_from = self.keep_from(&core, self.time.load(Ordering::Acquire));
            if locked.ids.find(call.keys.id.key, call.keys.id.hash, keep_from).is_some() {
                return Err(StoreError::Conflict);
            }
            drop(locked);
            if self.empty_bytes() >= self.settings.max_bytes {
                return Err(StoreError::Full { bytes: self.empty_bytes(), limit: self.settings.max_bytes });
            }
            self.clear();
            core.base = None;
        }
        if core.base.is_none() {
            core.base = Some(Core::base_for(time));
        }
        self.step(&core, call, self.lock(&call.keys).locked(), out)
    }

    /// First second of the shards that is kept.
    pub(super) fn keep_from(&self, core: &Core, now: i64) -> u32 {
        offset(core.base.unwrap_or_default(), self.floor(now).saturating_add(1))
    }

    fn step(&self, core: &Core, call: &Call, mut locked: Locked<'_>, out: &mut Profile) -> Result<(), StoreError> {
        let Call { transaction, keys, plan, record } = call;
        // Read with the locks held: whoever moves the time on later clears nothing of these shards before.
        let now = self.time.load(Ordering::Acquire);
        let base = core.base.unwrap_or_default();
        let amount = transaction.amount.units().unsigned_abs();
        let mut view = View { time: transaction.time, amount, recorded: false, base, floor: self.floor(now) };
        let customer = locked.customers.find(keys.customer.key, keys.customer.hash);
        let terminal = locked.terminals.find(keys.terminal.key, keys.terminal.hash);
        out.plan = plan.fingerprint();
        out.late = false;

        let known = locked.ids.find(keys.id.key, keys.id.hash, self.keep_from(core, now));
        if let Some((slot, event)) = known {
            let parts = (
                customer.map(|number| self.over_all(keys.customer.shard(self.customers.len()), number)),
                terminal.map(|number| self.over_all(keys.terminal.shard(self.terminals.len()), number)),
            );
            let same = parts == (Some(event.customer), Some(event.terminal))
                && event.amount() == amount
                && base + i64::from(event.time) == transaction.time;
            if !same {
                return Err(StoreError::Conflict);
            }
            out.duplicate = true;
            let remembered = now - transaction.time <= i64::from(self.settings.dedupe);
            if !(remembered && locked.ids.replies.get(slot, plan, out)) {
                view.recorded = true;
                self.fill(&view, plan, (&locked, customer, terminal), out);
                out.history_complete = self.is_complete(&view, plan, self.earliest.load(Ordering::Acquire));
            }
            return Ok(());
        }

        out.duplicate = false;
        out.late = now != NEVER && transaction.time < now - i64::from(self.settings.lateness);
        let records = *record && !out.late;
        if records && (customer.is_none() || terminal.is_none()) {
            self.check_room(&locked)?;
        }
        self.fill(&view, plan, (&locked, customer, terminal), out);
        let earliest = self.earliest.load(Ordering::Acquire);
        let earliest = if out.late { earliest } else { earliest.min(transaction.time) };
        out.history_complete = self.is_complete(&view, plan, earliest);
        if records {
            self.record(core, call, ((customer, terminal), &mut locked), out);
            self.count_bytes(&mut locked);
        }
        Ok(())
    }

    fn fill(
        &self,
        view: &View,
        plan: &ProfilePlan,
        (locked, customer, terminal): (&Locked, Option<u32>, Option<u32>),
        out: &mut Profile,
    ) {
        let customer = customer.and_then(|number| locked.customers.entry(number));
        let terminal = terminal.and_then(|number| locked.terminals.entry(number));
        view.fill(plan, [customer, terminal], out);
    }

    /// Whether all that the plan looks back on was recorded, had it happened, and is kept.
    fn is_complete(&self, view: &View, plan: &ProfilePlan, earliest: i64) -> bool {
        let begin = earliest.max(view.floor).min(view.time);
        view.time - begin >= i64::from(plan.history())
    }

    fn check_room(&self, locked: &Locked) -> Result<(), StoreError> {
        let (bytes, limit) = (self.bytes.load(Ordering::Relaxed), self.settings.max_bytes);
        let numbers = 1_usize << (32 - self.shard_bits()).min(31);
        let numbered = locked.customers.len().max(locked.terminals.len()) >= numbers - 1;
        if bytes >= limit || numbered { Err(StoreError::Full { bytes, limit }) } else { Ok(()) }
    }

    fn record(
        &self,
        core: &Core,
        call: &Call,
        ((customer, terminal), locked): ((Option<u32>, Option<u32>), &mut Locked),
        profile: &Profile,
    ) {
        let Call { transaction, keys, plan, .. } = call;
        let time = transaction.time;
        // Both move one way only while there is a base, so that looking first is enough; a write that changes nothing
        // would still take the cache line away from all other threads.
        if time < self.earliest.load(Ordering::Acquire) {
            self.earliest.fetch_min(time, Ordering::AcqRel);
        }
        let now = self.time.load(Ordering::Acquire);
        let now = if time > now { self.time.fetch_max(time, Ordering::AcqRel).max(time) } else { now };
        let base = core.base.unwrap_or_default();
        let (second, amount) = (offset(base, time), transaction.amount.units().unsigned_abs());
        let keep_from = self.keep_from(core, now);
        let limits = Limits { max_cells: self.settings.max_cells_per_key, keep_from };

        let customer = customer.unwrap_or_else(|| locked.customers.add(keys.customer.key, &self.secret));
        let terminal = terminal.unwrap_or_else(|| locked.terminals.add(keys.terminal.key, &self.secret));
        locked.customers.record(customer, (second, amount), limits);
        locked.terminals.record(terminal, (second, amount), limits);
        let numbers = (
            self.over_all(keys.customer.shard(self.customers.len()), customer),
            self.over_all(keys.terminal.shard(self.terminals.len()), terminal),
        );
        let slot = locked.ids.add(keys.id.key, Event::new(second, amount, numbers), &self.secret);
        let dedupe = i64::from(self.settings.dedupe);
        if now - time <= dedupe {
            locked.ids.replies.put((slot, second), plan, profile);
        }

        locked.ids.replies.expire(keep_from.max(offset(base, now.saturating_sub(dedupe))));
        locked.ids.sweep(keep_from, &self.secret);
        if !core.frozen {
            locked.customers.sweep(keep_from, &self.secret);
            locked.terminals.sweep(keep_from, &self.secret);
        }
    }

    /// Adds what somebody found out about a transaction. Profiles at event times from
    /// [`Label::observed_at`] on take it into account, of the transaction's customer and of its terminal.
    pub fn label(&self, id: &Id, label: Label) -> LabelOutcome {
        let core = self.core.read();
        let Some(base) = core.base else { return LabelOutcome::UnknownTransaction };
        let Hashed { key, hash } = self.hashed(id);
        let ids = pick(&self.ids, Hashed { key, hash }.shard(self.ids.len()));
        let Some((slot, event)) = ids.find(key, hash, 0).map(|(slot, event)| (slot, *event)) else {
            return LabelOutcome::UnknownTransaction;
        };
        let (customer_shard, customer) = self.in_shard(event.customer);
        let (terminal_shard, terminal) = self.in_shard(event.terminal);
        let (customers, terminals) = (pick(&self.customers, customer_shard), pick(&self.terminals, terminal_shard));
        let mut guards = Guards { ids, customers, terminals };
        let mut locked = guards.locked();
        // Only now: until the locks were held, its customer might have been cleared away.
        if event.time < self.keep_from(&core, self.time.load(Ordering::Acquire)) {
            return LabelOutcome::UnknownTransaction;
        }
        let Some(changed) = locked.ids.label(slot, base + i64::from(event.time), label) else {
            return LabelOutcome::Unchanged;
        };
        let old = spans(base, event.time, &changed.old);
        let new = spans(base, event.time, &changed.new);
        locked.customers.relabel(customer, &old, &new);
        locked.terminals.relabel(terminal, &old, &new);
        self.count_bytes(&mut locked);
        LabelOutcome::Applied
    }

    /// Records a transaction of a snapshot, unless it is too old to be kept.
    pub(super) fn put_back(&self, kept: Kept) -> Result<(), &'static str> {
        let core = self.core.read();
        let now = self.time.load(Ordering::Acquire);
        let (Some(base), true) = (core.base, kept.time > self.floor(now)) else { return Ok(()) };
        let hashed = |key| Hashed { key, hash: self.secret.hash(key) };
        let keys =
            TransactionKeys { id: hashed(kept.id), customer: hashed(kept.customer), terminal: hashed(kept.terminal) };
        let mut guards = self.lock(&keys);
        let mut locked = guards.locked();
        if locked.ids.find(kept.id, keys.id.hash, 0).is_some() {
            return Err("a transaction stands twice");
        }
        let (second, amount) = (offset(base, kept.time), kept.amount.units().unsigned_abs());
        let limits = Limits { max_cells: self.settings.max_cells_per_key, keep_from: self.keep_from(&core, now) };
        let spans = spans(base, second, &intervals(&kept.labels));
        let place = |(shards, shard): (&mut Keys, usize), hashed: Hashed| {
            let found = shards.find(hashed.key, hashed.hash);
            let number = found.unwrap_or_else(|| shards.add(hashed.key, &self.secret));
            shards.record(number, (second, amount), limits);
            shards.relabel(number, &[], &spans);
            self.over_all(shard, number)
        };
        let customer = place((&mut *locked.customers, keys.customer.shard(self.customers.len())), keys.customer);
        let terminal = place((&mut *locked.terminals, keys.terminal.shard(self.terminals.len())), keys.terminal);
        let slot = locked.ids.add(kept.id, Event::new(second, amount, (customer, terminal)), &self.secret);
        if !kept.labels.is_empty() {
            locked.ids.set_history(slot, kept.time, kept.labels);
        }
        let remembered = now - kept.time <= i64::from(self.settings.dedupe);
        if let Some((plan, profile)) = kept.reply.filter(|_| remembered) {
            locked.ids.replies.put_encoded((slot, second), plan, profile);
        }
        self.count_bytes(&mut locked);
        Ok(())
    }

    fn count_bytes(&self, locked: &mut Locked) {
        let growth = locked.growth();
        if growth != 0 {
            self.bytes.fetch_add(growth, Ordering::Relaxed);
        }
    }

    /// Forgets everything but the times.
    fn clear(&self) {
        self.ids.iter().for_each(|Shard(ids)| *ids.lock() = Ids::default());
        self.customers.iter().chain(&self.terminals).for_each(|Shard(keys)| *keys.lock() = Keys::default());
        self.bytes.store(self.empty_bytes(), Ordering::Relaxed);
    }
}

/// Known spans in seconds of the shards; those beyond them can be met by no profile and are left out.
pub(super) fn spans(base: i64, event: u32, intervals: &[Interval]) -> Vec<Fraud> {
    let span = |interval: &Interval| Fraud {
        event,
        from: offset(base, interval.from),
        until: if interval.until == i64::MAX { u32::MAX } else { offset(base, interval.until) },
    };
    intervals.iter().map(span).filter(|fraud| fraud.from < fraud.until).collect()
}

fn pick<T>(shards: &[Shard<T>], index: usize) -> MutexGuard<'_, T> {
    // `index` is masked by the number of shards, which is a power of two.
    shards[index].0.lock()
}
