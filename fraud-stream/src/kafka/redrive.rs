//! `fraud-stream redrive`: puts chosen dead letters back where they came from.

use std::collections::BTreeMap;

use clap::Args;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::client::{self, ASK, Deliveries};
use super::command::SettingsArgs;
use super::error::StreamError;
use super::outputs::{CUT_FROM, OURS};
use super::settings::{Delivery, StreamSettings};
use super::source::Topics;

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
    /// Only letters of the dead-letter topic from this offset on: in each partition, or in one, such as 3:1000; may be given
    /// several times
    #[arg(long, value_name = "[PARTITION:]OFFSET", value_parser = from_offset)]
    from_offset: Vec<(Option<i32>, i64)>,
    /// Only letters before this offset, in each partition
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<i64>,
    /// Sends nothing, says what would be sent
    #[arg(long)]
    dry_run: bool,
}

fn from_offset(text: &str) -> Result<(Option<i32>, i64), String> {
    let wrong = || "write it like 1000, or like 3:1000 for partition 3".to_owned();
    let (partition, offset) = match text.split_once(':') {
        Some((partition, offset)) => (Some(partition.parse().map_err(|_| wrong())?), offset),
        None => (None, text),
    };
    Ok((partition, offset.parse().map_err(|_| wrong())?))
}

/// Where reading begins in a partition: where it was said for that one, else where it was said for each.
fn begin(from: &[(Option<i32>, i64)], partition: i32) -> i64 {
    let said = |whom: Option<i32>| from.iter().rfind(|(of, _)| *of == whom).map(|(_, offset)| *offset);
    said(Some(partition)).or_else(|| said(None)).unwrap_or(0)
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
    let from = |partition| begin(&arguments.from_offset, partition);
    client::read_to_end(&consumer, (&settings.kafka.dead_letter_topic, &from), |message| {
        if arguments.to_offset.is_some_and(|to| message.offset() >= to) {
            return Ok(());
        }
        ends.insert(message.partition(), message.offset() + 1);
        let reason = header(message, "dead-letter-reason").unwrap_or_default();
        let chosen = arguments.reason.is_empty() || arguments.reason.contains(&reason);
        if !chosen {
            return Ok(());
        }
        let origin = header(message, "dead-letter-topic").unwrap_or_default();
        let ours = origin == topics.input || topics.labels.as_deref() == Some(&origin);
        if !ours || header(message, CUT_FROM).is_some() {
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
        println!("partition {partition}: read up to {end}; `--from-offset {partition}:{end}` goes on from there");
    }
    Ok(())
}

fn header<M: Message>(message: &M, name: &str) -> Option<String>
where
    M::Headers: Headers,
{
    let headers = message.headers()?;
    // Ours come last: in letters of older versions a sender's may stand before them.
    let found = headers.iter().filter(|header| header.key == name).last()?;
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
        client::give_time(&producer);
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
                client::give_time(producer);
            }
            Err((error, _)) => return Err(StreamError::from_kafka("send dead letters back", &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_where_it_was_said_for_a_partition_or_for_each() {
        let read = |texts: &[&str]| texts.iter().map(|text| from_offset(text)).collect::<Result<Vec<_>, _>>();
        let from = read(&["7", "2:30", "0:0"]).unwrap();
        assert_eq!([0, 1, 2].map(|partition| begin(&from, partition)), [0, 7, 30]);
        assert_eq!(begin(&[], 5), 0);
        for wrong in ["", "x", "1:", ":1", "1:2:3"] {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
    }
}
