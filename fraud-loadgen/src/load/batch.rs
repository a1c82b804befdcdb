//! Requests ready to be sent, in batches made ahead of time.

use std::ops::Range;

use super::schedule::Arrival;

/// What is known about a row of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Truth {
    /// A genuine payment.
    Genuine,
    /// A fraud.
    Fraud,
    /// Not a transaction at all; the server should refuse it.
    Malformed,
}

impl Truth {
    /// How many there are.
    pub const COUNT: usize = 3;
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It asks for assessments, and is measured.
    Score,
    /// It brings labels; it is counted apart.
    Labels,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// When it is intended to start, and the phase it belongs to.
    pub arrival: Arrival,
    /// What it is for.
    pub kind: Kind,
    /// Where its bytes stand in the batch.
    pub bytes: Range<usize>,
    /// Where what is known of its rows stands in the batch.
    pub rows: Range<usize>,
}

/// Requests that follow each other, with their bytes in one allocation.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    truths: Vec<Truth>,
    requests: Vec<Request>,
}

impl Batch {
    /// Appends a request: `write` appends its bytes and what is known of its rows.
    ///
    /// # Errors
    /// Those of `write`; the request is then not there.
    pub fn push<E>(
        &mut self,
        arrival: Arrival,
        kind: Kind,
        write: impl FnOnce(&mut Vec<u8>, &mut Vec<Truth>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (bytes, rows) = (self.bytes.len(), self.truths.len());
        if let Err(error) = write(&mut self.bytes, &mut self.truths) {
            self.bytes.truncate(bytes);
            self.truths.truncate(rows);
            return Err(error);
        }
        let (bytes, rows) = (bytes..self.bytes.len(), rows..self.truths.len());
        self.requests.push(Request { arrival, kind, bytes, rows });
        Ok(())
    }

    /// Its requests, in order of their intended starts.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// The bytes of one of its requests.
    #[must_use]
    pub fn bytes(&self, request: &Request) -> &[u8] {
        &self.bytes[request.bytes.clone()]
    }

    /// What is known of the rows of one of its requests.
    #[must_use]
    pub fn truths(&self, request: &Request) -> &[Truth] {
        &self.truths[request.rows.clone()]
    }
}

/// Makes requests.
pub trait Source: Send {
    /// Why it could not.
    type Error: Send;

    /// Appends the request of an arrival, and before it whatever else is due until then. `false` when there is
    /// nothing left to send: the run ends early.
    ///
    /// # Errors
    /// What ends the run.
    fn request(&mut self, arrival: Arrival, batch: &mut Batch) -> Result<bool, Self::Error>;

    /// Called once after the last arrival.
    ///
    /// # Errors
    /// What the run ends with.
    fn finish(&mut self, batch: &mut Batch) -> Result<(), Self::Error>;
}
