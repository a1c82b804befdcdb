//! From settings to a running service, and its orderly end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpServer, middleware};
use actix_web_prom::{ActixMetricsConfiguration, LabelsConfiguration, PrometheusMetrics, PrometheusMetricsBuilder};
use fraud_core::ParseOptions;
use fraud_core::error::{SharedStoreError, SnapshotError};
use fraud_core::service::fitness::Fitness;
use fraud_core::service::life::{Following, LifeError, ModelLife, Watch};
use fraud_core::service::metrics::{LATENCY_BUCKETS, Metrics, MetricsError};
use fraud_core::service::settings::{Loaded, StoreKind};
use fraud_core::service::shutdown::{Lifecycle, Stage};
use fraud_core::service::telemetry::{TelemetryError, Traces};

use crate::app::{Shared, Worker};
use crate::http::guard;
use crate::http::hot::{DURATION, HotMetrics, TOTAL};
use crate::http::keys::{Keys, KeysError};
use crate::http::rate::RateLimit;
use crate::settings::{ApiSettings, Management};
use crate::store::{self, Store};
use crate::{routes, state};

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The model or the policy.
    #[error(transparent)]
    Life(#[from] LifeError),
    /// The saved state.
    #[error(transparent)]
    State(#[from] SnapshotError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The traces.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The certificate or its key.
    #[error("TLS: {problem}")]
    Tls {
        /// What is wrong.
        problem: String,
    },
    /// The shared store.
    #[error(transparent)]
    Store(#[from] SharedStoreError),
    /// The server itself.
    #[error("the server failed: {0}")]
    Server(io::Error),
}

impl RunError {
    /// What the process ends with: 64 where the settings are at fault.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            // The registry may be back when the process is started again.
            Self::Life(error) if error.is_passing() => 1,
            Self::Life(_) | Self::State(_) | Self::Keys(_) | Self::Tls { .. } | Self::Store(_) => 64,
            _ => 1,
        }
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`RunError`].
pub fn run(loaded: Loaded<ApiSettings>) -> Result<(), RunError> {
    let listeners = Listeners::bind(&loaded)?;
    actix_web::rt::System::new().block_on(async {
        let running = start(loaded.settings, listeners)?;
        running.until_signal().await
    })
}

/// Open sockets, not yet served.
#[derive(Debug)]
pub struct Listeners {
    public: TcpListener,
    management: Option<TcpListener>,
}

impl Listeners {
    /// Opens the sockets of the settings. Port 0 takes a free one.
    ///
    /// # Errors
    /// [`RunError::Listen`]. A management port that nobody asked for may be taken.
    pub fn bind(loaded: &Loaded<ApiSettings>) -> Result<Self, RunError> {
        let server = &loaded.settings.server;
        let open = |address| listen(address).map_err(|source| RunError::Listen { address, source });
        let public = open(server.bind)?;
        let asked = loaded.given.iter().any(|key| key == "server.management");
        let management = match server.management.0.map(open) {
            None => None,
            Some(Err(error)) if !asked && server.management == Management::default() => {
                tracing::warn!(%error, "no management listener: set `server.management`");
                None
            }
            Some(listener) => Some(listener?),
        };
        Ok(Self { public, management })
    }

    /// Where the public listener is.
    ///
    /// # Errors
    /// The system's.
    pub fn public(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where the management listener is, if there is one.
    #[must_use]
    pub fn management(&self) -> Option<SocketAddr> {
        self.management.as_ref()?.local_addr().ok()
    }
}

/// Connections that may wait to be accepted: more than the usual 128, so that a burst of new callers meets
/// a quick refusal and not a silent retry by their own TCP.
const BACKLOG: i32 = 4_096;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A service that serves.
pub struct Running {
    shared: Arc<Shared>,
    public: ServerHandle,
    ended: actix_web::rt::task::JoinHandle<io::Result<()>>,
    management: Option<ServerHandle>,
    snapshots: Option<state::Snapshots>,
    _following: Following,
    _keys_watch: Option<Watch>,
    _store_watch: Option<store::Watch>,
}

/// Loads everything and begins to serve. Must be called inside of an actix system.
///
/// # Errors
/// [`RunError`]; then nothing was served.
pub fn start(settings: ApiSettings, listeners: Listeners) -> Result<Running, RunError> {
    let started = Instant::now();
    warn_of(&settings);
    let Listeners { public, management } = listeners;
    let shared = Arc::new(prepare(settings, started)?);
    let snapshots = state::Snapshots::start(&shared.settings.store, &shared.store, shared.metrics.clone());
    let store_watch = store::Watch::start(&shared.store, shared.metrics.clone());
    let following = shared.life.follow();
    let keys_watch = shared.keys.as_ref().map(Keys::watch);
    let metrics = endpoint_metrics(&shared)?;
    let operators_in_public = shared.keys.is_none();
    let address = public.local_addr().map_err(RunError::Server)?;
    let management_address = management.as_ref().and_then(|listener| listener.local_addr().ok());
    let server = serve(&shared, (public, true), metrics.clone(), move |config| {
        routes::public(config, operators_in_public);
    })?;
    let public = server.handle();
    let ended = actix_web::rt::spawn(server);
    let management = match management {
        None => None,
        Some(listener) => {
            let server = serve(&shared, (listener, false), metrics, routes::management)?;
            let handle = server.handle();
            actix_web::rt::spawn(server);
            Some(handle)
        }
    };
    become_ready(&shared);
    announce(&shared, (address, management_address), started);
    Ok(Running {
        shared,
        public,
        ended,
        management,
        snapshots,
        _following: following,
        _keys_watch: keys_watch,
        _store_watch: store_watch,
    })
}

fn prepare(settings: ApiSettings, started: Instant) -> Result<Shared, RunError> {
    let metrics = Metrics::new()?;
    let history = settings.store.history.whole_seconds();
    let life = ModelLife::start((settings.model.clone(), settings.policy.clone()), history, metrics.clone())?;
    let store = match settings.store.kind {
        StoreKind::Embedded => Store::Embedded(Arc::new(state::open(&settings.store)?)),
        StoreKind::Redis => Store::Shared(store::connect(&settings.store)?),
    };
    let shown = store.clone();
    metrics.observe_store(move || shown.figures());
    let hot = HotMetrics::new(metrics.registry()).map_err(|error| MetricsError { problem: error.to_string() })?;
    Ok(Shared {
        parse: ParseOptions { epoch: settings.time.epoch_seconds(), ..ParseOptions::default() },
        traces: Traces::start(&settings.telemetry, "fraud-api")?,
        keys: settings.server.keys_file.as_deref().map(Keys::load).transpose()?.map(Arc::new),
        rate: RateLimit::new(&settings.rate_limit),
        fitness: Fitness::start(&life, &metrics, (&settings.drift, &settings.quality)),
        lifecycle: Arc::new(Lifecycle::default()),
        recent: parking_lot::Mutex::default(),
        started,
        hot,
        life,
        store,
        metrics,
        settings,
    })
}

/// What actix-web-prom adds around every endpoint but the hot one.
fn endpoint_metrics(shared: &Shared) -> Result<PrometheusMetrics, MetricsError> {
    PrometheusMetricsBuilder::new("")
        .registry(shared.metrics.registry().clone())
        .buckets(&LATENCY_BUCKETS)
        .mask_unmatched_patterns("unmatched")
        .metrics_configuration(
            ActixMetricsConfiguration::default()
                .http_requests_total_name(TOTAL)
                .http_requests_duration_seconds_name(DURATION)
                .labels(LabelsConfiguration::default().status("status_code")),
        )
        .build()
        .map_err(|error| MetricsError { problem: error.to_string() })
}

fn serve(
    shared: &Arc<Shared>,
    (listener, is_public): (TcpListener, bool),
    metrics: PrometheusMetrics,
    endpoints: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> Result<actix_web::dev::Server, RunError> {
    let settings = &shared.settings.server;
    let of_workers = shared.clone();
    let workers = if is_public { shared.settings.workers() } else { 1 };
    let factory = move || {
        let worker = Worker::new(of_workers.clone());
        actix_web::rt::spawn(worker.admission.clone().mark());
        actix_web::rt::spawn(worker.admission.clone().remind());
        let endpoints = endpoints.clone();
        let others = web::scope("")
            .wrap(middleware::from_fn(guard::count))
            .wrap(metrics.clone())
            .wrap(middleware::from_fn(guard::known_method))
            .configure(move |config| endpoints(config));
        let app = App::new().app_data(worker);
        if is_public { app.configure(routes::hot).service(others) } else { app.service(others) }
    };
    let server = HttpServer::new(factory)
        .workers(workers)
        .max_connections((settings.max_connections / workers).max(1))
        .client_request_timeout(settings.head_timeout.0)
        .client_disconnect_timeout(Duration::from_secs(1))
        // Who closes has left: nothing is computed for nobody.
        .h1_allow_half_closed(false)
        .keep_alive(settings.keep_alive.0)
        .shutdown_timeout(settings.drain_timeout.0.as_secs())
        .disable_signals();
    let certificate = settings.tls_cert_file.as_deref().zip(settings.tls_key_file.as_deref());
    let server = match certificate {
        #[cfg(feature = "tls")]
        Some((certificate, key)) if is_public => {
            let config = crate::http::tls::config(certificate, key).map_err(|problem| RunError::Tls { problem })?;
            server.listen_rustls_0_23(listener, config)
        }
        _ => server.listen(listener),
    };
    Ok(server.map_err(RunError::Server)?.run())
}

fn become_ready(shared: &Arc<Shared>) {
    let delay = shared.settings.chaos.startup_delay.0;
    if delay.is_zero() {
        return shared.lifecycle.advance(Stage::Ready);
    }
    let lifecycle = shared.lifecycle.clone();
    actix_web::rt::spawn(async move {
        tokio::time::sleep(delay).await;
        lifecycle.advance(Stage::Ready);
    });
}

fn warn_of(settings: &ApiSettings) {
    let server = &settings.server;
    let open = |address: SocketAddr| !address.ip().is_loopback();
    if server.keys_file.is_none() && (open(server.bind) || server.management.0.is_some_and(open)) {
        tracing::warn!("listening beyond loopback without API keys: anyone who reaches the port may score and label");
    }
    if settings.chaos.enabled {
        tracing::warn!(chaos = ?settings.chaos, "CHAOS IS ENABLED: this process fails on purpose");
    }
}

fn announce(shared: &Shared, (address, management): (SocketAddr, Option<SocketAddr>), started: Instant) {
    let info = shared.life.info();
    tracing::info!(
        %address,
        management = management.map(tracing::field::display),
        model = info.as_ref().map_or("none", |info| &info.version),
        keys = shared.keys.is_some(),
        workers = shared.settings.workers(),
        milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "fraud-api serves; try: curl -s {address}/predict -H 'content-type: application/json' -d '{}'",
        r#"{"transaction_id": 1, "customer_id": 7, "terminal_id": 42, "tx_amount": 57.16, "tx_datetime": "2026-01-31 12:00:00"}"#,
    );
}

impl Running {
    /// What the workers share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Serves until SIGTERM or SIGINT, then ends in order. SIGHUP reads keys, model and policy anew.
    ///
    /// # Errors
    /// [`RunError::Server`].
    pub async fn until_signal(self) -> Result<(), RunError> {
        use tokio::signal::unix::{SignalKind, signal};
        let on = |kind| signal(kind).map_err(RunError::Server);
        let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        let mut hangup = on(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {
                    let (life, keys) = (self.shared.life.clone(), self.shared.keys.clone());
                    // Refusals are logged and counted where they happen.
                    let _ = web::block(move || {
                        let _ = life.reload();
                        keys.map(|keys| keys.reload())
                    }).await;
                }
            }
        }
        self.stop().await
    }

    /// Ends in order: not ready, wait for balancers to notice, finish what was accepted, save.
    ///
    /// # Errors
    /// [`RunError::Server`].
    pub async fn stop(self) -> Result<(), RunError> {
        tracing::info!("ending: no longer ready, finishing what was accepted");
        self.shared.lifecycle.advance(Stage::Draining);
        tokio::time::sleep(self.shared.settings.server.drain_delay.0).await;
        // By now no balancer sends anybody; the threads that stop take along what is still to be written. Whoever calls
        // on regardless keeps writing: that is not waited for.
        let drain = self.shared.settings.server.drain_timeout.0;
        let _ = tokio::time::timeout(drain / 2, self.shared.store.settle()).await;
        self.public.stop(true).await;
        let ended = self.ended.await;
        if let Some(snapshots) = self.snapshots {
            let saved = web::block(move || snapshots.finish()).await;
            if saved.is_err() {
                tracing::error!("the last snapshot was not written");
            }
        }
        if let Some(traces) = self.shared.traces.clone() {
            let _ = web::block(move || traces.flush()).await;
        }
        if let Some(management) = self.management {
            management.stop(false).await;
        }
        tracing::info!("ended");
        ended.map_err(|error| RunError::Server(io::Error::other(error)))?.map_err(RunError::Server)
    }
}
