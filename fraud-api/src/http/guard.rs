//! Who may come in: stage of life, key, rate.

use std::sync::Arc;
use std::time::Instant;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{CONNECTION, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, ResponseError};
use fraud_core::service::metrics::Shed;
use fraud_core::service::shutdown::Stage;

use super::client;
use super::keys::{self, Key, Role};
use super::problem::ApiError;
use super::rate::{Caller, Standing};
use crate::app::Worker;

/// What a caller was found to be.
#[derive(Debug, Default)]
pub struct Passed {
    /// Its key, when keys are on.
    pub key: Option<Arc<Key>>,
    /// What is left of its allowance, when there is a limit.
    pub standing: Option<Standing>,
}

/// Lets a request in, or says why not.
///
/// # Errors
/// [`ApiError::NotReady`], [`ApiError::Unauthorized`], [`ApiError::Forbidden`], [`ApiError::RateLimited`].
pub fn enter(worker: &Worker, request: &HttpRequest, role: Role) -> Result<Passed, ApiError> {
    let shared = &worker.shared;
    if shared.lifecycle.stage() == Stage::Starting {
        shared.metrics.shed(Shed::NotReady);
        return Err(ApiError::NotReady);
    }
    let mut passed = Passed::default();
    if let Some(keys) = &shared.keys {
        passed.key = Some(keys::check(keys, request.headers(), role)?);
    }
    if let Some(rate) = &shared.rate {
        let caller = match &passed.key {
            Some(key) => Caller::Key(key.name().clone()),
            None => client::address(request, &shared.settings.server.trusted_proxies).map_or(Caller::Other, Caller::at),
        };
        let standing = rate.spend(caller, Instant::now());
        if standing.is_err() {
            shared.metrics.shed(Shed::RateLimit);
        }
        passed.standing = Some(standing?);
    }
    Ok(passed)
}

/// Adds to an answer what callers should know: their allowance, and that the connection will end.
pub fn leave(worker: &Worker, passed: &Passed, response: &mut HttpResponse) {
    let shared = &worker.shared;
    if let (Some(rate), Some(standing)) = (&shared.rate, passed.standing) {
        let Standing { remaining, reset, .. } = standing;
        let reset = reset.as_millis().div_ceil(1_000);
        set(response, "ratelimit-policy", &rate.policy());
        set(response, "ratelimit", &format!("\"default\";r={remaining};t={reset}"));
    }
    if shared.lifecycle.is_draining() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn set(response: &mut HttpResponse, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

/// Adds what a refused caller should know of the limit.
pub fn refused(worker: &Worker, error: &ApiError, response: &mut HttpResponse) {
    if let (ApiError::RateLimited { retry_after }, Some(rate)) = (error, &worker.shared.rate) {
        let reset = retry_after.as_millis().div_ceil(1_000).max(1);
        set(response, "ratelimit-policy", &rate.policy());
        set(response, "ratelimit", &format!("\"default\";r=0;t={reset}"));
    }
}

/// Outside of what counts by method: any word may stand for a method in HTTP, and each would begin a series of its own
/// that never ends.
///
/// # Errors
/// Those of the endpoint.
pub async fn known_method<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ];
    if known.contains(request.method()) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let refused = ApiError::Method { allow: "GET, HEAD, POST" }.error_response();
    Ok(request.into_response(refused).map_into_right_body())
}

/// Around every endpoint but the hot one: counts requests in progress and errors.
///
/// # Errors
/// Those of the endpoint.
pub async fn count<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let worker = request.app_data::<std::rc::Rc<Worker>>().cloned();
    let Some(worker) = worker else { return next.call(request).await };
    let _guard = worker.shared.metrics.http_in_progress();
    let response = next.call(request).await?;
    let status = response.status().as_u16();
    if status >= 400 {
        worker.shared.metrics.http_error(status);
    }
    Ok(response)
}
