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
use super::growth::Growth;
use super::member::{Change, Changes, Leave};
use super::outputs::Outputs;
use super::pipe::Pipe;
use super::queues::Queues;
use super::reader::{Merge, Taken};
use super::recover::Recovery;
use super::run::{Shared, Trouble};
use super::session::waiting;
use super::settings::StreamSettings;
use super::shared::Keeper;
use super::sink::{self, Sink};
use super::source::{Positions, Source, Stream, Topics};

use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message;

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
    client::look_up_outputs(&asker, settings)?;
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
        growth: Growth::new(Vec::new()),
    };
    let labels = group.labels()?;
    let mut queues = Queues::open(client::consumer(settings, Some(shared.lag.clone()))?, &group.topics, &labels)?;
    group.growth = Growth::new([queues.counts(), vec![(Stream::Input, inputs)]].concat());
    let member = client::member(settings, (shared.lag.clone(), changes.clone()))?;
    let _leave = Leave { consumer: member.clone(), changes, topic: group.topics.input.clone() };
    queues.join(member.clone());
    let sink = Sink::new(settings, (producer, member), shared);
    shared.trouble(Trouble::Session, false);
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
    growth: Growth,
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
        let (committed, _) = self.committed(&positions.keys().copied().collect::<Vec<_>>())?;
        for (source, offset) in &mut positions {
            *offset = (*offset).min(committed.get(source).copied().unwrap_or(*offset));
        }
        Ok(positions)
    }

    /// The group's offsets, or where `kafka.start` says, and those of them that are not committed yet. Waits for a
    /// transaction of the last owner to be decided.
    fn committed(&self, sources: &[Source]) -> Result<(Positions, Positions), StreamError> {
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
                    let (positions, mut begins) = self.committed(&of(&partitions))?;
                    queues.add(&positions)?;
                    self.owned.extend(&partitions);
                    self.shared.metrics.assignments.inc();
                    self.shared.lag.committed(&positions);
                    begins.extend(self.answer_for_labels(queues)?);
                    if !begins.is_empty() {
                        // Whoever comes after a crash must not look for the beginning again: it may have moved.
                        match sink.commit(&Outputs::positions(begins, String::new())) {
                            Ok(()) => self.shared.trouble(Trouble::Commit, false),
                            // It will be told so, as any other change.
                            Err(StreamError::PartitionsLost) => {}
                            Err(error) => return Err(error),
                        }
                    }
                }
                Change::Taken(partitions) => {
                    tracing::info!(?partitions, "given back to the group");
                    queues.remove(&of(&partitions))?;
                    self.owned.retain(|partition| !partitions.contains(partition));
                    let labels = leaving(&mut self.answers_from, (&self.owned, self.inputs));
                    self.shared.lag.forget(&[of(&partitions), labels].concat());
                }
            }
            self.changes.made();
        }
        Ok(())
    }

    /// Takes over labels' partitions: what their last owner did not commit has to be answered again. Where those begin that
    /// nothing is committed of.
    fn answer_for_labels(&mut self, queues: &mut Queues) -> Result<Positions, StreamError> {
        let ours = |source: &Source| {
            source.stream == Stream::Labels
                && self.owned.contains(&(source.partition % self.inputs))
                && !self.answers_from.contains_key(source)
        };
        let fresh: Vec<Source> = queues.positions().keys().filter(|source| ours(source)).copied().collect();
        if fresh.is_empty() {
            return Ok(Positions::new());
        }
        let (committed, begins) = self.committed(&fresh)?;
        let behind = queues.positions();
        let back = committed.iter().filter(|(source, offset)| behind.get(source).is_some_and(|at| at > offset));
        queues.go_to(&back.map(|(source, offset)| (*source, *offset)).collect())?;
        self.shared.lag.committed(&committed);
        self.answers_from.extend(committed);
        Ok(begins)
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
            let mut pipe = Pipe::open(scope, sink, (settings, shared, view));
            let mut merge = Merge::new(view, settings.kafka.partition_wait.0);
            let mut in_hand = Vec::new();
            let ended = self.score(&mut pipe, (&mut merge, view), &mut in_hand);
            let in_hand = in_hand.iter().map(|taken| (taken.source, taken.message.offset()));
            let unread = back_to(in_hand, merge.unread());
            (ended, merge.positions(), unread)
        });
        queues.read_up_to(&reached);
        if ended.is_err() {
            // The input is others' now, or the session ends.
            unread.retain(|source, _| source.stream == Stream::Labels);
        }
        queues.go_to(&unread)?;
        ended
    }

    /// The records that were taken and not observed when it ends are left in `records`.
    fn score<'q>(
        &mut self,
        pipe: &mut Pipe<'_>,
        (merge, queues): (&mut Merge<'q>, &'q Queues),
        records: &mut Vec<Taken<'q>>,
    ) -> Result<bool, StreamError> {
        let mut observed = Vec::new();
        let mut room = Room::default();
        while !self.shared.stopping() && !self.changes.waiting() {
            if let Some(figures) = self.keeper.look() {
                *self.shared.figures.lock() = figures;
            }
            // Who answers for which labels depends on how many partitions the input has.
            if let Some(grown) = self.growth.look(queues) {
                pipe.settle()?;
                return Err(grown);
            }
            pipe.collect(merge, records)?;
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
            if !self.keeper.observe((records, &answers), &mut work, (&mut room, &mut outputs))? {
                return Ok(false);
            }
            self.shared.trouble(Trouble::Store, false);
            std::mem::swap(records, &mut observed);
            work.assess((&observed, begin), (&mut room, &mut outputs))?;
            outputs.ends = batch::ends(&observed);
            outputs.ends.retain(|source, next| answers(*source, *next - 1));
            self.shared.crash.pass(CrashPoint::AfterObserve);
            pipe.hand_over(outputs, &observed)?;
            observed.clear();
        }
        pipe.settle()?;
        Ok(true)
    }
}

/// Lets go of the labels' partitions that are answered for together with a partition of the input that is not ours any
/// more.
fn leaving(answers_from: &mut BTreeMap<Source, i64>, (owned, inputs): (&BTreeSet<i32>, i32)) -> Vec<Source> {
    let stays = |source: &Source| owned.contains(&(source.partition % inputs));
    let gone = answers_from.keys().filter(|source| !stays(source)).copied().collect();
    answers_from.retain(|source, _| stays(source));
    gone
}

/// Where to read on: at what was fetched and not taken, and at the first of the labels that were taken and not observed,
/// which nobody else enters for us.
fn back_to(in_hand: impl Iterator<Item = (Source, i64)>, mut unread: Positions) -> Positions {
    for (source, offset) in in_hand.filter(|(source, _)| source.stream == Stream::Labels) {
        let first = unread.entry(source).or_insert(offset);
        *first = (*first).min(offset);
    }
    unread
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(partition: i32) -> Source {
        Source { stream: Stream::Labels, partition }
    }

    #[test]
    fn labels_leave_with_the_partition_of_the_input_that_they_belong_to() {
        let mut answers_from: BTreeMap<Source, i64> = (0..5).map(|partition| (labels(partition), 7)).collect();
        let gone = leaving(&mut answers_from, (&BTreeSet::from([1]), 2));
        assert_eq!(gone, [labels(0), labels(2), labels(4)]);
        assert_eq!(answers_from.into_keys().collect::<Vec<_>>(), [labels(1), labels(3)]);
    }

    #[test]
    fn labels_in_hand_are_read_again() {
        let input = Source { stream: Stream::Input, partition: 0 };
        let unread = Positions::from([(labels(0), 9), (labels(2), 4), (input, 3)]);
        let in_hand = [(labels(0), 7), (input, 1), (labels(1), 5), (labels(0), 8), (labels(1), 6)];
        let expected = Positions::from([(labels(0), 7), (labels(1), 5), (labels(2), 4), (input, 3)]);
        assert_eq!(back_to(in_hand.into_iter(), unread), expected);
    }
}
