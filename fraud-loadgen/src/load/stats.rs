//! What was measured, and what may be said of it.

use hdrhistogram::Histogram;

use super::batch::Truth;
use super::clock::{MILLISECOND, SECOND};

/// Longest time a histogram tells apart from longer ones: an hour.
const LONGEST: u64 = 3_600 * SECOND;
/// Finest step of a histogram is about half of it, in nanoseconds.
const FINEST: u64 = 1_000;
/// A thousandth of a value is told apart.
const DIGITS: u8 = 3;

/// Times in nanoseconds, exact to a thousandth.
#[derive(Debug, Clone)]
pub struct Times(Option<Histogram<u64>>);

impl Default for Times {
    fn default() -> Self {
        // The bounds are constants that the histogram accepts.
        Self(Histogram::new_with_bounds(FINEST, LONGEST, DIGITS).ok())
    }
}

impl Times {
    /// Counts one.
    pub fn record(&mut self, nanoseconds: u64) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(nanoseconds);
        }
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.0, &other.0) {
            // Same bounds: always accepted.
            let _ = histogram.add(other);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The time that a share `quantile` (0 to 1) does not exceed, in nanoseconds; 0 when there is none.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> u64 {
        self.0.as_ref().filter(|times| !times.is_empty()).map_or(0, |times| times.value_at_quantile(quantile))
    }

    /// The longest, in nanoseconds.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::max)
    }

    /// Their mean, in nanoseconds; 0 when there is none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.0.as_ref().filter(|times| !times.is_empty()).map_or(0.0, Histogram::mean)
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// 2xx.
    Answered,
    /// 4xx that the request deserved: it was malformed.
    Rejected,
    /// Turned away to protect the server: 429 or 503.
    Shed,
    /// 4xx to a well-formed request.
    Refused,
    /// 2xx to a request in which everything was malformed.
    Swallowed,
    /// Any other status.
    Failed,
    /// No answer within the time limit.
    TimedOut,
    /// The connection broke, or what came was no HTTP.
    Broken,
}

impl End {
    /// How many there are.
    pub const COUNT: usize = 8;
    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Answered,
        Self::Rejected,
        Self::Shed,
        Self::Refused,
        Self::Swallowed,
        Self::Failed,
        Self::TimedOut,
        Self::Broken,
    ];

    /// Whether it counts in the error rate. Shedding has a rate of its own.
    #[must_use]
    pub fn is_error(self) -> bool {
        !matches!(self, Self::Answered | Self::Rejected | Self::Shed)
    }
}

/// What the server decided on a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Let pass.
    Approve,
    /// Looked at by someone.
    Review,
    /// Refused.
    Decline,
    /// No decision: the row was answered with an error.
    Error,
    /// No decision: the request was not answered, or the answer cannot be read.
    Missing,
}

impl Outcome {
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// Rows by what is known of them and what was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decisions([[u64; Outcome::COUNT]; Truth::COUNT]);

impl Decisions {
    /// Counts rows.
    pub fn add(&mut self, truth: Truth, outcome: Outcome) {
        self.0[truth as usize][outcome as usize] += 1;
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self, truth: Truth, outcome: Outcome) -> u64 {
        self.0[truth as usize][outcome as usize]
    }

    /// How many rows there are of a kind.
    #[must_use]
    pub fn of(&self, truth: Truth) -> u64 {
        self.0[truth as usize].iter().sum()
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *mine += theirs;
        }
    }
}

/// Everything measured in a phase, in a second, or in all.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// From the intended start to the complete answer, of requests that were answered, refused or failed; those
    /// without an answer count with the time until they were given up. What was shed stands apart.
    pub latency: Times,
    /// The same, from the moment that the generator took the request up.
    pub from_dispatch: Times,
    /// The same as `latency`, of shed requests.
    pub shed_latency: Times,
    /// When a request was taken up, minus when it was intended: the generator's own lateness.
    pub schedule_error: Times,
    /// Requests taken up.
    pub dispatched: u64,
    /// Of these, how many found no free connection and waited for one.
    pub waited: u64,
    /// Requests by their end.
    pub ends: [u64; End::COUNT],
    /// Rows by truth and decision.
    pub decisions: Decisions,
    /// Labels' requests that were answered with 2xx.
    pub labels_taken: u64,
    /// Labels' requests that were not.
    pub labels_lost: u64,
    /// Bytes of requests.
    pub sent_bytes: u64,
    /// Bytes of answers.
    pub received_bytes: u64,
}

impl Stats {
    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.from_dispatch.add(&other.from_dispatch);
        self.shed_latency.add(&other.shed_latency);
        self.schedule_error.add(&other.schedule_error);
        self.decisions.merge(&other.decisions);
        for (mine, theirs) in self.ends.iter_mut().zip(other.ends) {
            *mine += theirs;
        }
        self.dispatched += other.dispatched;
        self.waited += other.waited;
        self.labels_taken += other.labels_taken;
        self.labels_lost += other.labels_lost;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
    }

    /// How many requests ended so.
    #[must_use]
    pub fn count(&self, end: End) -> u64 {
        self.ends[end as usize]
    }

    /// How many requests ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ends.iter().sum()
    }

    /// Share of the ended requests that are errors, 0 to 1.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        let errors = End::ALL.into_iter().filter(|end| end.is_error()).map(|end| self.count(end)).sum();
        share(errors, self.ended())
    }

    /// Share of the ended requests that were shed, 0 to 1.
    #[must_use]
    pub fn shed_rate(&self) -> f64 {
        share(self.count(End::Shed), self.ended())
    }

    /// A quantile of the latency with the judgement whether it is the server's: it is when neither the generator's
    /// lateness at the same quantile, nor what that lateness adds to the latency, exceeds the tolerance or a tenth of the
    /// latency, whichever is more.
    #[must_use]
    pub fn claim(&self, quantile: f64, tolerance: u64) -> Claim {
        let latency = self.latency.quantile(quantile);
        let added = latency.saturating_sub(self.from_dispatch.quantile(quantile));
        let own = self.schedule_error.quantile(quantile).max(added);
        Claim { nanoseconds: latency, own, servers: own <= tolerance.max(latency / 10) }
    }

    /// Whether the generator kept its schedule: 99 of 100 requests within the tolerance.
    #[must_use]
    pub fn kept_schedule(&self, tolerance: u64) -> bool {
        self.schedule_error.quantile(0.99) <= tolerance
    }
}

/// A quantile of the latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The latency.
    pub nanoseconds: u64,
    /// The generator's own part in it, at most.
    pub own: u64,
    /// Whether it may be called the server's.
    pub servers: bool,
}

/// A part of a whole, 0 to 1; of nothing, 0.
#[must_use]
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// How late the generator may be, by default: a millisecond.
pub const TOLERANCE: u64 = MILLISECOND;

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(latency: u64, own: u64, every: u64) -> Stats {
        let mut stats = Stats::default();
        for index in 0..10_000 {
            let late = if index % every == 0 { own } else { 1_000 };
            stats.schedule_error.record(late);
            stats.from_dispatch.record(latency);
            stats.latency.record(latency + late);
        }
        stats
    }

    #[test]
    fn a_generator_on_time_may_speak_of_the_server() {
        let claim = stats(5 * MILLISECOND, 500_000, 1).claim(0.99, TOLERANCE);
        assert!(claim.servers && claim.nanoseconds.abs_diff(5_500_000) < 10_000, "{claim:?}");
    }

    #[test]
    fn a_late_generator_may_not_call_its_lateness_the_servers() {
        // Two of a hundred requests leave 40 ms late: the 99th percentile is the generator's, the median is not.
        let stats = stats(5 * MILLISECOND, 40 * MILLISECOND, 50);
        assert!(!stats.claim(0.99, TOLERANCE).servers);
        assert!(!stats.claim(0.999, TOLERANCE).servers);
        assert!(stats.claim(0.5, TOLERANCE).servers);
        assert!(!stats.kept_schedule(TOLERANCE));
    }

    #[test]
    fn lateness_that_is_small_beside_the_latency_does_not_spoil_it() {
        let stats = stats(SECOND, 40 * MILLISECOND, 1);
        assert!(stats.claim(0.99, TOLERANCE).servers);
        assert!(!stats.kept_schedule(TOLERANCE));
    }

    #[test]
    fn rates_are_shares_of_what_ended() {
        let stats = Stats { ends: [90, 2, 5, 0, 0, 2, 1, 0], ..Stats::default() };
        assert_eq!((stats.error_rate(), stats.shed_rate()), (0.03, 0.05));
        let mut twice = stats.clone();
        twice.add(&stats);
        assert_eq!((twice.ended(), twice.error_rate()), (200, 0.03));
        assert_eq!(Stats::default().error_rate(), 0.0);
    }

    #[test]
    fn times_are_exact_to_a_thousandth_and_keep_the_longest() {
        let mut times = Times::default();
        (1..=1_000u64).for_each(|index| times.record(index * MILLISECOND));
        assert!(times.quantile(0.5).abs_diff(500 * MILLISECOND) <= MILLISECOND);
        times.record(u64::MAX);
        assert_eq!(times.count(), 1_001);
        assert!(times.max() >= LONGEST);
    }
}
