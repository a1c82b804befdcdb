use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use std::cell::RefCell;

use super::Payment;
use super::plane::{Nearby, Plane, SIDE};
use super::settings::{Settings, Stream};

const MEAN_SECOND: f64 = 43_200.0;
const SECOND_DEVIATION: f64 = 20_000.0;
const SECONDS: f64 = 86_400.0;

/// Customers, terminals, and what they do without any fraud.
#[derive(Debug)]
pub(super) struct Population {
    settings: Settings,
    customers: Vec<Customer>,
    plane: Plane,
}

#[derive(Debug)]
struct Customer {
    x: f64,
    y: f64,
    mean_amount: f64,
    /// e to the power of minus the mean number of payments a day.
    no_payment: f64,
    /// Whether a terminal is near enough; without one, the customer pays nowhere.
    pays: bool,
}

thread_local! {
    static NEARBY: RefCell<Nearby> = RefCell::default();
}

impl Population {
    pub(super) fn new(settings: Settings) -> Self {
        let plane = Plane::new(settings.terminals, settings.radius, &mut settings.stream(Stream::Terminals));
        let mut nearby = Nearby::default();
        let customer = |number| {
            let mut random = settings.stream(Stream::Customer(number));
            let (x, y) = (random.random::<f64>() * SIDE, random.random::<f64>() * SIDE);
            let mean_amount = 5.0 + 95.0 * random.random::<f64>();
            let no_payment = (-4.0 * random.random::<f64>()).exp();
            plane.near((x, y), &mut nearby);
            Customer { x, y, mean_amount, no_payment, pays: plane.any((x, y), &nearby) }
        };
        let customers = (0..settings.customers).map(customer).collect();
        Self { customers, plane, settings }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Calls `each` with a customer's payments of a day, in the order they are drawn, none of them fraud.
    pub(super) fn pay(&self, number: u32, day: u32, mut each: impl FnMut(Payment)) {
        let Some(customer) = self.customers.get(number as usize).filter(|customer| customer.pays) else { return };
        let mut random = self.settings.stream(Stream::Payments { customer: number, day });
        let count = poisson(customer.no_payment, &mut random);
        if count == 0 {
            return;
        }
        let mean = customer.mean_amount * self.settings.amount_factor(day);
        let place = (customer.x, customer.y);
        NEARBY.with_borrow_mut(|nearby| {
            self.plane.near(place, nearby);
            for _ in 0..count {
                // Cut to whole seconds before it is compared, so that second 0 does not occur.
                let second = normal(MEAN_SECOND, SECOND_DEVIATION, &mut random).trunc();
                if second > 0.0 && second < SECONDS {
                    let cents = amount(mean, &mut random);
                    let terminal = self.plane.draw(place, nearby, &mut random);
                    each(Payment { customer: number, terminal, cents, day, second: second as u32, fraud: None });
                }
            }
        });
    }

    /// Where the customers are, and where the terminals are.
    #[cfg(test)]
    pub(super) fn places(&self) -> [Vec<(f64, f64)>; 2] {
        [self.customers.iter().map(|customer| (customer.x, customer.y)).collect(), self.plane.places()]
    }

    #[cfg(test)]
    pub(super) fn mean_amount(&self, customer: u32) -> f64 {
        self.customers[customer as usize].mean_amount
    }

    #[cfg(test)]
    pub(super) fn mean_payments(&self, customer: u32) -> f64 {
        -self.customers[customer as usize].no_payment.ln()
    }
}

/// A Poisson number, given the probability of none: as many uniform factors as stay above it.
fn poisson(none: f64, random: &mut impl Rng) -> u32 {
    let mut count = 0;
    let mut product: f64 = random.random();
    while product > none {
        count += 1;
        product *= random.random::<f64>();
    }
    count
}

fn normal(mean: f64, deviation: f64, random: &mut impl Rng) -> f64 {
    let standard: f64 = StandardNormal.sample(random);
    mean + deviation * standard
}

/// An amount in hundredths, ties to even.
fn amount(mean: f64, random: &mut impl Rng) -> u64 {
    let mut amount = normal(mean, mean / 2.0, random);
    if amount < 0.0 {
        amount = random.random::<f64>() * mean * 2.0;
    }
    (amount * 100.0).round_ties_even() as u64
}
