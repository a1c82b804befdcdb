//! The stages and what connects them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use fraud_core::features::{MemoryStore, StoreSettings};
use fraud_core::model::LoadOptions;
use fraud_core::store::redis::{BlockingRedisStore, RedisSettings};
use fraud_core::{Model, Policy, Scorer};

use super::batch::{Batch, Reject};
use super::error::ReplayError;
use super::observe::{Observer, Store};
use super::options::{Labels, Options};
use super::output::{Outputs, wants_json};
use super::progress::Progress;
use super::source::Source;
use super::summary::{Summary, Tally};

/// Rows that travel together: their profiles fit the caches, and a channel's cost is nothing beside them.
const BATCH_ROWS: usize = 1_024;

/// Replays a file and writes what is asked for.
///
/// # Errors
/// [`ReplayError`]. The output files are then as they were before, but for the rejected rows where no row
/// was valid.
pub fn run(options: &Options) -> Result<Summary, ReplayError> {
    options.check()?;
    let start = Instant::now();
    let scorer = scorer(options)?;
    let store = store(options, &scorer)?;
    let progress = Progress::new(options.progress);
    let source = Source::open(options, &progress)?;
    let sorting = source.sorting();
    let mut outputs = Outputs::create(options, &scorer)?;
    let mut tally = Tally::new(&scorer);
    let stages = Stages { options, scorer: &scorer, store: &store };
    let outcome = stages.run(source, |batch| {
        tally.add(batch);
        outputs.write(batch)
    });
    progress.finish();
    outcome?;
    if let Some((row, reason)) = tally.nothing_valid() {
        outputs.finish_rejected()?;
        return Err(ReplayError::NothingValid { path: options.input.clone(), rows: tally.rejected(), row, reason });
    }
    outputs.finish()?;
    match (&store, &options.save_state) {
        (Store::Embedded(store), Some(path)) => drop(store.snapshot(path, &[])?),
        (Store::Embedded(_), None) => {}
        (Store::Shared(store), _) => store.filled().map_err(|source| ReplayError::Filled { source })?,
    }
    Ok(tally.finish(options, sorting, start.elapsed()))
}

fn scorer(options: &Options) -> Result<Scorer, ReplayError> {
    let policy = options.policy.as_deref().map_or_else(|| Ok(Policy::default()), Policy::from_path)?;
    let model = match &options.model {
        Some(path) => Model::from_path(path, &LoadOptions::default())?,
        None => Model::embedded()?,
    };
    Ok(Scorer::new(Arc::new(model), &policy)?)
}

/// An empty store that keeps what the features look back to, the saved one, or a shared one.
fn store(options: &Options, scorer: &Scorer) -> Result<Store, ReplayError> {
    let defaults = StoreSettings::default();
    // A replay is worth any memory that the windows need; what does not fit should not be left out.
    let settings =
        StoreSettings { history: defaults.history.max(scorer.features().history()), max_bytes: u64::MAX, ..defaults };
    match (&options.store, &options.load_state) {
        (Some(shared), _) => {
            let shared = RedisSettings { store: settings, ..shared.clone() };
            Ok(Store::Shared(BlockingRedisStore::fill(shared)?))
        }
        (None, Some(path)) => Ok(Store::Embedded(MemoryStore::restore(path, settings)?.0)),
        (None, None) => Ok(Store::Embedded(MemoryStore::new(settings))),
    }
}

struct Stages<'a> {
    options: &'a Options,
    scorer: &'a Scorer,
    store: &'a Store,
}

impl Stages<'_> {
    /// Runs every stage in a thread of its own, the last one in this thread. A stage that fails hangs up; its
    /// neighbours notice and end, and its error is the outcome.
    fn run(
        &self,
        source: Source<'_>,
        mut write: impl FnMut(&Batch) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        let workers = self.options.workers.max(1);
        let pool = 2 * workers + 4;
        let (free, empty) = sync_channel(pool);
        (0..pool).for_each(|_| drop(free.send(Batch::default())));
        let (filled, unobserved) = sync_channel(pool);
        // Batch n goes through worker n modulo their number, so they come out in order without sorting.
        let mut observed = Vec::new();
        let mut assessed = Vec::new();
        thread::scope(|scope| {
            let mut stages = vec![scope.spawn(move || read(source, &empty, &filled))];
            for _ in 0..workers {
                let (to_worker, from_observer) = sync_channel(pool);
                let (to_writer, from_worker) = sync_channel(pool);
                observed.push(to_worker);
                assessed.push(from_worker);
                stages.push(scope.spawn(move || self.assess(&from_observer, &to_writer)));
            }
            stages.push(scope.spawn(move || self.observe(&unobserved, &observed)));
            let written = write_all(&assessed, &free, &mut write);
            drop((assessed, free));
            for stage in stages {
                stage.join().map_err(|_| ReplayError::Internal("a stage panicked".to_owned()))??;
            }
            written
        })
    }

    fn observe(&self, input: &Receiver<Batch>, output: &[SyncSender<Batch>]) -> Result<(), ReplayError> {
        let label_delay = (self.options.labels == Labels::TxFraud).then_some(self.options.label_delay);
        let observer = Observer { store: self.store, plan: self.scorer.profile_plan().clone(), label_delay };
        for (batch, worker) in input.iter().zip((0..output.len()).cycle()) {
            let mut batch = batch;
            observer.observe(&mut batch)?;
            if output[worker].send(batch).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn assess(&self, input: &Receiver<Batch>, output: &SyncSender<Batch>) -> Result<(), ReplayError> {
        let json = wants_json(&self.options.output);
        let mut row = vec![0.0; self.scorer.features().len()];
        for mut batch in input {
            self.scorer.assess_batch(&batch.transactions, &batch.profiles, &mut batch.results);
            drop_failed(&mut batch);
            if json {
                for assessment in batch.results.iter().flatten() {
                    assessment.write_json(&mut batch.json);
                    batch.json.push(b'\n');
                }
            }
            if self.options.features.is_some() {
                let count = batch.len();
                batch.features.resize(count * row.len(), 0.0);
                for (index, (transaction, profile)) in batch.transactions.iter().zip(&batch.profiles).enumerate() {
                    self.scorer.write_features(transaction, profile, &mut row);
                    for (column, value) in row.iter().enumerate() {
                        batch.features[column * count + index] = *value;
                    }
                }
            }
            if output.send(batch).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Rows that the model failed on become rejected rows. Rare enough to be slow.
fn drop_failed(batch: &mut Batch) {
    if batch.results.iter().all(Result::is_ok) {
        return;
    }
    let mut kept = 0;
    for index in 0..batch.len() {
        if let Err(error) = &batch.results[index] {
            batch.rejects.push(Reject::model(batch.numbers[index], error));
            continue;
        }
        batch.swap(kept, index);
        batch.results.swap(kept, index);
        batch.profiles.swap(kept, index);
        kept += 1;
    }
    batch.truncate(kept);
    batch.results.truncate(kept);
}

fn read(mut source: Source<'_>, empty: &Receiver<Batch>, output: &SyncSender<Batch>) -> Result<(), ReplayError> {
    for (index, batch) in empty.iter().enumerate() {
        let mut batch = batch;
        batch.clear();
        batch.index = index as u64;
        if !source.fill(&mut batch, BATCH_ROWS)? || output.send(batch).is_err() {
            break;
        }
    }
    Ok(())
}

fn write_all(
    input: &[Receiver<Batch>],
    free: &SyncSender<Batch>,
    write: &mut impl FnMut(&Batch) -> Result<(), ReplayError>,
) -> Result<(), ReplayError> {
    for worker in (0..input.len()).cycle() {
        let Ok(batch) = input[worker].recv() else { break };
        write(&batch)?;
        // Nobody takes it when the input is at its end.
        let _ = free.send(batch);
    }
    Ok(())
}
