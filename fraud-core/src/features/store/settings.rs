//! What a store keeps, and how much.

use crate::error::FeatureError;
use crate::features::profile::ProfilePlan;

/// Settings of a [`MemoryStore`](super::MemoryStore). Values out of range are moved to its nearer end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The largest delay + window that plans may ask for, in seconds: 1 to 180 days. Default 37 days, what
    /// the handbook's features need. Events are kept for this and the lateness.
    pub history: u32,
    /// How much older than the newest an event may be and still be recorded, in seconds: at most 366 days.
    /// Default 1 day.
    pub lateness: u32,
    /// How long the profile first given is kept for a repeated transaction, in seconds of event time (at
    /// most as long as the event). Default 2 days.
    pub dedupe: u32,
    /// Transactions of one key that are kept by the second; older ones are merged by the minute. At least 2,
    /// default 65,536.
    pub max_cells_per_key: usize,
    /// Memory, in bytes, from which on new customers and terminals are refused. Default 2 GiB.
    pub max_bytes: u64,
    /// Shards of the customers and of the terminals, each behind a lock of its own; transaction ids have four
    /// times as many. A power of two (rounded up), 1 to 1,024. Default 64.
    pub shards: usize,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            history: 37 * 86_400,
            lateness: 86_400,
            dedupe: 2 * 86_400,
            max_cells_per_key: 65_536,
            max_bytes: 2 << 30,
            shards: 64,
        }
    }
}

impl StoreSettings {
    pub(crate) fn in_range(self) -> Self {
        Self {
            history: self.history.clamp(1, 180 * 86_400),
            lateness: self.lateness.min(366 * 86_400),
            max_cells_per_key: self.max_cells_per_key.max(2),
            shards: self.shards.clamp(1, 1_024).next_power_of_two(),
            ..self
        }
    }

    /// Seconds for which an event is kept.
    pub(crate) fn kept(&self) -> i64 {
        i64::from(self.history) + i64::from(self.lateness)
    }

    /// Refuses a plan that looks back further than is kept.
    pub(crate) fn check_history(&self, plan: &ProfilePlan) -> Result<(), FeatureError> {
        let kept_seconds = self.history;
        if plan.history() <= kept_seconds {
            return Ok(());
        }
        let longest = plan.windows().iter().max_by_key(|spec| spec.window + spec.delay);
        let name = longest.map_or_else(String::new, |spec| {
            format!("{:?} window of {} s, delay {} s", spec.key, spec.window, spec.delay).to_lowercase()
        });
        Err(FeatureError::TooMuchHistory { name, needed_seconds: plan.history(), kept_seconds })
    }
}
