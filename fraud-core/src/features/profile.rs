//! What a store answers: the window aggregates of one transaction.

use super::definition::KeyKind;

/// Which of a window's statistics are asked for. The others may be left at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Needs {
    /// [`WindowStats::sum`].
    pub sum: bool,
    /// [`WindowStats::sum_of_squares`].
    pub sum_of_squares: bool,
    /// [`WindowStats::min`] and [`WindowStats::max`].
    pub extremes: bool,
    /// [`WindowStats::frauds`].
    pub frauds: bool,
    /// [`WindowStats::since_previous`].
    pub previous: bool,
}

impl Needs {
    pub(super) fn merge(&mut self, other: Self) {
        self.sum |= other.sum;
        self.sum_of_squares |= other.sum_of_squares;
        self.extremes |= other.extremes;
        self.frauds |= other.frauds;
        self.previous |= other.previous;
    }
}

/// A window of a store: the transactions of one key with event time in (t − delay − window, t − delay].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowSpec {
    /// Whose transactions.
    pub key: KeyKind,
    /// Length, in seconds.
    pub window: u32,
    /// How far the right edge lies back, in seconds. Without a delay the current transaction is inside.
    pub delay: u32,
    /// What is asked of it; the count always is.
    pub needs: Needs,
}

/// Exact statistics of one window. Amounts are in 1/10,000 of a major unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WindowStats {
    /// Transactions in the window.
    pub count: u64,
    /// Sum of their amounts.
    pub sum: u128,
    /// Sum of the squares of their amounts.
    pub sum_of_squares: u128,
    /// Smallest amount; 0 for an empty window.
    pub min: i64,
    /// Greatest amount; 0 for an empty window.
    pub max: i64,
    /// How many of them are known, at the profile's event time, to be fraud.
    pub frauds: u64,
    /// Seconds from the latest of them, the current one apart, to the right edge; the window's length where
    /// there is none.
    pub since_previous: u32,
}

/// The windows that a set of features needs, each once. Made by
/// [`FeaturePlan::compile`](super::FeaturePlan::compile), read by stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfilePlan {
    pub(super) windows: Box<[WindowSpec]>,
    pub(super) history: u32,
    pub(super) fingerprint: u64,
}

impl ProfilePlan {
    pub(super) fn new(windows: Vec<WindowSpec>, history: u32) -> Self {
        let mut bytes = Vec::with_capacity(windows.len() * 10);
        for WindowSpec { key, window, delay, needs } in &windows {
            bytes.extend_from_slice(&window.to_le_bytes());
            bytes.extend_from_slice(&delay.to_le_bytes());
            bytes.push(u8::from(*key == KeyKind::Terminal));
            let Needs { sum, sum_of_squares, extremes, frauds, previous } = *needs;
            let flags = [sum, sum_of_squares, extremes, frauds, previous];
            bytes.push(flags.iter().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
        }
        let fingerprint = xxhash_rust::xxh3::xxh3_64(&bytes);
        Self { windows: windows.into(), history, fingerprint }
    }

    /// A plan that asks nothing.
    #[cfg(feature = "redis")]
    pub(crate) fn nothing() -> Self {
        Self::new(Vec::new(), 0)
    }

    /// A number that equal plans share, also between processes and versions.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The windows; a profile's statistics stand in this order. Windows of one key are neighbours, and
    /// those of one delay too, shortest first.
    #[must_use]
    pub fn windows(&self) -> &[WindowSpec] {
        &self.windows
    }

    /// The greatest delay + window, in seconds.
    #[must_use]
    pub fn history(&self) -> u32 {
        self.history
    }
}

/// What the store knew about a transaction's customer and terminal at its event time.
///
/// Made to be reused: a store overwrites it without a new allocation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile {
    /// One entry per window of the plan that it was made by.
    pub windows: Vec<WindowStats>,
    /// [`ProfilePlan::fingerprint`] of the plan that it was made by.
    pub plan: u64,
    /// The transaction was recorded before; the profile is the one given then, where it is still held.
    pub duplicate: bool,
    /// The transaction is older than the store's lateness: it was scored, but not recorded.
    pub late: bool,
    /// The store has seen at least as much time as the plan looks back.
    pub history_complete: bool,
    /// A window reached into a part of a key's history that is kept by the minute only.
    pub approximate: bool,
}
