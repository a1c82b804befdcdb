//! The endpoints.

use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError, Route};

pub mod admin;
pub mod batch;
pub mod console;
pub mod docs;
pub mod health;
pub mod inference;
pub mod invocations;
pub mod labels;
pub mod metrics;
pub mod predict;

use crate::app::Worker;
use crate::http::admission::Place;
use crate::http::body::{self, Limits, Media};
use crate::http::guard::{self, Passed};
use crate::http::keys::Role;
use crate::http::problem::ApiError;
use crate::trace;

/// How a protocol words a refusal.
pub type Refusal = fn(&ApiError) -> HttpResponse;

/// A problem document.
pub fn as_problem(error: &ApiError) -> HttpResponse {
    error.error_response()
}

/// What every handler but the hot one does around its own work.
pub async fn guarded(
    request: &HttpRequest,
    (role, refusal): (Role, Refusal),
    work: impl AsyncFnOnce(&Rc<Worker>) -> Result<HttpResponse, ApiError>,
) -> HttpResponse {
    let worker = match Worker::of(request) {
        Ok(worker) => worker,
        Err(error) => return refusal(&error),
    };
    let name = || format!("{} {}", request.method(), request.match_pattern().unwrap_or_default()).into();
    let mut span = trace::begin(worker, request, name);
    let (passed, answer) = match guard::enter(worker, request, role) {
        Ok(passed) => (passed, work(worker).await),
        Err(error) => (Passed::default(), Err(error)),
    };
    let mut response = answer.unwrap_or_else(|error| refuse(worker, &error, refusal));
    guard::leave(worker, &passed, &mut response);
    trace::end(&mut span, response.status());
    response
}

fn refuse(worker: &Worker, error: &ApiError, refusal: Refusal) -> HttpResponse {
    if let ApiError::Overloaded { reason, .. } = error {
        worker.shared.metrics.shed(*reason);
    }
    let mut response = refusal(error);
    guard::refused(worker, error, &mut response);
    response
}

/// A body of many rows, and the place that its work has.
pub struct Rows<'a> {
    /// What it is.
    pub media: Media,
    /// All of it.
    pub body: Bytes,
    _place: Place<'a>,
}

/// Reads a body of many rows and takes on its work, until what is given is dropped.
///
/// # Errors
/// Those of [`body::media`], [`body::read`], what [`Admission`](crate::http::admission::Admission) refuses.
pub async fn many_rows<'a>(
    worker: &'a Worker,
    (request, payload): (&HttpRequest, &mut Payload),
    expected: &'static str,
) -> Result<Rows<'a>, ApiError> {
    let media = body::media(request.headers(), expected)?;
    let place = worker.admission.batch()?;
    let settings = &worker.shared.settings.admission;
    let limits = Limits { bytes: settings.max_batch_bytes, time: settings.deadline.0 };
    let body = body::read(request, payload, &worker.admission, limits).await?.bytes;
    worker.admission.work(std::time::Instant::now())?;
    Ok(Rows { media, body, _place: place })
}

/// A request's parts as handlers want them.
pub struct Parts(pub HttpRequest, pub Payload);

impl FromRequest for Parts {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        std::future::ready(Ok(Self(request.clone(), payload.take())))
    }
}

async fn not_found() -> HttpResponse {
    ApiError::NotFound { what: "path" }.error_response()
}

/// A path with its methods; any other method is answered 405.
fn path(path: &str, allow: &'static str, routes: impl IntoIterator<Item = Route>) -> actix_web::Resource {
    let refuse = move || async move { ApiError::Method { allow }.error_response() };
    routes.into_iter().fold(web::resource(path), actix_web::Resource::route).default_service(web::to(refuse))
}

/// The hot endpoint, outside of every middleware.
pub fn hot(config: &mut ServiceConfig) {
    config.service(path("/predict", "POST", [web::post().to(predict::predict)]));
}

/// The endpoints of the public listener but the hot one.
pub fn public(config: &mut ServiceConfig, with_operators: bool) {
    let get = || web::get();
    config
        .service(path("/predict/batch", "POST", [web::post().to(batch::batch)]))
        .service(path("/labels", "POST", [web::post().to(labels::labels)]))
        .service(path("/invocations", "POST", [web::post().to(invocations::invocations)]))
        .service(path("/ping", "GET, HEAD", [get().to(health::ping), web::head().to(health::ping)]))
        .service(path("/version", "GET", [get().to(health::version)]));
    health::configure(config);
    inference::configure(config);
    docs::configure(config);
    if with_operators {
        config.service(path("/metrics", "GET", [get().to(metrics::metrics)]));
        console::configure(config);
    }
    config.default_service(web::to(not_found));
}

/// The endpoints of the management listener.
pub fn management(config: &mut ServiceConfig) {
    health::configure(config);
    admin::configure(config);
    console::configure(config);
    config.service(path("/metrics", "GET", [web::get().to(metrics::metrics)])).default_service(web::to(not_found));
}
