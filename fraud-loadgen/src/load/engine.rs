//! A run: a thread that makes requests ahead, threads that send them, and whoever wants to watch.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use super::batch::{Batch, Source};
use super::clock::Clock;
use super::schedule::Arrival;
use super::stats::Stats;
use super::worker::{Setup, Worker};

/// Requests of a batch.
const BATCH: usize = 256;
/// Batches that may lie ready for a worker. Together some 16,000 requests: a third of a second at 50,000 a second.
pub(super) const AHEAD: usize = 64;
/// Time between the beginning and the first intended start, for connections to be made, and more for each of them.
const LEAD: Duration = Duration::from_millis(300);
const LEAD_PER_CONNECTION: Duration = Duration::from_micros(200);

/// What a run is made of.
pub struct Run {
    /// When requests are intended to start.
    pub arrivals: Box<dyn Iterator<Item = Arrival> + Send>,
    /// Number of phases that the arrivals speak of.
    pub phases: usize,
    /// The servers; connections are spread over them evenly.
    pub addresses: Vec<SocketAddr>,
    /// Connections in all, at least one to each server.
    pub connections: usize,
    /// Requests after which a connection is closed and opened anew.
    pub requests_per_connection: Option<u32>,
    /// Threads that send.
    pub threads: NonZeroUsize,
    /// From the intended start, how long an answer is waited for.
    pub timeout: Duration,
    /// Set from outside to end the run early: nothing more is taken up, and what is under way is waited for.
    pub stop: Arc<AtomicBool>,
}

/// What a run measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// By phase.
    pub phases: Vec<Stats>,
    /// All of it.
    pub total: Stats,
    /// Nanoseconds from the start to the last end.
    pub elapsed: u64,
}

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The requests could not be made.
    #[error("requests could not be made: {0}")]
    Source(E),
    /// The machine gave no sockets, timers or threads.
    #[error("the event loop failed: {0}")]
    Io(#[from] io::Error),
    /// A thread ended by a panic.
    #[error("a thread of the load generator ended unexpectedly")]
    Thread,
}

/// Runs. `watch` is called on this thread about every `every` with the seconds that are complete, in order: their
/// number and what was measured in them (what ended then, whenever it began).
///
/// # Errors
/// [`RunError`].
pub fn run<S: Source>(
    run: Run,
    source: &mut S,
    every: Duration,
    mut watch: impl FnMut(&Clock, Vec<(u64, Stats)>),
) -> Result<Measured, RunError<S::Error>> {
    let threads = run.threads.get();
    let connections = u32::try_from(run.connections).unwrap_or(u32::MAX);
    let clock = Clock::starting_in(LEAD + LEAD_PER_CONNECTION.saturating_mul(connections));
    let (seconds_in, seconds_out) = channel();
    let (mut queues, mut setups) = (Vec::new(), Vec::new());
    for thread in 0..threads {
        let (queue, batches) = sync_channel(AHEAD);
        queues.push(queue);
        setups.push(Setup {
            clock,
            addresses: share_of(&run, thread),
            timeout: super::clock::nanoseconds(run.timeout),
            requests_per_connection: run.requests_per_connection,
            phases: run.phases,
            batches,
            seconds: seconds_in.clone(),
            thread,
            stop: run.stop.clone(),
        });
    }
    drop::<Sender<_>>(seconds_in);
    let stop = run.stop.clone();
    thread::scope(|scope| {
        let maker = scope.spawn(move || make(source, run.arrivals, &queues, &stop));
        let workers: Vec<_> =
            setups.into_iter().map(|setup| scope.spawn(move || Worker::new(setup).and_then(Worker::run))).collect();
        let mut seconds = Seconds::new(threads);
        loop {
            match seconds_out.recv_timeout(every) {
                Ok((thread, second, stats)) => seconds.add(thread, second, &stats),
                Err(RecvTimeoutError::Timeout) => watch(&clock, Vec::new()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let complete = seconds.complete();
            if !complete.is_empty() {
                watch(&clock, complete);
            }
        }
        let elapsed = clock.now();
        watch(&clock, seconds.rest());
        let mut phases: Vec<Stats> = (0..run.phases).map(|_| Stats::default()).collect();
        for worker in workers {
            let part = worker.join().map_err(|_| RunError::Thread)??;
            phases.iter_mut().zip(&part).for_each(|(whole, part)| whole.add(part));
        }
        maker.join().map_err(|_| RunError::Thread)?.map_err(RunError::Source)?;
        let mut total = Stats::default();
        phases.iter().for_each(|phase| total.add(phase));
        Ok(Measured { phases, total, elapsed })
    })
}

/// The servers that a thread's connections go to.
fn share_of(run: &Run, thread: usize) -> Vec<SocketAddr> {
    let connections = run.connections.max(run.addresses.len()).max(run.threads.get());
    (thread..connections).step_by(run.threads.get()).map(|index| run.addresses[index % run.addresses.len()]).collect()
}

/// Makes requests, ahead of time, for each worker in turn.
pub(super) fn make<S: Source>(
    source: &mut S,
    arrivals: Box<dyn Iterator<Item = Arrival> + Send>,
    queues: &[SyncSender<Batch>],
    stop: &AtomicBool,
) -> Result<(), S::Error> {
    let mut open: Vec<Batch> = queues.iter().map(|_| Batch::default()).collect();
    // A worker that is gone takes nothing more; the run is over then.
    let send = |queue: usize, batch: &mut Batch| queues[queue].send(std::mem::take(batch)).is_ok();
    for (index, arrival) in arrivals.enumerate() {
        let turn = index % queues.len();
        if stop.load(Ordering::Relaxed) || !source.request(arrival, &mut open[turn])? {
            break;
        }
        if open[turn].requests().len() >= BATCH && !send(turn, &mut open[turn]) {
            return Ok(());
        }
    }
    source.finish(&mut open[0])?;
    for (turn, batch) in open.iter_mut().enumerate() {
        send(turn, batch);
    }
    Ok(())
}

/// Puts the workers' seconds together.
pub(super) struct Seconds {
    /// By thread, how many seconds it has closed. One that was held up closes several at once.
    closed: Vec<u64>,
    /// Those that not all workers have closed.
    open: Vec<(u64, Stats)>,
}

impl Seconds {
    pub(super) fn new(threads: usize) -> Self {
        Self { closed: vec![0; threads], open: Vec::new() }
    }

    pub(super) fn add(&mut self, thread: usize, second: u64, stats: &Stats) {
        self.closed[thread] = second + 1;
        match self.open.iter_mut().find(|open| open.0 == second) {
            Some((_, whole)) => whole.add(stats),
            None => self.open.push((second, stats.clone())),
        }
    }

    pub(super) fn complete(&mut self) -> Vec<(u64, Stats)> {
        let closed = self.closed.iter().copied().min().unwrap_or(0);
        self.open.sort_by_key(|open| open.0);
        let count = self.open.iter().take_while(|open| open.0 < closed).count();
        self.open.drain(..count).collect()
    }

    pub(super) fn rest(mut self) -> Vec<(u64, Stats)> {
        self.open.sort_by_key(|open| open.0);
        self.open
    }
}
