//! Requests that no server should accept.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// What is wrong with a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// JSON that ends in the middle.
    Torn,
    /// Not JSON at all.
    NotJson,
    /// An amount below 0.
    NegativeAmount,
    /// An amount written as a text.
    TextAmount,
    /// Nobody pays.
    NoCustomer,
    /// An empty identifier.
    EmptyId,
    /// An identifier that is too long.
    LongId,
    /// A time that is no date.
    BadTime,
}

impl Malformed {
    /// All of them. The first two are not JSON, and in a batch would spoil the rows around them.
    pub const ALL: [Self; 8] = [
        Self::Torn,
        Self::NotJson,
        Self::NegativeAmount,
        Self::TextAmount,
        Self::NoCustomer,
        Self::EmptyId,
        Self::LongId,
        Self::BadTime,
    ];

    /// Its name in the ground truth.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::NotJson => "not_json",
            Self::NegativeAmount => "negative_amount",
            Self::TextAmount => "text_amount",
            Self::NoCustomer => "no_customer",
            Self::EmptyId => "empty_id",
            Self::LongId => "long_id",
            Self::BadTime => "bad_time",
        }
    }

    /// Draws one; of those that leave a batch readable when `in_batch`.
    pub(super) fn draw(random: &mut ChaCha8Rng, in_batch: bool) -> Self {
        let first = if in_batch { 2 } else { 0 };
        Self::ALL[random.random_range(first..Self::ALL.len())]
    }
}
