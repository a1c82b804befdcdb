//! Options of `fraud-loadgen run`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::fail_if::FailIf;
use crate::load::schedule::Spacing;
use crate::profile::Profile;
use crate::traffic::{EventTime, Labelled, ScenarioShare};

const EXAMPLES: &str = "\
Arrivals follow their schedule whatever the server does, and latency counts from the intended start: a server
that stands still is charged for everything that should have been answered meanwhile. A quantile is called
\"not known\" where the generator's own lateness may have made it.

Load goes to this machine and to private cluster names (one label, .svc, .cluster.local, .internal, .local,
.test) with private addresses only; anything else needs --i-own-this-target HOST.

Profiles: constant (default), attack (50, 200, 500, 1500/s for 60, 120, 180, 300 s), ramp, spike, soak, or a file:
  [[phases]]
  name = \"morning\"
  rate = 50            # or from = 50, to = 200
  seconds = 60

Examples:
  A quarter of the peak for a minute
    fraud-loadgen run --target http://127.0.0.1:8000 --rate 375 --duration 1m
  The attack, with card testing in its last phase, reported
    fraud-loadgen run --target http://127.0.0.1:8000 --profile attack \\
        --scenario 'card-testing=0.3@attack 4' --html attack.html --json attack.json
  As a gate in a pipeline
    fraud-loadgen run --target http://127.0.0.1:8000 --rate 500 --duration 30s \\
        --fail-if 'p99 > 10ms' --fail-if 'error_rate > 1%'
  A file of transactions, sixty times as fast as they happened
    fraud-loadgen run --target http://127.0.0.1:8000 --input day.parquet --own-time 60

Exit codes: 0 done, 1 a --fail-if condition holds, 2 done but what was asked cannot be told (the generator was
late, or nothing was sent), 64 bad arguments or a target that is not allowed, 69 the target does not
answer, 74 a file could not be read or written, 130 interrupted.";

/// Send transactions on a schedule and measure what comes back.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A server, http://HOST:PORT; more than one shares the connections. Or brokers, kafka://HOST:PORT,HOST:PORT
    #[arg(long, required = true, value_name = "URL")]
    pub target: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub shape: Shape,
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

/// How the rate goes over time.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Shape")]
pub struct Shape {
    /// constant, attack, ramp, spike, soak, or a file of phases (.toml)
    #[arg(long, default_value = "constant")]
    pub profile: Profile,
    /// Transactions a second at the profile's highest [default: 100, or the profile's own]
    #[arg(long)]
    pub rate: Option<f64>,
    /// Length of the whole: 90s, 15m, 1h [default: the profile's own]
    #[arg(long, value_parser = seconds)]
    pub duration: Option<f64>,
    /// Rates of the attack's phases
    #[arg(long, value_delimiter = ',', value_name = "R,R,…")]
    pub rates: Vec<f64>,
    /// Seconds of the attack's phases
    #[arg(long, value_delimiter = ',', value_name = "S,S,…")]
    pub phase_seconds: Vec<f64>,
    /// Seconds between the attack's phases [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub pause: Option<f64>,
    /// How arrivals are spread
    #[arg(long, value_enum, default_value_t)]
    pub spacing: Spacing,
    /// Replay the file in its own time, so many times as fast
    #[arg(long, value_name = "SPEED", requires = "input", num_args = 0..=1, default_missing_value = "1",
        conflicts_with_all = ["rate", "duration", "rates", "phase_seconds", "pause", "repeat"])]
    pub own_time: Option<f64>,
    /// Transactions at most
    #[arg(long, value_name = "NUMBER")]
    pub count: Option<u64>,
}

/// What is sent.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Traffic")]
pub struct TrafficArguments {
    /// Everything random follows from it
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Event times count from here; with the same seed, the same requests [default: now]
    #[arg(long, value_name = "RFC 3339")]
    pub start_time: Option<Timestamp>,
    /// Transactions of a file (.parquet, .csv, .jsonl) instead of simulated ones
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Begin the file again at its end
    #[arg(long, requires = "input")]
    pub repeat: bool,
    /// A payment's time: when it is sent, or its own (with its own identifier)
    #[arg(long, value_enum, default_value_t)]
    pub event_time: EventTime,
    /// Simulated customers [default: as many as make the run's transactions on one day, 5,000 to 1,000,000]
    #[arg(long)]
    pub customers: Option<u32>,
    /// Simulated terminals [default: twice the customers]
    #[arg(long)]
    pub terminals: Option<u32>,
    /// Fraud laid over it, NAME=SHARE or NAME=SHARE@PHASE; NAME is card-testing, compromised-terminal, amount-x5, burst
    #[arg(long, value_name = "NAME=SHARE")]
    pub scenario: Vec<ScenarioShare>,
    /// Share of the transactions that are malformed on purpose, 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub malformed: f64,
    /// Transactions in one request; above 1 they go to /predict/batch
    #[arg(long, default_value = "1", value_name = "NUMBER")]
    pub batch: NonZeroUsize,
    /// Send each transaction's label so long after it: 30s, 5m
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    pub label_delay: Option<f64>,
    /// Which transactions are labelled
    #[arg(long, value_enum, default_value_t)]
    pub label_of: Labelled,
}

/// How it is sent.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Client")]
pub struct Client {
    /// Open connections
    #[arg(long, default_value = "256")]
    pub connections: NonZeroUsize,
    /// Sending threads; one is good for tens of thousands of requests a second
    #[arg(long, default_value = "1")]
    pub threads: NonZeroUsize,
    /// How long an answer is waited for, from the intended start; a free connection, half as long
    #[arg(long, default_value = "10s", value_parser = seconds)]
    pub timeout: f64,
    /// File with the API key for scoring
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// File with the API key for labels [default: the one for scoring]
    #[arg(long, value_name = "FILE")]
    pub label_key_file: Option<PathBuf>,
    /// Close a connection after so many requests and open another, so that load reaches replicas that came later
    #[arg(long, value_name = "NUMBER")]
    pub requests_per_connection: Option<u32>,
    /// Kafka: topic of the transactions
    #[arg(long, default_value = "transactions-input", value_name = "TOPIC")]
    pub input_topic: String,
    /// Kafka: topic of the assessments, read for the latency end to end; `none` measures the broker alone
    #[arg(long, default_value = "fraud-predictions", value_name = "TOPIC")]
    pub predictions_topic: String,
    /// Kafka: topic of the labels
    #[arg(long, default_value = "fraud-labels", value_name = "TOPIC")]
    pub labels_topic: String,
    /// How late the generator itself may be, in milliseconds
    #[arg(long, default_value_t = 1.0, value_name = "MS")]
    pub schedule_tolerance: f64,
}

/// What comes of it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// The report as one page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The report as data
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// What was sent and what is known of it (.parquet, .csv, .jsonl)
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Exit with 1 when this holds, such as 'p99 > 10ms', 'rate < 100/s', 'p99.9@spike > 1s'
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<FailIf>,
    /// Show the plan and send nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What keeps it from doing harm.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Safety")]
pub struct Safety {
    /// A host that is not plainly private, whose owner says that load may go there
    #[arg(long, value_name = "HOST")]
    pub i_own_this_target: Vec<String>,
    /// Refuse a plan with more transactions a second
    #[arg(long, default_value_t = 10_000.0, value_name = "RATE")]
    pub max_rate: f64,
    /// Refuse a plan that lasts longer
    #[arg(long, default_value = "1h", value_parser = seconds, value_name = "TIME")]
    pub max_duration: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    fraud_core::duration::parse(text).map(f64::from)
}
