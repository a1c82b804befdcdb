//! Sends a batch and commits it.
//!
//! Exactly once: predictions, dead letters, the journal's message and the offsets stand in one Kafka transaction.
//! At least once: the same in this order, each acknowledged before the next; what is acknowledged is not sent again. Either
//! way a batch that failed is sent again as it was; nothing is observed twice and nothing advances before it is in.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::{self, Deliveries, Watching};
use super::crash::CrashPoint;
use super::error::StreamError;
use super::member;
use super::outputs::{Outgoing, Outputs};
use super::run::{Shared, Trouble};
use super::settings::{Delivery, StreamSettings};
use super::source::Topics;

/// How long one call into the client library may block.
const STEP: Duration = Duration::from_secs(1);
/// First pause before a failed batch is sent again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause before a failed batch is sent again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a try failed.
enum Failure {
    /// Abort, and send the batch again.
    Again(KafkaError),
    /// Nothing of this connection can go on.
    Over(StreamError),
}

/// Sends and commits.
pub(super) struct Sink {
    producer: BaseProducer<Deliveries>,
    consumer: Arc<BaseConsumer<Watching>>,
    topics: Topics,
    predictions_topic: String,
    dead_letter_topic: String,
    journal_topic: String,
    delivery: Delivery,
    transactional_id: String,
    /// For a member of the group: its name when it was given its partitions, if it had one.
    committing_as: Mutex<Option<Option<String>>>,
    shared: Arc<Shared>,
}

impl Sink {
    /// A sink over a producer that is ready to begin transactions.
    pub(super) fn new(
        settings: &StreamSettings,
        (producer, consumer): (BaseProducer<Deliveries>, Arc<BaseConsumer<Watching>>),
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            producer,
            consumer,
            topics: Topics::new(settings),
            predictions_topic: settings.kafka.predictions_topic.clone(),
            dead_letter_topic: settings.kafka.dead_letter_topic.clone(),
            journal_topic: settings.kafka.journal_topic.clone(),
            delivery: settings.kafka.delivery,
            transactional_id: settings.transactional_id(),
            committing_as: Mutex::default(),
            shared: shared.clone(),
        }
    }

    /// From now on commits only as the member of the group that the consumer is now.
    pub(super) fn commit_as_member(&self) {
        *self.committing_as.lock() = Some(member::name(&self.consumer));
    }

    /// Sends a batch until it is in.
    ///
    /// # Errors
    /// [`StreamError`] when this connection cannot go on; then it is not known whether the batch is in.
    pub(super) fn commit(&self, outputs: &Outputs) -> Result<(), StreamError> {
        let mut pause = FIRST_PAUSE;
        let mut limit = usize::MAX;
        loop {
            let tried = match self.delivery {
                Delivery::ExactlyOnce => self.transaction(outputs, limit),
                Delivery::AtLeastOnce => self.plain(outputs, limit),
            };
            let error = match tried {
                Ok(()) => {
                    self.shared.crash.pass(CrashPoint::AfterCommit);
                    return Ok(());
                }
                Err(Failure::Over(StreamError::PartitionsLost)) => {
                    if self.delivery == Delivery::ExactlyOnce {
                        self.abort()?;
                    }
                    return Err(StreamError::PartitionsLost);
                }
                Err(Failure::Over(error)) => return Err(error),
                Err(Failure::Again(error)) => error,
            };
            self.shared.trouble(Trouble::Commit, true);
            tracing::warn!(%error, "a batch was not taken, it is sent again");
            if self.delivery == Delivery::ExactlyOnce {
                self.abort()?;
            }
            // What the broker says to one message may end the handing over of others in another way.
            let first = self.producer.context().failure().unwrap_or_else(|| error.clone());
            if first.rdkafka_error_code() == Some(Code::MessageSizeTooLarge) {
                limit = outputs.next_limit(limit);
            }
            if self.hurry() {
                return Err(StreamError::SessionOver { problem: error.to_string() });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether the process must end soon: a broker that does not answer is not waited for any more.
    fn hurry(&self) -> bool {
        self.shared.hurry.load(Ordering::Acquire)
    }

    fn transaction(&self, outputs: &Outputs, limit: usize) -> Result<(), Failure> {
        self.producer.begin_transaction().map_err(|error| self.sort(error))?;
        self.send(outputs, limit)?;
        self.shared.crash.pass(CrashPoint::AfterProduce);
        let list = self.topics.list(&outputs.ends, &outputs.note).map_err(Failure::Over)?;
        let group = self.group()?;
        if list.count() > 0 {
            self.insist(|| self.producer.send_offsets_to_transaction(&list, &group, STEP))?;
        }
        self.shared.crash.pass(CrashPoint::BeforeCommit);
        self.insist(|| self.producer.commit_transaction(STEP))
    }

    /// Who we are in the group, for the broker to compare with whom it gave the partitions to.
    fn group(&self) -> Result<ConsumerGroupMetadata, Failure> {
        let group = self.consumer.group_metadata().ok_or_else(|| {
            Failure::Over(StreamError::Internal("the consumer has no group to commit for".to_owned()))
        })?;
        // Looked at after, not before: then an identity that was got after a loss is not used.
        if let Some(given_to) = self.committing_as.lock().as_ref() {
            let lost = given_to.is_none() || *given_to != member::name(&self.consumer);
            if lost || self.consumer.assignment_lost() {
                return Err(Failure::Over(StreamError::PartitionsLost));
            }
        }
        Ok(group)
    }

    fn plain(&self, outputs: &Outputs, limit: usize) -> Result<(), Failure> {
        self.send(outputs, limit)?;
        self.shared.crash.pass(CrashPoint::BeforeCommit);
        let list = self.topics.list(&outputs.ends, &outputs.note).map_err(Failure::Over)?;
        if list.count() == 0 {
            return Ok(());
        }
        let mut pause = FIRST_PAUSE;
        loop {
            self.group()?;
            // Only this: the journal has the batch, and must not have it twice.
            let Err(error) = self.consumer.commit(&list, CommitMode::Sync) else { return Ok(()) };
            let error = match self.sort(error) {
                Failure::Again(error) => error,
                over @ Failure::Over(_) => return Err(over),
            };
            self.shared.trouble(Trouble::Commit, true);
            tracing::warn!(%error, "a batch is sent, but its offsets were not taken; they are committed again");
            if self.hurry() {
                return Err(Failure::Over(StreamError::SessionOver { problem: error.to_string() }));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Hands over every message and waits until all are acknowledged. At least once, the journal's follows when
    /// the others are.
    fn send(&self, outputs: &Outputs, limit: usize) -> Result<(), Failure> {
        self.producer.context().begin();
        for Outgoing { dead, key, value, headers } in outputs.messages(limit) {
            let topic = if dead { &self.dead_letter_topic } else { &self.predictions_topic };
            let mut record = BaseRecord::to(topic).headers(headers);
            record.key = key;
            record.payload = value;
            self.queue(record)?;
            if dead && limit < usize::MAX {
                // Those that are small enough may be too large together.
                self.drain()?;
            }
        }
        if self.delivery == Delivery::AtLeastOnce {
            self.drain()?;
            self.shared.crash.pass(CrashPoint::AfterProduce);
        }
        if !outputs.journal.is_empty() {
            let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.journal_topic)
                .partition(0)
                .key(self.transactional_id.as_bytes())
                .payload(outputs.journal.as_slice());
            self.queue(record)?;
        }
        self.drain()
    }

    fn queue(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Failure> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) if error.rdkafka_error_code() == Some(Code::QueueFull) => {
                    record = back;
                    client::give_time(&self.producer);
                }
                Err((error, _)) => return Err(self.sort(error)),
            }
        }
    }

    /// Waits for acknowledgements in small steps: the library's own flush looks every 100 ms only.
    fn drain(&self) -> Result<(), Failure> {
        let begin = Instant::now();
        while self.producer.in_flight_count() > 0 {
            client::give_time(&self.producer);
            // The others of a transaction that failed do not go out any more: they would only time out.
            if self.delivery == Delivery::ExactlyOnce && self.producer.context().failure().is_some() {
                break;
            }
            if self.hurry() && begin.elapsed() > 5 * STEP {
                let problem = "the broker does not acknowledge, and the process is to end".to_owned();
                return Err(Failure::Over(StreamError::SessionOver { problem }));
            }
        }
        self.producer.context().failure().map_or(Ok(()), |error| Err(self.sort(error)))
    }

    /// Calls again what ran into its time limit.
    fn insist(&self, call: impl Fn() -> Result<(), KafkaError>) -> Result<(), Failure> {
        let begin = Instant::now();
        loop {
            let error = match call() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let again = match &error {
                KafkaError::Transaction(inner) => inner.is_retriable() && !inner.is_fatal(),
                KafkaError::Flush(_) => true,
                _ => false,
            };
            if !again {
                return Err(self.sort(error));
            }
            self.shared.trouble(Trouble::Commit, true);
            if self.hurry() && begin.elapsed() > 5 * STEP {
                return Err(Failure::Over(StreamError::SessionOver { problem: error.to_string() }));
            }
        }
    }

    /// Ends the transaction without effect.
    fn abort(&self) -> Result<(), StreamError> {
        let begin = Instant::now();
        loop {
            // Reports of messages that failed must be taken, or the abort waits for them.
            self.producer.poll(Duration::ZERO);
            match self.producer.abort_transaction(STEP) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !error.is_fatal() => {
                    if self.hurry() && begin.elapsed() > 5 * STEP {
                        return Err(StreamError::SessionOver { problem: error.to_string() });
                    }
                }
                Err(error) => match self.sort(error) {
                    Failure::Over(error) => return Err(error),
                    Failure::Again(error) => return Err(StreamError::SessionOver { problem: error.to_string() }),
                },
            }
        }
    }

    fn sort(&self, error: KafkaError) -> Failure {
        if let Some((code, problem)) = self.producer.client().fatal_error() {
            return Failure::Over(self.fatal(code, problem));
        }
        if let KafkaError::Transaction(inner) = &error {
            if inner.is_fatal() {
                return Failure::Over(self.fatal(inner.code(), inner.string()));
            }
            if !inner.txn_requires_abort() && !inner.is_retriable() {
                return Failure::Over(self.fatal(inner.code(), inner.string()));
            }
        }
        match StreamError::from_kafka("send a batch", &error) {
            refused @ StreamError::Unauthorised { .. } => Failure::Over(refused),
            _ => Failure::Again(error),
        }
    }

    fn fatal(&self, code: Code, problem: String) -> StreamError {
        match code {
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => {
                StreamError::Fenced { transactional_id: self.transactional_id.clone() }
            }
            _ => StreamError::SessionOver { problem },
        }
    }
}

/// Takes over the transactional id: whoever had it is fenced, and what it left open is aborted.
///
/// # Errors
/// [`StreamError`]; `stop` ends the waiting for a broker that does not answer.
pub(super) fn take_over(
    producer: &BaseProducer<Deliveries>,
    settings: &StreamSettings,
    stop: &dyn Fn() -> bool,
) -> Result<(), StreamError> {
    if settings.kafka.delivery == Delivery::AtLeastOnce {
        return Ok(());
    }
    loop {
        match producer.init_transactions(STEP * 5) {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && !error.is_fatal() => {
                // The client library would try the same password for ever, and tells of it only when it is asked.
                producer.poll(Duration::ZERO);
                if let Some(refusal) = producer.context().refused() {
                    return Err(StreamError::from_kafka("sign in", &refusal));
                }
                tracing::warn!(error = error.string(), "the broker does not give us the transactional id yet");
                if stop() {
                    return Err(StreamError::SessionOver { problem: error.string() });
                }
            }
            Err(error) => return Err(StreamError::from_kafka("take over the transactional id", &error)),
        }
    }
}
