//! What Linux says of this process.

use std::time::Instant;

use parking_lot::Mutex;

/// Clock ticks a second in `/proc/self/stat`: a constant of Linux' interface to programs.
const TICKS: f64 = 100.0;
/// Bytes of a page where the kernel does not say otherwise.
const PAGE: u64 = 4_096;

/// Resident memory in bytes; `None` where there is no `/proc`.
pub(super) fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name may hold blanks and brackets; the fields of interest follow its last bracket.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// CPU use between readings.
#[derive(Default)]
pub(super) struct CpuMeter(Mutex<Option<Reading>>);

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    cpu: f64,
    percent: f64,
}

impl CpuMeter {
    /// Percent of one core since the reading before; the process's whole life at first.
    pub(super) fn percent(&self) -> Option<f64> {
        /// Two readers in quick succession see the same figure, not a difference of rounding errors.
        const SHORTEST: f64 = 0.5;
        let (cpu, at) = (cpu_seconds()?, Instant::now());
        let mut last = self.0.lock();
        let percent = match *last {
            Some(reading) if (at - reading.at).as_secs_f64() < SHORTEST => return Some(reading.percent),
            Some(reading) => 100.0 * (cpu - reading.cpu) / (at - reading.at).as_secs_f64(),
            None => 0.0,
        };
        *last = Some(Reading { at, cpu, percent });
        Some(percent)
    }
}
