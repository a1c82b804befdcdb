//! Options of `fraud-loadgen drill`.

use std::net::SocketAddr;

use crate::load::schedule::Spacing;
use crate::run::{Client, Output, Safety, TrafficArguments};

const EXAMPLES: &str = "\
The attack's four phases are a shape (1 : 4 : 10 : 30). The drill measures one replica's capacity C at its CPU limit and
sets the last phase to 1.3 × 6 × C, so that six replicas are not enough. It ends as soon as the alarm has arrived.

Watched in Prometheus: kube_deployment_status_replicas, kube_horizontalpodautoscaler_status_desired_replicas, the rule's own
series of CPU use against the limit, and the alert. Nothing may fire when it begins.

Example, from inside of the cluster:
  fraud-loadgen drill --target http://fraud-api:8000 --replica http://10-1-2-3.fraud.pod.cluster.local:8000 \\
      --prometheus http://prometheus-operated.monitoring.svc:9090 \\
      --alertmanager http://alertmanager-operated.monitoring.svc:9093 --html drill.html

Exit codes: 0 the alarm went through the chain, 1 it did not (the last line says where it stopped) or a --fail-if condition
holds, 64 bad arguments, 69 the target or the monitoring does not answer as needed, 74 files, 130 interrupted.";

/// Attack the service on purpose and see whether the administrator is called.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The service, http://HOST:PORT or kafka://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub target: String,
    /// One replica, for its capacity to be measured [default: the target, which is then taken for one]
    #[arg(long, value_name = "URL")]
    pub replica: Option<String>,
    /// What one replica takes, in transactions a second, instead of measuring it
    #[arg(long, value_name = "RATE")]
    pub capacity: Option<f64>,
    /// Seconds of each step of the measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub measure_seconds: f64,
    /// Where Prometheus answers
    #[arg(long, value_name = "URL")]
    pub prometheus: String,
    /// Where Alertmanager answers
    #[arg(long, value_name = "URL")]
    pub alertmanager: Option<String>,
    /// Listen here for what Alertmanager sends
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub webhook: Option<SocketAddr>,
    /// After the attack, wait so long for the webhook to be told that it is over
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "webhook")]
    pub wait_resolved: Option<f64>,
    /// Namespace of the service
    #[arg(long, default_value = "fraud")]
    pub namespace: String,
    /// Name of its Deployment and its autoscaler, a regular expression
    #[arg(long, default_value = "fraud-api(-blue|-green)?")]
    pub deployment: String,
    /// The alert
    #[arg(long, default_value = "AdminNotification_MaxScaleHighCPU")]
    pub alert: String,
    /// The autoscaler's maximum
    #[arg(long, default_value_t = 6)]
    pub max_replicas: u32,
    /// The last phase, as a multiple of what all replicas take
    #[arg(long, default_value_t = 1.3)]
    pub headroom: f64,
    /// Seconds of the phases
    #[arg(long, value_delimiter = ',', value_name = "S,S,S,S")]
    pub phase_seconds: Vec<f64>,
    /// Seconds between the phases [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub pause: Option<f64>,
    /// How arrivals are spread
    #[arg(long, value_enum, default_value_t)]
    pub spacing: Spacing,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub traffic: TrafficArguments,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub client: Client,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub output: Output,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub safety: Safety,
}

fn seconds(text: &str) -> Result<f64, String> {
    fraud_core::duration::parse(text).map(f64::from)
}
