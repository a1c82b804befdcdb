//! The OpenAPI document and a page to browse it.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use utoipa::OpenApi;
use utoipa_swagger_ui::Config;

use super::{batch, health, inference, invocations, labels, metrics, path, predict};
use crate::http::problem::ApiError;

/// The document, generated from the handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "fraud-api",
        description = "Real-time fraud scoring: transactions in; probabilities, decisions and reasons out."
    ),
    paths(
        predict::predict, batch::batch, labels::labels,
        health::health, health::live, health::ready, metrics::metrics,
        inference::server, inference::live, inference::ready, inference::metadata, inference::model_ready,
        inference::infer,
        invocations::invocations, health::ping, health::version,
    ),
    tags(
        (name = "scoring", description = "Transactions in, assessments out"),
        (name = "labels", description = "Which transactions turned out to be fraud"),
        (name = "health", description = "Probes"),
        (name = "operation", description = "Metrics"),
        (name = "open inference protocol", description = "The bare model on its feature tensor"),
        (name = "mlflow", description = "The bare model, MLflow's protocol"),
    )
)]
pub struct Document;

/// Adds the endpoints.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(path("/openapi.json", "GET", [web::get().to(openapi)]))
        .service(path("/docs", "GET", [web::get().to(to_page)]))
        .service(path("/docs/{file:.*}", "GET", [web::get().to(page)]));
}

/// The document as JSON.
///
/// # Errors
/// What serde says; nothing in the document has no JSON form.
pub fn json() -> serde_json::Result<String> {
    Document::openapi().to_json()
}

async fn openapi() -> HttpResponse {
    match json() {
        Ok(json) => HttpResponse::Ok().content_type("application/json").body(json),
        Err(error) => ApiError::Internal { problem: error.to_string() }.error_response(),
    }
}

async fn to_page() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header(("location", "/docs/")).finish()
}

/// The page's files are part of the program.
async fn page(request: HttpRequest) -> HttpResponse {
    let file = request.match_info().get("file").unwrap_or_default();
    let config = std::sync::Arc::new(Config::from("/openapi.json"));
    match utoipa_swagger_ui::serve(file, config) {
        Ok(Some(file)) => HttpResponse::Ok().content_type(file.content_type).body(file.bytes.into_owned()),
        _ => ApiError::NotFound { what: "file" }.error_response(),
    }
}
