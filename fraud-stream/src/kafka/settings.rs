//! The settings of the Kafka edge.

use std::path::PathBuf;

use fraud_core::features::StoreSettings;
use fraud_core::service::settings::{
    DriftSettings, ModelSettings, PolicySettings, Problems, QualitySettings, Settings, Span, StoreKind, StoreSection,
    TelemetrySettings, TimeSettings,
};
use serde::{Deserialize, Serialize};

use super::security::SecuritySettings;

/// Where the system says what it is called.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// All settings of `fraud-stream run`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamSettings {
    /// Brokers, topics, delivery.
    pub kafka: KafkaSettings,
    /// Labels beside the transactions.
    pub labels: LabelSettings,
    /// Where the state of the embedded store is kept.
    pub state: StateSettings,
    /// Who scores.
    pub scorer: ScorerSettings,
    /// Metrics and health.
    pub server: ServerSettings,
    /// The model.
    pub model: ModelSettings,
    /// The policy.
    pub policy: PolicySettings,
    /// The store. Its `snapshot_path` and `snapshot_every` are the API's; the stream has `state`.
    pub store: StoreSection,
    /// Event time.
    pub time: TimeSettings,
    /// Logs.
    pub telemetry: TelemetrySettings,
    /// Drift.
    pub drift: DriftSettings,
    /// Quality.
    pub quality: QualitySettings,
    /// Faults made on purpose; for tests.
    pub test: TestSettings,
}

/// How often a transaction may be answered when something breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Predictions and offsets in one Kafka transaction.
    #[default]
    ExactlyOnce,
    /// Predictions first, offsets after: a crash in between repeats predictions, never loses one.
    AtLeastOnce,
}

/// How what is sent is packed, in batches. Each reader of Kafka knows all of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are: the least work here.
    #[default]
    None,
    /// LZ4: quick.
    Lz4,
    /// Snappy.
    Snappy,
    /// Gzip: small, slow.
    Gzip,
}

impl Compression {
    /// As the client library calls it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
            Self::Gzip => "gzip",
        }
    }
}

/// Where a stream without any history begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the oldest record that the topic holds.
    #[default]
    Earliest,
    /// With the next record that comes.
    Latest,
}

/// What to do when what the state is rebuilt from is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLoss {
    /// Say so and end: a person decides.
    #[default]
    Refuse,
    /// Say so and go on with what there is.
    Continue,
}

/// Brokers, topics, delivery.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// `host:port` of some brokers, parted by commas.
    pub brokers: String,
    /// Where transactions come from.
    pub input_topic: String,
    /// Where assessments go.
    pub predictions_topic: String,
    /// Where what cannot be scored goes.
    pub dead_letter_topic: String,
    /// Where the order of observation is written down; one partition, made when it is not there.
    pub journal_topic: String,
    /// How long the journal is kept: longer than any outage between two snapshots.
    pub journal_retention: Span,
    /// The consumer group that offsets are committed for.
    pub group: String,
    /// Names this stream towards the broker: a second process under the same name fences the first.
    pub transactional_id: String,
    /// Tells instances of one group apart, where several run over a shared store: their transactional ids are this
    /// after a dash. Best a name that the instance has again after a restart. Empty: the host's name.
    pub instance: String,
    /// After how long without a sign of life the group takes an instance for dead; several instances only.
    pub session_timeout: Span,
    /// Exactly once or at least once.
    pub delivery: Delivery,
    /// Where a stream without any history begins.
    pub start: Start,
    /// How predictions, dead letters and the journal are packed on their way and in the broker.
    pub compression: Compression,
    /// Records of a batch at most.
    pub batch_records: usize,
    /// How long a batch waits for more records after its first.
    pub batch_wait: Span,
    /// How long one partition that has more to come is waited for before the others go on.
    pub partition_wait: Span,
    /// How long the broker keeps a transaction open that nobody ends; also how long an outage may be.
    pub transaction_timeout: Span,
    /// Greatest message that is scored, in bytes.
    pub max_message_bytes: usize,
    /// What to do when input that was not read yet is deleted already, or offsets of the group are gone.
    pub on_lost_input: OnLoss,
    /// TLS and SASL.
    pub security: SecuritySettings,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            input_topic: "transactions-input".to_owned(),
            predictions_topic: "fraud-predictions".to_owned(),
            dead_letter_topic: "transactions-dead-letter".to_owned(),
            journal_topic: "fraud-stream-journal".to_owned(),
            journal_retention: Span::seconds(7 * 86_400),
            group: "fraud-stream".to_owned(),
            transactional_id: "fraud-stream".to_owned(),
            instance: String::new(),
            session_timeout: Span::seconds(10),
            delivery: Delivery::ExactlyOnce,
            start: Start::Earliest,
            compression: Compression::default(),
            batch_records: 10_000,
            batch_wait: Span::millis(5),
            partition_wait: Span::seconds(1),
            transaction_timeout: Span::seconds(120),
            max_message_bytes: 1 << 20,
            on_lost_input: OnLoss::Refuse,
            security: SecuritySettings::default(),
        }
    }
}

/// Labels beside the transactions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelSettings {
    /// Read labels.
    pub enabled: bool,
    /// Where they come from.
    pub topic: String,
    /// How long a label waits for its transaction, by the records' own times.
    pub keep_unknown: Span,
    /// How many labels wait at most; the oldest gives way.
    pub max_unknown: usize,
}

impl Default for LabelSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            topic: "fraud-labels".to_owned(),
            keep_unknown: Span::seconds(7 * 86_400),
            max_unknown: 100_000,
        }
    }
}

/// Where the state of the embedded store is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateSettings {
    /// A folder for snapshots. Without it a restart rebuilds the state from the journal's beginning.
    pub folder: Option<PathBuf>,
    /// How often a snapshot is taken, at the end of a batch; `0s` only at shutdown.
    pub snapshot_every: Span,
    /// What to do when the journal does not reach back to the snapshot, or there is no usable snapshot.
    pub on_lost_state: OnLoss,
}

impl Default for StateSettings {
    fn default() -> Self {
        Self { folder: None, snapshot_every: Span::seconds(60), on_lost_state: OnLoss::Refuse }
    }
}

/// Who scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScorerKind {
    /// This process.
    #[default]
    Local,
    /// A fraud-api.
    Http,
}

/// Who scores.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScorerSettings {
    /// `local` or `http`.
    pub kind: ScorerKind,
    /// The address of a fraud-api, such as `http://fraud-api:8080`; for `http`.
    pub url: String,
    /// A file with the key that the API wants; for `http`.
    pub key_file: Option<PathBuf>,
    /// Transactions in one request.
    pub request_records: usize,
    /// Requests at a time.
    pub concurrency: usize,
    /// How long one request may take.
    pub timeout: Span,
    /// Longest pause between two tries.
    pub max_backoff: Span,
}

impl Default for ScorerSettings {
    fn default() -> Self {
        Self {
            kind: ScorerKind::Local,
            url: "http://127.0.0.1:8080".to_owned(),
            key_file: None,
            request_records: 200,
            concurrency: 4,
            timeout: Span::seconds(5),
            max_backoff: Span::seconds(10),
        }
    }
}

/// Metrics and health over HTTP.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Where to listen; empty for not at all.
    pub bind: String,
    /// File of API keys, as fraud-api's: `/admin` is for those with the role `operate`. Without it there is `/admin`
    /// only where `bind` is a loopback address.
    pub keys_file: Option<PathBuf>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { bind: "127.0.0.1:9464".to_owned(), keys_file: None }
    }
}

/// Faults made on purpose. Not for service: a crash point ends the process as `kill -9` does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestSettings {
    /// The name of a crash point; empty for none.
    pub crash_at: String,
    /// How many times the point is passed before it strikes.
    pub crash_after: u32,
    /// End once all input there is at some moment is answered.
    pub stop_at_end: bool,
}

impl StreamSettings {
    /// The embedded store's settings.
    #[must_use]
    pub fn store_settings(&self) -> StoreSettings {
        StoreSettings {
            history: self.store.history.whole_seconds(),
            lateness: self.store.lateness.whole_seconds(),
            dedupe: self.store.dedupe.whole_seconds(),
            max_cells_per_key: self.store.max_cells_per_key as usize,
            max_bytes: self.store.max_bytes,
            ..StoreSettings::default()
        }
    }

    /// Whether the store is shared, so that several instances can be members of one group.
    #[must_use]
    pub fn shares_store(&self) -> bool {
        self.scorer.kind == ScorerKind::Local && self.store.kind == StoreKind::Redis
    }

    /// The name towards the broker of this very instance.
    #[must_use]
    pub fn transactional_id(&self) -> String {
        let kafka = &self.kafka;
        if !self.shares_store() {
            return kafka.transactional_id.clone();
        }
        // Where there is no such file, `check` asks for a name.
        let host = || std::fs::read_to_string(HOST_NAME).unwrap_or_default();
        let instance = if kafka.instance.is_empty() { host() } else { kafka.instance.clone() };
        format!("{}-{}", kafka.transactional_id, instance.trim())
    }

    /// The labels' topic, where labels are read.
    #[must_use]
    pub fn labels_topic(&self) -> Option<&str> {
        (self.labels.enabled && self.scorer.kind == ScorerKind::Local).then_some(self.labels.topic.as_str())
    }
}

impl Settings for StreamSettings {
    fn check(&self, problems: &mut Problems) {
        self.model.check(problems);
        self.store.check(problems);
        self.time.check(problems);
        self.telemetry.check(problems);
        self.drift.check(problems);
        self.quality.check(problems);
        self.kafka.security.check(problems);
        let kafka = &self.kafka;
        let names = [
            ("kafka.input_topic", &kafka.input_topic),
            ("kafka.predictions_topic", &kafka.predictions_topic),
            ("kafka.dead_letter_topic", &kafka.dead_letter_topic),
            ("kafka.journal_topic", &kafka.journal_topic),
            ("labels.topic", &self.labels.topic),
        ];
        for (index, (key, name)) in names.iter().enumerate() {
            problems.require(!name.is_empty(), key, "must not be empty");
            if let Some((other, _)) = names[..index].iter().find(|(_, earlier)| earlier == name) {
                problems.add(key, format!("is `{name}`, and so is `{other}`: each needs a topic of its own"));
            }
        }
        for (key, value) in [
            ("kafka.brokers", &kafka.brokers),
            ("kafka.group", &kafka.group),
            ("kafka.transactional_id", &kafka.transactional_id),
        ] {
            problems.require(!value.is_empty(), key, "must not be empty");
        }
        let records = (1..=50_000).contains(&kafka.batch_records);
        problems.require(records, "kafka.batch_records", "must be from 1 to 50000");
        let wait = kafka.batch_wait <= Span::seconds(10);
        problems.require(wait, "kafka.batch_wait", "must be at most 10s");
        let timeout = kafka.transaction_timeout >= Span::seconds(10) && kafka.transaction_timeout <= Span::seconds(900);
        problems.require(timeout, "kafka.transaction_timeout", "must be from 10s to 15m");
        let sized = (1..=64 << 20).contains(&kafka.max_message_bytes);
        problems.require(sized, "kafka.max_message_bytes", "must be from 1 to 67108864");
        problems.require(self.labels.max_unknown <= 10_000_000, "labels.max_unknown", "must be at most 10000000");
        let named = !self.shares_store() || !kafka.instance.is_empty() || std::path::Path::new(HOST_NAME).exists();
        problems.require(named, "kafka.instance", "is needed where the host's name cannot be read");
        let session = kafka.session_timeout >= Span::seconds(6) && kafka.session_timeout <= Span::seconds(300);
        problems.require(session, "kafka.session_timeout", "must be from 6s to 5m");
        if self.scorer.kind == ScorerKind::Http {
            let scheme = self.scorer.url.starts_with("http://") || self.scorer.url.starts_with("https://");
            problems.require(scheme, "scorer.url", "must begin with http:// or https://");
            problems.require(self.scorer.concurrency > 0, "scorer.concurrency", "must not be 0");
            problems.require(self.scorer.request_records > 0, "scorer.request_records", "must not be 0");
        }
        if !self.test.crash_at.is_empty() {
            let known = self.test.crash_at.parse::<super::crash::CrashPoint>();
            problems.require(known.is_ok(), "test.crash_at", "is no crash point");
        }
    }
}

#[cfg(test)]
mod tests {
    use fraud_core::service::settings::Sources;

    use super::*;

    fn load(set: &[(&str, &str)]) -> Result<StreamSettings, String> {
        let overrides = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { overrides, ..Sources::default() };
        sources.load::<StreamSettings>().map(|loaded| loaded.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_fine_and_every_key_can_be_set() {
        assert_eq!(load(&[]).unwrap().kafka.delivery, Delivery::ExactlyOnce);
        let settings = load(&[
            ("kafka.delivery", "at_least_once"),
            ("kafka.batch_wait", "20ms"),
            ("kafka.compression", "lz4"),
            ("labels.enabled", "false"),
            ("state.folder", "/tmp/x"),
            ("scorer.kind", "http"),
        ])
        .unwrap();
        assert_eq!(settings.kafka.batch_wait, Span::millis(20));
        assert_eq!(settings.kafka.compression, Compression::Lz4);
        assert_eq!(settings.labels_topic(), None);
    }

    #[test]
    fn what_contradicts_itself_is_named_with_both_sides() {
        let error = load(&[
            ("kafka.predictions_topic", "transactions-input"),
            ("kafka.batch_records", "0"),
            ("test.crash_at", "somewhere"),
            ("kafka.security.username", "x"),
            ("kafka.security.ca_file", "/x"),
        ])
        .unwrap_err();
        for part in [
            "kafka.predictions_topic: is `transactions-input`, and so is `kafka.input_topic`",
            "kafka.batch_records",
            "test.crash_at",
            "kafka.security.protocol: certificates are set",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
