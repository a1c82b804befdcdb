//! The transaction simulator of the *Reproducible Machine Learning for Credit Card Fraud Detection*
//! handbook (chapter 3, "Transaction data simulator"), seeded.
//!
//! Customers and terminals lie uniformly on a plane of 100 × 100. A customer has a mean amount from
//! U(5, 100), a standard deviation of half of it, and a mean number of transactions a day from U(0, 4). Each
//! day brings a Poisson number of them, at N(43200, 20000) seconds after midnight (dropped outside of the
//! day), of an N(mean, deviation) amount (where negative, U(0, 2 · mean)), rounded to hundredths, at one of the
//! terminals nearer than the radius. Three kinds of fraud are laid over that: see [`Scenario`].
//!
//! **Determinism.** Every customer's every day has a random stream of its own, and so has every day's draw of
//! compromised terminals and customers. A day is therefore a pure function of the settings: days can be made
//! in any order, on any number of threads, and come out the same.
//!
//! **Memory.** 40 bytes a customer, about 24 a terminal, and 32 bytes a transaction of the days being held; never
//! the whole simulation.
//!
//! ```
//! use fraud_loadgen::simulator::{Settings, Simulator};
//!
//! let simulator = Simulator::new(Settings { customers: 50, terminals: 100, days: 3, ..Settings::default() })?;
//! let first = simulator.payments().next();
//! assert_eq!(first.map(|payment| payment.day), Some(0));
//! # Ok::<(), fraud_loadgen::simulator::SettingsError>(())
//! ```

use std::num::NonZeroUsize;
use std::sync::mpsc::sync_channel;
use std::thread;

mod fraud;
mod plane;
mod population;
mod settings;

pub use fraud::Scenario;
pub use settings::{Drift, Settings, SettingsError};

use fraud::Fraud;
use population::Population;

/// A simulated transaction. Its `transaction_id` is its position in the simulation, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// Who pays: 0 to customers − 1.
    pub customer: u32,
    /// Who is paid: 0 to terminals − 1.
    pub terminal: u32,
    /// Amount in hundredths of a unit.
    pub cents: u64,
    /// Days since the start.
    pub day: u32,
    /// Seconds since midnight, 1 to 86,399.
    pub second: u32,
    /// What made it fraud, if it is.
    pub fraud: Option<Scenario>,
}

impl Payment {
    /// Seconds since the start of the simulation (the handbook's `TX_TIME_SECONDS`).
    #[must_use]
    pub fn time_seconds(&self) -> i64 {
        i64::from(self.day) * settings::SECONDS_PER_DAY + i64::from(self.second)
    }

    /// Amount in units, one correctly rounded division.
    #[must_use]
    pub fn amount(&self) -> f64 {
        self.cents as f64 / 100.0
    }
}

/// A population and its days.
#[derive(Debug)]
pub struct Simulator {
    population: Population,
}

impl Simulator {
    /// Places customers and terminals. Cost and memory grow with their numbers, not with their product.
    ///
    /// # Errors
    /// [`SettingsError`] for settings that make no simulation.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self { population: Population::new(settings) })
    }

    /// What this is a simulation of.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        self.population.settings()
    }

    /// The payments of one day (0 to days − 1), in order of time; those of one second by customer. A day
    /// beyond the end has none.
    #[must_use]
    pub fn day(&self, day: u32) -> Vec<Payment> {
        let mut payments = Vec::new();
        if day < self.settings().days {
            for customer in 0..self.settings().customers {
                self.population.pay(customer, day, |payment| payments.push(payment));
            }
            Fraud::of(&self.population).lay_over(day, &mut payments);
            payments.sort_by_key(|payment| payment.second);
        }
        payments
    }

    /// All payments in order of time, made day by day as they are asked for.
    pub fn payments(&self) -> impl Iterator<Item = Payment> + '_ {
        (0..self.settings().days).flat_map(|day| self.day(day))
    }

    /// Calls `each` with every day in order; `threads` threads make them ahead, each at most two days.
    ///
    /// # Errors
    /// The first error of `each`, which also ends the simulation.
    pub fn try_for_each_day<E>(
        &self,
        threads: NonZeroUsize,
        mut each: impl FnMut(Vec<Payment>) -> Result<(), E>,
    ) -> Result<(), E> {
        thread::scope(|scope| {
            let mut makers = Vec::new();
            for first in (0..self.settings().days).take(threads.get()) {
                let (sender, receiver) = sync_channel(1);
                scope.spawn(move || {
                    let days = (first..self.settings().days).step_by(threads.get());
                    // A closed channel means that nobody wants the rest.
                    let _ = days.map(|day| self.day(day)).try_for_each(|payments| sender.send(payments));
                });
                makers.push(receiver);
            }
            for day in 0..self.settings().days as usize {
                // A maker ends early only by a panic, which the scope passes on.
                let Ok(payments) = makers[day % makers.len()].recv() else { break };
                each(payments)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
