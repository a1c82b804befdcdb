//! How much work is taken on.
//!
//! A worker is one thread that runs handlers to their end, so work waits in its run queue. A *round* is
//! one turn of that queue: it begins with the first request after a quiet moment and ends when a marker
//! task, queued behind it, comes up. Everything in the round was ready when it began, so a request that
//! comes up after `max_wait` of work would be answered late, and the ones behind it later still: those are
//! turned away at once, which costs microseconds. What waits for the next round is bounded in the same
//! way, so nobody is queued to death and no work is done for callers that have given up.
//!
//! Work is the time between requests, but none counts for more than a few times what is typical: where the
//! operating system takes the core away for a while, waiting requests are late whatever is done, and turning them away
//! would help nobody.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use fraud_core::service::metrics::Shed;

use super::problem::ApiError;

/// What the round has seen.
#[derive(Debug, Clone, Copy)]
struct Round {
    busy: Duration,
    last: Instant,
    /// The last one was taken on, not turned away.
    worked: bool,
}

/// How soon a request is looked at again at the latest, when its connection has nothing new for it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Least step of the typical duration, and what turning a request away may count for.
const STEP: Duration = Duration::from_micros(1);
/// Allowed to any gap, whatever is typical.
const SLACK: Duration = Duration::from_micros(100);

/// One worker's admission.
#[derive(Debug)]
pub struct Admission {
    max_wait: Duration,
    retry_after: Duration,
    bodies: Places,
    stores: Places,
    batches: Places,
    round: Cell<Option<Round>>,
    /// What one request's work typically takes: follows single ones by an eighth at most.
    typical: Cell<Duration>,
    marker: RefCell<Option<Waker>>,
    /// Requests that were looked at once, by number.
    looked_at: RefCell<Vec<(u64, Waker)>>,
    looks: Cell<u64>,
}

impl Admission {
    /// For a worker that may have so many unfinished bodies, as many requests at a store, and so many requests of many
    /// rows.
    #[must_use]
    pub fn new((max_wait, retry_after): (Duration, Duration), (in_flight, batches): (usize, usize)) -> Rc<Self> {
        Rc::new(Self {
            max_wait,
            retry_after,
            bodies: Places::new(in_flight),
            stores: Places::new(in_flight),
            batches: Places::new(batches),
            round: Cell::new(None),
            typical: Cell::new(Duration::from_micros(20)),
            marker: RefCell::new(None),
            looked_at: RefCell::default(),
            looks: Cell::new(0),
        })
    }

    /// The marker task: run it on the worker's own thread for as long as the worker lives.
    pub async fn mark(self: Rc<Self>) {
        poll_fn::<(), _>(|context| {
            self.round.set(None);
            let mut marker = self.marker.borrow_mut();
            if marker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
                *marker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Takes on the work of a request that is ready at `now`, or turns it away.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`].
    pub fn work(&self, now: Instant) -> Result<(), ApiError> {
        let Some(mut round) = self.round.get() else {
            self.round.set(Some(Round { busy: Duration::ZERO, last: now, worked: true }));
            if let Some(marker) = &*self.marker.borrow() {
                marker.wake_by_ref();
            }
            return Ok(());
        };
        let gap = now.saturating_duration_since(round.last);
        let typical = self.typical.get();
        if round.worked {
            let step = typical / 8 + STEP;
            self.typical.set(gap.clamp(typical.saturating_sub(step), typical + step));
        }
        round.busy += gap.min(if round.worked { 4 * typical + SLACK } else { SLACK });
        round.last = now;
        round.worked = round.busy <= self.max_wait;
        self.round.set(Some(round));
        if round.worked { Ok(()) } else { Err(self.refuse(Shed::Overload)) }
    }

    /// Counts a request whose body is not all there yet, until the guard is dropped.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`].
    pub fn wait_for_body(&self) -> Result<Place<'_>, ApiError> {
        self.bodies.take().ok_or_else(|| self.refuse(Shed::InFlight))
    }

    /// Counts a request that waits for a store. Apart from those that wait for bodies: callers that send slowly must
    /// not keep out those whose requests are there.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`].
    pub fn wait_for_store(&self) -> Result<Place<'_>, ApiError> {
        self.stores.take().ok_or_else(|| self.refuse(Shed::InFlight))
    }

    /// Counts a request of many rows, from its body to its answer, both of which are held in memory.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`].
    pub fn batch(&self) -> Result<Place<'_>, ApiError> {
        self.batches.take().ok_or_else(|| self.refuse(Shed::InFlight))
    }

    /// Sees to it that a request whose body was not there at the first look is looked at again soon, until the
    /// guard is dropped. Nearly always its connection does that by itself, at once.
    #[must_use]
    pub fn look_again(self: &Rc<Self>, waker: &Waker) -> LookAgain {
        let number = self.looks.get();
        self.looks.set(number.wrapping_add(1));
        self.looked_at.borrow_mut().push((number, waker.clone()));
        LookAgain { admission: self.clone(), number }
    }

    /// The task behind [`Admission::look_again`]: run it on the worker's own thread for as long as the worker lives.
    pub async fn remind(self: Rc<Self>) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let forgotten: Vec<Waker> = self.looked_at.borrow().iter().map(|(_, waker)| waker.clone()).collect();
            forgotten.into_iter().for_each(Waker::wake);
        }
    }

    fn refuse(&self, reason: Shed) -> ApiError {
        ApiError::Overloaded { reason, retry_after: self.retry_after }
    }
}

/// A request that was looked at once.
#[derive(Debug)]
pub struct LookAgain {
    admission: Rc<Admission>,
    number: u64,
}

impl Drop for LookAgain {
    fn drop(&mut self) {
        let mut looked_at = self.admission.looked_at.borrow_mut();
        // The latest is the first to be found.
        if let Some(at) = looked_at.iter().rposition(|(number, _)| *number == self.number) {
            looked_at.swap_remove(at);
        }
    }
}

/// How many may be somewhere at once.
#[derive(Debug)]
struct Places {
    most: usize,
    taken: Cell<usize>,
}

impl Places {
    fn new(most: usize) -> Self {
        Self { most, taken: Cell::new(0) }
    }

    fn take(&self) -> Option<Place<'_>> {
        let taken = self.taken.get();
        (taken < self.most).then(|| {
            self.taken.set(taken + 1);
            Place(self)
        })
    }
}

/// A request's place, until it is dropped.
#[derive(Debug)]
pub struct Place<'a>(&'a Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Rc<Admission> {
        Admission::new((Duration::from_millis(10), Duration::from_secs(1)), (2, 1))
    }

    #[actix_web::test]
    async fn a_round_that_lasts_too_long_sheds_its_rest_and_the_next_one_begins_anew() {
        let admission = admission();
        actix_web::rt::spawn(admission.clone().mark());
        tokio::task::yield_now().await;
        let start = Instant::now();
        let outcomes = |admission: &Admission, gap: Duration, count: u32| {
            (0..count).filter(|at| admission.work(start + gap * *at).is_ok()).count()
        };
        // Requests of 100 µs: about a hundred are 10 ms of work.
        let taken = outcomes(&admission, Duration::from_micros(100), 400);
        assert!((90..=130).contains(&taken), "{taken}");
        assert!(matches!(admission.work(start), Err(ApiError::Overloaded { reason: Shed::Overload, .. })));
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert!(admission.work(start).is_ok());
    }

    #[actix_web::test]
    async fn work_that_has_become_slow_is_noticed() {
        let admission = admission();
        for _ in 0..20 {
            admission.round.set(None);
            (0..50_u32).for_each(|at| drop(admission.work(Instant::now() + Duration::from_millis(2) * at)));
        }
        admission.round.set(None);
        let start = Instant::now();
        let taken = (0..50_u32).filter(|at| admission.work(start + Duration::from_millis(2) * *at).is_ok()).count();
        assert!((5..=7).contains(&taken), "{taken}");
    }

    #[test]
    fn a_core_that_was_taken_away_for_a_while_is_no_overload() {
        let admission = admission();
        let start = Instant::now();
        assert!(admission.work(start).is_ok());
        assert!(admission.work(start + Duration::from_millis(80)).is_ok());
        assert!(admission.work(start + Duration::from_millis(81)).is_ok());
    }

    #[actix_web::test]
    async fn who_was_looked_at_once_is_looked_at_again() {
        let admission = admission();
        actix_web::rt::spawn(admission.clone().remind());
        let mut guard = None;
        poll_fn(|context| match guard.take() {
            Some(_) => Poll::Ready(()),
            None => {
                guard = Some(admission.look_again(context.waker()));
                Poll::Pending
            }
        })
        .await;
        assert!(admission.looked_at.borrow().is_empty());
    }

    #[test]
    fn unfinished_bodies_are_bounded() {
        let admission = admission();
        let (one, two) = (admission.wait_for_body().unwrap(), admission.wait_for_body().unwrap());
        assert!(matches!(admission.wait_for_body(), Err(ApiError::Overloaded { reason: Shed::InFlight, .. })));
        assert!(admission.wait_for_store().is_ok(), "what is there goes on");
        let batch = admission.batch().unwrap();
        assert!(admission.batch().is_err());
        drop((one, batch));
        assert!(admission.wait_for_body().is_ok());
        assert!(admission.batch().is_ok());
        drop(two);
    }
}
