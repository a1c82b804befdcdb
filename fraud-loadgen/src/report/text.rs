//! The plan and the result as a person reads them in a terminal.

use std::fmt::Write;

use indicatif::HumanCount;

use super::record::{Detection, Plan, Quantile, Record, Summary};

/// What is about to be done, a few lines.
#[must_use]
pub fn plan_text(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing into a text does not fail.
    let _ = writeln!(text, "Load for {}", plan.targets.join(", "));
    let _ = writeln!(
        text,
        "  {}, {:?} arrivals, seed {}, start {}; {} connections, {} thread{}",
        plan.source,
        plan.spacing,
        plan.seed,
        plan.start_time,
        plan.connections,
        plan.threads,
        if plan.threads == 1 { "" } else { "s" }
    );
    for phase in &plan.phases {
        let rate = if phase.from == phase.to {
            format!("{}/s", number(phase.from))
        } else {
            format!("{}/s to {}/s", number(phase.from), number(phase.to))
        };
        let _ = writeln!(text, "  {:<12} {:>6} s at {rate}", phase.name, number(phase.seconds));
    }
    for share in &plan.scenarios {
        let only = share.phase.as_ref().map_or(String::new(), |phase| format!(" in {phase}"));
        let _ = writeln!(
            text,
            "  {} takes {} % of the transactions{only}",
            share.scenario.name(),
            number(share.share * 100.0)
        );
    }
    if plan.malformed > 0.0 {
        let _ = writeln!(text, "  {} % of the transactions are malformed on purpose", number(plan.malformed * 100.0));
    }
    if let Some(labels) = &plan.labels {
        let _ = writeln!(text, "  labels follow after {} s", number(labels.delay_seconds));
    }
    let seconds: f64 = plan.phases.iter().map(|phase| phase.seconds).sum();
    let transactions: f64 = plan.phases.iter().map(|phase| f64::midpoint(phase.from, phase.to) * phase.seconds).sum();
    #[allow(clippy::cast_possible_truncation)] // Saturates.
    let _ = writeln!(text, "  {} s, about {} transactions", number(seconds), HumanCount(transactions.round() as u64));
    text
}

/// The result, a screen.
#[must_use]
pub fn summary_text(record: &Record) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "\n{:<12} {:>9} {:>9} {:>9}  {:>9} {:>9} {:>9} {:>9}  {:>8} {:>7} {:>7}",
        "phase", "requests", "asked/s", "ok/s", "p50", "p99", "p99.9", "max", "lateness", "errors", "shed"
    );
    for phase in record.phases.iter().filter(|phase| phase.summary.requests > 0) {
        line(&mut text, &phase.plan.name, &phase.summary);
    }
    if record.phases.len() > 1 {
        line(&mut text, "all", &record.total);
    }
    let total = &record.total;
    let ends = &total.ends;
    let _ = writeln!(
        text,
        "\nanswered {}, shed {}, refused {}, failed {}, timed out {}, broken {}",
        HumanCount(ends.answered),
        HumanCount(ends.shed),
        HumanCount(ends.refused),
        HumanCount(ends.failed),
        HumanCount(ends.timed_out),
        HumanCount(ends.broken)
    );
    if ends.rejected_malformed + ends.accepted_malformed + total.detection.malformed_refused > 0 {
        let _ = writeln!(
            text,
            "malformed: {} refused, {} accepted",
            HumanCount(total.detection.malformed_refused),
            HumanCount(total.detection.malformed_decided + ends.accepted_malformed)
        );
    }
    detection(&mut text, &total.detection);
    if total.labels != [0, 0] {
        let _ = writeln!(
            text,
            "label requests: {} taken, {} not",
            HumanCount(total.labels[0]),
            HumanCount(total.labels[1])
        );
    }
    for remark in &record.verdict.remarks {
        let _ = writeln!(text, "! {remark}");
    }
    text
}

fn line(text: &mut String, name: &str, summary: &Summary) {
    let quantile = |name| summary.quantile(name).map_or_else(|| "–".to_owned(), latency);
    let _ = writeln!(
        text,
        "{:<12} {:>9} {:>9} {:>9}  {:>9} {:>9} {:>9} {:>9}  {:>8} {:>7} {:>7}",
        name,
        HumanCount(summary.requests).to_string(),
        number(summary.asked_per_second),
        number(summary.answered_per_second),
        quantile("p50"),
        quantile("p99"),
        quantile("p99.9"),
        quantile("max"),
        time(summary.schedule_error_p99_ms),
        percent(summary.error_rate),
        percent(summary.shed_rate),
    );
}

fn detection(text: &mut String, found: &Detection) {
    let fraud = found.fraud_declined + found.fraud_reviewed + found.fraud_approved + found.fraud_undecided;
    if fraud > 0 {
        let caught =
            found.fraud_caught.map_or(String::new(), |share| format!(" ({} of those decided caught)", percent(share)));
        let _ = writeln!(
            text,
            "fraud: {} declined, {} for review, {} approved, {} undecided{caught}",
            HumanCount(found.fraud_declined),
            HumanCount(found.fraud_reviewed),
            HumanCount(found.fraud_approved),
            HumanCount(found.fraud_undecided)
        );
    }
    let _ = writeln!(
        text,
        "genuine: {} approved, {} for review, {} declined, {} undecided",
        HumanCount(found.genuine_approved),
        HumanCount(found.genuine_reviewed),
        HumanCount(found.genuine_declined),
        HumanCount(found.genuine_undecided)
    );
}

/// A quantile, or a mark that it is not the server's.
fn latency(quantile: &Quantile) -> String {
    quantile.latency_ms.map_or_else(|| "not known".to_owned(), time)
}

/// A time in the unit that suits it.
pub(super) fn time(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms >= 1_000.0 => format!("{:.2} s", ms / 1_000.0),
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms if ms >= 1.0 => format!("{ms:.1} ms"),
        ms => format!("{:.0} µs", ms * 1_000.0),
    }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".to_owned(),
        percent if percent < 0.1 => format!("{percent:.3} %"),
        percent => format!("{percent:.1} %"),
    }
}

/// A number without decimals that say nothing.
pub(super) fn number(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    if rounded.fract() == 0.0 || rounded.abs() >= 1_000.0 { format!("{rounded:.0}") } else { format!("{rounded:.1}") }
}
