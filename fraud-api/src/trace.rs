//! One span per request, where traces are asked for. Without them nothing is done.

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span, SpanKind, Status, Tracer};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::Span as SdkSpan;

use crate::app::Worker;

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(actix_web::http::header::HeaderName::as_str).collect()
    }
}

/// Begins the request's span under the caller's W3C context.
#[must_use]
pub fn begin(worker: &Worker, request: &HttpRequest, name: impl FnOnce() -> Cow<'static, str>) -> Option<SdkSpan> {
    let traces = worker.shared.traces.as_ref()?;
    let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
    let tracer = traces.tracer();
    Some(tracer.span_builder(name()).with_kind(SpanKind::Server).start_with_context(tracer, &parent))
}

/// Ends it with the answer's status.
pub fn end(span: &mut Option<SdkSpan>, status: StatusCode) {
    let Some(span) = span else { return };
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
    span.end();
}
