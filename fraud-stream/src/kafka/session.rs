//! One session: take over, rebuild, then read, observe, assess, send, commit.
//!
//! ```text
//! read ─▶ observe, assess ─▶ send, commit
//!      this thread            one more thread, a batch behind
//! ```
//!
//! A batch is observed while the one before is being committed. Should that one fail, it is sent again as it was:
//! its outputs are kept. Should the process end, the state in memory is worth nothing, and the next one rebuilds
//! it up to what is committed. Snapshots are taken only when everything observed is committed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use fraud_core::error::StoreError;
use fraud_core::service::clock;
use fraud_core::service::metrics::{ErrorType, Recorder, StoreFigures};

use rdkafka::message::Message;

use super::batch::{Room, Work};
use super::client;
use super::crash::CrashPoint;
use super::error::StreamError;
use super::journal::Entry;
use super::outputs::Outputs;
use super::reader::{Merge, Queues, Taken};
use super::recover::{NOTE, Recovered, Recovery};
use super::remote::Remote;
use super::run::Shared;
use super::settings::StreamSettings;
use super::sink::{self, Sink};
use super::snapshot::{Place, Snapshots};
use super::source::{Positions, Topics};
use super::state::State;

/// How long the loop sleeps at most when nothing comes.
const TICK: Duration = Duration::from_millis(100);
/// How long a batch that waits for the one before waits for more records at a time.
const GLANCE: Duration = Duration::from_millis(1);
/// How often an idle instance asks whether it still is the one.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Bytes of a batch at most.
const BATCH_BYTES: usize = 32 << 20;
/// How often the store's figures are looked at.
const FIGURES: Duration = Duration::from_secs(5);

/// A batch that is in.
struct Done {
    outputs: Outputs,
    journal_offset: i64,
    took: Duration,
}

/// To the thread that commits, and back.
type Ways = (SyncSender<Outputs>, Receiver<Result<Done, StreamError>>);

/// Runs one session.
///
/// # Errors
/// [`StreamError`]; those that pass are worth another session.
pub(super) fn run(settings: &StreamSettings, shared: &Arc<Shared>) -> Result<(), StreamError> {
    let producer = client::producer(settings)?;
    // First of all: from here on nobody else commits, so what is committed stands still.
    sink::take_over(&producer, settings, &|| shared.stopping())?;
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
    let sink = Sink::new(settings, (producer, consumer), (shared.crash.clone(), shared.hurry.clone()));
    let (work, to_commit) = sync_channel::<Outputs>(1);
    let (committed, done) = sync_channel::<Result<Done, StreamError>>(4);
    std::thread::scope(|scope| {
        scope.spawn(move || commit_all(&sink, &to_commit, &committed));
        let merge = Merge::new(&queues, settings.kafka.partition_wait.0);
        let mut session = Session::new((settings, shared), (&queues, merge), recovered);
        session.snapshots = snapshots;
        session.ways = Some((work, done));
        let ended = session.run();
        // The sender goes before the thread is waited for.
        drop(session);
        ended
    })
}

fn commit_all(sink: &Sink, work: &Receiver<Outputs>, done: &SyncSender<Result<Done, StreamError>>) {
    while let Ok(outputs) = work.recv() {
        let begin = Instant::now();
        let answer =
            sink.commit(&outputs).map(|journal_offset| Done { outputs, journal_offset, took: begin.elapsed() });
        let over = answer.is_err();
        if done.send(answer).is_err() || over {
            return;
        }
    }
}

struct Session<'q> {
    settings: &'q StreamSettings,
    shared: &'q Arc<Shared>,
    topics: Topics,
    queues: &'q Queues,
    merge: Merge<'q>,
    state: Option<State>,
    snapshots: Option<Snapshots>,
    ways: Option<Ways>,
    in_flight: usize,
    /// The next journal entry's number, and where the journal goes on after the last that is in.
    sequence: u64,
    journal_offset: i64,
    set: Positions,
    /// The sequence that the last snapshot holds; none when there is none.
    saved: Option<u64>,
    last_snapshot: Option<Instant>,
    last_sign: Instant,
    last_figures: Option<Instant>,
    spare: Vec<Outputs>,
    recorder: Recorder,
    names: [Arc<str>; 4],
}

impl<'q> Session<'q> {
    fn new(
        (settings, shared): (&'q StreamSettings, &'q Arc<Shared>),
        (queues, merge): (&'q Queues, Merge<'q>),
        recovered: Recovered,
    ) -> Self {
        let kafka = &settings.kafka;
        let names = [&kafka.input_topic, &settings.labels.topic, &kafka.predictions_topic, &kafka.dead_letter_topic];
        Self {
            settings,
            shared,
            topics: Topics::new(settings),
            queues,
            merge,
            state: recovered.state,
            snapshots: None,
            ways: None,
            in_flight: 0,
            sequence: recovered.place.sequence,
            journal_offset: recovered.place.journal_offset,
            set: recovered.set,
            saved: recovered.saved,
            last_snapshot: recovered.saved.map(|_| Instant::now()),
            last_sign: Instant::now(),
            last_figures: None,
            spare: Vec::new(),
            recorder: shared.metrics.shared.recorder(),
            names: names.map(|name| name.as_str().into()),
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
        self.shared.trouble(false);
        tracing::info!(journal = self.sequence, "scoring");
        while !self.shared.stopping() {
            self.collect(&mut records)?;
            self.take_answers()?;
            if records.is_empty() {
                if self.idle()? {
                    break;
                }
            } else {
                let mut outputs = self.spare.pop().unwrap_or_default();
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
                self.shared.crash.pass(CrashPoint::AfterObserve);
                self.hand_over(&entry, outputs, &records)?;
                records.clear();
            }
            self.snapshot_if_due()?;
        }
        self.settle()?;
        self.snapshot();
        Ok(())
    }

    /// Writes down where a new stream, or one whose offsets were moved, begins.
    fn begin(&mut self) -> Result<(), StreamError> {
        let set = std::mem::take(&mut self.set);
        if set.is_empty() || self.state.is_none() {
            return Ok(());
        }
        let outputs = Outputs::positions(set.clone(), String::new());
        let entry = Entry { sequence: self.sequence, set, ..Entry::default() };
        self.hand_over(&entry, outputs, &[])?;
        self.settle()
    }

    /// Takes records until there are enough, or the first has waited long enough and nothing is being committed: a
    /// batch that could not go yet may as well grow.
    fn collect(&mut self, records: &mut Vec<Taken<'q>>) -> Result<(), StreamError> {
        records.clear();
        self.merge.serve()?;
        let Some(first) = self.merge.next(Instant::now() + TICK)? else { return Ok(()) };
        let deadline = Instant::now() + self.settings.kafka.batch_wait.0;
        let mut late = false;
        let mut bytes = size(&first);
        records.push(first);
        while records.len() < self.settings.kafka.batch_records && bytes < BATCH_BYTES {
            if late {
                self.take_answers()?;
                if self.in_flight == 0 || self.shared.stopping() {
                    break;
                }
            }
            let until = if late { Instant::now() + GLANCE } else { deadline };
            match self.merge.next(until)? {
                Some(taken) => {
                    bytes += size(&taken);
                    records.push(taken);
                    // Looked at now and then: a stream that never pauses must not stretch a batch.
                    late = late || (records.len().is_multiple_of(64) && Instant::now() >= deadline);
                }
                None => late = true,
            }
        }
        Ok(())
    }

    /// Notes what is in by now.
    fn take_answers(&mut self) -> Result<(), StreamError> {
        while let Some(Ok(answer)) = self.ways.as_ref().map(|(_, done)| done.try_recv()) {
            self.note(answer?);
        }
        Ok(())
    }

    /// Gives a batch to the thread that commits.
    fn hand_over(&mut self, entry: &Entry, mut outputs: Outputs, records: &[Taken<'_>]) -> Result<(), StreamError> {
        outputs.note = self.note_of(entry.sequence);
        if self.state.is_some() {
            outputs.journal = entry.encode();
            self.sequence += 1;
        }
        let inputs = records.iter().filter(|taken| taken.source.stream.is_input()).count() as u64;
        self.shared.metrics.shared.consumed(&self.names[0], inputs);
        self.shared.metrics.shared.consumed(&self.names[1], records.len() as u64 - inputs);
        if !records.is_empty() {
            self.shared.metrics.batch.observe(records.len() as f64);
        }
        self.send(outputs)
    }

    /// What goes with the offsets of a batch.
    fn note_of(&self, sequence: u64) -> String {
        if self.state.is_some() { format!("{NOTE}{sequence}") } else { String::new() }
    }

    fn send(&mut self, mut outputs: Outputs) -> Result<(), StreamError> {
        self.last_sign = Instant::now();
        loop {
            let Some((work, done)) = &self.ways else {
                return Err(StreamError::Internal("nobody commits".to_owned()));
            };
            match work.try_send(outputs) {
                Ok(()) => {
                    self.in_flight += 1;
                    return Ok(());
                }
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => outputs = back,
            }
            // Full: a batch must come back before the next can go. Gone: the reason is in the other channel.
            let answer = done.recv().map_err(|_| StreamError::Internal("the committing thread is gone".to_owned()))?;
            self.note(answer?);
        }
    }

    /// Waits until everything handed over is in.
    fn settle(&mut self) -> Result<(), StreamError> {
        while self.in_flight > 0 {
            let Some((_, done)) = &self.ways else { break };
            let answer = done.recv().map_err(|_| StreamError::Internal("the committing thread is gone".to_owned()))?;
            self.note(answer?);
        }
        Ok(())
    }

    /// Notes that a batch is in.
    fn note(&mut self, done: Done) {
        let Done { mut outputs, journal_offset, took } = done;
        self.in_flight -= 1;
        if !outputs.journal.is_empty() {
            self.journal_offset = journal_offset;
        }
        let metrics = &self.shared.metrics;
        let (predictions, dead) = outputs.counts();
        metrics.shared.produced(&self.names[2], predictions);
        metrics.shared.produced(&self.names[3], dead);
        metrics.commit.observe(took.as_secs_f64());
        let now = i64::try_from(clock::unix_millis()).unwrap_or(i64::MAX);
        for time in &outputs.record_times {
            metrics.end_to_end.observe((now - time).max(0) as f64 / 1_000.0);
        }
        self.shared.lag.committed(&outputs.ends);
        outputs.clear();
        if self.spare.len() < 3 {
            self.spare.push(outputs);
        }
    }

    /// What there is to do when nothing comes. Whether to end.
    fn idle(&mut self) -> Result<bool, StreamError> {
        self.settle_if_any()?;
        if self.settings.test.stop_at_end && self.merge.at_end()? {
            tracing::info!("all answered");
            return Ok(true);
        }
        if self.last_sign.elapsed() >= HEARTBEAT && self.in_flight == 0 {
            // Committing what is committed already tells a process that was taken over that it was.
            let ends = self.merge.positions().into_iter().take(1).collect();
            let note = self.note_of(self.sequence.saturating_sub(1));
            self.send(Outputs::positions(ends, note))?;
            self.settle()?;
        }
        Ok(false)
    }

    fn settle_if_any(&mut self) -> Result<(), StreamError> {
        if self.in_flight > 0 { self.settle() } else { Ok(()) }
    }

    fn snapshot_if_due(&mut self) -> Result<(), StreamError> {
        let every = self.settings.state.snapshot_every.0;
        // The first at once, so that what the stream began with is never needed again.
        let due = self.last_snapshot.is_none_or(|last| !every.is_zero() && last.elapsed() >= every);
        if self.snapshots.is_some() && due {
            self.settle()?;
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
        let place =
            Place { sequence: self.sequence, journal_offset: self.journal_offset, positions: self.merge.positions() };
        match snapshots.write(state, &place) {
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

fn size(taken: &Taken<'_>) -> usize {
    taken.message.payload().map_or(0, <[u8]>::len)
}

/// What a store that takes nothing makes the loop do: stop fetching, try again, longer and longer apart.
fn waiting<'a>(shared: &'a Shared, queues: &'a Queues) -> impl FnMut(&StoreError) -> bool + 'a {
    let mut pause = Duration::from_millis(100);
    move |error| {
        tracing::error!(%error, pause = pause.as_secs_f64(), "the store takes nothing; input is paused");
        shared.trouble(true);
        if let Err(error) = queues.pause(true) {
            tracing::warn!(%error, "fetching goes on");
        }
        let until = Instant::now() + pause;
        while Instant::now() < until && !shared.stopping() {
            std::thread::sleep(Duration::from_millis(20));
        }
        pause = (pause * 2).min(Duration::from_secs(5));
        let go_on = !shared.stopping();
        if go_on {
            shared.trouble(false);
            let _ = queues.pause(false);
        }
        go_on
    }
}
