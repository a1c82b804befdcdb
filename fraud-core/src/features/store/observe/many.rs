//! Many transactions at once: their waits for memory overlap.

use std::hint::black_box;

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::{
    Call, Ids, Keys, Locked, MemoryStore, Profile, ProfilePlan, Shard, StoreError, Transaction, TransactionKeys,
};

/// Transactions that are looked at ahead: as many as a processor can have loads in flight for.
const BLOCK: usize = 16;

/// All shards, locked.
struct Everything<'a> {
    ids: Vec<MutexGuard<'a, Ids>>,
    customers: Vec<MutexGuard<'a, Keys>>,
    terminals: Vec<MutexGuard<'a, Keys>>,
}

impl Everything<'_> {
    fn locked(&mut self, keys: &TransactionKeys) -> Locked<'_> {
        // Shards are masked by their number.
        let (ids, customers, terminals) = (
            keys.id.shard(self.ids.len()),
            keys.customer.shard(self.customers.len()),
            keys.terminal.shard(self.terminals.len()),
        );
        Locked {
            ids: &mut self.ids[ids],
            customers: &mut self.customers[customers],
            terminals: &mut self.terminals[terminals],
        }
    }

    /// Looks at what the next transactions need, so that their waits for memory overlap: what a step asks for
    /// depends on what it was told before, and it would wait for one after the other.
    fn touch(&mut self, block: &[TransactionKeys]) {
        let mut entries = [None; 2 * BLOCK];
        for (keys, places) in block.iter().zip(entries.chunks_exact_mut(2)) {
            let Locked { ids, customers, terminals } = self.locked(keys);
            black_box(ids.find(keys.id.key, keys.id.hash, 0).is_some());
            places[0] = customers.find(keys.customer.key, keys.customer.hash);
            places[1] = terminals.find(keys.terminal.key, keys.terminal.hash);
        }
        for (keys, places) in block.iter().zip(entries.chunks_exact(2)) {
            let Locked { customers, terminals, .. } = self.locked(keys);
            let customer = places[0].and_then(|number| customers.entry(number));
            let terminal = places[1].and_then(|number| terminals.entry(number));
            black_box([customer, terminal].map(|entry| entry.map_or(0, |entry| entry.series.touch())));
        }
    }
}

impl MemoryStore {
    /// [`MemoryStore::observe`] for each in turn, into the profile at its place, without anybody else's transaction in
    /// between: the whole store is held meanwhile. Quicker where one thread has all the transactions. What the longer
    /// one of `transactions` and `out` has beyond the other is left out.
    pub fn observe_batch(
        &self,
        transactions: &[Transaction],
        plan: &ProfilePlan,
        out: &mut [Profile],
    ) -> Vec<Result<(), StoreError>> {
        let count = transactions.len().min(out.len());
        let (transactions, out) = (&transactions[..count], &mut out[..count]);
        if let Err(error) = self.settings.check_history(plan) {
            return (0..count).map(|_| Err(error.clone().into())).collect();
        }
        let mut results = Vec::with_capacity(count);
        while let Some(next) = transactions.get(results.len()) {
            let core = self.core.read();
            let rest = &transactions[results.len()..];
            let reached = rest.iter().take_while(|transaction| core.reaches(transaction.time)).count();
            if reached == 0 {
                drop(core);
                let place = results.len();
                results.push(self.observe(next, plan, &mut out[place]));
                continue;
            }
            let mut all = self.lock_all();
            for block in rest[..reached].chunks(BLOCK) {
                let keys: SmallVec<[TransactionKeys; BLOCK]> = block.iter().map(|next| self.keys(next)).collect();
                all.touch(&keys);
                for (transaction, keys) in block.iter().zip(keys) {
                    let call = Call { transaction, keys, plan, record: true };
                    let out = &mut out[results.len()];
                    let result = self.step(&core, &call, all.locked(&keys), out);
                    results.push(self.counted(result, true, out));
                }
            }
        }
        results
    }

    /// Looks at what these transactions will need, and changes nothing: with all of them at hand, the waits for memory
    /// overlap, and [`MemoryStore::observe`] of each finds its own in the processor's cache. Worth it for some dozens at a
    /// time: it takes every lock of the store once.
    pub fn look_ahead<'a>(&self, transactions: impl IntoIterator<Item = &'a Transaction>) {
        let mut transactions = transactions.into_iter();
        let mut all = self.lock_all();
        loop {
            let keys: SmallVec<[TransactionKeys; BLOCK]> =
                transactions.by_ref().take(BLOCK).map(|next| self.keys(next)).collect();
            if keys.is_empty() {
                return;
            }
            all.touch(&keys);
        }
    }

    fn lock_all(&self) -> Everything<'_> {
        fn all<T>(shards: &[Shard<T>]) -> Vec<MutexGuard<'_, T>> {
            shards.iter().map(|shard| shard.0.lock()).collect()
        }
        Everything { ids: all(&self.ids), customers: all(&self.customers), terminals: all(&self.terminals) }
    }
}
