//! Streams through the one path of fraud-core: transactions in, assessments out.
//!
//! [`replay`] is the bounded stream: a file of transactions, scored as if each arrived at its event time.
//! [`latency`] measures models on such a file.
//! [`kafka`] is the unbounded one: from topic to topic, exactly once.
#![deny(missing_docs)]

#[cfg(feature = "kafka")]
pub mod kafka;
pub mod latency;
pub mod replay;
