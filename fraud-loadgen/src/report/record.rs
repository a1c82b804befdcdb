//! The measurements of a run as data: what the JSON report holds, and what the page and the terminal show.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::load::batch::Truth;
use crate::load::clock::{MILLISECOND, SECOND};
use crate::load::engine::Measured;
use crate::load::schedule::{self, Phase, Spacing};
use crate::load::stats::{Decisions, End, Outcome, Stats, Times, share};

/// Quantiles reported, with their names.
pub const QUANTILES: [(&str, f64); 7] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// A run from plan to verdict.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Version of the program.
    pub version: &'static str,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// What was going to be done.
    pub plan: Plan,
    /// Whether the generator may be believed.
    pub verdict: Verdict,
    /// All of it.
    pub total: Summary,
    /// By phase.
    pub phases: Vec<PhaseRecord>,
    /// By second.
    pub seconds: Vec<Second>,
    /// What a drill saw meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillRecord>,
}

/// What a drill saw.
#[derive(Debug, Clone, Serialize)]
pub struct DrillRecord {
    /// How it ended, in a sentence.
    pub result: String,
    /// Seconds from the start of the load to the end of the drill.
    pub seconds: f64,
    /// Transactions a second that one replica can take at its CPU limit.
    pub capacity: f64,
    /// The greatest share of its limit that a replica was seen to use; 1 is all of it.
    pub hottest: f64,
    /// The links of the chain in order, with the second at which each was reached.
    pub links: Vec<(String, Option<f64>)>,
    /// What was seen, every few seconds.
    pub samples: Vec<Sample>,
    /// What happened, in order.
    pub timeline: Vec<Event>,
}

/// What was seen at a moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the start of the load.
    pub at: f64,
    /// Replicas that are there.
    pub replicas: Option<u32>,
    /// Replicas that the autoscaler wants.
    pub wanted: Option<u32>,
    /// Share of its CPU limit that each replica uses.
    pub cpu: BTreeMap<String, f64>,
    /// The alert in Prometheus: inactive, pending or firing.
    pub alert: Option<String>,
    /// The alert in Alertmanager: inactive, active or suppressed.
    pub alertmanager: Option<String>,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Seconds since the start of the load.
    pub at: f64,
    /// What.
    pub what: String,
}

/// What was going to be done.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The servers.
    pub targets: Vec<String>,
    /// The profile's name.
    pub profile: String,
    /// Its phases.
    pub phases: Vec<PlannedPhase>,
    /// How arrivals are spread.
    pub spacing: Spacing,
    /// Everything random followed from it.
    pub seed: u64,
    /// Event times count from here, RFC 3339. The same seed and start give the same requests.
    pub start_time: String,
    /// Where the transactions come from.
    pub source: String,
    /// Transactions in one request.
    pub rows_per_request: usize,
    /// Open connections.
    pub connections: usize,
    /// Sending threads.
    pub threads: usize,
    /// Seconds that an answer is waited for.
    pub timeout_seconds: f64,
    /// How late the generator may be, in milliseconds.
    pub schedule_tolerance_ms: f64,
    /// Share of malformed transactions.
    pub malformed: f64,
    /// Fraud laid over the transactions.
    pub scenarios: Vec<crate::traffic::ScenarioShare>,
    /// Labels that follow.
    pub labels: Option<crate::traffic::LabelSettings>,
}

/// A phase of the plan.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedPhase {
    /// Its name.
    pub name: String,
    /// Transactions a second at its beginning.
    pub from: f64,
    /// Transactions a second at its end.
    pub to: f64,
    /// Seconds.
    pub seconds: f64,
}

impl From<&Phase> for PlannedPhase {
    fn from(phase: &Phase) -> Self {
        Self { name: phase.name.clone(), from: phase.from, to: phase.to, seconds: phase.seconds() }
    }
}

/// Whether the latencies are the server's.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The generator kept its schedule: 99 of 100 requests were taken up within the tolerance.
    pub kept_schedule: bool,
    /// The run ended before its plan did.
    pub interrupted: bool,
    /// What a reader should know before the figures.
    pub remarks: Vec<String>,
}

/// A quantile of the latency.
#[derive(Debug, Clone, Serialize)]
pub struct Quantile {
    /// Its name.
    pub quantile: &'static str,
    /// Milliseconds from the intended start to the complete answer; none when the generator's own lateness may have
    /// made it.
    pub latency_ms: Option<f64>,
    /// The same, whether the generator was late or not.
    pub with_generator_ms: f64,
    /// The generator's own part, at most, in milliseconds.
    pub generator_ms: f64,
}

/// Everything measured in a phase or in all.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Requests taken up.
    pub requests: u64,
    /// Requests a second asked for on average, pauses included.
    pub asked_per_second: f64,
    /// Requests a second that ended with an accepted answer (2xx).
    pub answered_per_second: f64,
    /// Latency.
    pub latency: Vec<Quantile>,
    /// Mean latency in milliseconds, the generator's part included.
    pub mean_ms: f64,
    /// 99th percentile of the generator's own lateness in milliseconds.
    pub schedule_error_p99_ms: f64,
    /// The greatest of it.
    pub schedule_error_max_ms: f64,
    /// 99th percentile of the latency of what was shed, in milliseconds.
    pub shed_p99_ms: f64,
    /// Requests that waited for a free connection.
    pub waited_for_connection: u64,
    /// Share of errors, 0 to 1.
    pub error_rate: f64,
    /// Share shed, 0 to 1.
    pub shed_rate: f64,
    /// Requests by their end.
    pub ends: Ends,
    /// What was decided on the transactions.
    pub detection: Detection,
    /// Label requests that were taken, and that were not.
    pub labels: [u64; 2],
    /// Bytes sent and received.
    pub bytes: [u64; 2],
}

/// Requests by their end.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // The variants of `End`, by name.
pub struct Ends {
    pub answered: u64,
    pub rejected_malformed: u64,
    pub shed: u64,
    pub refused: u64,
    pub accepted_malformed: u64,
    pub failed: u64,
    pub timed_out: u64,
    pub broken: u64,
}

impl From<&Stats> for Ends {
    fn from(stats: &Stats) -> Self {
        Self {
            answered: stats.count(End::Answered),
            rejected_malformed: stats.count(End::Rejected),
            shed: stats.count(End::Shed),
            refused: stats.count(End::Refused),
            accepted_malformed: stats.count(End::Swallowed),
            failed: stats.count(End::Failed),
            timed_out: stats.count(End::TimedOut),
            broken: stats.count(End::Broken),
        }
    }
}

/// Fraud caught and missed.
#[derive(Debug, Clone, Serialize)]
pub struct Detection {
    /// Frauds declined.
    pub fraud_declined: u64,
    /// Frauds held for review.
    pub fraud_reviewed: u64,
    /// Frauds approved: missed.
    pub fraud_approved: u64,
    /// Frauds without a decision (shed, failed, unanswered).
    pub fraud_undecided: u64,
    /// Genuine payments declined.
    pub genuine_declined: u64,
    /// Genuine payments held for review.
    pub genuine_reviewed: u64,
    /// Genuine payments approved.
    pub genuine_approved: u64,
    /// Genuine payments without a decision.
    pub genuine_undecided: u64,
    /// Malformed transactions that were refused.
    pub malformed_refused: u64,
    /// Malformed transactions that were decided on.
    pub malformed_decided: u64,
    /// Share of the frauds with a decision that were not approved, 0 to 1; none without such frauds.
    pub fraud_caught: Option<f64>,
}

impl From<&Decisions> for Detection {
    fn from(decisions: &Decisions) -> Self {
        let count = |truth, outcome| decisions.count(truth, outcome);
        let undecided = |truth| count(truth, Outcome::Error) + count(truth, Outcome::Missing);
        let decided = |truth| {
            [Outcome::Approve, Outcome::Review, Outcome::Decline].map(|outcome| count(truth, outcome)).iter().sum()
        };
        let fraud: u64 = decided(Truth::Fraud);
        let missed = count(Truth::Fraud, Outcome::Approve);
        Self {
            fraud_declined: count(Truth::Fraud, Outcome::Decline),
            fraud_reviewed: count(Truth::Fraud, Outcome::Review),
            fraud_approved: missed,
            fraud_undecided: undecided(Truth::Fraud),
            genuine_declined: count(Truth::Genuine, Outcome::Decline),
            genuine_reviewed: count(Truth::Genuine, Outcome::Review),
            genuine_approved: count(Truth::Genuine, Outcome::Approve),
            genuine_undecided: undecided(Truth::Genuine),
            malformed_refused: count(Truth::Malformed, Outcome::Error),
            malformed_decided: decided(Truth::Malformed),
            fraud_caught: (fraud > 0).then(|| share(fraud - missed, fraud)),
        }
    }
}

/// A phase with its measurements.
#[derive(Debug, Clone, Serialize)]
pub struct PhaseRecord {
    /// Its plan.
    #[serde(flatten)]
    pub plan: PlannedPhase,
    /// What was measured of the requests that were intended in it.
    #[serde(flatten)]
    pub summary: Summary,
}

/// One second: what ended in it.
#[derive(Debug, Clone, Serialize)]
pub struct Second {
    /// Seconds since the start.
    pub second: u64,
    /// Requests a second asked for.
    pub asked: f64,
    /// Requests taken up.
    pub taken_up: u64,
    /// Requests answered with 2xx.
    pub answered: u64,
    /// Requests shed.
    pub shed: u64,
    /// Requests that ended in an error.
    pub errors: u64,
    /// Quantiles of the latency in milliseconds; none where nothing ended.
    pub p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub p99_ms: Option<f64>,
    /// See `p50_ms`.
    pub max_ms: Option<f64>,
    /// 99th percentile of the generator's own lateness in milliseconds.
    pub schedule_error_p99_ms: f64,
    /// Frauds declined or held for review, frauds approved, frauds undecided.
    pub fraud: [u64; 3],
}

impl Record {
    /// Puts the record of a run together: its plan, its phases in requests with the rows of each request, what was
    /// measured and with which tolerance, what is said of it, and its seconds.
    #[must_use]
    pub fn new(
        plan: Plan,
        (phases, rows): (&[Phase], usize),
        (measured, tolerance): (&Measured, u64),
        (verdict, seconds): (Verdict, Vec<Second>),
    ) -> Self {
        let asked: f64 = phases.iter().map(Phase::requests).sum();
        let length = schedule::length(phases) as f64 / SECOND as f64;
        let planned = plan.phases.clone();
        // A run that ended early ended some phases early, and did not come to others.
        let mut began = 0;
        let mut of_phase = |((plan, phase), stats): ((PlannedPhase, &Phase), &Stats)| {
            let done = measured.elapsed.saturating_sub(began).min(phase.duration) as f64 / SECOND as f64;
            began += phase.duration;
            PhaseRecord { summary: Summary::new(stats, done, phase.requests() / phase.seconds(), tolerance), plan }
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started_at: plan.start_time.clone(),
            verdict,
            total: Summary::new(&measured.total, measured.elapsed as f64 / SECOND as f64, asked / length, tolerance),
            phases: planned.into_iter().zip(phases).zip(&measured.phases).map(&mut of_phase).collect(),
            seconds,
            drill: None,
            plan: Plan { rows_per_request: rows, ..plan },
        }
    }
}

impl Verdict {
    /// What has to be said of some measurements.
    #[must_use]
    pub fn of(measured: &Measured, tolerance: u64, interrupted: bool) -> Self {
        let total = &measured.total;
        let kept_schedule = total.kept_schedule(tolerance);
        let mut remarks = Vec::new();
        if !kept_schedule {
            remarks.push(format!(
                "The generator could not keep its schedule: 1 in 100 requests was taken up {:.3} ms late or later \
                 (tolerated: {:.3} ms). Latencies that this may have made are not stated. Give it a core of its own, \
                 fewer requests a second, or more threads.",
                milliseconds(total.schedule_error.quantile(0.99)),
                milliseconds(tolerance)
            ));
        }
        if total.waited > 0 && total.waited * 100 > total.dispatched {
            remarks.push(format!(
                "{} of {} requests found every connection busy and waited for one; that wait is part of their latency, as it \
                 would be of a caller's with as many connections.",
                total.waited, total.dispatched
            ));
        }
        let missing = total.count(End::Broken);
        if missing > 0 {
            remarks.push(format!("{missing} requests got no answer: the connection broke or could not be made."));
        }
        let swallowed = total.count(End::Swallowed);
        if swallowed > 0 {
            remarks.push(format!("{swallowed} malformed requests were accepted as if they were transactions."));
        }
        if interrupted {
            remarks.push("The run was ended before its plan was done.".to_owned());
        }
        Self { kept_schedule, interrupted, remarks }
    }
}

/// Milliseconds of nanoseconds.
#[must_use]
pub fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / MILLISECOND as f64
}

impl Summary {
    /// What is said of some measurements that took so many seconds and were asked at this rate.
    #[must_use]
    pub fn new(stats: &Stats, seconds: f64, asked: f64, tolerance: u64) -> Self {
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let latency = QUANTILES
            .map(|(quantile, q)| {
                let claim = stats.claim(q, tolerance);
                let latency = milliseconds(claim.nanoseconds);
                Quantile {
                    quantile,
                    latency_ms: (claim.servers && stats.latency.count() > 0).then_some(latency),
                    with_generator_ms: latency,
                    generator_ms: milliseconds(claim.own),
                }
            })
            .to_vec();
        Self {
            requests: stats.dispatched,
            asked_per_second: asked,
            answered_per_second: per_second(stats.count(End::Answered)),
            latency,
            mean_ms: stats.latency.mean() / MILLISECOND as f64,
            schedule_error_p99_ms: milliseconds(stats.schedule_error.quantile(0.99)),
            schedule_error_max_ms: milliseconds(stats.schedule_error.max()),
            shed_p99_ms: milliseconds(stats.shed_latency.quantile(0.99)),
            waited_for_connection: stats.waited,
            error_rate: stats.error_rate(),
            shed_rate: stats.shed_rate(),
            ends: Ends::from(stats),
            detection: Detection::from(&stats.decisions),
            labels: [stats.labels_taken, stats.labels_lost],
            bytes: [stats.sent_bytes, stats.received_bytes],
        }
    }

    /// A quantile by its name.
    #[must_use]
    pub fn quantile(&self, name: &str) -> Option<&Quantile> {
        self.latency.iter().find(|quantile| quantile.quantile == name)
    }
}

impl Second {
    /// The second of this number.
    #[must_use]
    pub fn new(second: u64, stats: &Stats, asked: f64) -> Self {
        let quantile = |times: &Times, q| (times.count() > 0).then(|| milliseconds(times.quantile(q)));
        let detection = Detection::from(&stats.decisions);
        Self {
            second,
            asked,
            taken_up: stats.dispatched,
            answered: stats.count(End::Answered),
            shed: stats.count(End::Shed),
            errors: End::ALL.into_iter().filter(|end| end.is_error()).map(|end| stats.count(end)).sum(),
            p50_ms: quantile(&stats.latency, 0.5),
            p99_ms: quantile(&stats.latency, 0.99),
            max_ms: quantile(&stats.latency, 1.0),
            schedule_error_p99_ms: milliseconds(stats.schedule_error.quantile(0.99)),
            fraud: [
                detection.fraud_declined + detection.fraud_reviewed,
                detection.fraud_approved,
                detection.fraud_undecided,
            ],
        }
    }
}

/// Requests a second that phases ask for, at this second of the run.
#[must_use]
pub fn asked_at(phases: &[Phase], second: u64) -> f64 {
    // In its middle.
    let at = second * SECOND + SECOND / 2;
    let mut began = 0;
    for phase in phases {
        if at < began + phase.duration {
            let into = (at - began) as f64 / phase.duration as f64;
            return phase.from + (phase.to - phase.from) * into;
        }
        began += phase.duration;
    }
    0.0
}
