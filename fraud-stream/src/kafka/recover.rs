//! From a snapshot, the journal and the records to the state that belongs to what is committed.

use std::time::{Duration, Instant};

use fraud_core::features::{MemoryStore, Profile, ProfilePlan};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::{self, ASK, Watching};
use super::error::StreamError;
use super::journal::Entry;
use super::queues::Queues;
use super::reader::Merge;
use super::run::Shared;
use super::settings::{OnLoss, Start, StreamSettings};
use super::snapshot::{self, Place, Snapshots};
use super::source::{Positions, Source, Stream, Topics};
use super::state::{Known, State};

/// Begins the note that goes with every offset this program commits: an offset without it was set by a person.
pub(super) const NOTE: &str = "journal ";
/// How long one question for the group's offsets may take.
const STEP: Duration = Duration::from_secs(1);
/// How often progress is spoken of.
const REPORT: Duration = Duration::from_secs(5);

/// Where a session begins.
pub(super) struct Recovered {
    /// The state; none for a scorer that keeps its own.
    pub state: Option<State>,
    /// Where it belongs.
    pub place: Place,
    /// Positions that the next journal entry has to set: all at the very beginning, later those moved by hand.
    pub set: Positions,
    /// The sequence of the snapshot that it was rebuilt from, if there was one.
    pub saved: Option<u64>,
}

/// What recovery needs.
pub(super) struct Recovery<'a> {
    pub settings: &'a StreamSettings,
    pub shared: &'a Shared,
    pub plan: Option<&'a ProfilePlan>,
    pub snapshots: Option<&'a Snapshots>,
}

impl Recovery<'_> {
    /// Finds out where the stream stands and rebuilds the state; none when the process is to end.
    ///
    /// # Errors
    /// [`StreamError`]; nothing was changed, neither in the topics nor on disk.
    pub(super) fn run(&self) -> Result<Option<Recovered>, StreamError> {
        let topics = Topics::new(self.settings);
        let asker = client::consumer(self.settings, None)?;
        let sources = sources(&asker, &topics)?;
        let committed = self.committed(&asker, &topics, &sources)?;
        if self.plan.is_none() {
            return self.stateless(&asker, &topics, (&sources, &committed)).map(Some);
        }
        let (mut state, mut place, from_snapshot) = self.base()?;
        let mut saved = from_snapshot.then_some(place.sequence);
        let mut lost = None;
        let entries = match self.journal(&asker, &mut place, &committed) {
            Ok(entries) => entries,
            Err(StreamError::StateLost { problem }) if self.settings.state.on_lost_state == OnLoss::Continue => {
                tracing::error!(problem, "the state cannot be rebuilt; going on with what there is");
                lost = Some(problem);
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        if lost.is_some() {
            // The profiles miss what lies between, but nothing is scored twice or not at all.
            saved = None;
            let known = committed.iter().map(|(source, at)| (*source, at.offset));
            place.positions.extend(known);
        }
        let fresh = lost.is_none() && place.sequence == 0 && entries.is_empty();
        let begin = Instant::now();
        let mut done = 0_u64;
        let mut rest = entries.as_slice();
        while let Some(first) = rest.first() {
            place.positions.extend(first.set.iter().map(|(source, offset)| (*source, *offset)));
            let length = rest.iter().skip(1).position(|entry| !entry.set.is_empty()).map_or(rest.len(), |at| at + 1);
            let (segment, after) = rest.split_at(length);
            if !self.replay(&topics, segment, (&mut state, &mut place.positions, &mut done))? {
                return Ok(None);
            }
            rest = after;
        }
        place.sequence += entries.len() as u64;
        if done > 0 || from_snapshot {
            self.shared.metrics.restores.inc();
            let seconds = begin.elapsed().as_secs_f64();
            tracing::info!(records = done, seconds, journal = place.sequence, from_snapshot, "the state is rebuilt");
        }
        let mut set = if fresh {
            Self::begin(&asker, &topics, (&sources, &committed, self.settings.kafka.start))?
        } else {
            Self::moved(&asker, &topics, (&sources, &committed, &place.positions))?
        };
        place.positions.extend(set.iter().map(|(source, offset)| (*source, *offset)));
        if lost.is_some() {
            set.clone_from(&place.positions);
        }
        self.skip_lost(&asker, &topics, (&mut place.positions, &mut set))?;
        Ok(Some(Recovered { state: Some(state), place, set, saved }))
    }

    /// A scorer elsewhere keeps the state: only positions count.
    fn stateless(
        &self,
        asker: &BaseConsumer<Watching>,
        topics: &Topics,
        (sources, committed): (&[Source], &Committed),
    ) -> Result<Recovered, StreamError> {
        // In a stream with a history, a partition without is a new one.
        let start = if committed.is_empty() { self.settings.kafka.start } else { Start::Earliest };
        let (positions, set) = self.places_of(asker, topics, (sources, committed, start))?;
        let place = Place { sequence: 0, journal_offset: 0, positions };
        Ok(Recovered { state: None, place, set, saved: None })
    }

    /// Where sources are read on whose state is kept elsewhere: the group's offsets, or where `kafka.start` says; and those
    /// of them that the group has no offset of, to be committed before they are read.
    ///
    /// # Errors
    /// [`StreamError`]; among others while the broker does not know yet whether an offset will be committed.
    pub(super) fn places(
        &self,
        asker: &BaseConsumer<Watching>,
        topics: &Topics,
        sources: &[Source],
    ) -> Result<(Positions, Positions), StreamError> {
        let committed = self.committed(asker, topics, sources)?;
        self.places_of(asker, topics, (sources, &committed, self.settings.kafka.start))
    }

    /// What the group committed. While a transaction that may move it is open the broker does not say, so it is asked in
    /// small steps: the process may be to end meanwhile.
    fn committed(
        &self,
        asker: &BaseConsumer<Watching>,
        topics: &Topics,
        sources: &[Source],
    ) -> Result<Committed, StreamError> {
        let mut list = TopicPartitionList::with_capacity(sources.len());
        for source in sources {
            list.add_partition(topics.name(source.stream), source.partition);
        }
        let deadline = Instant::now() + 3 * ASK;
        let answer = loop {
            let error = match asker.committed_offsets(list.clone(), STEP) {
                Ok(answer) => break answer,
                Err(error) => error,
            };
            if self.shared.stopping() {
                return Err(StreamError::SessionOver { problem: error.to_string() });
            }
            let undecided = matches!(
                error.rdkafka_error_code(),
                Some(Code::OperationTimedOut | Code::RequestTimedOut | Code::UnstableOffsetCommit)
            );
            if !undecided || Instant::now() >= deadline {
                return Err(StreamError::from_kafka("read the group's offsets", &error));
            }
        };
        let mut found = Committed::new();
        for element in answer.elements() {
            element.error().map_err(StreamError::kafka("read the group's offsets"))?;
            if let Offset::Offset(offset) = element.offset() {
                let source = topics.source(element.topic(), element.partition());
                let entry = element.metadata().strip_prefix(NOTE).and_then(|number| number.parse().ok());
                found.insert(source, At { offset, entry });
            }
        }
        Ok(found)
    }

    fn places_of(
        &self,
        asker: &BaseConsumer<Watching>,
        topics: &Topics,
        (sources, committed, start): (&[Source], &Committed, Start),
    ) -> Result<(Positions, Positions), StreamError> {
        let mut positions = Self::begin(asker, topics, (sources, committed, start))?;
        self.skip_lost(asker, topics, (&mut positions, &mut Positions::new()))?;
        let unwritten = positions.iter().filter(|(source, _)| !committed.contains_key(source));
        let unwritten = unwritten.map(|(source, offset)| (*source, *offset)).collect();
        Ok((positions, unwritten))
    }

    /// The snapshot's state, or what a stream begins with.
    fn base(&self) -> Result<(State, Place, bool), StreamError> {
        let found = match self.snapshots.map(|snapshots| snapshots.read(self.settings)) {
            None => None,
            Some(Ok(found)) => found,
            Some(Err(error)) if self.settings.state.on_lost_state == OnLoss::Continue => {
                tracing::error!(%error, "the snapshot cannot be used; trying without it");
                None
            }
            Some(Err(error)) => return Err(error),
        };
        if let Some((state, place)) = found {
            return Ok((state, place, true));
        }
        let store = match &self.settings.store.load_state {
            Some(path) => snapshot::saved_state(path, self.settings.store_settings())?,
            None => MemoryStore::new(self.settings.store_settings()),
        };
        let place = Place { sequence: 0, journal_offset: 0, positions: Positions::new() };
        Ok((State::new(store, self.settings), place, false))
    }

    /// The committed entries from a place on; the place's journal offset moves behind them.
    ///
    /// When they do not connect, the place moves behind everything that is known, for who goes on nevertheless.
    fn journal(
        &self,
        asker: &BaseConsumer<Watching>,
        place: &mut Place,
        committed: &Committed,
    ) -> Result<Vec<Entry>, StreamError> {
        let topic = self.settings.kafka.journal_topic.as_str();
        let (low, high) = client::watermarks(asker, (topic, 0))?;
        let (wanted, from) = (place.sequence, place.journal_offset.max(low));
        let mut entries = if from < high { self.read_journal((topic, from))? } else { Vec::new() };
        entries.retain(|entry| entry.sequence >= wanted);
        // At least once, a message whose acknowledgement was lost is sent again.
        entries.dedup();
        let next = entries.last().map_or(wanted, |entry| entry.sequence + 1);
        // Offsets and journal are committed together, so a note that is ahead tells of entries that are gone.
        let noted = committed.values().filter_map(|at| at.entry).max().map_or(0, |entry| entry + 1);
        let gap = entries.iter().zip(wanted..).find(|(entry, wanted)| entry.sequence != *wanted);
        let problem = if place.journal_offset > high {
            let end = place.journal_offset;
            Some(format!("journal `{topic}` ends at {high}, the snapshot says {end}: was it made anew?"))
        } else if let Some((entry, wanted)) = gap {
            let found = entry.sequence;
            Some(format!("journal `{topic}` has entry {found}, but {wanted} is next: what is between is deleted"))
        } else if noted > next {
            Some(format!("journal `{topic}` ends with entry {next}, but {noted} were committed: some are deleted"))
        } else {
            None
        };
        place.journal_offset = high.max(0);
        match problem {
            None => Ok(entries),
            Some(problem) => {
                place.sequence = next.max(noted);
                Err(StreamError::StateLost { problem })
            }
        }
    }

    fn read_journal(&self, (topic, from): (&str, i64)) -> Result<Vec<Entry>, StreamError> {
        let consumer = client::consumer(self.settings, None)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(from)).map_err(StreamError::kafka("read the journal"))?;
        consumer.assign(&list).map_err(StreamError::kafka("read the journal"))?;
        let mut entries = Vec::new();
        let ours = self.settings.kafka.transactional_id.as_bytes();
        let mut patience = Instant::now() + 6 * ASK;
        loop {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    patience = Instant::now() + 6 * ASK;
                    if message.key() != Some(ours) {
                        continue;
                    }
                    let entry = message.payload().and_then(Entry::decode).ok_or_else(|| StreamError::StateLost {
                        problem: format!("journal `{topic}` offset {} is no journal entry", message.offset()),
                    })?;
                    entries.push(entry);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(entries),
                Some(Err(error)) => tracing::warn!(%error, "reading the journal"),
                None => {}
            }
            if self.shared.stopping() || Instant::now() > patience {
                let problem = "the journal was not read to its end".to_owned();
                return Err(StreamError::SessionOver { problem });
            }
        }
    }

    /// Observes again what entries say, without sending anything. `false` when the process is to end.
    fn replay(
        &self,
        topics: &Topics,
        entries: &[Entry],
        (state, positions, done): (&mut State, &mut Positions, &mut u64),
    ) -> Result<bool, StreamError> {
        let Some(plan) = self.plan else { return Ok(true) };
        let used: Positions = entries
            .iter()
            .flat_map(|entry| &entry.runs)
            .map(|run| (run.source, positions.get(&run.source).copied().unwrap_or(0)))
            .collect();
        if used.is_empty() {
            return Ok(true);
        }
        let queues = Queues::open(client::consumer(self.settings, None)?, topics, &used)?;
        let mut merge = Merge::new(&queues, self.settings.kafka.partition_wait.0);
        let (mut profile, mut known) = (Profile::default(), Known::new());
        let mut report = Instant::now() + REPORT;
        let stop = || self.shared.stopping();
        for entry in entries {
            for run in &entry.runs {
                for _ in 0..run.count {
                    let Some(taken) = merge.next_of(run.source, &stop)? else { return Ok(false) };
                    let record = (taken.message.payload(), taken.timestamp);
                    match run.source.stream {
                        // What was refused then is refused now, and is a dead letter already.
                        Stream::Input => {
                            if let Ok(parsed) = state.reading.read(record.0, record.1) {
                                drop(state.transaction(&parsed.transaction, plan, (&mut profile, &mut known))?);
                            }
                        }
                        Stream::Labels => drop(state.labels(record, &mut known)),
                    }
                    // Whoever compares models begins with what is scored now.
                    known.clear();
                }
                *done += run.count;
                self.shared.metrics.replayed.inc_by(run.count);
            }
            let reached = merge.positions();
            if let Some((source, offset)) =
                entry.ends.iter().find(|(source, offset)| reached.get(source) != Some(offset))
            {
                let topic = topics.name(source.stream);
                let problem = format!(
                    "after journal entry {} topic `{topic}` partition {} stands at {:?} instead of {offset}: \
                     records are missing (retention or compaction?)",
                    entry.sequence,
                    source.partition,
                    reached.get(source)
                );
                return Err(StreamError::StateLost { problem });
            }
            if Instant::now() >= report {
                report = Instant::now() + REPORT;
                tracing::info!(records = *done, entry = entry.sequence, "rebuilding the state");
            }
        }
        positions.extend(merge.positions());
        Ok(true)
    }

    /// Where a stream without a journal begins: with the group's offsets, or where `start` says.
    fn begin(
        asker: &BaseConsumer<Watching>,
        topics: &Topics,
        (sources, committed, start): (&[Source], &Committed, Start),
    ) -> Result<Positions, StreamError> {
        let mut positions = Positions::new();
        for source in sources {
            let offset = if let Some(at) = committed.get(source) {
                at.offset
            } else {
                let (low, high) = client::watermarks(asker, (topics.name(source.stream), source.partition))?;
                if start == Start::Earliest { low } else { high }
            };
            positions.insert(*source, offset);
        }
        Ok(positions)
    }

    /// What differs from the journal: offsets that somebody set by hand, and partitions that are new.
    fn moved(
        asker: &BaseConsumer<Watching>,
        topics: &Topics,
        (sources, committed, positions): (&[Source], &Committed, &Positions),
    ) -> Result<Positions, StreamError> {
        let mut moved = Positions::new();
        for source in sources {
            let Some(position) = positions.get(source) else {
                let low = client::watermarks(asker, (topics.name(source.stream), source.partition))?.0;
                tracing::info!(partition = source.partition, "a new partition is read from its beginning");
                moved.insert(*source, low);
                continue;
            };
            if let Some(at) = committed.get(source)
                && at.entry.is_none()
                && at.offset != *position
            {
                let (partition, to) = (source.partition, at.offset);
                tracing::warn!(partition, from = position, to, "the group's offset was set by hand");
                moved.insert(*source, to);
            }
        }
        Ok(moved)
    }

    /// Looks whether the next records are still there.
    fn skip_lost(
        &self,
        asker: &BaseConsumer<Watching>,
        topics: &Topics,
        (positions, set): (&mut Positions, &mut Positions),
    ) -> Result<(), StreamError> {
        for (source, wanted) in positions.iter_mut() {
            let topic = topics.name(source.stream);
            let (low, high) = client::watermarks(asker, (topic, source.partition))?;
            if (low..=high).contains(wanted) {
                continue;
            }
            let (partition, count) = (source.partition, low - *wanted);
            if self.settings.kafka.on_lost_input == OnLoss::Refuse {
                if *wanted > high {
                    let problem = format!(
                        "topic `{topic}` partition {partition} ends at {high}, but {wanted} records were read: \
                         was the topic made anew?"
                    );
                    return Err(StreamError::StateLost { problem });
                }
                let (topic, wanted) = (topic.to_owned(), *wanted);
                return Err(StreamError::InputLost { topic, partition, low, wanted, count });
            }
            tracing::error!(topic, partition, from = *wanted, to = low, "records were deleted unread");
            *wanted = low;
            set.insert(*source, low);
        }
        Ok(())
    }
}

/// An offset of the group.
struct At {
    offset: i64,
    /// The journal entry that it was committed with; none where a person set it.
    entry: Option<u64>,
}

/// The offsets of the group.
type Committed = std::collections::BTreeMap<Source, At>;

/// Every partition of the topics.
fn sources(asker: &BaseConsumer<Watching>, topics: &Topics) -> Result<Vec<Source>, StreamError> {
    let mut sources = Vec::new();
    for (stream, topic) in [(Stream::Input, Some(&topics.input)), (Stream::Labels, topics.labels.as_ref())] {
        let Some(topic) = topic else { continue };
        sources.extend((0..client::partitions(asker, topic)?).map(|partition| Source { stream, partition }));
    }
    Ok(sources)
}
