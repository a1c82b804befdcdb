//! Streams through the one path of fraud-core: transactions in, assessments out.
//!
//! [`replay`] is the bounded stream: a file of transactions, scored as if each arrived at its event time.
//! [`kafka`] is the unbounded one: from topic to topic, exactly once.
#![deny(missing_docs)]

#[cfg(feature = "kafka")]
pub mod kafka;
pub mod replay;
