//! From options to load that is ready to be sent.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::args::Arguments;
use super::{RunError, file};
use crate::load::clock::nanoseconds;
use crate::load::schedule::{Arrival, Arrivals, Phase, length, to_nanoseconds};
use crate::profile::{Overrides, highest};
use crate::report::{Plan, PlannedPhase};
use crate::simulator::Settings;
use crate::target::{Brokers, Target};
use crate::traffic::{
    Encoder, Endpoint, FileStream, FileTimes, LabelSettings, Simulated, Stream, StreamError, Traffic, TrafficSettings,
    TruthFile, customers_for,
};

/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 4_096;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// Where load goes.
#[derive(Debug, Clone)]
pub enum Destination {
    /// Replicas of a service over HTTP.
    Http {
        /// They.
        targets: Vec<Target>,
        /// Requests after which a connection is closed and opened anew.
        requests_per_connection: Option<u32>,
    },
    /// Kafka.
    Kafka {
        /// The brokers.
        brokers: Brokers,
        /// Topic of the transactions.
        input: String,
        /// Topic of the labels.
        labels: String,
        /// Topic of the assessments, if they are read.
        predictions: Option<String>,
    },
}

impl Destination {
    fn of(arguments: &Arguments) -> Result<Self, RunError> {
        let owned = &arguments.safety.i_own_this_target;
        let client = &arguments.client;
        if let [url] = &arguments.target[..]
            && url.starts_with("kafka://")
        {
            if !cfg!(feature = "kafka") {
                let problem = "this build has no Kafka (feature `kafka`)".to_owned();
                return Err(RunError::Option { option: "target", problem });
            }
            if arguments.traffic.batch.get() > 1 {
                let problem = "a Kafka message is one transaction".to_owned();
                return Err(RunError::Option { option: "batch", problem });
            }
            return Ok(Self::Kafka {
                brokers: Brokers::parse(url, owned)?,
                input: client.input_topic.clone(),
                labels: client.labels_topic.clone(),
                predictions: Some(client.predictions_topic.clone()).filter(|topic| topic != "none"),
            });
        }
        let targets: Result<Vec<Target>, _> = arguments.target.iter().map(|url| Target::parse(url, owned)).collect();
        Ok(Self::Http { targets: targets?, requests_per_connection: client.requests_per_connection })
    }

    /// Names and addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        match self {
            Self::Http { targets, .. } => targets.iter().map(|target| (target.to_string(), target.address)).collect(),
            Self::Kafka { brokers, .. } => vec![(format!("kafka://{}", brokers.list), brokers.address)],
        }
    }
}

/// Load that is ready to be sent.
pub struct Prepared {
    /// What the report will say was planned.
    pub plan: Plan,
    /// Where it goes.
    pub destination: Destination,
    /// Phases in requests a second.
    pub phases: Vec<Phase>,
    /// When requests are intended to start.
    pub arrivals: Box<dyn Iterator<Item = Arrival> + Send>,
    /// What they are.
    pub traffic: Traffic,
    /// Sending threads.
    pub threads: NonZeroUsize,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// How late the generator may be, in nanoseconds.
    pub tolerance: u64,
    /// Show no figures while it runs.
    pub quiet: bool,
}

/// Checks the options, and makes everything that is needed before the first request.
///
/// # Errors
/// [`RunError`].
pub fn prepare(arguments: &Arguments) -> Result<Prepared, RunError> {
    let destination = Destination::of(arguments)?;
    check(arguments)?;
    let rows = arguments.traffic.batch.get();
    let planned = planned_phases(arguments)?;
    within_limits(arguments, &planned)?;
    let phases = in_requests(&planned, rows);
    if let Some((condition, phase)) = arguments.output.fail_if.iter().find_map(|condition| {
        let phase = condition.phase()?;
        planned.iter().all(|planned| planned.name != phase).then_some((condition, phase))
    }) {
        return Err(RunError::Option {
            option: "fail-if",
            problem: format!("`{condition}`: there is no phase `{phase}`"),
        });
    }
    if let Some(phase) =
        arguments.traffic.scenario.iter().find_map(|share| {
            share.phase.as_ref().filter(|phase| planned.iter().all(|planned| planned.name != **phase))
        })
    {
        return Err(RunError::Option { option: "scenario", problem: format!("there is no phase `{phase}`") });
    }
    let start = arguments.traffic.start_time.unwrap_or_else(Timestamp::now);
    let (stream, source) = stream(arguments, &planned, start)?;
    let arrivals: Box<dyn Iterator<Item = Arrival> + Send> = match (arguments.shape.own_time, &arguments.traffic.input)
    {
        (Some(speed), Some(path)) => {
            let limit = to_nanoseconds(arguments.safety.max_duration);
            let times = FileTimes::open(path, speed, rows).map_err(StreamError::from)?;
            Box::new(times.take_while(move |arrival| arrival.due < limit))
        }
        _ => Box::new(Arrivals::new(phases.clone(), arguments.shape.spacing, arguments.traffic.seed)),
    };
    let labels = arguments
        .traffic
        .label_delay
        .map(|delay_seconds| LabelSettings { delay_seconds, of: arguments.traffic.label_of });
    let plan = Plan {
        targets: destination.addresses().into_iter().map(|address| address.0).collect(),
        profile: arguments
            .shape
            .own_time
            .map_or_else(|| arguments.shape.profile.to_string(), |speed| format!("the file's own time × {speed}")),
        phases: planned.iter().map(PlannedPhase::from).collect(),
        spacing: arguments.shape.spacing,
        seed: arguments.traffic.seed,
        start_time: start.to_string(),
        source,
        rows_per_request: rows,
        connections: arguments.client.connections.get(),
        threads: arguments.client.threads.get(),
        timeout_seconds: arguments.client.timeout,
        schedule_tolerance_ms: arguments.client.schedule_tolerance,
        malformed: arguments.traffic.malformed,
        scenarios: arguments.traffic.scenario.clone(),
        labels,
    };
    let settings = TrafficSettings {
        seed: arguments.traffic.seed,
        base: start.as_second(),
        event_time: arguments.traffic.event_time,
        rows,
        malformed: arguments.traffic.malformed,
        scenarios: arguments.traffic.scenario.clone(),
        phases: planned.iter().map(|phase| phase.name.clone()).collect(),
        labels,
        limit: arguments.shape.count.unwrap_or(u64::MAX),
    };
    let traffic = Traffic::new(settings, stream, encoders(arguments, &destination)?);
    let traffic = match &arguments.output.truth {
        Some(path) if !arguments.output.dry_run => {
            traffic.with_truth(TruthFile::create(path).map_err(StreamError::from)?)
        }
        _ => traffic,
    };
    Ok(Prepared {
        plan,
        destination,
        phases,
        arrivals,
        traffic,
        threads: arguments.client.threads,
        timeout: Duration::from_secs_f64(arguments.client.timeout),
        tolerance: nanoseconds(Duration::from_secs_f64(arguments.client.schedule_tolerance / 1_000.0)),
        quiet: false,
    })
}

fn check(arguments: &Arguments) -> Result<(), RunError> {
    let wrong = |option, problem: &str| Err(RunError::Option { option, problem: problem.to_owned() });
    let positive = |value: f64| value.is_finite() && value > 0.0;
    if !(0.0..=1.0).contains(&arguments.traffic.malformed) {
        return wrong("malformed", "must be a share from 0 to 1");
    }
    if arguments.traffic.scenario.iter().map(|share| share.share).sum::<f64>() > 1.0
        && arguments.traffic.scenario.iter().all(|share| share.phase.is_none())
    {
        return wrong("scenario", "the shares are more than the whole");
    }
    if !positive(arguments.client.timeout) {
        return wrong("timeout", "must be more than 0");
    }
    let tolerance = arguments.client.schedule_tolerance;
    if !(positive(tolerance) && tolerance <= 60_000.0) {
        return wrong("schedule-tolerance", "must be more than 0 and at most 60000");
    }
    if arguments.shape.own_time.is_some_and(|speed| !positive(speed)) {
        return wrong("own-time", "must be more than 0");
    }
    if arguments.shape.rate.is_some_and(|rate| !positive(rate)) {
        return wrong("rate", "must be more than 0");
    }
    if arguments.shape.pause.is_some_and(|pause| !(pause.is_finite() && pause >= 0.0)) {
        return wrong("pause", "must be 0 or more");
    }
    Ok(())
}

/// Phases in transactions a second. A file's own time is one phase, whose rate is the file's.
fn planned_phases(arguments: &Arguments) -> Result<Vec<Phase>, RunError> {
    let shape = &arguments.shape;
    if let (Some(speed), Some(path)) = (arguments.shape.own_time, &arguments.traffic.input) {
        let mut times = FileTimes::open(path, speed, 1).map_err(StreamError::from)?;
        let limit = to_nanoseconds(arguments.safety.max_duration);
        let (mut count, mut last) = (0_u32, 0);
        for arrival in times.by_ref().take_while(|arrival| arrival.due < limit) {
            count = count.saturating_add(1);
            last = arrival.due;
        }
        let seconds = (last as f64 / 1e9).max(0.1);
        return Ok(vec![Phase::steady("replay", f64::from(count) / seconds, seconds)]);
    }
    let overrides = Overrides {
        rate: shape.rate,
        seconds: shape.duration,
        rates: shape.rates.clone(),
        phase_seconds: shape.phase_seconds.clone(),
        pause: shape.pause,
    };
    Ok(shape.profile.phases(&overrides)?)
}

fn within_limits(arguments: &Arguments, planned: &[Phase]) -> Result<(), RunError> {
    let (rate, limit) = (highest(planned), arguments.safety.max_rate);
    if rate > limit {
        return Err(RunError::Limit { what: "transactions a second", asked: rate, limit, option: "max-rate" });
    }
    let (seconds, limit) = (length(planned) as f64 / 1e9, arguments.safety.max_duration);
    if seconds > limit {
        return Err(RunError::Limit { what: "seconds", asked: seconds, limit, option: "max-duration" });
    }
    Ok(())
}

fn in_requests(planned: &[Phase], rows: usize) -> Vec<Phase> {
    let rows = rows as f64;
    planned.iter().map(|phase| Phase { from: phase.from / rows, to: phase.to / rows, ..phase.clone() }).collect()
}

/// Where transactions come from, and what to call it.
fn stream(arguments: &Arguments, planned: &[Phase], start: Timestamp) -> Result<(Box<dyn Stream>, String), RunError> {
    let traffic = &arguments.traffic;
    if let Some(path) = &traffic.input {
        let stream = FileStream::open(path, traffic.repeat).map_err(StreamError::from)?;
        return Ok((Box::new(stream), format!("transactions of {}", path.display())));
    }
    let expected: f64 = planned.iter().map(Phase::requests).sum();
    let customers = traffic.customers.unwrap_or_else(|| customers_for(expected));
    let terminals = traffic.terminals.unwrap_or(customers.saturating_mul(2));
    // A denser plane has as many terminals within reach as the handbook's, so that terminals are as busy.
    let radius = 5.0 * (10_000.0 / f64::from(terminals.max(1))).sqrt().min(1.0);
    let settings = Settings {
        customers,
        terminals,
        // As many days as a run could ever take; each is made when it is needed.
        days: 3_650,
        start: start.as_second().div_euclid(DAY) * DAY,
        radius,
        seed: traffic.seed,
        drift: None,
    };
    Ok((Box::new(Simulated::new(settings)?), format!("simulated transactions of {customers} customers")))
}

fn encoders(arguments: &Arguments, destination: &Destination) -> Result<(Encoder, Option<Encoder>), RunError> {
    let targets = match destination {
        Destination::Http { targets, .. } => targets,
        #[cfg(feature = "kafka")]
        Destination::Kafka { .. } => {
            return Ok((Encoder::kafka(), arguments.traffic.label_delay.map(|_| Encoder::kafka())));
        }
        #[cfg(not(feature = "kafka"))]
        Destination::Kafka { .. } => &Vec::new(),
    };
    let client = &arguments.client;
    let key = client.key_file.as_deref().map(read_key).transpose()?;
    let label_key = client.label_key_file.as_deref().map(read_key).transpose()?.or_else(|| key.clone());
    let endpoint = if arguments.traffic.batch.get() == 1 { Endpoint::Predict } else { Endpoint::Batch };
    // Several targets are replicas of one service: which of them a request names makes no difference to them.
    let Some(target) = targets.first() else {
        return Err(RunError::Option { option: "target", problem: "there is none".to_owned() });
    };
    let score = Encoder::new(target, endpoint, key.as_deref());
    let label = arguments.traffic.label_delay.map(|_| Encoder::new(target, Endpoint::Labels, label_key.as_deref()));
    Ok((score, label))
}

fn read_key(path: &Path) -> Result<String, RunError> {
    let text = std::fs::read_to_string(path).map_err(|error| file(path, &error))?;
    let key = text.trim();
    let shaped = !key.is_empty() && key.len() <= MAX_KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_graphic());
    if shaped { Ok(key.to_owned()) } else { Err(file(path, &"a key is one line of visible ASCII characters")) }
}
