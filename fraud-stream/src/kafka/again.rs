//! `fraud-stream replay --from-topic`: scores a range of a topic again, with another model or policy, and says how
//! the answers differ from those given then.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use fraud_core::Decision;
use fraud_core::features::MemoryStore;
use fraud_core::service::life::ModelLife;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{Headers, Message};

use super::batch::{Room, Work};
use super::client::{self, Watching};
use super::command::SettingsArgs;
use super::error::StreamError;
use super::journal::Entry;
use super::metrics::StreamMetrics;
use super::outputs::Outputs;
use super::queues::Queues;
use super::reader::{Merge, Taken};
use super::settings::StreamSettings;
use super::snapshot;
use super::source::{Positions, Source, Stream, Topics};
use super::state::State;

/// Records scored together.
const BATCH: usize = 4_096;

/// Arguments of `fraud-stream replay --from-topic`.
#[derive(Debug, Clone, Parser)]
#[command(name = "fraud-stream replay")]
pub struct AgainArgs {
    /// The topic whose records are scored again
    #[arg(long, value_name = "TOPIC")]
    from_topic: String,
    /// Where the assessments go, one JSON object a line, in the order of scoring
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// From this record time on, RFC 3339; without it from the oldest record
    #[arg(long, value_name = "TIME", value_parser = millis)]
    from_time: Option<i64>,
    /// Up to, not including, this record time; without it to the present end
    #[arg(long, value_name = "TIME", value_parser = millis)]
    to_time: Option<i64>,
    /// One partition's offsets, such as 0:1000..2000; may be given several times, over --from-time
    #[arg(long, value_name = "PARTITION:FROM..TO", value_parser = offsets)]
    offsets: Vec<(i32, i64, i64)>,
    /// The state to start from, made by `replay --save-state`; without it from empty windows
    #[arg(long, value_name = "FILE")]
    load_state: Option<PathBuf>,
    /// Without labels
    #[arg(long)]
    no_labels: bool,
    /// Compares with the predictions topic
    #[arg(long)]
    compare: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

fn millis(text: &str) -> Result<i64, String> {
    let time = text.parse::<jiff::Timestamp>();
    time.map(jiff::Timestamp::as_millisecond).map_err(|_| "write it like 2026-01-31T12:00:00Z".to_owned())
}

fn offsets(text: &str) -> Result<(i32, i64, i64), String> {
    let wrong = || "write it like 0:1000..2000".to_owned();
    let (partition, range) = text.split_once(':').ok_or_else(wrong)?;
    let (from, to) = range.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<i64>().map_err(|_| wrong());
    Ok((partition.parse().map_err(|_| wrong())?, number(from)?, number(to)?))
}

/// What was predicted then.
struct Then {
    probability: Option<f64>,
    decision: Decision,
}

/// How now differs from then.
#[derive(Debug, Default)]
struct Difference {
    compared: u64,
    not_found: u64,
    same: u64,
    changed: HashMap<(Decision, Decision), u64>,
    sum: f64,
    most: f64,
}

/// Runs the command.
///
/// # Errors
/// [`StreamError`].
pub fn replay_topic(arguments: &AgainArgs) -> Result<(), StreamError> {
    let mut settings = arguments.settings.load()?;
    settings.kafka.input_topic.clone_from(&arguments.from_topic);
    settings.labels.enabled &= !arguments.no_labels;
    let topics = Topics::new(&settings);
    let metrics = StreamMetrics::new()?;
    let policy = (settings.model.clone(), settings.policy.clone());
    let life = ModelLife::start(policy, settings.store_settings().history, metrics.shared.clone())?;
    let scorer = life.shared().load();
    let asker = client::consumer(&settings, None)?;
    let (begin, ends) = range(&asker, &topics, arguments)?;
    let then = if arguments.compare { Some(predictions(&settings)?) } else { None };
    let store = match &arguments.load_state {
        Some(path) => snapshot::saved_state(path, settings.store_settings())?,
        None => MemoryStore::new(settings.store_settings()),
    };
    let mut state = State::new(store, &settings);
    let queues = Queues::open(client::consumer(&settings, None)?, &topics, &begin)?;
    let mut merge = Merge::new(&queues, Duration::from_mins(1));
    let writing = || StreamError::io(format!("write {}", arguments.output.display()));
    let mut file = BufWriter::new(File::create(&arguments.output).map_err(writing())?);
    let (mut room, mut recorder) = (Room::default(), metrics.shared.recorder());
    let mut difference = Difference::default();
    let (mut scored, mut refused, start) = (0, 0, Instant::now());
    let mut records: Vec<Taken<'_>> = Vec::new();
    let mut over = false;
    while !over {
        records.clear();
        // A topic that is written to meanwhile has always more: what lies beyond the ends says when to look at them.
        while records.len() < BATCH && !over {
            let Some(taken) = merge.next(Instant::now() + Duration::from_millis(200))? else {
                over = merge.is_past(&ends)?;
                break;
            };
            let within = ends.get(&taken.source).is_none_or(|end| taken.message.offset() < *end);
            if within && arguments.to_time.is_none_or(|to| taken.timestamp < to) {
                records.push(taken);
            } else if !within {
                over = merge.is_past(&ends)?;
            }
        }
        if records.is_empty() {
            continue;
        }
        let mut out = Outputs::default();
        let mut work = Work {
            scorer: &scorer,
            topics: &topics,
            recorder: &mut recorder,
            metrics: &metrics,
            beside: life.beside(),
            fitness: None,
            wait: &mut |_| false,
        };
        if !work.run(&records, (&mut state, &mut room), (&mut Entry::default(), &mut out))? {
            return Err(StreamError::Arguments("the store is full: raise `store.max_bytes`".to_owned()));
        }
        for (place, value) in out.answers() {
            file.write_all(value).and_then(|()| file.write_all(b"\n")).map_err(writing())?;
            if let Some(then) = &then {
                difference.note(then.get(&place), value)?;
            }
        }
        let (predictions, dead) = out.counts();
        scored += predictions;
        refused += dead;
    }
    file.flush().map_err(writing())?;
    let seconds = start.elapsed().as_secs_f64();
    println!("scored {scored} transactions again in {seconds:.1} s, refused {refused} records");
    if then.is_some() {
        difference.print();
    }
    Ok(())
}

/// Where reading begins, and where the input ends.
fn range(
    asker: &BaseConsumer<Watching>,
    topics: &Topics,
    arguments: &AgainArgs,
) -> Result<(Positions, Positions), StreamError> {
    let (mut begin, mut ends) = (Positions::new(), Positions::new());
    for (stream, topic) in [(Stream::Input, Some(&topics.input)), (Stream::Labels, topics.labels.as_ref())] {
        let Some(topic) = topic else { continue };
        for partition in 0..client::partitions(asker, topic)? {
            let source = Source { stream, partition };
            let (low, high) = client::watermarks(asker, (topic, partition))?;
            let mut from = low;
            // Labels of before count, too: a label of last week is about the transactions of today.
            if let Some(time) = arguments.from_time.filter(|_| stream == Stream::Input) {
                from = client::offset_at(asker, (topic, partition), time)?;
            }
            let mut to = high;
            if stream == Stream::Input && !arguments.offsets.is_empty() {
                let named = arguments.offsets.iter().find(|(of, _, _)| *of == partition);
                (from, to) = named.map_or((high, high), |(_, from, to)| ((*from).clamp(low, high), (*to).min(high)));
            }
            begin.insert(source, from);
            ends.insert(source, to);
        }
    }
    Ok((begin, ends))
}

/// Every prediction, by the input record that it answers.
fn predictions(settings: &StreamSettings) -> Result<HashMap<(i32, i64), Then>, StreamError> {
    #[derive(serde::Deserialize)]
    struct Read {
        fraud_probability: Option<f64>,
        decision: Decision,
    }
    let consumer = client::consumer(settings, None)?;
    let mut found = HashMap::new();
    client::read_to_end(&consumer, (&settings.kafka.predictions_topic, &|_| 0), |message| {
        let place = message.headers().and_then(|headers| {
            let input = headers.iter().find(|header| header.key == "input")?;
            let (partition, offset) = std::str::from_utf8(input.value?).ok()?.split_once(':')?;
            Some((partition.parse().ok()?, offset.parse().ok()?))
        });
        let read = message.payload().and_then(|value| serde_json::from_slice::<Read>(value).ok());
        if let (Some(place), Some(read)) = (place, read) {
            found.insert(place, Then { probability: read.fraud_probability, decision: read.decision });
        }
        Ok(())
    })?;
    Ok(found)
}

impl Difference {
    fn note(&mut self, then: Option<&Then>, value: &[u8]) -> Result<(), StreamError> {
        let Some(then) = then else {
            self.not_found += 1;
            return Ok(());
        };
        let now: fraud_core::Assessment =
            serde_json::from_slice(value).map_err(|error| StreamError::Internal(error.to_string()))?;
        self.compared += 1;
        if now.decision == then.decision {
            self.same += 1;
        } else {
            *self.changed.entry((then.decision, now.decision)).or_default() += 1;
        }
        if let (Some(now), Some(then)) = (now.fraud_probability, then.probability) {
            let change = (f64::from(now) - then).abs();
            self.sum += change;
            self.most = self.most.max(change);
        }
        Ok(())
    }

    fn print(&self) {
        println!("compared with {} predictions of then ({} were not found)", self.compared, self.not_found);
        if self.compared == 0 {
            return;
        }
        println!("same decision: {} ({:.2} %)", self.same, self.same as f64 * 100.0 / self.compared as f64);
        let mut changed: Vec<_> = self.changed.iter().collect();
        changed.sort();
        for ((then, now), count) in changed {
            println!("  {then:?} then, {now:?} now: {count}");
        }
        println!("probability changed by {:.6} on average, {:.6} at most", self.sum / self.compared as f64, self.most);
    }
}

/// The arguments, when a command line is one of `replay --from-topic`.
#[must_use]
pub fn wanted(arguments: &[String]) -> Option<Vec<String>> {
    let replay = arguments.get(1).is_some_and(|command| command == "replay");
    let topic = arguments.iter().any(|argument| argument == "--from-topic" || argument.starts_with("--from-topic="));
    (replay && topic).then(|| {
        let name = "fraud-stream replay".to_owned();
        std::iter::once(name).chain(arguments.iter().skip(2).cloned()).collect()
    })
}
