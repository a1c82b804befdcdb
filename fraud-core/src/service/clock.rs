//! Wall-clock time, and its text.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Whole Unix seconds now.
#[must_use]
pub fn unix_seconds() -> i64 {
    i64::try_from(unix_millis() / 1_000).unwrap_or(i64::MAX)
}

/// Unix milliseconds now; 0 on a machine whose clock stands before 1970.
#[must_use]
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Wall-clock time of a monotonic reading that is there already, for paths where every reading shows. Both
/// clocks are compared once a second, so a wall clock that was set shows within that time. One per thread.
#[derive(Debug)]
pub struct WallClock(Cell<(Instant, u64)>);

impl WallClock {
    const COMPARE_EVERY: Duration = Duration::from_secs(1);

    /// Unix milliseconds at `now`, which must be of the recent past.
    pub fn millis(&self, now: Instant) -> u64 {
        let (compared, millis) = self.0.get();
        let since = now.saturating_duration_since(compared);
        if since < Self::COMPARE_EVERY {
            return millis + u64::from(since.subsec_millis());
        }
        let millis = unix_millis();
        self.0.set((now, millis));
        millis
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self(Cell::new((Instant::now(), unix_millis())))
    }
}

/// RFC 3339 with milliseconds in UTC, always 24 bytes: `2026-01-31T12:00:00.000Z`.
#[must_use]
pub fn rfc3339(unix_millis: u64) -> [u8; 24] {
    let (seconds, millis) = (unix_millis / 1_000, unix_millis % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], second / 3_600);
    digits(&mut text[14..16], second / 60 % 60);
    digits(&mut text[17..19], second % 60);
    digits(&mut text[20..23], millis);
    text
}

/// The same as a text of its own.
#[must_use]
pub fn rfc3339_text(unix_millis: u64) -> String {
    rfc3339(unix_millis).iter().map(|byte| char::from(*byte)).collect()
}

fn digits(into: &mut [u8], mut value: u64) {
    for place in into.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar, counted in 400-year cycles
/// that begin on a 1st of March, so that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (cycle, day_of_cycle) = (shifted / 146_097, shifted % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (cycle * 400 + year_of_cycle + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monotonic_reading_gives_the_wall_clock() {
        let clock = WallClock::default();
        let (_, start) = clock.0.get();
        let now = clock.0.get().0;
        assert_eq!(clock.millis(now + Duration::from_millis(250)), start + 250);
        // Beyond a second it looks at the wall clock itself.
        assert!(clock.millis(now + Duration::from_secs(5)) <= unix_millis());
        assert_eq!(clock.0.get().0, now + Duration::from_secs(5));
    }

    #[test]
    fn agrees_with_the_calendar() {
        for seconds in (0_i64..4_102_444_800).step_by(86_399 * 7) {
            let expected = jiff::Timestamp::from_second(seconds).unwrap().to_string();
            let text = rfc3339_text(u64::try_from(seconds).unwrap() * 1_000 + 7);
            assert_eq!(format!("{}Z", text.trim_end_matches(".007Z")), expected);
        }
    }
}
