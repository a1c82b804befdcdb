//! `GET /metrics`: all metrics in Prometheus' text format.

use actix_web::{HttpRequest, HttpResponse, ResponseError};

use crate::app::Worker;
use crate::http::problem::ApiError;

/// All metrics.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses(
    (status = 200, description = "Metrics in Prometheus' text format", content_type = "text/plain", body = String),
))]
pub async fn metrics(request: HttpRequest) -> HttpResponse {
    let text = Worker::of(&request).and_then(|worker| {
        worker.shared.metrics.render().map_err(|error| ApiError::Internal { problem: error.to_string() })
    });
    match text {
        Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text),
        Err(error) => error.error_response(),
    }
}
