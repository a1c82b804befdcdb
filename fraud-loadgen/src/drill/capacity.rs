//! How much one replica can take at its CPU limit.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::profile::Profile;
use crate::report::Record;
use crate::run::{Arguments, RunError, Shape, execute, prepare};

/// The first rate that is tried, in transactions a second.
const FIRST: f64 = 20.0;
/// Steps between the last rate that was held and the first that was not.
const REFINEMENTS: u32 = 3;
/// What a replica may refuse or lose and still be said to hold a rate.
const LOST: f64 = 0.02;
/// Slower than this at the 99th percentile is not held, in milliseconds.
const SLOW_MS: f64 = 1_000.0;

/// Finds the highest rate that a replica holds: doubling it until it does not, then halving the distance. `base`
/// names the replica as its target.
///
/// # Errors
/// [`RunError`].
pub(super) fn measure(base: &Arguments, seconds: f64, stop: &Arc<AtomicBool>) -> Result<f64, RunError> {
    let (mut held, mut lost) = (0.0, None);
    let most = base.safety.max_rate;
    let mut rate = FIRST.min(most);
    let mut refinements = 0;
    while refinements < REFINEMENTS && !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let record = attempt(base, rate, seconds, stop)?;
        let holds = holds(&record);
        eprintln!(
            "  one replica at {rate:>6.0}/s: {:>6.0} answered, {:.1} % refused or lost, p99 {:.0} ms: {}",
            record.total.answered_per_second,
            (record.total.shed_rate + record.total.error_rate) * 100.0,
            p99(&record),
            if holds { "held" } else { "not held" }
        );
        if holds {
            held = rate;
        } else {
            lost = Some(rate);
        }
        match lost {
            None if rate >= most => break,
            None => rate = (rate * 2.0).min(most),
            Some(lost) => {
                rate = f64::midpoint(held, lost);
                refinements += 1;
            }
        }
    }
    Ok(held)
}

fn attempt(base: &Arguments, rate: f64, seconds: f64, stop: &Arc<AtomicBool>) -> Result<Record, RunError> {
    let shape = Shape { profile: Profile::Constant, rate: Some(rate), duration: Some(seconds), ..base.shape.clone() };
    let mut prepared = prepare(&Arguments { shape, ..base.clone() })?;
    prepared.quiet = true;
    execute(prepared, stop)
}

fn p99(record: &Record) -> f64 {
    record.total.quantile("p99").map_or(0.0, |quantile| quantile.with_generator_ms)
}

fn holds(record: &Record) -> bool {
    let total = &record.total;
    total.requests > 0 && total.shed_rate + total.error_rate <= LOST && p99(record) <= SLOW_MS
}
