use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Seconds of a day; the simulator knows no leap seconds.
pub(crate) const SECONDS_PER_DAY: i64 = 86_400;
/// 9999-12-31T23:59:59Z, the last second that dates of four digits can name.
const LAST_SECOND: i64 = 253_402_300_799;
/// 0001-01-01T00:00:00Z.
const FIRST_SECOND: i64 = -62_135_596_800;
/// Greatest factor of a drift.
pub(super) const MAX_FACTOR: f64 = 100.0;

/// Size, place in time and seed of a simulation. The default is the handbook's.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Number of customers, at least 1.
    pub customers: u32,
    /// Number of terminals, at least 1.
    pub terminals: u32,
    /// Number of days, at least 1.
    pub days: u32,
    /// Midnight of the first day, in Unix seconds.
    pub start: i64,
    /// A customer pays at terminals nearer than this, in units of the plane (its side is 100).
    pub radius: f64,
    /// Everything random follows from it.
    pub seed: u64,
    /// What changes on the way, if anything does.
    pub drift: Option<Drift>,
}

/// A change of behaviour that a model trained before it does not know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// First day of the change.
    pub day: u32,
    /// All amounts are multiplied by it, and so is the limit of the first scenario, as by inflation: what was a
    /// sure sign of fraud becomes ordinary.
    pub amount_factor: f64,
    /// As many times the terminals and customers are compromised a day.
    pub fraud_factor: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { customers: 5_000, terminals: 10_000, days: 183, start: 1_522_540_800, radius: 5.0, seed: 0, drift: None }
    }
}

/// Settings that make no simulation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A number that must not be 0.
    #[error("--{option} must be at least 1")]
    Zero {
        /// The option's name.
        option: &'static str,
    },
    /// A radius that is no distance.
    #[error("--radius is {radius}: it must be a number above 0 (the plane is 100 wide)")]
    Radius {
        /// Its value.
        radius: f64,
    },
    /// Days that have no date of four digits.
    #[error("--start and --days: {days} days from Unix second {start} leave the years 1 to 9999")]
    Dates {
        /// Unix seconds of the first day.
        start: i64,
        /// Number of days.
        days: u32,
    },
    /// A drift that never comes.
    #[error("--drift-day is {day}: it must be one of the {days} days, counted from 0")]
    DriftDay {
        /// Its value.
        day: u32,
        /// Number of days.
        days: u32,
    },
    /// A drift whose factors are 1.
    #[error("--drift-day alone changes nothing: give --drift-amount-factor or --drift-fraud-factor")]
    IdleDrift,
    /// A drift factor out of range.
    #[error("--drift-{factor}-factor is {value}: it must be above 0 and at most {MAX_FACTOR}")]
    DriftFactor {
        /// `amount` or `fraud`.
        factor: &'static str,
        /// Its value.
        value: f64,
    },
}

impl Settings {
    /// # Errors
    /// The first setting that makes no simulation.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        for (option, number) in [("customers", self.customers), ("terminals", self.terminals), ("days", self.days)] {
            if number == 0 {
                return Err(SettingsError::Zero { option });
            }
        }
        if !(self.radius.is_finite() && self.radius > 0.0) {
            return Err(SettingsError::Radius { radius: self.radius });
        }
        let end = i64::from(self.days).checked_mul(SECONDS_PER_DAY).and_then(|span| self.start.checked_add(span));
        if self.start < FIRST_SECOND || end.is_none_or(|end| end - 1 > LAST_SECOND) {
            return Err(SettingsError::Dates { start: self.start, days: self.days });
        }
        if let Some(drift) = self.drift {
            if drift.day >= self.days {
                return Err(SettingsError::DriftDay { day: drift.day, days: self.days });
            }
            if drift.amount_factor == 1.0 && drift.fraud_factor == 1 {
                return Err(SettingsError::IdleDrift);
            }
            let factors = [("amount", drift.amount_factor), ("fraud", f64::from(drift.fraud_factor))];
            for (factor, value) in factors {
                // Written so that NaN is refused.
                if !(value > 0.0 && value <= MAX_FACTOR) {
                    return Err(SettingsError::DriftFactor { factor, value });
                }
            }
        }
        Ok(())
    }

    /// What amounts are multiplied by on a day.
    pub(super) fn amount_factor(&self, day: u32) -> f64 {
        self.drift.filter(|drift| day >= drift.day).map_or(1.0, |drift| drift.amount_factor)
    }

    /// What the numbers of compromised terminals and customers are multiplied by on a day.
    pub(super) fn fraud_factor(&self, day: u32) -> u32 {
        self.drift.filter(|drift| day >= drift.day).map_or(1, |drift| drift.fraud_factor)
    }

    /// The random stream of one purpose: independent of all others of the same seed.
    pub(super) fn stream(&self, stream: Stream) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(stream.number());
        random
    }
}

/// What a random stream is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    /// Where the terminals are.
    Terminals,
    /// Where a customer is, and how it pays.
    Customer(u32),
    /// What a customer pays on a day.
    Payments { customer: u32, day: u32 },
    /// Terminals compromised on a day.
    CompromisedTerminals(u32),
    /// Customers compromised on a day, and which of their payments are fraud.
    CompromisedCustomers(u32),
}

impl Stream {
    /// Purpose in the highest 8 bits, then 24 of the day (the calendar has fewer days), then 32 of the customer.
    fn number(self) -> u64 {
        let (purpose, day, customer) = match self {
            Self::Terminals => (0, 0, 0),
            Self::Customer(customer) => (1, 0, customer),
            Self::Payments { customer, day } => (2, day, customer),
            Self::CompromisedTerminals(day) => (3, day, 0),
            Self::CompromisedCustomers(day) => (4, day, 0),
        };
        (purpose << 56) | (u64::from(day) << 32) | u64::from(customer)
    }
}
