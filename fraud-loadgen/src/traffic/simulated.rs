//! The simulator's payments, as a stream without end.

use std::vec::IntoIter;

use fraud_core::{Amount, Id};

use super::draft::{Draft, Stream, StreamError};
use crate::simulator::{Payment, Settings, Simulator};

/// Payments of a customer on a day, on average.
const PAYMENTS_A_DAY: f64 = 1.92;
/// Fewer customers make a population that a model would find strange.
const MIN_CUSTOMERS: u32 = 5_000;
/// More are not needed to keep one from paying too often, and take more memory.
const MAX_CUSTOMERS: u32 = 1_000_000;

/// As many customers as make about so many payments on one day.
///
/// The load's transactions happen within minutes. Were they those of a small population, each customer would pay
/// hundreds of times an hour, and every count in every window would look like an attack. A day of a population that
/// large, pressed into the run, looks to the model like a day.
#[must_use]
#[allow(clippy::cast_possible_truncation)] // Clamped.
pub fn customers_for(transactions: f64) -> u32 {
    (transactions / PAYMENTS_A_DAY).clamp(f64::from(MIN_CUSTOMERS), f64::from(MAX_CUSTOMERS)) as u32
}

/// The simulator's payments, day after day; after the last day, the first again.
pub struct Simulated {
    simulator: Simulator,
    start: i64,
    day: u32,
    today: IntoIter<Payment>,
}

impl Simulated {
    /// Places the population and lets it pay for a day, so that the first transactions are there when load begins.
    ///
    /// # Errors
    /// [`StreamError::Simulation`].
    pub fn new(settings: Settings) -> Result<Self, StreamError> {
        let start = settings.start;
        let simulator = Simulator::new(settings)?;
        let today = simulator.day(0).into_iter();
        let day = 1 % simulator.settings().days;
        Ok(Self { simulator, start, day, today })
    }
}

impl Stream for Simulated {
    fn next(&mut self) -> Result<Option<Draft>, StreamError> {
        // A population of at least 5,000 pays every day; a small one of a test might not.
        for _ in 0..=self.simulator.settings().days {
            if let Some(payment) = self.today.next() {
                return Ok(draft(&payment, self.start));
            }
            self.today = self.simulator.day(self.day).into_iter();
            self.day = (self.day + 1) % self.simulator.settings().days;
        }
        Ok(None)
    }
}

/// `None` for an amount beyond what a transaction can have; the simulator's mean amounts are at most 100.
fn draft(payment: &Payment, start: i64) -> Option<Draft> {
    Some(Draft {
        id: None,
        customer: Id::from(i64::from(payment.customer)),
        terminal: Id::from(i64::from(payment.terminal)),
        amount: Amount::from_major(payment.amount())?,
        time: start + payment.time_seconds(),
        fraud: Some(payment.fraud.is_some()),
        scenario_number: payment.fraud.map_or(0, crate::simulator::Scenario::number),
    })
}
