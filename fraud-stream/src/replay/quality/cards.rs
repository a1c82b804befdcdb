//! Card precision: of the hundred customers with the highest score of a day, how many had a fraud that day.

use std::collections::BTreeMap;

use fraud_core::transaction::{Id, Transaction};
use hashbrown::{HashMap, HashSet};
use serde::Serialize;

const CARDS_PER_DAY: usize = 100;
const DAY: i64 = 86_400;
/// Days open at once where rows come out of order; older ones are closed.
const OPEN_DAYS: usize = 8;

/// Card precision at 100 per day (UTC), as the handbook defines it, but over every day of the input and
/// without leaving out customers whose fraud was known before.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct CardPrecision {
    /// The mean over the days of (customers with a fraud that day among the first 100) / 100, each day by itself.
    pub each_day: Option<f64>,
    /// The same when a customer found on one day is left out of the days after it.
    pub found_left_out: Option<f64>,
    /// Days.
    pub days: u64,
    /// Transactions of days that were closed before they came; only with `--order arrival`.
    pub transactions_left_out: u64,
}

/// A customer's highest score of a day, whether there was a fraud, and who came first among equals.
struct Card {
    score: f32,
    fraud: bool,
    first: usize,
}

#[derive(Default)]
pub(super) struct Cards {
    open: BTreeMap<i64, HashMap<Id, Card>>,
    closed: Option<i64>,
    found: HashSet<Id>,
    each_day: f64,
    found_left_out: f64,
    days: u64,
    transactions_left_out: u64,
}

impl Cards {
    pub(super) fn add(&mut self, transaction: &Transaction, score: f32, fraud: bool) {
        let day = transaction.time.div_euclid(DAY);
        if self.closed.is_some_and(|closed| day <= closed) {
            self.transactions_left_out += 1;
            return;
        }
        let cards = self.open.entry(day).or_default();
        let first = cards.len();
        let card = cards.entry_ref(&transaction.customer_id).or_insert_with(|| Card { score, fraud: false, first });
        card.score = card.score.max(score);
        card.fraud |= fraud;
        while self.open.len() > OPEN_DAYS {
            self.close_first();
        }
    }

    pub(super) fn finish(mut self) -> CardPrecision {
        while !self.open.is_empty() {
            self.close_first();
        }
        let mean = |sum: f64| (self.days > 0).then(|| sum / self.days as f64);
        CardPrecision {
            each_day: mean(self.each_day),
            found_left_out: mean(self.found_left_out),
            days: self.days,
            transactions_left_out: self.transactions_left_out,
        }
    }

    fn close_first(&mut self) {
        let Some((day, cards)) = self.open.pop_first() else { return };
        self.closed = Some(day);
        self.days += 1;
        let mut ranked: Vec<_> = cards.into_iter().collect();
        ranked.sort_unstable_by(|(_, one), (_, other)| {
            other.score.total_cmp(&one.score).then(one.first.cmp(&other.first))
        });
        let hits = ranked.iter().take(CARDS_PER_DAY).filter(|(_, card)| card.fraud).count();
        self.each_day += hits as f64 / CARDS_PER_DAY as f64;
        let unknown = ranked.into_iter().filter(|(customer, _)| !self.found.contains(customer));
        let found: Vec<_> = unknown.take(CARDS_PER_DAY).filter(|(_, card)| card.fraud).map(|(id, _)| id).collect();
        self.found_left_out += found.len() as f64 / CARDS_PER_DAY as f64;
        self.found.extend(found);
    }
}

#[cfg(test)]
mod tests {
    use fraud_core::Amount;

    use super::*;

    fn payment(customer: i64, day: i64) -> Transaction {
        let id = Id::from(customer);
        let amount = Amount::from_units(1).unwrap();
        Transaction {
            transaction_id: id.clone(),
            customer_id: id.clone(),
            terminal_id: id,
            amount,
            time: day * DAY + 5,
        }
    }

    #[test]
    fn the_first_hundred_of_each_day() {
        let mut cards = Cards::default();
        for day in 0..2 {
            for customer in 0..200 {
                // Customers 90 to 109 are frauds; ten of them are among the first hundred.
                let score = 1.0 - customer as f32 / 1_000.0;
                cards.add(&payment(customer, day), 0.0, (90..110).contains(&customer));
                cards.add(&payment(customer, day), score, false);
            }
        }
        // On the second day the ten found are left out, so the other ten are among the first hundred.
        let expected =
            CardPrecision { each_day: Some(0.1), found_left_out: Some(0.1), days: 2, transactions_left_out: 0 };
        assert_eq!(cards.finish(), expected);
    }

    #[test]
    fn found_cards_are_left_out_later() {
        let mut cards = Cards::default();
        for day in 0..4 {
            cards.add(&payment(7, day), 0.9, true);
        }
        let precision = cards.finish();
        assert_eq!(precision.each_day, Some(0.01));
        assert_eq!(precision.found_left_out, Some(0.0025));
    }
}
