//! Logs, and traces where they are asked for.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use super::settings::{LogFormat, LogLevel, TelemetrySettings};

/// How long one delivery of spans may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// What a collector may answer at most, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// Traces could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("traces to {endpoint} cannot be set up: {problem}")]
pub struct TelemetryError {
    /// Where they were to go.
    pub endpoint: String,
    /// What the library said.
    pub problem: String,
}

/// Starts the process's log. A second call changes nothing.
pub fn start_log<W>(settings: &TelemetrySettings, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match settings.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // What libraries have to say is of interest when something is wrong.
    let ours = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("fraud", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let log = tracing_subscriber::registry().with(ours);
    // Only a log that is already there can be in the way, and then it stays.
    let _ = match settings.log_format {
        LogFormat::Json => tracing::subscriber::set_global_default(log.with(lines.json().flatten_event(true))),
        LogFormat::Text => tracing::subscriber::set_global_default(log.with(lines)),
    };
}

/// The way out for spans. Dropping it delivers what is left.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Opens the way, or `None` when no endpoint is set.
    ///
    /// # Errors
    /// [`TelemetryError`] for an endpoint that is no address.
    pub fn start(settings: &TelemetrySettings, service: &'static str) -> Result<Option<Arc<Self>>, TelemetryError> {
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new())
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| TelemetryError { endpoint: endpoint.clone(), problem: error.to_string() })?;
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.trace_share))))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer(service);
        Ok(Some(Arc::new(Self { provider, tracer })))
    }

    /// What spans are begun with.
    #[must_use]
    pub fn tracer(&self) -> &SdkTracer {
        &self.tracer
    }

    /// Delivers what is waiting; blocks until it is delivered or refused.
    pub fn flush(&self) {
        if let Err(error) = self.provider.force_flush() {
            tracing::warn!(%error, "traces were not delivered");
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last traces were not delivered");
        }
    }
}

/// Sends spans from the exporter's own thread, so it may block.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let settings = ureq::Agent::config_builder().timeout_global(Some(EXPORT_TIMEOUT)).http_status_as_error(false);
        Self(settings.build().into())
    }
}

impl HttpClient for Client {
    fn send_bytes<'life, 'answer>(
        &'life self,
        request: Request<Bytes>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'answer>>
    where
        'life: 'answer,
        Self: 'answer,
    {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let mut answer = self.0.run(Request::from_parts(parts, body.to_vec()))?;
            let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?;
            Ok(Response::builder().status(answer.status()).body(body.into())?)
        })
    }
}
