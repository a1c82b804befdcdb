//! Time since the start of a run, and a timer that is good to microseconds.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const MILLISECOND: u64 = 1_000_000;

/// Nanoseconds since the start of a run; 0 until then. Copies tell the same time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose run starts `lead` from now.
    #[must_use]
    pub fn starting_in(lead: Duration) -> Self {
        Self { start: Instant::now() + lead }
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    /// Nanoseconds until the start; 0 once it is over.
    #[must_use]
    pub fn until_start(&self) -> u64 {
        nanoseconds(self.start.saturating_duration_since(Instant::now()))
    }
}

/// Whole nanoseconds, at most those of 584 years.
#[must_use]
pub fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A kernel timer in an event loop. The loop's own timeout counts milliseconds, which is too coarse for a schedule.
#[derive(Debug)]
pub(super) struct Timer {
    fd: OwnedFd,
}

impl Timer {
    /// Makes a timer that wakes the loop with `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // Edge-triggered: an expiry that was not read does not wake the loop again, so it never has to be read.
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { fd })
    }

    /// Wakes the loop once, `wait` nanoseconds from now (at least 1).
    pub(super) fn arm(&self, wait: u64) -> io::Result<()> {
        let wait = wait.max(1);
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: (wait / SECOND).cast_signed(), tv_nsec: (wait % SECOND).cast_signed() },
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}
