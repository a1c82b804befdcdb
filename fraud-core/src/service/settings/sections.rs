//! The groups of settings that every service has.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Problems, Span};
use crate::features::StoreSettings;

/// Where the policy comes from. Without a path: the thresholds of the model, no rules.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySettings {
    /// A policy file; a change of it is taken over with the model's `watch`.
    pub path: Option<PathBuf>,
}

/// What kind of store remembers the transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// In this process.
    #[default]
    Embedded,
    /// In a Redis that several replicas share.
    Redis,
}

/// The Redis that holds the store, with `store.kind = "redis"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSection {
    /// `redis://host:port`, or `rediss://…` for TLS; without user and password.
    pub url: String,
    /// The user of Redis' access lists.
    pub username: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// What all keys begin with.
    pub prefix: String,
    /// How long one call may take, connecting included.
    pub timeout: Span,
    /// The only store epoch accepted; without it, whatever the first connection finds.
    pub epoch: Option<String>,
}

impl Default for RedisSection {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            username: None,
            password_file: None,
            prefix: "fraud".to_owned(),
            timeout: Span::millis(200),
            epoch: None,
        }
    }
}

/// The store of transactions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSection {
    /// `embedded` or `redis`.
    pub kind: StoreKind,
    /// Where the Redis is, for that kind.
    pub redis: RedisSection,
    /// How far back features may look (delay + window).
    pub history: Span,
    /// How late an event may come and still be recorded.
    pub lateness: Span,
    /// How long a repeated transaction gets the profile it had first.
    pub dedupe: Span,
    /// Seconds of a key kept exactly, beyond which the oldest become minutes.
    pub max_cells_per_key: u32,
    /// Memory at which no new customer or terminal is taken, in bytes.
    pub max_bytes: u64,
    /// Where the store is saved; without it a restart begins with empty windows.
    pub snapshot_path: Option<PathBuf>,
    /// How often it is saved; `0s` only at shutdown.
    pub snapshot_every: Span,
    /// A state that `fraud-stream replay --save-state` wrote, taken over when there is no snapshot yet.
    pub load_state: Option<PathBuf>,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            kind: StoreKind::Embedded,
            redis: RedisSection::default(),
            history: Span::seconds(37 * 86_400),
            lateness: Span::seconds(86_400),
            dedupe: Span::seconds(48 * 3_600),
            // What a replay keeps: the same features, to the bit.
            max_cells_per_key: 65_536,
            max_bytes: 4 << 30,
            snapshot_path: None,
            snapshot_every: Span::seconds(60),
            load_state: None,
        }
    }
}

impl StoreSection {
    /// What is kept, how long, and within which limits.
    #[must_use]
    pub fn settings(&self) -> StoreSettings {
        StoreSettings {
            history: self.history.whole_seconds(),
            lateness: self.lateness.whole_seconds(),
            dedupe: self.dedupe.whole_seconds(),
            max_cells_per_key: self.max_cells_per_key as usize,
            max_bytes: self.max_bytes,
            ..StoreSettings::default()
        }
    }

    /// Adds what is out of bounds.
    pub fn check(&self, problems: &mut Problems) {
        let days = |span: Span| span.0.as_secs() as f64 / 86_400.0;
        problems.require(days(self.history) <= 180.0, "store.history", "must be at most 180d");
        problems.require(days(self.lateness) <= 90.0, "store.lateness", "must be at most 90d");
        problems.require(self.max_cells_per_key >= 60, "store.max_cells_per_key", "must be at least 60");
        problems.require(self.max_bytes >= 1 << 20, "store.max_bytes", "must be at least 1048576");
        if self.kind == StoreKind::Redis {
            #[cfg(feature = "redis")]
            self.redis.check(problems);
            #[cfg(not(feature = "redis"))]
            problems.add("store.kind", "this build has no Redis (feature `redis`)");
            let local = [("store.snapshot_path", &self.snapshot_path), ("store.load_state", &self.load_state)];
            for (key, _) in local.into_iter().filter(|(_, path)| path.is_some()) {
                problems
                    .add(key, "is of the embedded store: a Redis keeps its own (`fraud-api store init --load-state`)");
            }
        }
    }
}

/// Event time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeSettings {
    /// What `tx_time_seconds` 0 is, in RFC 3339.
    pub epoch: String,
    /// How far after its arrival an event may claim to have happened.
    pub max_future_skew: Span,
}

impl Default for TimeSettings {
    fn default() -> Self {
        Self { epoch: "1970-01-01T00:00:00Z".to_owned(), max_future_skew: Span::seconds(300) }
    }
}

impl TimeSettings {
    /// The epoch in Unix seconds; that of 1970 when it cannot be read, which `check` reports.
    #[must_use]
    pub fn epoch_seconds(&self) -> i64 {
        self.epoch.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
    }

    /// Adds what cannot be read.
    pub fn check(&self, problems: &mut Problems) {
        let reads = self.epoch.parse::<jiff::Timestamp>().is_ok();
        problems.require(reads, "time.epoch", "must be RFC 3339, such as 2018-04-01T00:00:00Z");
    }
}

/// How loud the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Only what broke.
    Error,
    /// And what may become a problem.
    Warn,
    /// And what happened to the service as a whole.
    #[default]
    Info,
    /// And refused requests.
    Debug,
}

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For a person at a terminal.
    Text,
}

/// Logs and traces.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// `error`, `warn`, `info` or `debug`.
    pub log_level: LogLevel,
    /// `json` or `text`.
    pub log_format: LogFormat,
    /// Where traces go (OTLP over HTTP, for example `http://collector:4318`); without it there are none.
    pub otlp_endpoint: Option<String>,
    /// The share of requests traced where the caller has not decided, 0 to 1.
    pub trace_share: f64,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { log_level: LogLevel::Info, log_format: LogFormat::Json, otlp_endpoint: None, trace_share: 0.01 }
    }
}

impl TelemetrySettings {
    /// Adds what is out of bounds.
    pub fn check(&self, problems: &mut Problems) {
        let share = (0.0..=1.0).contains(&self.trace_share);
        problems.require(share, "telemetry.trace_share", "must be from 0 to 1");
        if let Some(endpoint) = &self.otlp_endpoint {
            let scheme = endpoint.starts_with("http://") || endpoint.starts_with("https://");
            problems.require(scheme, "telemetry.otlp_endpoint", "must begin with http:// or https://");
        }
    }
}

/// Drift of the inputs and the score against the model's training data.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftSettings {
    /// Length of the window compared with the baseline.
    pub window: Span,
    /// One transaction in so many is looked at; 0 looks at none.
    pub sample_every: u32,
    /// Below so many samples no figure is given.
    pub min_samples: u64,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self { window: Span::seconds(3_600), sample_every: 8, min_samples: 500 }
    }
}

impl DriftSettings {
    /// Adds what is out of bounds.
    pub fn check(&self, problems: &mut Problems) {
        problems.require(self.window >= Span::seconds(10), "drift.window", "must be at least 10s");
    }
}

/// Quality of the decisions, once labels have come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QualitySettings {
    /// How many scores are remembered until their label comes, rounded up to a power of two; 0 remembers none. Where
    /// more come, a sample of them is.
    pub remembered: u32,
    /// How long after a transaction its label may come and still find its score; nothing is remembered over a restart.
    pub labels_within: Span,
    /// How many labelled transactions the figures are over.
    pub labelled: u32,
}

impl Default for QualitySettings {
    fn default() -> Self {
        Self { remembered: 1 << 17, labels_within: Span::seconds(8 * 86_400), labelled: 20_000 }
    }
}

impl QualitySettings {
    /// Adds what is out of bounds.
    pub fn check(&self, problems: &mut Problems) {
        problems.require(self.remembered <= 1 << 28, "quality.remembered", "must be at most 268435456");
        problems.require(!self.labels_within.is_zero(), "quality.labels_within", "must not be 0");
        problems.require(self.labelled <= 1 << 22, "quality.labelled", "must be at most 4194304");
    }
}

/// Faults made on purpose, to try probes and rollouts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChaosSettings {
    /// The others are refused without it.
    pub enabled: bool,
    /// Not ready until so long after the start.
    pub startup_delay: Span,
    /// Liveness fails from so long after the start.
    pub fail_liveness_after: Span,
    /// Every assessment takes so much longer, computing.
    pub slow_assessment: Span,
}

impl ChaosSettings {
    /// Adds faults that are set but not enabled.
    pub fn check(&self, problems: &mut Problems) {
        for (key, span) in [
            ("chaos.startup_delay", self.startup_delay),
            ("chaos.fail_liveness_after", self.fail_liveness_after),
            ("chaos.slow_assessment", self.slow_assessment),
        ] {
            problems.require(self.enabled || span.is_zero(), key, "is refused unless `chaos.enabled` is true");
        }
    }
}
