//! `fraud-stream redrive`: puts chosen dead letters back where they came from.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{self, ASK, Deliveries, Watching};
use super::command::SettingsArgs;
use super::error::StreamError;
use super::settings::{Delivery, StreamSettings};
use super::source::Topics;

/// Headers that this program added.
const OURS: &str = "dead-letter-";
/// Letters that wait for the transaction's end at most; more take another run.
const MOST: usize = 100_000;

/// Which dead letters go back.
#[derive(Debug, Clone, Args)]
pub struct RedriveArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Only letters of this reason, such as invalid or conflict; may be given several times
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// Only letters of the dead-letter topic from this offset on, in each partition
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from_offset: i64,
    /// Only letters before this offset, in each partition
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<i64>,
    /// Sends nothing, says what would be sent
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command: all letters go back, or none.
///
/// # Errors
/// [`StreamError`].
pub fn redrive(arguments: &RedriveArgs) -> Result<(), StreamError> {
    let settings = arguments.settings.load()?;
    let topics = Topics::new(&settings);
    let consumer = client::consumer(&settings, None)?;
    let mut letters: Vec<OwnedMessage> = Vec::new();
    let mut passed: BTreeMap<String, u64> = BTreeMap::new();
    let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
    for_each(&consumer, &settings.kafka.dead_letter_topic, arguments.from_offset, |message| {
        let wanted = arguments.to_offset.is_none_or(|to| message.offset() < to);
        ends.insert(message.partition(), message.offset() + 1);
        let reason = header(message, "dead-letter-reason").unwrap_or_default();
        let chosen = arguments.reason.is_empty() || arguments.reason.contains(&reason);
        if !wanted || !chosen {
            return Ok(());
        }
        let origin = header(message, "dead-letter-topic").unwrap_or_default();
        let ours = origin == topics.input || topics.labels.as_deref() == Some(&origin);
        if !ours || header(message, "dead-letter-cut-from-bytes").is_some() {
            // Another stream's, or not whole: the whole one is where its headers say.
            *passed.entry(reason).or_default() += 1;
        } else if letters.len() < MOST {
            letters.push(message.detach());
        } else {
            let problem = format!("more than {MOST} letters are chosen: narrow it with --to-offset");
            return Err(StreamError::Arguments(problem));
        }
        Ok(())
    })?;
    let verb = if arguments.dry_run { "would go back" } else { "went back" };
    if !arguments.dry_run && !letters.is_empty() {
        send_back(&settings, &letters)?;
    }
    println!("{} dead letters {verb}", letters.len());
    for (reason, count) in passed {
        println!("{count} of reason `{reason}` did not: not from this stream's topics, or cut short");
    }
    for (partition, end) in ends {
        println!("partition {partition}: read up to {end}; `--from-offset {end}` goes on from there");
    }
    Ok(())
}

/// Every committed record of a topic from an offset to the end it has now.
fn for_each(
    consumer: &BaseConsumer<Watching>,
    topic: &str,
    from: i64,
    mut each: impl FnMut(&rdkafka::message::BorrowedMessage<'_>) -> Result<(), StreamError>,
) -> Result<(), StreamError> {
    let count = client::partitions(consumer, topic)?;
    let mut list = TopicPartitionList::new();
    let mut open = 0;
    for partition in 0..count {
        let (low, high) = client::watermarks(consumer, (topic, partition))?;
        if from.max(low) < high {
            open += 1;
            list.add_partition_offset(topic, partition, Offset::Offset(from.max(low)))
                .map_err(StreamError::kafka("read the dead letters"))?;
        }
    }
    if open == 0 {
        return Ok(());
    }
    consumer.assign(&list).map_err(StreamError::kafka("read the dead letters"))?;
    while open > 0 {
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => each(&message)?,
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(StreamError::from_kafka("read the dead letters", &error)),
            None => {}
        }
    }
    Ok(())
}

fn header<M: Message>(message: &M, name: &str) -> Option<String>
where
    M::Headers: Headers,
{
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    Some(String::from_utf8_lossy(found.value?).into_owned())
}

fn send_back(settings: &StreamSettings, letters: &[OwnedMessage]) -> Result<(), StreamError> {
    // A name of its own: the stream itself must not be fenced by this.
    let mut own = settings.clone();
    own.kafka.transactional_id.push_str("-redrive");
    own.kafka.delivery = Delivery::ExactlyOnce;
    let producer = client::producer(&own)?;
    producer.init_transactions(ASK).map_err(StreamError::kafka("begin a transaction"))?;
    producer.begin_transaction().map_err(StreamError::kafka("begin a transaction"))?;
    producer.context().begin();
    for letter in letters {
        send(&producer, letter)?;
    }
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
    }
    if let Some(error) = producer.context().failure() {
        let _nothing_was_sent = producer.abort_transaction(ASK);
        return Err(StreamError::from_kafka("send dead letters back", &error));
    }
    producer.commit_transaction(ASK).map_err(StreamError::kafka("commit"))
}

fn send(producer: &BaseProducer<Deliveries>, letter: &OwnedMessage) -> Result<(), StreamError> {
    let mut headers = OwnedHeaders::new();
    if let Some(own) = letter.headers() {
        for header in own.iter().filter(|header| !header.key.starts_with(OURS) && header.key != "redriven-from") {
            headers = headers.insert(Header { key: header.key, value: header.value });
        }
    }
    let place = format!("{}:{}", letter.partition(), letter.offset());
    headers = headers.insert(Header { key: "redriven-from", value: Some(place.as_str()) });
    let topic = header(letter, "dead-letter-topic").unwrap_or_default();
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic).headers(headers);
    record.partition = header(letter, "dead-letter-partition").and_then(|partition| partition.parse().ok());
    record.key = letter.key();
    record.payload = letter.payload();
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((error, back)) if error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) => {
                record = back;
                producer.poll(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(StreamError::from_kafka("send dead letters back", &error)),
        }
    }
}
