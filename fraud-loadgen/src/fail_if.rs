//! Conditions under which a pipeline should stop: `p99 > 10ms`, `error_rate > 1%`, `p99.9@attack 4 >= 1s`.

use std::fmt;
use std::str::FromStr;

use crate::report::{Record, Summary};

/// A condition on a figure of the report.
#[derive(Debug, Clone, PartialEq)]
pub struct FailIf {
    text: String,
    metric: Metric,
    phase: Option<String>,
    comparison: Comparison,
    /// Milliseconds, a share, or a number, as the metric has it.
    limit: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Metric {
    Quantile(&'static str),
    Mean,
    ScheduleError,
    ErrorRate,
    ShedRate,
    FraudCaught,
    Rate,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// What a condition came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// It does not hold.
    Passed,
    /// It holds, with this figure.
    Failed(String),
    /// It cannot be told, and why.
    Unknown(String),
}

const QUANTILES: [&str; 7] = ["p50", "p90", "p95", "p99", "p99.9", "p99.99", "max"];
const NAMES: &str = "p50, p90, p95, p99, p99.9, p99.99, max, mean, schedule_error (times: us, ms, s), error_rate, shed_rate, \
                     fraud_caught (shares: %), rate (answered requests a second)";

impl FromStr for FailIf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = |what: &str| {
            format!("`{text}`: {what}; write METRIC > VALUE or METRIC@PHASE < VALUE, with METRIC one of {NAMES}")
        };
        let at = text.find(['<', '>']).ok_or_else(|| problem("there is no < or >"))?;
        let (left, right) = text.split_at(at);
        let (comparison, right) = match (right.as_bytes()[0], right[1..].strip_prefix('=')) {
            (b'>', None) => (Comparison::Above, &right[1..]),
            (b'>', Some(rest)) => (Comparison::AtLeast, rest),
            (_, None) => (Comparison::Below, &right[1..]),
            (_, Some(rest)) => (Comparison::AtMost, rest),
        };
        let (name, phase) =
            left.trim().split_once('@').map_or((left.trim(), None), |(name, phase)| (name, Some(phase)));
        let name = name.trim();
        let metric = match name {
            "mean" => Metric::Mean,
            "schedule_error" => Metric::ScheduleError,
            "error_rate" => Metric::ErrorRate,
            "shed_rate" => Metric::ShedRate,
            "fraud_caught" => Metric::FraudCaught,
            "rate" => Metric::Rate,
            _ => QUANTILES
                .into_iter()
                .find(|quantile| *quantile == name)
                .map(Metric::Quantile)
                .ok_or_else(|| problem("no such metric"))?,
        };
        let limit = limit(&metric, right.trim()).ok_or_else(|| problem("the value does not fit the metric"))?;
        let phase = phase.map(|phase| phase.trim().to_owned());
        Ok(Self { text: text.trim().to_owned(), metric, phase, comparison, limit })
    }
}

fn limit(metric: &Metric, text: &str) -> Option<f64> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|value| value.is_finite());
    match metric {
        Metric::Quantile(_) | Metric::Mean | Metric::ScheduleError => {
            // `ms` and `us` end in `s` as well.
            [("ms", 1.0), ("us", 1e-3), ("µs", 1e-3), ("s", 1e3)]
                .into_iter()
                .find_map(|(unit, factor)| Some(number(text.strip_suffix(unit)?)? * factor))
        }
        Metric::ErrorRate | Metric::ShedRate | Metric::FraudCaught => match text.strip_suffix('%') {
            Some(percent) => number(percent).map(|percent| percent / 100.0),
            None => number(text).filter(|share| (0.0..=1.0).contains(share)),
        },
        Metric::Rate => number(text.strip_suffix("/s").unwrap_or(text)),
    }
}

impl fmt::Display for FailIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FailIf {
    /// The phase that it speaks of, if it speaks of one.
    #[must_use]
    pub fn phase(&self) -> Option<&str> {
        self.phase.as_deref()
    }

    /// Holds it against a run.
    #[must_use]
    pub fn check(&self, record: &Record) -> Finding {
        let summary = match &self.phase {
            None => &record.total,
            Some(name) => match record.phases.iter().find(|phase| phase.plan.name == *name) {
                Some(phase) => &phase.summary,
                None => return Finding::Unknown(format!("there is no phase `{name}`")),
            },
        };
        if summary.requests == 0 {
            return Finding::Unknown("nothing was sent".to_owned());
        }
        let (value, shown) = match self.value(summary) {
            Ok(found) => found,
            Err(reason) => return Finding::Unknown(reason),
        };
        let holds = match self.comparison {
            Comparison::Above => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
        };
        if holds { Finding::Failed(shown) } else { Finding::Passed }
    }

    fn value(&self, summary: &Summary) -> Result<(f64, String), String> {
        let time = |value: f64| (value, format!("{value:.3} ms"));
        let share = |value: f64| (value, format!("{:.3} %", value * 100.0));
        Ok(match &self.metric {
            Metric::Quantile(name) => {
                let quantile = summary.quantile(name).ok_or("there is no such quantile")?;
                match quantile.latency_ms {
                    Some(latency) => time(latency),
                    None => {
                        return Err(format!(
                            "{name} is not the server's: the generator was late by up to {:.3} ms of {:.3} ms",
                            quantile.generator_ms, quantile.with_generator_ms
                        ));
                    }
                }
            }
            Metric::Mean => time(summary.mean_ms),
            Metric::ScheduleError => time(summary.schedule_error_p99_ms),
            Metric::ErrorRate => share(summary.error_rate),
            Metric::ShedRate => share(summary.shed_rate),
            Metric::FraudCaught => share(summary.detection.fraud_caught.ok_or("no fraud was decided on")?),
            Metric::Rate => (summary.answered_per_second, format!("{:.1}/s", summary.answered_per_second)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::clock::MILLISECOND;
    use crate::load::schedule::Phase;
    use crate::load::stats::{End, Stats, TOLERANCE};
    use crate::report::testing;

    fn record(latency_ms: u64, late_ms: u64) -> Record {
        let mut stats = Stats::default();
        for index in 0..1_000_u64 {
            stats.dispatched += 1;
            stats.schedule_error.record(late_ms * MILLISECOND);
            stats.latency.record((latency_ms + late_ms) * MILLISECOND);
            stats.from_dispatch.record(latency_ms * MILLISECOND);
            let end = if index < 20 { End::Failed } else { End::Answered };
            stats.ends[end as usize] += 1;
        }
        testing::record(&[Phase::steady("attack 4", 100.0, 10.0)], &[stats], TOLERANCE)
    }

    fn check(text: &str, record: &Record) -> Finding {
        text.parse::<FailIf>().unwrap().check(record)
    }

    #[test]
    fn conditions_hold_or_do_not() {
        let record = record(8, 0);
        for text in
            ["p99 > 10ms", "p99 >= 0.02s", "error_rate > 2%", "error_rate>0.02", "rate < 90/s", "p50@attack 4 < 7000us"]
        {
            assert_eq!(check(text, &record), Finding::Passed, "{text}");
        }
        for text in ["p99 > 5ms", "error_rate >= 2%", "error_rate > 1%", "rate < 99", "p99.9@attack 4 <= 9ms"] {
            assert!(matches!(check(text, &record), Finding::Failed(_)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_neither_passed_nor_failed() {
        let late = record(8, 40);
        assert!(matches!(check("p99 > 10ms", &late), Finding::Unknown(reason) if reason.contains("generator")));
        assert!(matches!(check("p99@other > 10ms", &late), Finding::Unknown(_)));
        assert!(matches!(check("fraud_caught < 50%", &late), Finding::Unknown(_)));
        assert!(matches!(check("schedule_error > 1ms", &late), Finding::Failed(_)));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in ["", "p99", "p98 > 1ms", "p99 > 10", "p99 > 1%", "error_rate > 5ms", "error_rate > 7", "p99 > x"] {
            let problem = text.parse::<FailIf>().unwrap_err();
            assert!(problem.contains("METRIC"), "{problem}");
        }
    }
}
