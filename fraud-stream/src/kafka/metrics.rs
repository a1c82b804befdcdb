//! What only the Kafka edge measures, in the registry of the services' metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use fraud_core::service::metrics::{Metrics, MetricsError};
use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};
use rdkafka::statistics::Statistics;

use super::source::{Positions, Source, Topics};
use super::state::Reason;

const SECONDS: [f64; 15] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const RECORDS: [f64; 10] = [1.0, 5.0, 20.0, 50.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];

/// The Kafka edge's own metrics.
#[derive(Debug)]
pub struct StreamMetrics {
    /// Those of every service.
    pub shared: Arc<Metrics>,
    /// From a record's time to its prediction's commit.
    pub end_to_end: Histogram,
    /// From the first message of a batch sent to the batch's commit.
    pub commit: Histogram,
    /// Records of a batch.
    pub batch: Histogram,
    /// Dead letters by reason.
    pub dead: IntCounterVec,
    /// Times that partitions were assigned.
    pub assignments: IntCounter,
    /// Times that a state was rebuilt.
    pub restores: IntCounter,
    /// Records observed again to rebuild a state.
    pub replayed: IntCounter,
    /// Sessions that ended for a passing reason.
    pub sessions_lost: IntCounter,
    /// Snapshots written.
    pub snapshots: IntCounter,
    /// How long the stream stood still for a snapshot.
    pub snapshot: Histogram,
    /// Labels that wait for their transaction.
    pub labels_waiting: IntGauge,
    partition_lag: IntGaugeVec,
}

impl StreamMetrics {
    /// Declares all metrics.
    ///
    /// # Errors
    /// [`MetricsError`], which only a mistake in this module can cause.
    pub fn new() -> Result<Arc<Self>, MetricsError> {
        let shared = Metrics::new()?;
        let fault = |error: prometheus::Error| MetricsError { problem: error.to_string() };
        let histogram = |name: &str, help: &str, bounds: &[f64]| {
            let built = Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec())).map_err(fault)?;
            shared.registry().register(Box::new(built.clone())).map_err(fault)?;
            Ok(built)
        };
        let counter = |name: &str, help: &str| {
            let built = IntCounter::new(name, help).map_err(fault)?;
            shared.registry().register(Box::new(built.clone())).map_err(fault)?;
            Ok(built)
        };
        let dead =
            IntCounterVec::new(Opts::new("fraud_stream_dead_letters_total", "Dead letters by reason."), &["reason"])
                .map_err(fault)?;
        shared.registry().register(Box::new(dead.clone())).map_err(fault)?;
        // A counter that was never touched is not exported, and an alert on its increase would miss the first.
        Reason::ALL.into_iter().for_each(|reason| dead.with_label_values(&[reason.as_str()]).inc_by(0));
        let labels_waiting =
            IntGauge::new("fraud_stream_labels_waiting", "Labels that wait for their transaction.").map_err(fault)?;
        shared.registry().register(Box::new(labels_waiting.clone())).map_err(fault)?;
        let lag = Opts::new("fraud_stream_partition_lag", "Records not committed yet, by topic and partition.");
        let partition_lag = IntGaugeVec::new(lag, &["topic", "partition"]).map_err(fault)?;
        shared.registry().register(Box::new(partition_lag.clone())).map_err(fault)?;
        let end_to_end = "From a record's own time to the commit of its prediction.";
        Ok(Arc::new(Self {
            end_to_end: histogram("fraud_stream_end_to_end_seconds", end_to_end, &SECONDS)?,
            commit: histogram("fraud_stream_commit_seconds", "Sending and committing a batch.", &SECONDS)?,
            batch: histogram("fraud_stream_batch_records", "Records of a batch.", &RECORDS)?,
            assignments: counter("fraud_stream_assignments_total", "Times that partitions were assigned.")?,
            restores: counter("fraud_stream_restores_total", "Times that a state was rebuilt.")?,
            replayed: counter("fraud_stream_replayed_records_total", "Records observed again to rebuild a state.")?,
            sessions_lost: counter("fraud_stream_sessions_lost_total", "Sessions that ended for a passing reason.")?,
            snapshots: counter("fraud_stream_snapshots_total", "Snapshots written.")?,
            snapshot: histogram("fraud_stream_snapshot_seconds", "Standing still for a snapshot.", &SECONDS)?,
            dead,
            labels_waiting,
            partition_lag,
            shared,
        }))
    }
}

/// How often the broker is asked for the ends of the input where the client library does not tell them.
const OLD: Duration = Duration::from_secs(3);

/// Lag from committed offsets and watermarks.
#[derive(Debug)]
pub struct Lag {
    metrics: Arc<StreamMetrics>,
    topics: Topics,
    group: Arc<str>,
    committed: Mutex<Positions>,
    total: AtomicI64,
    /// When the broker was last asked for the input's ends.
    asked: Mutex<Option<Instant>>,
}

impl Lag {
    /// Lag of the topics, of which nothing is known yet.
    #[must_use]
    pub fn new(metrics: Arc<StreamMetrics>, topics: Topics, group: &str) -> Self {
        let committed = Mutex::default();
        Self { metrics, topics, group: group.into(), committed, total: AtomicI64::new(0), asked: Mutex::default() }
    }

    /// Notes what was committed.
    pub fn committed(&self, positions: &Positions) {
        self.committed.lock().extend(positions.iter().map(|(source, offset)| (*source, *offset)));
    }

    /// Forgets partitions that are others' now.
    pub fn forget(&self, sources: &[Source]) {
        let mut committed = self.committed.lock();
        for source in sources {
            committed.remove(source);
            let labels = [self.topics.name(source.stream), &source.partition.to_string()];
            // It was never there when nothing was heard of the partition.
            let _ = self.metrics.partition_lag.remove_label_values(&labels);
        }
    }

    /// Records of the input not committed, when the broker was last heard of.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Takes watermarks from the client library's figures.
    pub(super) fn take(&self, statistics: &Statistics) {
        for (name, topic) in &statistics.topics {
            let partitions = topic.partitions.iter().filter(|(partition, _)| **partition >= 0);
            let mut ends = Positions::new();
            let mut queued = 0;
            for (partition, figures) in partitions {
                ends.insert(self.topics.source(name, *partition), figures.ls_offset.max(0).max(figures.hi_offset));
                queued += figures.fetchq_cnt;
            }
            // Who asked the broker a moment ago knows better: without fetching the library's ends stand still.
            if *name != self.topics.input || self.asked_before(2 * OLD) {
                self.look(name, &ends);
            }
            self.metrics.shared.queue_length(&name.as_str().into(), queued);
        }
    }

    /// Whether the broker is to be asked for the input's ends again, which is noted: the client library hears of them only
    /// while it fetches.
    pub(super) fn ask(&self) -> bool {
        let ask = self.asked_before(OLD);
        if ask {
            *self.asked.lock() = Some(Instant::now());
        }
        ask
    }

    fn asked_before(&self, time: Duration) -> bool {
        self.asked.lock().is_none_or(|asked| asked.elapsed() > time)
    }

    /// Takes a topic's ends.
    pub(super) fn look(&self, name: &str, ends: &Positions) {
        let committed = self.committed.lock().clone();
        let mut lag = 0;
        for (source, end) in ends {
            let Some(next) = committed.get(source) else { continue };
            let behind = (end - next).max(0);
            lag += behind;
            self.metrics.partition_lag.with_label_values(&[name, &source.partition.to_string()]).set(behind);
        }
        self.metrics.shared.consumer_lag(&name.into(), &self.group, lag);
        if name == self.topics.input {
            self.total.store(lag, Ordering::Relaxed);
        }
    }
}
