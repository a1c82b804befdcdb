//! One session: take over, rebuild, then read, observe, assess, send, commit.
//!
//! ```text
//! read ─▶ observe, assess ─▶ send, commit
//!      this thread            one more thread, a batch behind (`pipe.rs`)
//! ```
//!
//! Should the process end, the state in memory is worth nothing, and the next one rebuilds it up to what is
//! committed. Snapshots are taken only when everything observed is committed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fraud_core::error::StoreError;
use fraud_core::service::metrics::{ErrorType, Recorder, StoreFigures};

use super::batch::{Room, Work};
use super::client;
use super::crash::CrashPoint;
use super::error::StreamError;
use super::growth::Growth;
use super::journal::Entry;
use super::outputs::Outputs;
use super::pipe::Pipe;
use super::queues::Queues;
use super::reader::{Merge, Taken};
use super::recover::{NOTE, Recovered, Recovery};
use super::remote::Remote;
use super::run::{Shared, Trouble};
use super::settings::StreamSettings;
use super::sink::{self, Sink};
use super::snapshot::{Place, Snapshots};
use super::source::{Positions, Topics};
use super::state::State;

/// How often an idle instance asks whether it still is the one.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often the store's figures are looked at.
const FIGURES: Duration = Duration::from_secs(5);

/// Runs one session.
///
/// # Errors
/// [`StreamError`]; those that pass are worth another session.
pub(super) fn run(settings: &StreamSettings, shared: &Arc<Shared>) -> Result<(), StreamError> {
    let producer = client::producer(settings)?;
    // First of all: from here on nobody else commits, so what is committed stands still.
    sink::take_over(&producer, settings, &|| shared.stopping())?;
    client::look_up_outputs(&*client::consumer(settings, None)?, settings)?;
    let snapshots = Snapshots::open(settings, &shared.crash)?;
    let plan = match &shared.life {
        Some(life) => {
            client::make_journal(settings)?;
            Some(life.shared().load().profile_plan().clone())
        }
        None => None,
    };
    let recovery = Recovery { settings, shared, plan: plan.as_deref(), snapshots: snapshots.as_ref() };
    let Some(recovered) = recovery.run()? else { return Ok(()) };
    let topics = Topics::new(settings);
    let consumer = client::consumer(settings, Some(shared.lag.clone()))?;
    let queues = Queues::open(consumer.clone(), &topics, &recovered.place.positions)?;
    shared.metrics.assignments.inc();
    shared.lag.committed(&recovered.place.positions);
    let sink = Sink::new(settings, (producer, consumer), shared);
    std::thread::scope(|scope| {
        let pipe = Pipe::open(scope, &sink, (settings, shared, &queues));
        let merge = Merge::new(&queues, settings.kafka.partition_wait.0);
        let mut session = Session::new((settings, shared), (&queues, merge, pipe), recovered);
        session.snapshots = snapshots;
        session.run()
        // The pipe goes with the session, before the thread is waited for.
    })
}

struct Session<'q> {
    settings: &'q StreamSettings,
    shared: &'q Arc<Shared>,
    topics: Topics,
    queues: &'q Queues,
    merge: Merge<'q>,
    state: Option<State>,
    snapshots: Option<Snapshots>,
    pipe: Pipe<'q>,
    growth: Growth,
    /// The next journal entry's number.
    sequence: u64,
    set: Positions,
    /// The sequence that the last snapshot holds; none when there is none.
    saved: Option<u64>,
    last_snapshot: Option<Instant>,
    last_sign: Instant,
    last_figures: Option<Instant>,
    recorder: Recorder,
}

impl<'q> Session<'q> {
    fn new(
        (settings, shared): (&'q StreamSettings, &'q Arc<Shared>),
        (queues, merge, pipe): (&'q Queues, Merge<'q>, Pipe<'q>),
        recovered: Recovered,
    ) -> Self {
        Self {
            settings,
            shared,
            topics: Topics::new(settings),
            queues,
            merge,
            state: recovered.state,
            snapshots: None,
            pipe,
            growth: Growth::new(queues.counts()),
            sequence: recovered.place.sequence,
            set: recovered.set,
            saved: recovered.saved,
            last_snapshot: recovered.saved.map(|_| Instant::now()),
            last_sign: Instant::now(),
            last_figures: None,
            recorder: shared.metrics.shared.recorder(),
        }
    }

    /// Until the process is to end. Everything observed is committed then, and in a snapshot.
    fn run(&mut self) -> Result<(), StreamError> {
        self.begin()?;
        let remote = match self.state {
            Some(_) => None,
            None => Some(Remote::new(self.settings)?),
        };
        let mut records: Vec<Taken<'q>> = Vec::new();
        let mut room = Room::default();
        self.shared.trouble(Trouble::Session, false);
        tracing::info!(journal = self.sequence, "scoring");
        while !self.shared.stopping() {
            self.pipe.collect(&mut self.merge, &mut records)?;
            self.pipe.take_answers()?;
            if records.is_empty() {
                if self.idle()? {
                    break;
                }
            } else {
                let mut outputs = self.pipe.outputs();
                let mut entry = Entry { sequence: self.sequence, ..Entry::default() };
                let complete = match (&mut self.state, &remote) {
                    (Some(state), _) => {
                        let Some(life) = &self.shared.life else { break };
                        let scorer = life.shared().load();
                        let mut wait = waiting(self.shared, self.queues);
                        let mut work = Work {
                            scorer: &scorer,
                            topics: &self.topics,
                            recorder: &mut self.recorder,
                            metrics: &self.shared.metrics,
                            beside: life.beside(),
                            fitness: self.shared.fitness.as_deref(),
                            wait: &mut wait,
                        };
                        work.run(&records, (state, &mut room), (&mut entry, &mut outputs))?
                    }
                    (None, Some(remote)) => {
                        remote.run(&records, (self.shared, &self.topics, self.queues), &mut outputs)?
                    }
                    (None, None) => false,
                };
                if !complete {
                    // Given up in the middle: the state has records that are not committed.
                    return Ok(());
                }
                self.shared.trouble(Trouble::Store, false);
                self.shared.crash.pass(CrashPoint::AfterObserve);
                self.hand_over(&entry, outputs, &records)?;
                records.clear();
            }
            self.snapshot_if_due()?;
            if let Some(grown) = self.growth.look(self.queues) {
                self.pipe.settle()?;
                self.snapshot();
                return Err(grown);
            }
        }
        self.pipe.settle()?;
        self.snapshot();
        Ok(())
    }

    /// Writes down where a new stream, or one whose offsets were moved, begins.
    fn begin(&mut self) -> Result<(), StreamError> {
        let set = std::mem::take(&mut self.set);
        if set.is_empty() {
            return Ok(());
        }
        let outputs = Outputs::positions(set.clone(), String::new());
        let entry = Entry { sequence: self.sequence, set, ..Entry::default() };
        self.hand_over(&entry, outputs, &[])?;
        self.pipe.settle()
    }

    /// Gives a batch to the thread that commits.
    fn hand_over(&mut self, entry: &Entry, mut outputs: Outputs, records: &[Taken<'_>]) -> Result<(), StreamError> {
        outputs.note = self.note_of(entry.sequence);
        if self.state.is_some() {
            outputs.journal = entry.encode();
            self.sequence += 1;
        }
        self.last_sign = Instant::now();
        self.pipe.hand_over(outputs, records)
    }

    /// What goes with the offsets of a batch.
    fn note_of(&self, sequence: u64) -> String {
        if self.state.is_some() { format!("{NOTE}{sequence}") } else { String::new() }
    }

    /// What there is to do when nothing comes. Whether to end.
    fn idle(&mut self) -> Result<bool, StreamError> {
        self.pipe.settle()?;
        if self.settings.test.stop_at_end && self.merge.at_end()? {
            tracing::info!("all answered");
            return Ok(true);
        }
        if self.last_sign.elapsed() >= HEARTBEAT {
            // Committing what is committed already tells a process that was taken over that it was.
            let ends = self.merge.positions().into_iter().take(1).collect();
            let note = self.note_of(self.sequence.saturating_sub(1));
            self.last_sign = Instant::now();
            self.pipe.hand_over(Outputs::positions(ends, note), &[])?;
            self.pipe.settle()?;
        }
        Ok(false)
    }

    fn snapshot_if_due(&mut self) -> Result<(), StreamError> {
        let every = self.settings.state.snapshot_every.0;
        // The first at once, so that what the stream began with is never needed again.
        let due = self.last_snapshot.is_none_or(|last| !every.is_zero() && last.elapsed() >= every);
        if self.snapshots.is_some() && due {
            self.pipe.settle()?;
            self.snapshot();
        }
        if self.last_figures.is_none_or(|last| last.elapsed() >= FIGURES)
            && let Some(state) = &self.state
        {
            let stats = state.store.stats();
            let (customers, terminals) = (stats.customers, stats.terminals);
            *self.shared.figures.lock() =
                StoreFigures { customers, terminals, events: stats.events, bytes: stats.bytes };
            self.last_figures = Some(Instant::now());
        }
        Ok(())
    }

    /// Writes a snapshot, unless the last holds everything. Only when nothing is in flight.
    fn snapshot(&mut self) {
        let (Some(snapshots), Some(state)) = (&self.snapshots, &self.state) else { return };
        self.last_snapshot = Some(Instant::now());
        if self.saved == Some(self.sequence) {
            return;
        }
        let begin = Instant::now();
        // Nothing is on its way to the journal, so the next entry comes where it ends now.
        let written = self.queues.end((&self.settings.kafka.journal_topic, 0)).and_then(|journal_offset| {
            let place = Place { sequence: self.sequence, journal_offset, positions: self.merge.positions() };
            snapshots.write(state, &place)
        });
        match written {
            Ok(info) => {
                self.saved = Some(self.sequence);
                self.shared.metrics.snapshots.inc();
                let seconds = begin.elapsed().as_secs_f64();
                self.shared.metrics.snapshot.observe(seconds);
                tracing::info!(bytes = info.bytes, events = info.events, seconds, "snapshot");
            }
            Err(error) => {
                // The one before still holds; the journal reaches further back.
                self.shared.metrics.shared.error(ErrorType::Snapshot);
                tracing::error!(%error, "no snapshot could be written; the stream goes on");
            }
        }
    }
}

/// What a store that takes nothing makes the loop do: stop fetching, try again, longer and longer apart.
pub(super) fn waiting<'a>(shared: &'a Shared, queues: &'a Queues) -> impl FnMut(&StoreError) -> bool + 'a {
    let mut pause = Duration::from_millis(100);
    move |error| {
        tracing::error!(%error, pause = pause.as_secs_f64(), "the store takes nothing; input is paused");
        shared.trouble(Trouble::Store, true);
        if let Err(error) = queues.pause(true) {
            tracing::warn!(%error, "fetching goes on");
        }
        queues.look_at_input(&shared.lag);
        let until = Instant::now() + pause;
        while Instant::now() < until && !shared.stopping() {
            // A member of the group that does not ask is taken for dead.
            if let Err(error) = queues.serve() {
                tracing::warn!(%error, "while the store is waited for");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        pause = (pause * 2).min(Duration::from_secs(5));
        let go_on = !shared.stopping();
        if go_on {
            let _ = queues.pause(false);
        }
        go_on
    }
}
