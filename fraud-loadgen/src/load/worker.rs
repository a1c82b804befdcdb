//! One thread of load: an event loop that takes up requests when they are due and reads answers as they come.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::batch::{Batch, Kind, Truth};
use super::clock::{Clock, MILLISECOND, SECOND, Timer, nanoseconds};
use super::connection::{Connection, Event, Job};
use super::http::Response;
use super::outcomes;
use super::stats::{End, Outcome, Stats};

const TIMER: Token = Token(usize::MAX);
/// Answers read at a time, and requests taken up at a time: neither may keep the other waiting.
const EVENTS: usize = 256;
const READ_BYTES: usize = 64 << 10;
/// A wait shorter than this is not worth a sleep: going to sleep and waking up takes about as long.
const SPIN: u64 = 20_000;
const BURST: usize = 256;
/// How often connections are looked after.
const UPKEEP: Duration = Duration::from_millis(20);
/// Connections opened at a time: a listening queue holds more than these.
const OPEN_AT_ONCE: usize = 200;
/// A connection that could not be opened is tried again after this.
const REOPEN: u64 = 100 * MILLISECOND;

/// What a worker works with.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) clock: Clock,
    /// One connection is opened to each of these.
    pub(super) addresses: Vec<SocketAddr>,
    /// Nanoseconds from the intended start after which an answer is no longer waited for.
    pub(super) timeout: u64,
    pub(super) requests_per_connection: Option<u32>,
    pub(super) phases: usize,
    pub(super) batches: Receiver<Batch>,
    /// Where what was measured in a second goes: which thread this is, the second, what was measured.
    pub(super) seconds: Sender<(usize, u64, Stats)>,
    pub(super) thread: usize,
    pub(super) stop: Arc<AtomicBool>,
}

pub(super) struct Worker {
    setup: Setup,
    poll: Poll,
    timer: Timer,
    connections: Vec<Connection>,
    /// Free connections, the one that has been free for the longest first, so that all of them are used.
    free: VecDeque<usize>,
    /// Requests that found no free connection.
    waiting: VecDeque<Job>,
    under_way: usize,
    current: Option<(Rc<Batch>, usize)>,
    /// No more batches will come.
    ended: bool,
    phases: Vec<Stats>,
    second: Stats,
    seconds_done: u64,
    upkeep_at: Instant,
}

impl Worker {
    pub(super) fn new(setup: Setup) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        let connections = setup
            .addresses
            .iter()
            .enumerate()
            .map(|(index, address)| Connection::new(*address, Token(index)))
            .collect();
        Ok(Self {
            poll,
            timer,
            connections,
            free: VecDeque::new(),
            waiting: VecDeque::new(),
            under_way: 0,
            current: None,
            ended: false,
            phases: (0..setup.phases).map(|_| Stats::default()).collect(),
            second: Stats::default(),
            seconds_done: 0,
            upkeep_at: Instant::now(),
            setup,
        })
    }

    /// Runs until every request has ended; answers what was measured, by phase.
    pub(super) fn run(mut self) -> io::Result<Vec<Stats>> {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            self.look_after();
            let next = self.take_up();
            if self.is_done() {
                break;
            }
            self.sleep_until(next, &mut events)?;
            for event in &events {
                if event.token() != TIMER {
                    self.happened(event, &mut buffer);
                }
            }
        }
        self.end_second();
        Ok(self.phases)
    }

    /// Nothing left to send and nothing to wait for.
    fn is_done(&self) -> bool {
        let nothing_to_send = self.setup.stop.load(Ordering::Relaxed) || (self.ended && self.current.is_none());
        nothing_to_send && self.under_way == 0 && self.waiting.is_empty()
    }

    /// Takes up what is due; answers when the next request is, if that is known.
    fn take_up(&mut self) -> Option<u64> {
        if self.setup.stop.load(Ordering::Relaxed) {
            return None;
        }
        for _ in 0..BURST {
            let Some((batch, index)) = self.next_request() else {
                // Batches are made ahead: an empty channel before the end means that their maker is late. So the wait is short.
                return (!self.ended).then_some(self.setup.clock.now() + MILLISECOND / 4);
            };
            let due = batch.requests()[index].arrival.due;
            let now = self.setup.clock.now();
            // A request is due from its nanosecond on; before the start the clock stands at 0.
            if due > now || self.setup.clock.until_start() > 0 {
                return Some(due);
            }
            self.dispatch(Job { batch, index, dispatched: now });
        }
        Some(0)
    }

    fn next_request(&mut self) -> Option<(Rc<Batch>, usize)> {
        loop {
            if let Some((batch, index)) = &self.current {
                if *index < batch.requests().len() {
                    return Some((batch.clone(), *index));
                }
                self.current = None;
            }
            match self.setup.batches.try_recv() {
                Ok(batch) => self.current = Some((Rc::new(batch), 0)),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => {
                    self.ended = true;
                    return None;
                }
            }
        }
    }

    fn dispatch(&mut self, job: Job) {
        if let Some((_, index)) = &mut self.current {
            *index += 1;
        }
        let request = job.request();
        if request.kind == Kind::Score {
            let late = job.dispatched - request.arrival.due;
            let bytes = request.bytes.len() as u64;
            self.count(request.arrival.phase, |stats| {
                stats.schedule_error.record(late);
                stats.dispatched += 1;
                stats.sent_bytes += bytes;
            });
        }
        let phase = request.arrival.phase;
        if let Some(job) = self.start(job) {
            self.count(phase, |stats| stats.waited += 1);
            self.waiting.push_back(job);
        }
    }

    /// Sends a request on a free connection; gives it back when there is none.
    fn start(&mut self, mut job: Job) -> Option<Job> {
        while let Some(index) = self.free.pop_front() {
            // An entry can be out of date: the connection broke, and has or has not come back.
            if !self.connections[index].is_free() {
                continue;
            }
            match self.connections[index].send(job, 0) {
                Ok(()) => {
                    self.under_way += 1;
                    return None;
                }
                Err(back) => job = back,
            }
        }
        Some(job)
    }

    fn happened(&mut self, event: &mio::event::Event, buffer: &mut [u8]) {
        let index = event.token().0;
        let reopen = self.setup.clock.now() + REOPEN;
        let mut answer = None;
        let what = self.connections[index].ready(event, (buffer, reopen), |job, response| {
            answer = Some(Answer::read(job, response));
        });
        if let Some(answer) = answer {
            self.under_way -= 1;
            self.finish(&answer);
        }
        match what {
            Event::Waiting => {}
            Event::Free
                if self.setup.requests_per_connection.is_some_and(|most| self.connections[index].served() >= most) =>
            {
                self.connections[index].close(0);
            }
            Event::Free => {
                self.free.push_back(index);
                self.start_waiting();
            }
            Event::Lost(job) => {
                if let Some(job) = job {
                    self.under_way -= 1;
                    self.finish(&Answer::none(job, End::Broken));
                    // It was open until now: nothing speaks against opening it at once.
                    self.connections[index].close(0);
                }
            }
        }
    }

    fn start_waiting(&mut self) {
        while let Some(job) = self.waiting.pop_front() {
            if let Some(job) = self.start(job) {
                self.waiting.push_front(job);
                return;
            }
        }
    }

    /// Opens what is closed, gives up what takes too long, and closes the second.
    fn look_after(&mut self) {
        let now = self.setup.clock.now();
        if now >= (self.seconds_done + 1) * SECOND {
            self.end_second();
        }
        if Instant::now() < self.upkeep_at {
            return;
        }
        self.upkeep_at = Instant::now() + UPKEEP;
        let oldest = now.saturating_sub(self.setup.timeout);
        // What waits for a connection gives up after half of the time: sent any later, it would be given up under way, and
        // its connection with it, so that a server a little too slow would look like one that answers nothing.
        let patient = now.saturating_sub(self.setup.timeout / 2);
        while self.waiting.front().is_some_and(|job| job.request().arrival.due < patient) {
            if let Some(job) = self.waiting.pop_front() {
                self.finish(&Answer::none(job, End::TimedOut));
            }
        }
        let mut opened = 0;
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            if connection.job().is_some_and(|job| job.request().arrival.due < oldest)
                && let Some(job) = connection.close(0)
            {
                self.under_way -= 1;
                self.finish(&Answer::none(job, End::TimedOut));
            }
            let connection = &mut self.connections[index];
            if opened < OPEN_AT_ONCE && connection.wants_opening(now) {
                opened += 1;
                if connection.open(self.poll.registry()).is_err() {
                    connection.close(now + REOPEN);
                }
            }
        }
    }

    fn finish(&mut self, answer: &Answer) {
        let now = self.setup.clock.now();
        let request = answer.job.request();
        let (phase, due, dispatched) = (request.arrival.phase, request.arrival.due, answer.job.dispatched);
        let is_score = request.kind == Kind::Score;
        self.count(phase, |stats| {
            if !is_score {
                let taken = answer.end == End::Answered;
                stats.labels_taken += u64::from(taken);
                stats.labels_lost += u64::from(!taken);
                return;
            }
            stats.ends[answer.end as usize] += 1;
            stats.received_bytes += answer.bytes;
            if answer.end == End::Shed {
                stats.shed_latency.record(now - due);
            } else {
                stats.latency.record(now - due);
                stats.from_dispatch.record(now - dispatched);
            }
            for (truth, outcome) in answer.job.batch.truths(answer.job.request()).iter().zip(&answer.outcomes) {
                stats.decisions.add(*truth, *outcome);
            }
        });
    }

    /// Counts in the second and in the phase.
    fn count(&mut self, phase: u16, mut counting: impl FnMut(&mut Stats)) {
        counting(&mut self.second);
        if let Some(stats) = self.phases.get_mut(usize::from(phase)) {
            counting(stats);
        }
    }

    fn end_second(&mut self) {
        let done = std::mem::take(&mut self.second);
        // Nobody listens any more when the run was broken off.
        let _ = self.setup.seconds.send((self.setup.thread, self.seconds_done, done));
        self.seconds_done = (self.setup.clock.now() / SECOND).max(self.seconds_done + 1);
    }

    fn sleep_until(&mut self, next: Option<u64>, events: &mut Events) -> io::Result<()> {
        let now = self.setup.clock.now();
        let start = self.setup.clock.until_start();
        let second = (self.seconds_done + 1) * SECOND;
        let upkeep = nanoseconds(self.upkeep_at.saturating_duration_since(Instant::now()));
        let wait = next.map_or(u64::MAX, |next| next.saturating_sub(now) + start);
        let wait = wait.min(second.saturating_sub(now) + start).min(upkeep);
        let timeout = if wait < SPIN {
            Some(Duration::ZERO)
        } else {
            self.timer.arm(wait)?;
            None
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }
}

/// A request with its end.
struct Answer {
    job: Job,
    end: End,
    outcomes: Vec<Outcome>,
    bytes: u64,
}

impl Answer {
    fn none(job: Job, end: End) -> Self {
        let outcomes = vec![Outcome::Missing; job.request().rows.len()];
        Self { job, end, outcomes, bytes: 0 }
    }

    fn read(job: Job, response: &Response<'_>) -> Self {
        let rows = job.request().rows.len();
        let malformed = rows > 0 && job.batch.truths(job.request()).iter().all(|truth| *truth == Truth::Malformed);
        let end = match response.status {
            200..300 if malformed && rows == 1 => End::Swallowed,
            200..300 => End::Answered,
            429 | 503 => End::Shed,
            400..500 if malformed => End::Rejected,
            400..500 => End::Refused,
            _ => End::Failed,
        };
        let mut outcomes = Vec::with_capacity(rows);
        if end == End::Answered && rows > 0 {
            outcomes::read(&response.body, rows, |outcome| outcomes.push(outcome));
        }
        let rest = if matches!(end, End::Rejected | End::Refused) { Outcome::Error } else { Outcome::Missing };
        outcomes.resize(rows, rest);
        Self { job, end, outcomes, bytes: response.length as u64 }
    }
}
