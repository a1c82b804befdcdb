//! The HTTP metrics of the one endpoint that must not pay for them.
//!
//! actix-web-prom wraps all other endpoints. Per request it matches the route a second time and builds a
//! few texts and a map, which costs more than a whole assessment does. The hot endpoint therefore counts
//! into instruments that it looked up once; they have the same names, help and labels, and are
//! gathered into the same families.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use actix_web::http::StatusCode;
use fraud_core::service::metrics::LATENCY_BUCKETS;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

/// Name of the counter.
pub const TOTAL: &str = "http_requests_total";
/// Name of the histogram.
pub const DURATION: &str = "http_request_duration_seconds";
const LABELS: [&str; 3] = ["endpoint", "method", "status_code"];

/// The families of the hot endpoint.
#[derive(Debug, Clone)]
pub struct HotMetrics {
    total: IntCounterVec,
    duration: HistogramVec,
    marker: Desc,
}

impl HotMetrics {
    /// Declares them and adds them to a registry.
    ///
    /// # Errors
    /// What the metrics library says.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let help = |text: &str| text.to_owned();
        // The texts are those that actix-web-prom gives its own.
        let total = IntCounterVec::new(Opts::new(TOTAL, help("Total number of HTTP requests")), &LABELS)?;
        let options = HistogramOpts::new(DURATION, help("HTTP request duration in seconds for all requests"));
        let duration = HistogramVec::new(options.buckets(LATENCY_BUCKETS.to_vec()), &LABELS)?;
        // A registry knows a collector by what it announces, and refuses a name that is announced twice: so
        // a name is announced that nothing has.
        let marker = Desc::new(help("fraud_api_hot_endpoint"), help("unused"), Vec::new(), HashMap::new())?;
        let metrics = Self { total, duration, marker };
        registry.register(Box::new(metrics.clone()))?;
        Ok(metrics)
    }

    /// One worker's counters of one endpoint.
    #[must_use]
    pub fn endpoint(&self, endpoint: &'static str, method: &'static str) -> HotEndpoint {
        HotEndpoint { metrics: self.clone(), endpoint, method, known: RefCell::default() }
    }
}

impl Collector for HotMetrics {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.marker]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.total.collect().into_iter().chain(self.duration.collect()).collect()
    }
}

/// Counts the requests of one endpoint.
#[derive(Debug)]
pub struct HotEndpoint {
    metrics: HotMetrics,
    endpoint: &'static str,
    method: &'static str,
    /// Few enough to be searched one by one; 200 is the first.
    known: RefCell<Vec<(StatusCode, IntCounter, Histogram)>>,
}

impl HotEndpoint {
    /// Counts one request.
    pub fn observe(&self, status: StatusCode, took: Duration) {
        let mut known = self.known.borrow_mut();
        let at = known.iter().position(|(known, ..)| *known == status).unwrap_or_else(|| {
            let labels = [self.endpoint, self.method, status.as_str()];
            let (total, duration) = (&self.metrics.total, &self.metrics.duration);
            known.push((status, total.with_label_values(&labels), duration.with_label_values(&labels)));
            known.len() - 1
        });
        let (_, total, duration) = &known[at];
        total.inc();
        duration.observe(took.as_secs_f64());
    }
}
