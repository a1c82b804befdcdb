//! Reading a body within its limits.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::{Bytes, BytesMut};
use futures_util::Stream;

use super::admission::{Admission, LookAgain};
use super::problem::ApiError;

/// Limits of one body.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// In bytes.
    pub bytes: usize,
    /// Until it is all there.
    pub time: Duration,
}

/// A body that has come.
#[derive(Debug)]
pub struct Received {
    /// Its bytes.
    pub bytes: Bytes,
    /// It was not there with its head, so time has passed.
    pub waited: bool,
}

/// Reads a body. One that has come with its head, as nearly all do, costs no copy and no timer.
///
/// # Errors
/// [`ApiError::BodyTooLarge`], [`ApiError::BodyTimeout`], [`ApiError::BodyBroken`],
/// [`ApiError::Overloaded`] when too many bodies are waited for.
pub async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    admission: &Rc<Admission>,
    limits: Limits,
) -> Result<Received, ApiError> {
    let mut body = Body::new(limits);
    match poll_fn(|context| body.look(payload, admission, context)).await {
        Look::Done(outcome) => outcome,
        Look::NotYet => body.rest(request, payload, admission).await,
    }
}

/// A body that is being read.
#[derive(Debug)]
pub struct Body {
    first: Bytes,
    rest: BytesMut,
    limits: Limits,
    looked: Option<LookAgain>,
}

/// What a look at a body found.
#[derive(Debug)]
pub enum Look {
    /// It is there, or cannot be had.
    Done(Result<Received, ApiError>),
    /// It must be waited for: [`Body::rest`].
    NotYet,
}

impl Body {
    /// Nothing of it yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { first: Bytes::new(), rest: BytesMut::new(), limits, looked: None }
    }

    /// Looks whether it came with its head. The server asks a handler once before it hands over the bytes behind
    /// the head and once more right after it has, so only what is not there at the second look is late: a
    /// timer for each body would cost as much as reading it.
    pub fn look(&mut self, payload: &mut Payload, admission: &Rc<Admission>, context: &mut Context<'_>) -> Poll<Look> {
        let outcome = self.poll(payload, context);
        let first = self.looked.take().is_none();
        match outcome {
            Poll::Ready(outcome) => Poll::Ready(Look::Done(outcome.map(|()| self.take(false)))),
            Poll::Pending if first => {
                self.looked = Some(admission.look_again(context.waker()));
                Poll::Pending
            }
            Poll::Pending => Poll::Ready(Look::NotYet),
        }
    }

    /// Waits for what has not come yet.
    ///
    /// # Errors
    /// Those of [`read`].
    pub async fn rest(
        &mut self,
        request: &HttpRequest,
        payload: &mut Payload,
        admission: &Admission,
    ) -> Result<Received, ApiError> {
        let limit = self.limits.bytes;
        let announced =
            request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|bytes| bytes > limit as u64) {
            return Err(ApiError::BodyTooLarge { limit });
        }
        let _place = admission.wait_for_body()?;
        let time = self.limits.time;
        let rest = poll_fn(|context| self.poll(payload, context));
        tokio::time::timeout(time, rest).await.map_err(|_| ApiError::BodyTimeout)??;
        Ok(self.take(true))
    }

    fn poll(&mut self, payload: &mut Payload, context: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        let limit = self.limits.bytes;
        loop {
            match Pin::new(&mut *payload).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Ok(chunk))) => {
                    if self.first.len() + self.rest.len() + chunk.len() > limit {
                        return Poll::Ready(Err(ApiError::BodyTooLarge { limit }));
                    }
                    self.add(chunk);
                }
                Poll::Ready(Some(Err(PayloadError::Overflow))) => {
                    return Poll::Ready(Err(ApiError::BodyTooLarge { limit }));
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(ApiError::BodyBroken)),
            }
        }
    }

    fn add(&mut self, chunk: Bytes) {
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = chunk;
        } else {
            if self.rest.is_empty() {
                self.rest.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.rest.extend_from_slice(&chunk);
        }
    }

    fn take(&mut self, waited: bool) -> Received {
        let bytes = if self.rest.is_empty() { std::mem::take(&mut self.first) } else { self.rest.split().freeze() };
        Received { bytes, waited }
    }
}

/// The kinds of body that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Lines,
    /// Bytes of the binary tensor extension.
    Octets,
}

/// What the headers say the body is; JSON where they say nothing.
///
/// # Errors
/// [`ApiError::Encoding`] for an encoded body, [`ApiError::MediaType`] for another type.
pub fn media(headers: &HeaderMap, expected: &'static str) -> Result<Media, ApiError> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(ApiError::Encoding);
    }
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Media::Json) };
    let bytes = value.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b';').unwrap_or(bytes.len());
    let essence = bytes[..end].trim_ascii();
    match essence {
        b"application/json" => Ok(Media::Json),
        b"application/x-ndjson" | b"application/jsonl" | b"application/x-jsonlines" => Ok(Media::Lines),
        b"application/octet-stream" => Ok(Media::Octets),
        other if other.eq_ignore_ascii_case(b"application/json") => Ok(Media::Json),
        _ => Err(ApiError::MediaType { expected }),
    }
}
