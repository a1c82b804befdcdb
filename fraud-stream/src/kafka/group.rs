//! Several instances in one consumer group, over a store that they share.
//!
//! Partitions of the input come from the group and go back to it, between two batches and once all that is in flight is
//! committed. Observing a record again gives the answer of the first time (the store knows from which record it has
//! a transaction), so whoever gets a partition reads on from its committed offset and says what the one before would
//! have said.
//!
//! Every instance reads all labels, because it must know them before it scores. The one that has input partition n
//! answers for labels' partitions n, n + partitions, …: it commits how far they were read, and writes their dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fraud_core::service::clock;
use fraud_core::service::metrics::Recorder;

use super::batch::{self, Room, Work};
use super::client::{self, Watching};
use super::crash::CrashPoint;
use super::error::StreamError;
use super::member::{Change, Changes, Leave};
use super::pipe::Pipe;
use super::queues::Queues;
use super::reader::{Merge, Taken};
use super::recover::Recovery;
use super::run::Shared;
use super::session::waiting;
use super::settings::StreamSettings;
use super::shared::Keeper;
use super::sink::{self, Sink};
use super::source::{Positions, Source, Stream, Topics};

use rdkafka::consumer::BaseConsumer;

/// How long the loop sleeps when there is nothing to do but to wait for the group.
const NAP: Duration = Duration::from_millis(20);

/// Runs one session as a member of the group.
///
/// # Errors
/// [`StreamError`]; those that pass are worth another session.
pub(super) fn run(settings: &StreamSettings, shared: &Arc<Shared>) -> Result<(), StreamError> {
    let producer = client::producer(settings)?;
    // What a process of this name left open ends here; nobody else's does.
    sink::take_over(&producer, settings, &|| shared.stopping())?;
    let keeper = Keeper::new(settings)?;
    let asker = client::consumer(settings, None)?;
    let topics = Topics::new(settings);
    let inputs = client::partitions(&asker, &topics.input)?;
    let changes = Arc::new(Changes::default());
    let mut group = Group {
        settings,
        shared,
        topics,
        asker,
        inputs,
        changes: changes.clone(),
        owned: BTreeSet::new(),
        answers_from: BTreeMap::new(),
        keeper,
        recorder: shared.metrics.shared.recorder(),
    };
    let labels = group.labels()?;
    let mut queues = Queues::open(client::consumer(settings, Some(shared.lag.clone()))?, &group.topics, &labels)?;
    let member = client::member(settings, (shared.lag.clone(), changes.clone()))?;
    let _leave = Leave { consumer: member.clone(), changes, topic: group.topics.input.clone() };
    queues.join(member.clone());
    let sink = Sink::new(settings, (producer, member), (shared.crash.clone(), shared.hurry.clone()));
    shared.trouble(false);
    tracing::info!(instance = settings.transactional_id(), "scoring, as a member of the group");
    while !shared.stopping() {
        group.change(&mut queues, &sink)?;
        match group.read(&mut queues, &sink) {
            Ok(true) => {}
            Ok(false) => break,
            Err(StreamError::PartitionsLost) => group.wait_for_change(&queues)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

struct Group<'a> {
    settings: &'a StreamSettings,
    shared: &'a Arc<Shared>,
    topics: Topics,
    asker: Arc<BaseConsumer<Watching>>,
    /// How many partitions the input has.
    inputs: i32,
    changes: Arc<Changes>,
    /// Partitions of the input that are ours.
    owned: BTreeSet<i32>,
    /// The labels' partitions that we answer for, and from which offset on.
    answers_from: BTreeMap<Source, i64>,
    keeper: Keeper,
    recorder: Recorder,
}

impl Group<'_> {
    /// Where labels are read from: far enough back for every label that may still wait for its transaction.
    fn labels(&self) -> Result<Positions, StreamError> {
        let Some(topic) = &self.topics.labels else { return Ok(Positions::new()) };
        let keep = i64::try_from(self.settings.labels.keep_unknown.0.as_millis()).unwrap_or(i64::MAX);
        let now = i64::try_from(clock::unix_millis()).unwrap_or(i64::MAX);
        let mut positions = Positions::new();
        for partition in 0..client::partitions(&self.asker, topic)? {
            let offset = client::offset_at(&self.asker, (topic, partition), now.saturating_sub(keep))?;
            positions.insert(Source { stream: Stream::Labels, partition }, offset);
        }
        let committed = self.committed(&positions.keys().copied().collect::<Vec<_>>())?;
        for (source, offset) in &mut positions {
            *offset = (*offset).min(committed.get(source).copied().unwrap_or(*offset));
        }
        Ok(positions)
    }

    /// The group's offsets, or where `kafka.start` says. Waits for a transaction of the last owner to be decided.
    fn committed(&self, sources: &[Source]) -> Result<Positions, StreamError> {
        let recovery = Recovery { settings: self.settings, shared: self.shared, plan: None, snapshots: None };
        recovery.places(&self.asker, &self.topics, sources)
    }

    /// Makes the changes that the group asks for. Nothing is in flight.
    fn change(&mut self, queues: &mut Queues, sink: &Sink) -> Result<(), StreamError> {
        while let Some(change) = self.changes.next() {
            let of = |partitions: &[i32]| -> Vec<Source> {
                partitions.iter().map(|&partition| Source { stream: Stream::Input, partition }).collect()
            };
            match change {
                Change::Given(partitions) => {
                    tracing::info!(?partitions, "given by the group");
                    if self.owned.is_empty() {
                        sink.commit_as_member();
                    }
                    let positions = self.committed(&of(&partitions))?;
                    queues.add(&positions)?;
                    self.owned.extend(&partitions);
                    self.shared.metrics.assignments.inc();
                    self.shared.lag.committed(&positions);
                    self.answer_for_labels(queues)?;
                }
                Change::Taken(partitions) => {
                    tracing::info!(?partitions, "given back to the group");
                    queues.remove(&of(&partitions))?;
                    self.owned.retain(|partition| !partitions.contains(partition));
                    self.shared.lag.forget(&of(&partitions));
                    let (inputs, owned) = (self.inputs, &self.owned);
                    self.answers_from.retain(|source, _| owned.contains(&(source.partition % inputs)));
                }
            }
            self.changes.made();
        }
        Ok(())
    }

    /// Takes over labels' partitions: what their last owner did not commit has to be answered again.
    fn answer_for_labels(&mut self, queues: &mut Queues) -> Result<(), StreamError> {
        let ours = |source: &Source| {
            source.stream == Stream::Labels
                && self.owned.contains(&(source.partition % self.inputs))
                && !self.answers_from.contains_key(source)
        };
        let fresh: Vec<Source> = queues.positions().keys().filter(|source| ours(source)).copied().collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let committed = self.committed(&fresh)?;
        let behind = queues.positions();
        let back = committed.iter().filter(|(source, offset)| behind.get(source).is_some_and(|at| at > offset));
        queues.go_to(&back.map(|(source, offset)| (*source, *offset)).collect())?;
        self.shared.lag.committed(&committed);
        self.answers_from.extend(committed);
        Ok(())
    }

    /// After the group gave our partitions to others: until it says so in the ordinary way.
    fn wait_for_change(&mut self, queues: &Queues) -> Result<(), StreamError> {
        tracing::warn!("the group took this instance for dead; what was not committed is left to the others");
        while !self.changes.waiting() && !self.shared.stopping() {
            queues.serve()?;
            std::thread::sleep(NAP);
        }
        Ok(())
    }

    /// Reads, scores and commits until the assignment is to change. `false` when the process is to end.
    fn read(&mut self, queues: &mut Queues, sink: &Sink) -> Result<bool, StreamError> {
        let (settings, shared) = (self.settings, self.shared);
        let view: &Queues = queues;
        let (ended, reached, mut unread) = std::thread::scope(|scope| {
            let mut pipe = Pipe::open(scope, sink, (settings, shared));
            let mut merge = Merge::new(view, settings.kafka.partition_wait.0);
            let ended = self.score(&mut pipe, (&mut merge, view));
            (ended, merge.positions(), merge.unread())
        });
        queues.read_up_to(&reached);
        if ended.is_err() {
            // The input is others' now, or the session ends.
            unread.retain(|source, _| source.stream == Stream::Labels);
        }
        queues.go_to(&unread)?;
        ended
    }

    fn score<'q>(
        &mut self,
        pipe: &mut Pipe<'_>,
        (merge, queues): (&mut Merge<'q>, &'q Queues),
    ) -> Result<bool, StreamError> {
        let mut records: Vec<Taken<'q>> = Vec::new();
        let mut room = Room::default();
        while !self.shared.stopping() && !self.changes.waiting() {
            if let Some(figures) = self.keeper.look() {
                *self.shared.figures.lock() = figures;
            }
            pipe.collect(merge, &mut records)?;
            pipe.take_answers()?;
            if records.is_empty() {
                pipe.settle()?;
                if self.settings.test.stop_at_end && !self.owned.is_empty() && merge.at_end()? {
                    tracing::info!("all answered");
                    return Ok(false);
                }
                continue;
            }
            let Some(life) = &self.shared.life else { return Ok(false) };
            let scorer = life.shared().load();
            let mut outputs = pipe.outputs();
            let mut wait = waiting(self.shared, queues);
            let (inputs, owned, from) = (self.inputs, &self.owned, &self.answers_from);
            let answers = |source: Source, offset: i64| match source.stream {
                Stream::Input => owned.contains(&source.partition),
                Stream::Labels => {
                    owned.contains(&(source.partition % inputs)) && from.get(&source).is_some_and(|at| offset >= *at)
                }
            };
            let mut work = Work {
                scorer: &scorer,
                topics: &self.topics,
                recorder: &mut self.recorder,
                metrics: &self.shared.metrics,
                beside: life.beside(),
                fitness: self.shared.fitness.as_deref(),
                wait: &mut wait,
            };
            let begin = Instant::now();
            if !self.keeper.observe((&records, &answers), &mut work, (&mut room, &mut outputs))? {
                return Ok(false);
            }
            work.assess((&records, begin), (&mut room, &mut outputs))?;
            outputs.ends = batch::ends(&records);
            outputs.ends.retain(|source, next| answers(*source, *next - 1));
            self.shared.crash.pass(CrashPoint::AfterObserve);
            pipe.hand_over(outputs, &records)?;
            records.clear();
        }
        pipe.settle()?;
        Ok(true)
    }
}
