//! The client library: its settings, its callbacks, and what is asked of the broker outside of the loop.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, DeliveryResult};
use rdkafka::producer::{BaseProducer, ProducerContext};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::error::StreamError;
use super::member::Changes;
use super::metrics::Lag;
use super::settings::{Delivery, StreamSettings};

/// How long the broker has for one question.
pub(super) const ASK: Duration = Duration::from_secs(10);

/// Between two looks at what the producer has in flight.
const GLANCE: Duration = Duration::from_micros(250);

/// Callbacks of consumers.
#[derive(Debug, Default)]
pub struct Watching {
    /// Where watermarks go.
    lag: Option<Arc<Lag>>,
    /// Where a member of the group notes what it is given; none for the others.
    changes: Option<Arc<Changes>>,
}

impl ClientContext for Watching {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        if let Some(lag) = &self.lag {
            lag.take(&statistics);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition comes this way, too; whoever reads takes care of it.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::warn!(%error, reason, "kafka consumer");
        }
    }
}

impl ConsumerContext for Watching {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if let Some(changes) = &self.changes {
            changes.note(consumer, error, list);
        }
    }
}

/// Callbacks of the producer: what became of the messages of a batch.
#[derive(Debug, Default)]
pub struct Deliveries {
    failed: AtomicU64,
    first: Mutex<Option<KafkaError>>,
    /// The broker's refusal of our name or password, if there was one.
    refused: Mutex<Option<KafkaError>>,
}

impl Deliveries {
    /// Forgets what was before.
    pub(super) fn begin(&self) {
        self.failed.store(0, Ordering::Release);
        self.first.lock().take();
    }

    /// The first failure since, if there was one.
    pub(super) fn failure(&self) -> Option<KafkaError> {
        if self.failed.load(Ordering::Acquire) == 0 { None } else { self.first.lock().clone() }
    }

    /// The broker's refusal of our name or password, if there was one.
    pub(super) fn refused(&self) -> Option<KafkaError> {
        self.refused.lock().clone()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka producer");
        let code = error.rdkafka_error_code();
        if matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)) {
            *self.refused.lock() = Some(error);
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut first = self.first.lock();
            // The others of a failed transaction are thrown away: that is no reason, but what follows from one.
            if first.as_ref().is_none_or(|first| first.rdkafka_error_code() == Some(RDKafkaErrorCode::PurgeQueue)) {
                *first = Some(error.clone());
            }
            self.failed.fetch_add(1, Ordering::AcqRel);
        }
    }
}

fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(facility, message, "kafka client");
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => tracing::warn!(facility, message, "kafka client"),
        _ => tracing::debug!(facility, message, "kafka client"),
    }
}

fn base(settings: &StreamSettings) -> Result<ClientConfig, StreamError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.kafka.brokers)
        .set("client.id", "fraud-stream")
        .set("log.connection.close", "false")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "30000");
    settings.kafka.security.apply(&mut config)?;
    Ok(config)
}

/// A consumer of assigned partitions; it never joins the group that it commits for.
///
/// # Errors
/// [`StreamError::Kafka`].
pub(super) fn consumer(
    settings: &StreamSettings,
    lag: Option<Arc<Lag>>,
) -> Result<Arc<BaseConsumer<Watching>>, StreamError> {
    BaseConsumer::from_config_and_context(&reading(settings, lag.is_some())?, Watching { lag, changes: None })
        .map(Arc::new)
        .map_err(StreamError::kafka("make a consumer"))
}

/// A member of the group, whose partitions of the input come and go.
///
/// # Errors
/// [`StreamError::Kafka`].
pub(super) fn member(
    settings: &StreamSettings,
    (lag, changes): (Arc<Lag>, Arc<Changes>),
) -> Result<Arc<BaseConsumer<Watching>>, StreamError> {
    let mut config = reading(settings, true)?;
    config
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", settings.kafka.session_timeout.0.as_millis().to_string())
        .set("heartbeat.interval.ms", (settings.kafka.session_timeout.0.as_millis() / 5).to_string());
    let watching = Watching { lag: Some(lag), changes: Some(changes) };
    let consumer: BaseConsumer<Watching> =
        BaseConsumer::from_config_and_context(&config, watching).map_err(StreamError::kafka("make a consumer"))?;
    consumer.subscribe(&[settings.kafka.input_topic.as_str()]).map_err(StreamError::kafka("join the group"))?;
    Ok(Arc::new(consumer))
}

fn reading(settings: &StreamSettings, watched: bool) -> Result<ClientConfig, StreamError> {
    let mut config = base(settings)?;
    config
        .set("group.id", &settings.kafka.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "100")
        .set("queued.min.messages", "50000")
        .set("queued.max.messages.kbytes", "32768")
        .set("fetch.message.max.bytes", "1048576")
        .set("statistics.interval.ms", if watched { "2000" } else { "0" });
    Ok(config)
}

/// The producer of predictions; transactional where delivery is exactly once.
///
/// # Errors
/// [`StreamError::Kafka`].
pub(super) fn producer(settings: &StreamSettings) -> Result<BaseProducer<Deliveries>, StreamError> {
    let mut config = base(settings)?;
    let timeout = settings.kafka.transaction_timeout.0.as_millis().to_string();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // A batch is handed over at once, so waiting for more of it only costs time.
        .set("queue.buffering.max.ms", "1")
        .set("batch.num.messages", "20000")
        .set("batch.size", "1000000")
        .set("compression.type", settings.kafka.compression.as_str())
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "524288")
        // Nothing is in flight once all is delivered or failed: only failures have something to say.
        .set("delivery.report.only.error", "true")
        // The broker's limit decides, not the library's.
        .set("message.max.bytes", "100000000")
        .set("message.timeout.ms", &timeout);
    if settings.kafka.delivery == Delivery::ExactlyOnce {
        config.set("transactional.id", settings.transactional_id()).set("transaction.timeout.ms", &timeout);
    }
    BaseProducer::from_config_and_context(&config, Deliveries::default()).map_err(StreamError::kafka("make a producer"))
}

/// How many partitions a topic has.
///
/// # Errors
/// [`StreamError::NoTopic`], or what the broker said.
pub(super) fn partitions<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str) -> Result<i32, StreamError> {
    let metadata = consumer.fetch_metadata(Some(topic), ASK).map_err(StreamError::kafka("ask for topics"))?;
    let missing = || StreamError::NoTopic { topic: topic.to_owned() };
    let found = metadata.topics().iter().find(|found| found.name() == topic).ok_or_else(missing)?;
    if let Some(error) = found.error() {
        let error = RDKafkaErrorCode::from(error);
        if matches!(error, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) {
            return Err(missing());
        }
        return Err(StreamError::from_kafka("read a topic's partitions", &KafkaError::MetadataFetch(error)));
    }
    match i32::try_from(found.partitions().len()) {
        Ok(0) | Err(_) => Err(missing()),
        Ok(count) => Ok(count),
    }
}

/// Looks whether the topics of predictions and dead letters are there: what is sent to one that is not would only time out.
///
/// # Errors
/// [`StreamError::NoTopic`], or what the broker said.
pub(super) fn look_up_outputs(asker: &BaseConsumer<Watching>, settings: &StreamSettings) -> Result<(), StreamError> {
    let kafka = &settings.kafka;
    [&kafka.predictions_topic, &kafka.dead_letter_topic]
        .into_iter()
        .try_for_each(|topic| partitions(asker, topic).map(drop))
}

/// Makes the journal's topic unless it is there.
///
/// # Errors
/// [`StreamError::Kafka`], or [`StreamError::Unauthorised`].
pub(super) fn make_journal(settings: &StreamSettings) -> Result<(), StreamError> {
    match partitions(&*consumer(settings, None)?, &settings.kafka.journal_topic) {
        Ok(_) => return Ok(()),
        Err(StreamError::NoTopic { .. }) => {}
        Err(error) => return Err(error),
    }
    let admin: AdminClient<Watching> = AdminClient::from_config_and_context(&base(settings)?, Watching::default())
        .map_err(StreamError::kafka("make an admin client"))?;
    let retention = settings.kafka.journal_retention.0.as_millis().to_string();
    let topic = NewTopic::new(&settings.kafka.journal_topic, 1, TopicReplication::Fixed(-1))
        .set("cleanup.policy", "delete")
        .set("retention.ms", &retention);
    let options = AdminOptions::new().request_timeout(Some(ASK)).operation_timeout(Some(ASK));
    let answers = wait(admin.create_topics([&topic], &options)).map_err(StreamError::kafka("make the journal"))?;
    for answer in answers {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(StreamError::from_kafka("make the journal", &KafkaError::AdminOp(code))),
        }
    }
    Ok(())
}

/// Takes what the producer has to report, and gives its threads and the broker a moment. A poll with a time limit would
/// not: less than a millisecond is none to the client library, and the rest of the limit is spent asking again.
pub(super) fn give_time(producer: &BaseProducer<Deliveries>) {
    producer.poll(Duration::ZERO);
    std::thread::sleep(GLANCE);
}

/// Waits for a future of the client library, whose own threads complete it.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Oldest and next offset of a partition, as a reader of committed records sees them.
///
/// # Errors
/// [`StreamError::Kafka`] when the broker does not answer in time.
pub(super) fn watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    (topic, partition): (&str, i32),
) -> Result<(i64, i64), StreamError> {
    let deadline = Instant::now() + ASK;
    loop {
        match consumer.fetch_watermarks(topic, partition, ASK) {
            Ok(marks) => return Ok(marks),
            // A topic made a moment ago may not have its leader yet.
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(StreamError::from_kafka("ask for watermarks", &error)),
        }
    }
}

/// The offset of a partition's first record from a time on, in Unix milliseconds; its end when there is none.
///
/// # Errors
/// [`StreamError::Kafka`].
pub(super) fn offset_at<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    (topic, partition): (&str, i32),
    millis: i64,
) -> Result<i64, StreamError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(millis))
        .map_err(StreamError::kafka("look up a time"))?;
    let found = consumer.offsets_for_times(list, ASK).map_err(StreamError::kafka("look up a time"))?;
    match found.elements().first().map(TopicPartitionListElem::offset) {
        Some(Offset::Offset(offset)) => Ok(offset),
        _ => Ok(watermarks(consumer, (topic, partition))?.1),
    }
}

/// Every committed record of a topic from an offset of each partition to the end it has now.
///
/// # Errors
/// [`StreamError`]; those of `each`.
pub(super) fn read_to_end(
    consumer: &BaseConsumer<Watching>,
    (topic, from): (&str, &dyn Fn(i32) -> i64),
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<(), StreamError>,
) -> Result<(), StreamError> {
    let read = || StreamError::kafka("read a topic to its end");
    let mut list = TopicPartitionList::new();
    let mut open = BTreeSet::new();
    for partition in 0..partitions(consumer, topic)? {
        let (low, high) = watermarks(consumer, (topic, partition))?;
        let from = from(partition).max(low);
        if from < high {
            open.insert(partition);
            list.add_partition_offset(topic, partition, Offset::Offset(from)).map_err(read())?;
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    consumer.assign(&list).map_err(read())?;
    while !open.is_empty() {
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => each(&message)?,
            // One that goes on growing reaches its end again and again.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) => return Err(read()(error)),
            None => {}
        }
    }
    Ok(())
}
