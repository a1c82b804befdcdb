//! `fraud-loadgen run`: load on a schedule.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;

mod args;
mod live;
mod prepare;

pub use args::{Arguments, Client, Output, Safety, Shape, TrafficArguments};
pub use prepare::{Destination, Prepared, prepare};

use crate::fail_if::Finding;
use crate::load::clock::Clock;
use crate::load::engine::{self, Run};
#[cfg(feature = "kafka")]
use crate::load::kafka;
use crate::load::schedule::Phase;
use crate::load::stats::Stats;
use crate::profile::ProfileError;
use crate::report::{self, Record, Second, Verdict, asked_at};
use crate::target::TargetError;
use crate::traffic::StreamError;
use live::Live;

/// How long the first connection to a target may take.
const CONNECT: Duration = Duration::from_secs(3);

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A target that is not taken.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A profile that is none.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A plan beyond a limit.
    #[error("the plan asks for {asked} {what}, the limit is {limit}: raise it with --{option} if that is meant")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// What was asked for.
        asked: f64,
        /// The limit.
        limit: f64,
        /// The option that raises it.
        option: &'static str,
    },
    /// An option out of its range.
    #[error("--{option}: {problem}")]
    Option {
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody listens there.
    #[error("{target} does not answer: {problem}")]
    Unreachable {
        /// The target.
        target: String,
        /// What was tried and failed.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        problem: String,
    },
    /// The transactions cannot be made.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The load cannot be sent.
    #[error(transparent)]
    Engine(#[from] engine::RunError<StreamError>),
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was measured; none after a dry run.
    pub record: Option<Record>,
    /// Conditions with what they came to.
    pub findings: Vec<(String, Finding)>,
}

impl Outcome {
    /// 0 done, 1 a condition holds, 2 it cannot be told, 130 interrupted.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let Some(record) = &self.record else { return 0 };
        if self.findings.iter().any(|finding| matches!(finding.1, Finding::Failed(_))) {
            return 1;
        }
        if record.verdict.interrupted {
            return 130;
        }
        let unknown = self.findings.iter().any(|finding| matches!(finding.1, Finding::Unknown(_)));
        if unknown || !record.verdict.kept_schedule || record.total.requests == 0 { 2 } else { 0 }
    }
}

/// Sends the load and writes the reports; the plan and progress go to standard error.
///
/// # Errors
/// [`RunError`], before the first request or when the load cannot be made.
pub fn run(arguments: &Arguments) -> Result<Outcome, RunError> {
    let prepared = prepare(arguments)?;
    eprint!("{}", report::plan_text(&prepared.plan));
    if arguments.output.dry_run {
        return Ok(Outcome { record: None, findings: Vec::new() });
    }
    for (target, address) in prepared.destination.addresses() {
        let connected = TcpStream::connect_timeout(&address, CONNECT);
        connected.map_err(|error| RunError::Unreachable { target, problem: error.to_string() })?;
    }
    let stop = interruptible();
    let record = execute(prepared, &stop)?;
    let findings = write_reports(&record, &arguments.output)?;
    Ok(Outcome { record: Some(record), findings })
}

/// Writes the reports that were asked for, and holds the conditions against the record.
///
/// # Errors
/// [`RunError::File`].
pub fn write_reports(record: &Record, output: &Output) -> Result<Vec<(String, Finding)>, RunError> {
    if let Some(path) = &output.json {
        write(path, &serde_json::to_vec_pretty(record).map_err(|error| file(path, &error))?)?;
    }
    if let Some(path) = &output.html {
        write(path, report::page(record).as_bytes())?;
    }
    Ok(output.fail_if.iter().map(|condition| (condition.to_string(), condition.check(record))).collect())
}

/// Sends prepared load until its end, or until `stop` is set.
///
/// # Errors
/// [`RunError::Engine`].
pub fn execute(mut prepared: Prepared, stop: &Arc<AtomicBool>) -> Result<Record, RunError> {
    let limit = raise_open_files(prepared.plan.connections);
    prepared.plan.connections = prepared.plan.connections.min(limit);
    let started_at = Timestamp::now();
    let mut live = Live::new(&prepared.plan, prepared.quiet);
    let mut seconds: Vec<Second> = Vec::new();
    let phases: Vec<Phase> = prepared.phases.clone();
    let every = Duration::from_millis(200);
    let watch = |clock: &Clock, complete: Vec<(u64, Stats)>| {
        for (number, stats) in complete {
            let second = Second::new(number, &stats, asked_at(&phases, number));
            live.second(&second);
            seconds.push(second);
        }
        live.tick(clock.now());
    };
    let measured = match prepared.destination {
        Destination::Http { targets, requests_per_connection } => {
            let run = Run {
                arrivals: prepared.arrivals,
                phases: phases.len(),
                addresses: targets.iter().map(|target| target.address).collect(),
                connections: prepared.plan.connections,
                requests_per_connection,
                threads: prepared.threads,
                timeout: prepared.timeout,
                stop: stop.clone(),
            };
            engine::run(run, &mut prepared.traffic, every, watch)?
        }
        #[cfg(feature = "kafka")]
        Destination::Kafka { brokers, input, labels, predictions } => {
            let run = kafka::KafkaRun {
                arrivals: prepared.arrivals,
                phases: phases.len(),
                topics: kafka::Topics { brokers: brokers.list, input, labels, predictions },
                timeout: prepared.timeout,
                stop: stop.clone(),
            };
            kafka::run(run, &mut prepared.traffic, every, watch)?
        }
        #[cfg(not(feature = "kafka"))]
        Destination::Kafka { .. } => {
            return Err(RunError::Option { option: "target", problem: "this build has no Kafka".to_owned() });
        }
    };
    live.finish();
    let verdict = Verdict::of(&measured, prepared.tolerance, stop.load(Ordering::Relaxed));
    let rows = prepared.plan.rows_per_request;
    let mut record = Record::new(prepared.plan, (&phases, rows), (&measured, prepared.tolerance), (verdict, seconds));
    record.started_at = started_at.to_string();
    Ok(record)
}

/// A flag that Ctrl-C and a polite kill set; the second one ends the process.
#[must_use]
pub fn interruptible() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Without handlers the signal ends the process at once, as it would any other.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone());
        let _ = signal_hook::flag::register(signal, stop.clone());
    }
    stop
}

/// Asks for as many open files as the connections need; answers how many connections there can be.
fn raise_open_files(connections: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// Files that the rest of the process may have open.
    const OTHERS: u64 = 64;
    let wanted = connections as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < wanted) else { return connections };
    let most = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    let granted = if raised.is_ok() { most } else { current };
    usize::try_from(granted.saturating_sub(OTHERS)).unwrap_or(connections).clamp(1, connections)
}

fn file(path: &Path, error: &dyn std::fmt::Display) -> RunError {
    RunError::File { path: path.to_owned(), problem: error.to_string() }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    std::fs::write(path, bytes).map_err(|error| file(path, &error))
}
