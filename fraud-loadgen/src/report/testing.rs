//! Records for tests.

use super::record::{Plan, PlannedPhase, Record, Verdict};
use crate::load::engine::Measured;
use crate::load::schedule::{Phase, Spacing};
use crate::load::stats::Stats;

pub(crate) fn plan(phases: &[Phase]) -> Plan {
    Plan {
        targets: vec!["http://127.0.0.1:8000".into()],
        profile: "constant".into(),
        phases: phases.iter().map(PlannedPhase::from).collect(),
        spacing: Spacing::Constant,
        seed: 1,
        start_time: "2026-01-01T00:00:00Z".into(),
        source: "simulator".into(),
        rows_per_request: 1,
        connections: 1,
        threads: 1,
        timeout_seconds: 10.0,
        schedule_tolerance_ms: 1.0,
        malformed: 0.0,
        scenarios: Vec::new(),
        labels: None,
    }
}

pub(crate) fn record(phases: &[Phase], measured: &[Stats], tolerance: u64) -> Record {
    let mut total = Stats::default();
    measured.iter().for_each(|stats| total.add(stats));
    let measured = Measured { phases: measured.to_vec(), total, elapsed: crate::load::schedule::length(phases) };
    let verdict = Verdict::of(&measured, tolerance, false);
    Record::new(plan(phases), (phases, 1), (&measured, tolerance), (verdict, Vec::new()))
}
