//! Streams through the one path of fraud-core: transactions in, assessments out.
//!
//! [`replay`] is the bounded stream: a file of transactions, scored as if each arrived at its event time.
#![deny(missing_docs)]

pub mod replay;
