//! Open Inference Protocol, version 2: the bare model on its feature tensor.

use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use fraud_core::error::ModelError;
use fraud_core::{Model, Scorer};
use serde_json::json;

mod request;
mod response;
mod tensor;

pub use request::{InferRequest, read as read_request};

use super::health::is_ready;
use super::{Parts, guarded, many_rows, path};
use crate::app::Worker;
use crate::http::body::Media;
use crate::http::keys::Role;
use crate::http::problem::ApiError;

/// Says how many of the body's first bytes are JSON; the rest are tensors.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// The tensor that holds all features.
const INPUT: &str = "features";
/// The output that always is there.
const PROBABILITY: &str = "fraud_probability";
/// 1 where the probability is at least one half.
const LABEL: &str = "fraud_label";
/// Rows asked of the model before other requests get their turn.
const CHUNK: usize = 256;

/// Adds the endpoints.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(path("/v2", "GET", [web::get().to(server)]))
        .service(path("/v2/health/live", "GET", [web::get().to(live)]))
        .service(path("/v2/health/ready", "GET", [web::get().to(ready)]));
    for model in ["/v2/models/{name}", "/v2/models/{name}/versions/{version}"] {
        config
            .service(path(model, "GET", [web::get().to(metadata)]))
            .service(path(&format!("{model}/ready"), "GET", [web::get().to(model_ready)]))
            .service(path(&format!("{model}/infer"), "POST", [web::post().to(infer)]));
    }
}

/// The protocol's own error object.
fn as_error(error: &ApiError) -> HttpResponse {
    error.log();
    let problem = error.problem();
    let text = if problem.detail.is_empty() { problem.title.to_owned() } else { problem.detail };
    error.start_response().json(json!({ "error": text }))
}

/// What this server is.
#[utoipa::path(get, path = "/v2", tag = "open inference protocol", responses(
    (status = 200, description = "Server metadata", body = crate::schema::ServerMetadata),
))]
pub async fn server() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "name": "fraud-api",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data"],
    }))
}

/// Whether the server lives.
#[utoipa::path(get, path = "/v2/health/live", tag = "open inference protocol", responses(
    (status = 200, description = "It lives", body = crate::schema::Live),
))]
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "live": true }))
}

/// Whether the server is ready.
#[utoipa::path(get, path = "/v2/health/ready", tag = "open inference protocol", responses(
    (status = 200, description = "It is ready", body = crate::schema::Ready),
    (status = 503, description = "It is not", body = crate::schema::Ready),
))]
pub async fn ready(request: HttpRequest) -> HttpResponse {
    readiness(Worker::of(&request).is_ok_and(|worker| is_ready(&worker.shared)), json!({}))
}

fn readiness(ready: bool, mut answer: serde_json::Value) -> HttpResponse {
    answer["ready"] = ready.into();
    if ready { HttpResponse::Ok().json(answer) } else { HttpResponse::ServiceUnavailable().json(answer) }
}

/// The model in service, when it is the one that the path names.
fn named<'a>(scorer: &'a Scorer, request: &HttpRequest) -> Result<&'a Model, ApiError> {
    let model = scorer.model().ok_or(ApiError::Model(ModelError::NoModel))?;
    let path = request.match_info();
    if path.get("name") != Some(model.name()) {
        return Err(ApiError::NotFound { what: "model" });
    }
    match path.get("version") {
        Some(version) if version != model.version() => Err(ApiError::NotFound { what: "version of this model" }),
        _ => Ok(model),
    }
}

/// What the model takes and gives.
#[utoipa::path(get, path = "/v2/models/{name}", tag = "open inference protocol",
    params(("name" = String, Path, description = "The model's name")),
    responses(
        (status = 200, description = "Model metadata", body = crate::schema::ModelMetadata),
        crate::schema::InferenceRefusals,
    ),
)]
pub async fn metadata(request: HttpRequest) -> HttpResponse {
    guarded(&request, (Role::Infer, as_error), async |worker| {
        let scorer = worker.shared.life.shared().load();
        let model = named(&scorer, &request)?;
        Ok(HttpResponse::Ok().json(json!({
            "name": model.name(),
            "versions": [model.version()],
            "platform": "onnx_tract",
            "inputs": [{ "name": INPUT, "datatype": "FP32", "shape": [-1, model.features().len()] }],
            "outputs": [
                { "name": PROBABILITY, "datatype": "FP32", "shape": [-1] },
                { "name": LABEL, "datatype": "INT64", "shape": [-1] },
            ],
            "parameters": { "features": model.features().names().collect::<Vec<_>>() },
        })))
    })
    .await
}

/// Whether the model is ready.
#[utoipa::path(get, path = "/v2/models/{name}/ready", tag = "open inference protocol",
    params(("name" = String, Path, description = "The model's name")),
    responses(
        (status = 200, description = "It is ready", body = crate::schema::ModelReady),
        crate::schema::InferenceRefusals,
    ),
)]
pub async fn model_ready(request: HttpRequest) -> HttpResponse {
    guarded(&request, (Role::Infer, as_error), async |worker| {
        let scorer = worker.shared.life.shared().load();
        let model = named(&scorer, &request)?;
        Ok(readiness(is_ready(&worker.shared), json!({ "name": model.name() })))
    })
    .await
}

/// Runs the model on rows of features. Nothing is recorded and no policy is asked.
#[utoipa::path(post, path = "/v2/models/{name}/infer", tag = "open inference protocol",
    params(("name" = String, Path, description = "The model's name")),
    request_body(content = crate::schema::InferBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The outputs", body = crate::schema::InferAnswer),
        crate::schema::InferenceRefusals,
    ),
)]
pub async fn infer(Parts(request, mut payload): Parts) -> HttpResponse {
    guarded(&request, (Role::Infer, as_error), async |worker| {
        let expected = "application/json, or application/octet-stream with Inference-Header-Content-Length";
        let taken = many_rows(worker, (&request, &mut payload), expected).await?;
        let scorer = super::predict::scorer(worker);
        let model = named(&scorer, &request)?;
        let json_bytes = json_bytes(request.headers(), taken.media, taken.body.len())?;
        let (head, tail) = taken.body.split_at(json_bytes);
        let names: Vec<&str> = model.features().names().collect();
        let limit = worker.shared.settings.admission.max_batch_rows;
        let asked = request::read((head, tail), &names, limit)?;
        let probabilities = run(worker, model, &asked.rows).await?;
        let answer = response::write(&asked, model, &probabilities)?;
        let mut response = HttpResponse::Ok();
        match answer.json_bytes {
            None => response.insert_header((CONTENT_TYPE, "application/json")),
            Some(bytes) => response
                .insert_header((CONTENT_TYPE, "application/octet-stream"))
                .insert_header((HEADER_LENGTH, bytes.to_string())),
        };
        Ok(response.body(answer.body))
    })
    .await
}

/// Asks the model in chunks, between which others get their turn.
///
/// # Errors
/// [`ApiError::Model`].
pub async fn run(worker: &Worker, model: &Model, rows: &[f32]) -> Result<Vec<f32>, ApiError> {
    let width = model.features().len().max(1);
    let mut probabilities = vec![0.0; rows.len() / width];
    let _active = worker.shared.metrics.active();
    for (index, (rows, out)) in rows.chunks(width * CHUNK).zip(probabilities.chunks_mut(CHUNK)).enumerate() {
        if index > 0 {
            tokio::task::yield_now().await;
        }
        worker.dawdle();
        model.predict_batch(rows, out).inspect_err(|_| worker.recorder.borrow().model_failed())?;
    }
    Ok(probabilities)
}

/// How many of the body's bytes are JSON.
fn json_bytes(headers: &HeaderMap, media: Media, all: usize) -> Result<usize, ApiError> {
    let problem = |problem: &str| {
        Err(ApiError::Malformed {
            pointer: String::new(),
            problem: format!("Inference-Header-Content-Length {problem}"),
        })
    };
    match headers.get(HEADER_LENGTH).map(|value| value.to_str().ok().and_then(|text| text.parse::<usize>().ok())) {
        None if media == Media::Octets => problem("is missing"),
        None => Ok(all),
        Some(Some(bytes)) if bytes <= all => Ok(bytes),
        Some(Some(_)) => problem("is greater than the body"),
        Some(None) => problem("is not a number"),
    }
}
