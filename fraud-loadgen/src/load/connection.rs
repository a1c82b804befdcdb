//! One connection: connecting, idle, or with one request under way.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::batch::{Batch, Request};
use super::http::{self, Progress, Response};

/// A request that was taken up.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) batch: Rc<Batch>,
    pub(super) index: usize,
    /// When it was taken up, in nanoseconds since the start.
    pub(super) dispatched: u64,
}

impl Job {
    pub(super) fn request(&self) -> &Request {
        &self.batch.requests()[self.index]
    }
}

/// What a connection is doing.
#[derive(Debug)]
enum State {
    /// Not there. May be opened again from this time on.
    Closed { until: u64 },
    /// On its way.
    Connecting(TcpStream),
    /// Waiting for work.
    Idle(TcpStream),
    /// A request under way, of which so many bytes are written.
    Busy(TcpStream, Job, usize),
}

/// What came of looking at a connection.
#[derive(Debug)]
pub(super) enum Event {
    /// Nothing to do yet.
    Waiting,
    /// It became free for work.
    Free,
    /// It is gone; with the request that was under way, if there was one.
    Lost(Option<Job>),
}

#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    token: Token,
    state: State,
    /// The beginning of an answer that did not come at once, and how many bytes it takes to look again.
    answer: Vec<u8>,
    wanted: usize,
    /// Answers that came on it.
    served: u32,
}

impl Connection {
    pub(super) fn new(address: SocketAddr, token: Token) -> Self {
        Self { address, token, state: State::Closed { until: 0 }, answer: Vec::new(), wanted: 0, served: 0 }
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self.state, State::Idle(_))
    }

    /// How many answers came since it was opened.
    pub(super) fn served(&self) -> u32 {
        self.served
    }

    /// Whether it should be opened now.
    pub(super) fn wants_opening(&self, now: u64) -> bool {
        matches!(self.state, State::Closed { until } if until <= now)
    }

    /// The request under way.
    pub(super) fn job(&self) -> Option<&Job> {
        match &self.state {
            State::Busy(_, job, _) => Some(job),
            _ => None,
        }
    }

    /// Begins to connect.
    pub(super) fn open(&mut self, registry: &Registry) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        registry.register(&mut stream, self.token, Interest::READABLE | Interest::WRITABLE)?;
        self.state = State::Connecting(stream);
        Ok(())
    }

    /// Gives it up until a time. Dropping the stream takes it out of the event loop.
    pub(super) fn close(&mut self, until: u64) -> Option<Job> {
        self.answer.clear();
        self.wanted = 0;
        self.served = 0;
        match std::mem::replace(&mut self.state, State::Closed { until }) {
            State::Busy(_, job, _) => Some(job),
            _ => None,
        }
    }

    /// Sends a request on a free connection; gives it back when the connection is not free or just broke.
    pub(super) fn send(&mut self, job: Job, reopen: u64) -> Result<(), Job> {
        match std::mem::replace(&mut self.state, State::Closed { until: reopen }) {
            State::Idle(stream) => {
                self.state = State::Busy(stream, job, 0);
                match self.write() {
                    Ok(()) => Ok(()),
                    Err(_) => self.close(reopen).map_or(Ok(()), Err),
                }
            }
            other => {
                self.state = other;
                Err(job)
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let State::Busy(stream, job, written) = &mut self.state else { return Ok(()) };
        let bytes = job.batch.bytes(job.request());
        while *written < bytes.len() {
            match stream.write(&bytes[*written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => *written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The event loop saw something happen. `finished` is given each complete answer with its request.
    pub(super) fn ready(
        &mut self,
        event: &mio::event::Event,
        (buffer, reopen): (&mut [u8], u64),
        finished: impl FnOnce(Job, &Response<'_>),
    ) -> Event {
        if let State::Connecting(_) = self.state {
            return self.connected(event, reopen);
        }
        if event.is_writable() && self.write().is_err() {
            return Event::Lost(self.close(reopen));
        }
        if !(event.is_readable() || event.is_read_closed() || event.is_error()) {
            return Event::Waiting;
        }
        match self.read(buffer, finished) {
            Ok(Reading::Open(event)) => event,
            Ok(Reading::Ended) | Err(_) => Event::Lost(self.close(reopen)),
        }
    }

    fn connected(&mut self, event: &mio::event::Event, reopen: u64) -> Event {
        let State::Connecting(stream) = std::mem::replace(&mut self.state, State::Closed { until: reopen }) else {
            return Event::Waiting;
        };
        if event.is_error() || matches!(stream.take_error(), Ok(Some(_)) | Err(_)) {
            return Event::Lost(None);
        }
        if !event.is_writable() {
            self.state = State::Connecting(stream);
            return Event::Waiting;
        }
        // A request is one small write: it must not wait for the acknowledgement of another.
        if stream.set_nodelay(true).is_err() {
            return Event::Lost(None);
        }
        self.state = State::Idle(stream);
        Event::Free
    }

    /// Reads until there is nothing more. Edge-triggered: what is left unread would not be told of again.
    fn read(&mut self, buffer: &mut [u8], finished: impl FnOnce(Job, &Response<'_>)) -> io::Result<Reading> {
        let mut finished = Some(finished);
        let mut event = Event::Waiting;
        loop {
            let (State::Idle(stream) | State::Busy(stream, ..)) = &mut self.state else {
                return Ok(Reading::Open(event));
            };
            let count = match stream.read(buffer) {
                Ok(0) => return Ok(Reading::Ended),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Reading::Open(event)),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            // A stream that gave less than was asked for is empty for now.
            let drained = count < buffer.len();
            if !matches!(self.state, State::Busy(..)) {
                // An answer that nobody asked for.
                return Err(ErrorKind::InvalidData.into());
            }
            if let Some(keep_alive) = self.take(&buffer[..count], &mut finished)? {
                if !keep_alive {
                    return Ok(Reading::Ended);
                }
                event = Event::Free;
            }
            if drained {
                return Ok(Reading::Open(event));
            }
        }
    }

    /// Adds bytes to the answer; when it is complete, hands it over, and says whether the connection may go on.
    fn take(
        &mut self,
        bytes: &[u8],
        finished: &mut Option<impl FnOnce(Job, &Response<'_>)>,
    ) -> io::Result<Option<bool>> {
        let held = !self.answer.is_empty();
        if held {
            self.answer.extend_from_slice(bytes);
            if self.answer.len() < self.wanted {
                return Ok(None);
            }
        }
        let all = if held { &self.answer[..] } else { bytes };
        match http::parse(all).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))? {
            Progress::Partial(wanted) => {
                self.wanted = wanted;
                if !held {
                    self.answer.extend_from_slice(bytes);
                }
                Ok(None)
            }
            // An informational answer comes before the real one; this client asks for none.
            Progress::Complete(response) if response.length < all.len() || response.status < 200 => {
                Err(ErrorKind::InvalidData.into())
            }
            Progress::Complete(response) => {
                let keep_alive = response.keep_alive;
                let State::Busy(stream, job, _) = std::mem::replace(&mut self.state, State::Closed { until: 0 }) else {
                    return Err(ErrorKind::InvalidData.into());
                };
                if let Some(finished) = finished.take() {
                    finished(job, &response);
                }
                self.state = State::Idle(stream);
                self.served += 1;
                self.answer.clear();
                self.wanted = 0;
                Ok(Some(keep_alive))
            }
        }
    }
}

enum Reading {
    Open(Event),
    /// Closed by the server, or to be closed by us.
    Ended,
}
