//! What handlers work with: one part shared by all workers, one part of each worker's own.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::web::Bytes;
use fraud_core::ParseOptions;
use fraud_core::features::Profile;
use fraud_core::service::clock::WallClock;
use fraud_core::service::fitness::Fitness;
use fraud_core::service::life::ModelLife;
use fraud_core::service::metrics::{Metrics, Recorder};
use fraud_core::service::shutdown::{Lifecycle, Stage};
use fraud_core::service::telemetry::Traces;
use parking_lot::Mutex;

use crate::answer::Answers;
use crate::http::admission::Admission;
use crate::http::hot::{HotEndpoint, HotMetrics};
use crate::http::keys::Keys;
use crate::http::problem::ApiError;
use crate::http::rate::RateLimit;
use crate::routes::console::Recent;
use crate::settings::ApiSettings;
use crate::store::Store;

/// Latest flagged transactions that the console shows.
pub const RECENT: usize = 20;

/// Everything that the workers share.
pub struct Shared {
    /// The settings.
    pub settings: ApiSettings,
    /// How transactions are read.
    pub parse: ParseOptions,
    /// The model in service.
    pub life: Arc<ModelLife>,
    /// The store.
    pub store: Store,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// HTTP metrics of the hot endpoint.
    pub hot: HotMetrics,
    /// Where the service stands.
    pub lifecycle: Arc<Lifecycle>,
    /// When it started.
    pub started: Instant,
    /// Keys, when there are any.
    pub keys: Option<Arc<Keys>>,
    /// The limit per caller, when there is one.
    pub rate: Option<RateLimit>,
    /// Drift and quality of the model in service.
    pub fitness: Arc<Fitness>,
    /// The latest flagged transactions.
    pub recent: Mutex<VecDeque<Recent>>,
    /// Where spans go, when they go anywhere.
    pub traces: Option<Arc<Traces>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Whether requests are to be taken: the store is there, and a model or rules that do without one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lifecycle.stage() == Stage::Ready && self.store.is_available() && self.life.shared().load().can_decide()
    }
}

/// What one worker thread has of its own.
pub struct Worker {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// The store, over this thread's own connection where it is shared.
    pub store: Store,
    /// How much work this thread takes on.
    pub admission: Rc<Admission>,
    /// Counts assessments.
    pub recorder: RefCell<Recorder>,
    /// Counts requests to `/predict`.
    pub hot: HotEndpoint,
    /// Overwritten by every transaction, so that none allocates.
    pub profile: RefCell<Profile>,
    /// The row of features of a sampled transaction.
    pub row: RefCell<Vec<f64>>,
    /// Memory of the answers.
    pub answers: Answers,
    /// The document that overload is answered with, written once.
    pub overloaded: OnceCell<Bytes>,
    /// What time it is.
    pub wall: WallClock,
    /// Transactions until the next one is sampled for drift.
    sample_in: Cell<u32>,
}

impl Worker {
    /// A worker's part, on its own thread.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Rc<Self> {
        let limits = &shared.settings.admission;
        let share = |all: usize| all.div_ceil(shared.settings.workers());
        let places = (share(limits.max_in_flight), share(limits.max_batches));
        let admission = Admission::new((limits.max_wait.0, limits.retry_after.0), places);
        Rc::new(Self {
            recorder: RefCell::new(shared.metrics.recorder()),
            hot: shared.hot.endpoint("/predict", "POST"),
            store: shared.store.for_worker(),
            profile: RefCell::default(),
            row: RefCell::default(),
            answers: Answers::default(),
            overloaded: OnceCell::new(),
            wall: WallClock::default(),
            sample_in: Cell::new(0),
            admission,
            shared,
        })
    }

    /// The worker that serves a request.
    ///
    /// # Errors
    /// [`ApiError::Internal`] for an application that was put together wrongly.
    pub fn of(request: &HttpRequest) -> Result<&Rc<Self>, ApiError> {
        let missing = || ApiError::Internal { problem: "no worker in the application".to_owned() };
        request.app_data::<Rc<Self>>().ok_or_else(missing)
    }

    /// Whether this transaction is one that drift is measured on.
    pub fn samples(&self) -> bool {
        let every = self.shared.settings.drift.sample_every;
        match (every, self.sample_in.get()) {
            (0, _) => false,
            (_, 0) => {
                self.sample_in.set(every - 1);
                true
            }
            (_, left) => {
                self.sample_in.set(left - 1);
                false
            }
        }
    }

    /// Spends the time that `chaos.slow_assessment` asks for.
    pub fn dawdle(&self) {
        let slow: Duration = self.shared.settings.chaos.slow_assessment.0;
        if !slow.is_zero() {
            let start = Instant::now();
            while start.elapsed() < slow {
                std::hint::spin_loop();
            }
        }
    }
}
