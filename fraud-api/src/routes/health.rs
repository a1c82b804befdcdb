//! Whether it lives, whether it is ready, and what it is.

use actix_web::http::StatusCode;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use fraud_core::service::clock;
use serde_json::json;

use super::path;
use crate::app::{Shared, Worker};
use crate::http::problem::ApiError;

/// Adds the endpoints.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(path("/health", "GET", [web::get().to(health)]))
        .service(path("/health/live", "GET", [web::get().to(live)]))
        .service(path("/health/ready", "GET", [web::get().to(ready)]));
}

/// Whether liveness is to fail, which only chaos asks for.
#[must_use]
pub fn is_live(shared: &Shared) -> bool {
    let after = shared.settings.chaos.fail_liveness_after;
    after.is_zero() || shared.started.elapsed() < after.0
}

/// Whether the service takes requests and has a model to answer with.
#[must_use]
pub fn is_ready(shared: &Shared) -> bool {
    shared.is_ready()
}

fn with(request: &HttpRequest, answer: impl FnOnce(&Shared) -> HttpResponse) -> HttpResponse {
    match Worker::of(request) {
        Ok(worker) => answer(&worker.shared),
        Err(error) => error.error_response(),
    }
}

fn status(ok: bool) -> StatusCode {
    if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// The service in one look.
#[utoipa::path(get, path = "/health", tag = "health", responses(
    (status = 200, description = "Ready", body = crate::schema::Health),
    (status = 503, description = "Not ready", body = crate::schema::Health),
))]
pub async fn health(request: HttpRequest) -> HttpResponse {
    with(&request, |shared| {
        let info = shared.life.info();
        let ready = is_ready(shared);
        HttpResponse::build(status(ready)).json(json!({
            "status": if ready { "healthy" } else { "unavailable" },
            "model_loaded": info.is_some(),
            "model_type": if info.is_some() { "onnx" } else { "rules" },
            "model_version": info.map(|info| info.version),
            "version": env!("CARGO_PKG_VERSION"),
            "timestamp": clock::rfc3339_text(clock::unix_millis()),
            "environment": shared.settings.environment,
        }))
    })
}

/// Whether the process lives.
#[utoipa::path(get, path = "/health/live", tag = "health", responses(
    (status = 200, description = "It lives", body = crate::schema::Status),
    (status = 503, description = "It should be restarted", body = crate::schema::Status),
))]
pub async fn live(request: HttpRequest) -> HttpResponse {
    with(&request, |shared| {
        let live = is_live(shared);
        HttpResponse::build(status(live)).json(json!({ "status": if live { "live" } else { "failing" } }))
    })
}

/// Whether requests should be sent here.
#[utoipa::path(get, path = "/health/ready", tag = "health", responses(
    (status = 200, description = "Send requests", body = crate::schema::Status),
    (status = 503, description = "Send none", body = crate::schema::Status),
))]
pub async fn ready(request: HttpRequest) -> HttpResponse {
    with(&request, |shared| {
        let ready = is_ready(shared);
        HttpResponse::build(status(ready)).json(json!({ "status": if ready { "ready" } else { "not ready" } }))
    })
}

/// MLflow's readiness.
#[utoipa::path(get, path = "/ping", tag = "mlflow", responses(
    (status = 200, description = "Ready"),
    (status = 503, description = "Not ready"),
))]
pub async fn ping(request: HttpRequest) -> HttpResponse {
    with(&request, |shared| HttpResponse::build(status(is_ready(shared))).content_type("application/json").body("\n"))
}

/// The service's version.
#[utoipa::path(get, path = "/version", tag = "mlflow", responses(
    (status = 200, description = "The version", content_type = "text/plain", body = String),
))]
pub async fn version(request: HttpRequest) -> HttpResponse {
    with(&request, |_| HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(env!("CARGO_PKG_VERSION")))
}

/// An answer to a question that needs no body.
pub fn refuse(error: &ApiError) -> HttpResponse {
    error.error_response()
}
