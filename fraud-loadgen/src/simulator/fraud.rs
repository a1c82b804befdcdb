use std::fmt;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Payment;
use super::population::Population;
use super::settings::{Settings, Stream};

/// Amounts above this are fraud, in hundredths.
const LIMIT_CENTS: f64 = 22_000.0;
const TERMINALS_A_DAY: u32 = 2;
const TERMINAL_DAYS: u32 = 28;
const CUSTOMERS_A_DAY: u32 = 3;
const CUSTOMER_DAYS: u32 = 14;
/// One in so many payments of a compromised customer is fraud.
const SHARE: usize = 3;
const AMOUNT_FACTOR: u64 = 5;

/// The handbook's three kinds of fraud. A payment that more than one applies to counts as the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scenario {
    /// 1: the amount is above 220.
    Amount,
    /// 2: each day two terminals are drawn; every payment there for 28 days, that day included, is fraud.
    Terminal,
    /// 3: each day three customers are drawn; of their payments of 14 days, that day included, a third (rounded
    /// down) are drawn, multiplied by 5, and fraud.
    Customer,
}

impl Scenario {
    /// All of them, in order of their numbers.
    pub const ALL: [Self; 3] = [Self::Amount, Self::Terminal, Self::Customer];

    /// The handbook's number, 1 to 3 (0 stands for no fraud).
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Amount => 1,
            Self::Terminal => 2,
            Self::Customer => 3,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amount => "amount above 220",
            Self::Terminal => "compromised terminals",
            Self::Customer => "compromised customers",
        })
    }
}

/// Finds the fraud of a day. It remembers nothing: what was drawn on an earlier day is drawn again.
#[derive(Debug)]
pub(super) struct Fraud<'a> {
    settings: &'a Settings,
    population: &'a Population,
}

/// One payment of a compromised customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chosen {
    customer: u32,
    day: u32,
    /// Which of the customer's payments of that day, in the order they were drawn.
    index: usize,
}

impl<'a> Fraud<'a> {
    pub(super) fn of(population: &'a Population) -> Self {
        Self { settings: population.settings(), population }
    }

    /// Marks the fraud in a day's payments, which stand by customer and in the order they were drawn.
    pub(super) fn lay_over(&self, day: u32, payments: &mut [Payment]) {
        let limit = (LIMIT_CENTS * self.settings.amount_factor(day)).round() as u64;
        let terminals = self.compromised_terminals(day);
        for payment in payments.iter_mut() {
            if terminals.binary_search(&payment.terminal).is_ok() {
                payment.fraud = Some(Scenario::Terminal);
            } else if payment.cents > limit {
                payment.fraud = Some(Scenario::Amount);
            }
        }
        for first in self.draws(day, CUSTOMER_DAYS) {
            for chosen in self.chosen(first).into_iter().filter(|chosen| chosen.day == day) {
                let start = payments.partition_point(|payment| payment.customer < chosen.customer);
                if let Some(payment) = payments.get_mut(start + chosen.index) {
                    // Chosen in two overlapping fortnights, it is multiplied twice, as in the handbook.
                    payment.cents = payment.cents.saturating_mul(AMOUNT_FACTOR);
                    payment.fraud = Some(Scenario::Customer);
                }
            }
        }
    }

    /// The days whose draws still count on `day`. On the last day of all the handbook draws nothing.
    fn draws(&self, day: u32, span: u32) -> std::ops::Range<u32> {
        (day + 1).saturating_sub(span)..(day + 1).min(self.settings.days - 1)
    }

    /// The terminals at which everything is fraud on a day, sorted.
    pub(super) fn compromised_terminals(&self, day: u32) -> Vec<u32> {
        let mut terminals = Vec::new();
        for first in self.draws(day, TERMINAL_DAYS) {
            let mut random = self.settings.stream(Stream::CompromisedTerminals(first));
            let count = TERMINALS_A_DAY * self.settings.fraud_factor(first);
            terminals.extend(sample(count, self.settings.terminals, &mut random));
        }
        terminals.sort_unstable();
        terminals
    }

    /// The payments that become fraud because their customers were drawn on day `first`.
    fn chosen(&self, first: u32) -> Vec<Chosen> {
        let mut random = self.settings.stream(Stream::CompromisedCustomers(first));
        let count = CUSTOMERS_A_DAY * self.settings.fraud_factor(first);
        let customers = sample(count, self.settings.customers, &mut random);
        let mut candidates = Vec::new();
        for day in first..self.settings.days.min(first + CUSTOMER_DAYS) {
            for &customer in &customers {
                let mut index = 0;
                self.population.pay(customer, day, |_| {
                    candidates.push(Chosen { customer, day, index });
                    index += 1;
                });
            }
        }
        let wanted = candidates.len() / SHARE;
        for place in 0..wanted {
            let other = random.random_range(place..candidates.len());
            candidates.swap(place, other);
        }
        candidates.truncate(wanted);
        candidates
    }

    #[cfg(test)]
    pub(super) fn compromised_customers(&self, first: u32) -> Vec<u32> {
        let mut random = self.settings.stream(Stream::CompromisedCustomers(first));
        sample(CUSTOMERS_A_DAY * self.settings.fraud_factor(first), self.settings.customers, &mut random)
    }
}

/// `count` different numbers below `total` (all of them where there are not so many), every set of them as
/// likely as any other (Floyd's method).
fn sample(count: u32, total: u32, random: &mut ChaCha8Rng) -> Vec<u32> {
    let mut numbers = Vec::new();
    for last in total.saturating_sub(count)..total {
        let number = random.random_range(0..=last);
        numbers.push(if numbers.contains(&number) { last } else { number });
    }
    numbers
}
