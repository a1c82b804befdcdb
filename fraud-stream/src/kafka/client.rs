//! The client library: its settings, its callbacks, and what is asked of the broker outside of the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, ProducerContext};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaErrorCode;

use super::error::StreamError;
use super::metrics::Lag;
use super::settings::{Delivery, StreamSettings};

/// How long the broker has for one question.
pub(super) const ASK: Duration = Duration::from_secs(10);

/// Callbacks of consumers.
#[derive(Debug, Default)]
pub struct Watching {
    /// Where watermarks go.
    lag: Option<Arc<Lag>>,
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

impl ConsumerContext for Watching {}

/// Callbacks of the producer: what became of the messages of a batch.
#[derive(Debug, Default)]
pub struct Deliveries {
    failed: AtomicU64,
    first: Mutex<Option<KafkaError>>,
    journal: AtomicI64,
}

/// Marks the journal's message among a batch's.
pub(super) const JOURNAL: usize = 1;

impl Deliveries {
    /// Forgets what was before.
    pub(super) fn begin(&self) {
        self.failed.store(0, Ordering::Release);
        self.first.lock().take();
        self.journal.store(-1, Ordering::Release);
    }

    /// The first failure since, if there was one.
    pub(super) fn failure(&self) -> Option<KafkaError> {
        if self.failed.load(Ordering::Acquire) == 0 { None } else { self.first.lock().clone() }
    }

    /// Where the journal's message stands; -1 before it is delivered.
    pub(super) fn journal_offset(&self) -> i64 {
        self.journal.load(Ordering::Acquire)
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, mark: usize) {
        match result {
            Ok(message) if mark == JOURNAL => self.journal.store(message.offset(), Ordering::Release),
            Ok(_) => {}
            Err((error, _)) => {
                self.first.lock().get_or_insert_with(|| error.clone());
                self.failed.fetch_add(1, Ordering::AcqRel);
            }
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
        .set("statistics.interval.ms", if lag.is_some() { "2000" } else { "0" });
    BaseConsumer::from_config_and_context(&config, Watching { lag })
        .map(Arc::new)
        .map_err(StreamError::kafka("make a consumer"))
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
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "524288")
        // The broker's limit decides, not the library's.
        .set("message.max.bytes", "100000000")
        .set("message.timeout.ms", &timeout);
    if settings.kafka.delivery == Delivery::ExactlyOnce {
        config.set("transactional.id", &settings.kafka.transactional_id).set("transaction.timeout.ms", &timeout);
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
