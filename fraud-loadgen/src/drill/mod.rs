//! `fraud-loadgen drill`: is the administrator really called?
//!
//! It measures what one replica can take, scales the attack to six of them, runs it, and follows what it causes: replicas,
//! CPU, the alert in Prometheus, in Alertmanager and at a webhook. It succeeds when the alarm has gone through the whole
//! chain, and otherwise says which link did not answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

mod args;
mod capacity;
mod chain;
mod watch;
mod web;

pub use args::Arguments;

use crate::fail_if::Finding;
use crate::profile::{ATTACK_RATES, ATTACK_SECONDS, PAUSE_SECONDS};
use crate::report::{self, DrillRecord, Record, Sample};
use crate::run::{self, RunError, Shape, execute, interruptible, prepare};
use crate::target::Target;
use chain::Chain;
use watch::Watched;

/// How often the monitoring is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How long an alert that fires may take to the webhook after the load has ended.
const GRACE: Duration = Duration::from_mins(1);

/// How long the replicas may take to cool down after one of them was measured, and below which share of the limit they have.
const COOL_DOWN: Duration = Duration::from_mins(4);
const COOL: f64 = 0.5;

/// Why there was no drill.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrillError {
    /// The load cannot be made.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The monitoring is not what the drill needs.
    #[error("{0}")]
    Monitoring(String),
    /// Nobody can listen there.
    #[error("--webhook {address}: {problem}")]
    Webhook {
        /// The address.
        address: SocketAddr,
        /// Why not.
        problem: String,
    },
    /// A replica that answers nothing in time.
    #[error("one replica does not hold even the lowest rate tried: is it healthy, is its CPU limit sensible?")]
    NoCapacity,
}

/// What became of a drill.
#[derive(Debug)]
pub struct Outcome {
    /// What was measured and seen.
    pub record: Record,
    /// The alarm went through the whole chain.
    pub succeeded: bool,
    /// Conditions with what they came to.
    pub findings: Vec<(String, Finding)>,
}

/// Drills; the plan and the timeline go to standard error.
///
/// # Errors
/// [`DrillError`].
pub fn run(arguments: &Arguments) -> Result<Outcome, DrillError> {
    let monitoring = Watched {
        prometheus: Target::watched(&arguments.prometheus).map_err(RunError::from)?,
        alertmanager: arguments.alertmanager.as_deref().map(Target::watched).transpose().map_err(RunError::from)?,
        namespace: arguments.namespace.clone(),
        deployment: arguments.deployment.clone(),
        alert: arguments.alert.clone(),
    };
    ready(&monitoring)?;
    let names = (arguments.alert.clone(), arguments.namespace.clone());
    let webhook = match arguments.webhook {
        Some(address) => Some(
            web::listen(address, names)
                .map_err(|problem| DrillError::Webhook { address, problem: problem.to_string() })?,
        ),
        None => None,
    };
    let stop = interruptible();
    let capacity = capacity(arguments, &stop)?;
    cool_down(&monitoring, &stop);
    let load = load_arguments(arguments, capacity);
    let prepared = prepare(&load)?;
    eprintln!("The design's attack: {} /s", join(&ATTACK_RATES));
    eprintln!(
        "One replica takes {capacity:.0}/s at its CPU limit; the last phase is {} × {} replicas × that: {} /s",
        arguments.headroom,
        arguments.max_replicas,
        join(&load.shape.rates)
    );
    eprint!("{}", report::plan_text(&prepared.plan));
    let wait = arguments.wait_resolved.unwrap_or(0.0);
    let chain = Chain::new(arguments.max_replicas, monitoring.alertmanager.is_some(), (webhook.is_some(), wait > 0.0));
    let watcher =
        Watcher { watched: monitoring, webhook, chain, samples: Vec::new(), said: Vec::new(), start: Instant::now() };
    let (record, watcher) = attack(prepared, watcher, (&stop, Duration::from_secs_f64(wait)))?;
    let mut record = record;
    let succeeded = watcher.chain.is_complete();
    let result = watcher.chain.result();
    record.drill = Some(DrillRecord {
        result,
        seconds: watcher.start.elapsed().as_secs_f64(),
        capacity,
        hottest: watcher.chain.hottest(),
        links: watcher.chain.links(),
        samples: watcher.samples,
        timeline: watcher.chain.events,
    });
    let findings = run::write_reports(&record, &arguments.output)?;
    Ok(Outcome { record, succeeded, findings })
}

/// Runs the load while the watcher looks on. The load ends when the alarm has arrived; the watching ends with the load, or
/// when the alarm is over, for which it waits so long.
fn attack(
    prepared: run::Prepared,
    mut watcher: Watcher,
    (stop, wait): (&Arc<AtomicBool>, Duration),
) -> Result<(Record, Watcher), RunError> {
    let enough = Arc::new(AtomicBool::new(false));
    watcher.start = Instant::now();
    let loading = Arc::new(AtomicBool::new(true));
    thread::scope(|scope| {
        let watching = scope.spawn({
            let (enough, loading) = (enough.clone(), loading.clone());
            move || {
                let mut ended: Option<Instant> = None;
                loop {
                    watcher.look();
                    if stop.load(Ordering::Relaxed) || watcher.chain.has_alarmed() {
                        enough.store(true, Ordering::Relaxed);
                    }
                    if !loading.load(Ordering::Relaxed) {
                        let since = ended.get_or_insert_with(Instant::now).elapsed();
                        let on_its_way = watcher.chain.is_firing() && !watcher.chain.has_alarmed() && since < GRACE;
                        let ending = watcher.chain.has_alarmed() && watcher.chain.waits_for_end() && since < wait;
                        let waits = on_its_way || ending;
                        if !waits || stop.load(Ordering::Relaxed) {
                            return watcher;
                        }
                    }
                    thread::sleep(LOOK);
                }
            }
        });
        let record = execute(prepared, &enough);
        loading.store(false, Ordering::Relaxed);
        let watcher = watching.join().map_err(|_| RunError::Engine(crate::load::engine::RunError::Thread))?;
        let mut record = record?;
        if watcher.chain.has_alarmed() && !stop.load(Ordering::Relaxed) {
            // The plan was cut short because it had done its work.
            record.verdict.interrupted = false;
            record.verdict.remarks.retain(|remark| !remark.contains("before its plan was done"));
        }
        Ok((record, watcher))
    })
}

struct Watcher {
    watched: Watched,
    webhook: Option<Receiver<String>>,
    chain: Chain,
    samples: Vec<Sample>,
    /// Problems that were told already.
    said: Vec<String>,
    start: Instant,
}

impl Watcher {
    fn look(&mut self) {
        let at = self.start.elapsed().as_secs_f64();
        let (sample, problems) = self.watched.look(at);
        self.chain.see(&sample);
        self.samples.push(sample);
        for problem in problems {
            if !self.said.contains(&problem) {
                self.chain.happened(at, problem.clone());
                self.said.push(problem);
            }
        }
        let told: Vec<String> = self.webhook.iter().flat_map(|webhook| webhook.try_iter()).collect();
        for status in told {
            self.chain.told(at, &status);
        }
    }
}

/// Whether a drill can succeed at all: the rule is loaded, its series are there, and nothing fires yet.
fn ready(watched: &Watched) -> Result<(), DrillError> {
    if !web::has_rule(&watched.prometheus, &watched.alert).map_err(DrillError::Monitoring)? {
        let problem = format!("{} has no rule {}", watched.prometheus, watched.alert);
        return Err(DrillError::Monitoring(problem));
    }
    let (sample, problems) = watched.look(0.0);
    if let Some(problem) = problems.into_iter().next() {
        return Err(DrillError::Monitoring(problem));
    }
    let missing = |what: &str| {
        Err(DrillError::Monitoring(format!("{} knows no {what} of {}", watched.prometheus, watched.namespace)))
    };
    if sample.replicas.is_none() {
        return missing("kube_deployment_status_replicas");
    }
    if sample.cpu.is_empty() {
        return missing("CPU use of fraud-api against its limit");
    }
    if sample.alert.as_deref() == Some("firing") {
        let problem = format!("{} fires already: a drill would prove nothing", watched.alert);
        return Err(DrillError::Monitoring(problem));
    }
    Ok(())
}

fn capacity(arguments: &Arguments, stop: &Arc<AtomicBool>) -> Result<f64, DrillError> {
    if let Some(capacity) = arguments.capacity {
        return Ok(capacity);
    }
    let replica = arguments.replica.clone().unwrap_or_else(|| arguments.target.clone());
    eprintln!("Measuring what one replica takes, at {replica}");
    let mut base = load_arguments(arguments, 1.0);
    base.target = vec![replica];
    base.shape = shape(arguments);
    base.shape.rates = Vec::new();
    base.shape.phase_seconds = Vec::new();
    base.shape.pause = None;
    base.traffic.scenario = Vec::new();
    base.traffic.label_delay = None;
    base.client.requests_per_connection = None;
    // A replica that keeps a request for seconds does not hold the rate.
    base.client.timeout = base.client.timeout.min(3.0);
    base.output.truth = None;
    base.output.fail_if = Vec::new();
    let found = capacity::measure(&base, arguments.measure_seconds, stop)?;
    if found > 0.0 { Ok(found) } else { Err(DrillError::NoCapacity) }
}

/// What the measuring heated up is not the attack's doing: waits until the rule's series has forgotten it.
fn cool_down(watched: &Watched, stop: &Arc<AtomicBool>) {
    let began = Instant::now();
    while began.elapsed() < COOL_DOWN && !stop.load(Ordering::Relaxed) {
        let (sample, _) = watched.look(0.0);
        if sample.cpu.values().all(|share| *share < COOL) && sample.alert.as_deref() == Some("inactive") {
            return;
        }
        thread::sleep(LOOK);
    }
}

fn shape(arguments: &Arguments) -> Shape {
    Shape {
        profile: crate::profile::Profile::Attack,
        rate: None,
        duration: None,
        rates: Vec::new(),
        phase_seconds: arguments.phase_seconds.clone(),
        pause: Some(arguments.pause.unwrap_or(PAUSE_SECONDS)),
        spacing: arguments.spacing,
        own_time: None,
        count: None,
    }
}

/// The attack's shape, its last phase so many times what all replicas take.
fn load_arguments(arguments: &Arguments, capacity: f64) -> run::Arguments {
    let last = arguments.headroom * f64::from(arguments.max_replicas) * capacity;
    let top = ATTACK_RATES[ATTACK_RATES.len() - 1];
    let mut shape = shape(arguments);
    shape.rates = ATTACK_RATES.iter().map(|rate| rate / top * last).collect();
    if shape.phase_seconds.is_empty() {
        shape.phase_seconds = ATTACK_SECONDS.to_vec();
    }
    run::Arguments {
        target: vec![arguments.target.clone()],
        shape,
        traffic: arguments.traffic.clone(),
        client: arguments.client.clone(),
        output: arguments.output.clone(),
        safety: arguments.safety.clone(),
    }
}

fn join(rates: &[f64]) -> String {
    rates.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>().join(" → ")
}
