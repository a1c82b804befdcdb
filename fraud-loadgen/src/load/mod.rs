//! Open-loop load: requests leave on a schedule, whatever the server does.
//!
//! A closed loop (so many clients, each sending again when it was answered) slows down with the server, and its
//! latencies leave out the requests that it did not send meanwhile. Here every request has an intended start;
//! latency counts from it, and a server that stands still for a second is charged a second of arrivals.
//!
//! The generator is honest about itself: each request's *schedule error* (when it was dispatched minus when it was
//! intended) is kept as a histogram beside the latencies, and [`stats::Stats::claim`] names a quantile the server's only where
//! the generator's own lateness cannot have made it.
//!
//! Nothing here knows what a transaction is: a [`batch::Source`] makes requests, [`batch::Truth`] is a number.

pub mod batch;
pub mod clock;
mod connection;
pub mod engine;
pub mod http;
#[cfg(feature = "kafka")]
pub mod kafka;
mod outcomes;
pub mod schedule;
pub mod stats;
mod worker;
