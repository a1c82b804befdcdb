//! The stream of payments that benchmarks observe.

use fraud_core::{Amount, Id, Transaction};

/// Payments of the handbook's rates: 5,000 customers, 10,000 terminals, one every nine seconds, without
/// chance, so that every run sees the same.
#[derive(Debug, Default)]
pub struct Payments {
    next: i64,
}

impl Iterator for Payments {
    type Item = Transaction;

    fn next(&mut self) -> Option<Transaction> {
        let n = self.next;
        self.next += 1;
        let mixed = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        Some(Transaction {
            transaction_id: Id::from(n),
            customer_id: Id::from((mixed % 5_000) as i64),
            terminal_id: Id::from((mixed / 5_000 % 10_000) as i64),
            amount: Amount::from_units((mixed % 2_000_000) as i64)?,
            time: 1_700_000_000 + n * 9,
        })
    }
}

/// Forty days of payments: every window is full.
pub const WARM: usize = 40 * 9_600;
