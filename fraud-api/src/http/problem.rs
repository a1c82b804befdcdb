//! Every refusal, and the one place that gives it a status.

use std::fmt;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use fraud_core::error::{ModelError, ParseError, StoreError};
use fraud_core::service::keys::KeyRefusal;
use fraud_core::service::life::LifeError;
use fraud_core::service::metrics::Shed;
use serde::Serialize;
use serde_json::json;

use super::keys::Role;

/// What a problem document is served as.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request got no ordinary answer.
#[derive(Debug)]
pub enum ApiError {
    /// The body is no transaction.
    Parse(ParseError),
    /// The body, or a part of it, is not what this endpoint reads; where, and what was expected.
    Malformed {
        /// JSON pointer, empty for the whole body.
        pointer: String,
        /// What was expected.
        problem: String,
    },
    /// JSON of the right shape whose content breaks a rule.
    Unprocessable {
        /// JSON pointer.
        pointer: String,
        /// The rule.
        problem: String,
    },
    /// A query parameter that cannot be read.
    Parameter {
        /// Its name.
        name: &'static str,
        /// What it may be.
        rule: &'static str,
    },
    /// The store did not take the transaction.
    Store(StoreError),
    /// The model could not answer.
    Model(ModelError),
    /// The body has more bytes than this endpoint reads.
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
    /// More rows than one request may have.
    TooManyRows {
        /// The limit.
        limit: usize,
    },
    /// The body stopped coming.
    BodyTimeout,
    /// The body broke off, or its framing is wrong.
    BodyBroken,
    /// A content type that this endpoint does not read.
    MediaType {
        /// Those it reads.
        expected: &'static str,
    },
    /// A content encoding; none is read.
    Encoding,
    /// No key, or not a known one.
    Unauthorized,
    /// A key without the role.
    Forbidden {
        /// The role asked for.
        role: Role,
    },
    /// Too many requests of one caller.
    RateLimited {
        /// When to come again.
        retry_after: Duration,
    },
    /// Too much work.
    Overloaded {
        /// What for.
        reason: Shed,
        /// When to come again.
        retry_after: Duration,
    },
    /// Not started yet, or ending.
    NotReady,
    /// Its time is up.
    Deadline,
    /// There is no such thing.
    NotFound {
        /// What is not there.
        what: &'static str,
    },
    /// The path exists, the method does not.
    Method {
        /// Those that do, as the `Allow` header writes them.
        allow: &'static str,
    },
    /// The new model or policy is refused.
    Reload(LifeError),
    /// A fault of ours that has no better name.
    Internal {
        /// For the log only.
        problem: String,
    },
}

impl From<ParseError> for ApiError {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

/// A problem document of RFC 9457.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// A stable name of the kind of problem.
    pub r#type: String,
    /// The kind in words, always the same for one type.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// This very case.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<serde_json::Value>,
}

impl ApiError {
    /// Type name, title and status: the whole mapping from errors to HTTP.
    fn kind(&self) -> (&'static str, &'static str, StatusCode) {
        use StatusCode as S;
        match self {
            Self::Parse(ParseError::NotJson { .. }) => ("not-json", "The body is not JSON", S::BAD_REQUEST),
            Self::Malformed { .. } => ("malformed", "The request is malformed", S::BAD_REQUEST),
            Self::Parameter { .. } => ("parameter", "A query parameter cannot be read", S::BAD_REQUEST),
            Self::BodyBroken => ("body-broken", "The body broke off", S::BAD_REQUEST),
            Self::Parse(_) => ("invalid-transaction", "The transaction breaks a rule", S::UNPROCESSABLE_ENTITY),
            Self::Unprocessable { .. } => ("invalid-content", "The content breaks a rule", S::UNPROCESSABLE_ENTITY),
            Self::Store(StoreError::Conflict) => ("conflict", "The id belongs to another payment", S::CONFLICT),
            Self::Store(StoreError::Full { .. }) => ("store-full", "The store is full", S::SERVICE_UNAVAILABLE),
            Self::Store(_) => ("store", "The store could not answer", S::SERVICE_UNAVAILABLE),
            Self::Model(_) => ("model", "The model could not answer", S::INTERNAL_SERVER_ERROR),
            Self::BodyTooLarge { .. } => ("body-too-large", "The body is too large", S::PAYLOAD_TOO_LARGE),
            Self::TooManyRows { .. } => ("too-many-rows", "The request has too many rows", S::PAYLOAD_TOO_LARGE),
            Self::BodyTimeout => ("body-timeout", "The body came too slowly", S::REQUEST_TIMEOUT),
            Self::MediaType { .. } => ("media-type", "The content type is not read here", S::UNSUPPORTED_MEDIA_TYPE),
            Self::Encoding => ("content-encoding", "Content encodings are not read", S::UNSUPPORTED_MEDIA_TYPE),
            Self::Unauthorized => ("unauthorized", "A valid API key is needed", S::UNAUTHORIZED),
            Self::Forbidden { .. } => ("forbidden", "The API key may not do this", S::FORBIDDEN),
            Self::RateLimited { .. } => ("rate-limited", "Too many requests", S::TOO_MANY_REQUESTS),
            Self::Overloaded { .. } => ("overloaded", "The service is at its limit", S::SERVICE_UNAVAILABLE),
            Self::NotReady => ("not-ready", "The service is not ready", S::SERVICE_UNAVAILABLE),
            Self::Deadline => ("deadline", "The request took too long", S::SERVICE_UNAVAILABLE),
            Self::NotFound { .. } => ("not-found", "There is no such thing", S::NOT_FOUND),
            Self::Method { .. } => ("method", "The method is not allowed here", S::METHOD_NOT_ALLOWED),
            Self::Reload(LifeError::NoPrevious | LifeError::PreviousBarred { .. }) => {
                ("no-previous-model", "There is no model before", S::CONFLICT)
            }
            Self::Reload(_) => ("model-refused", "The new model is refused", S::UNPROCESSABLE_ENTITY),
            Self::Internal { .. } => ("internal", "Something went wrong here", S::INTERNAL_SERVER_ERROR),
        }
    }

    /// The status that it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind().2
    }

    /// Its problem document.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (name, title, status) = self.kind();
        let detail = if self.is_ours() { String::new() } else { self.to_string() };
        let r#type = format!("urn:fraud-api:problem:{name}");
        Problem { r#type, title, status: status.as_u16(), detail, errors: self.fields() }
    }

    /// Whether the cause is ours and nothing for a caller to read.
    fn is_ours(&self) -> bool {
        matches!(self, Self::Model(_) | Self::Internal { .. })
    }

    /// The problem document as it is sent.
    #[must_use]
    pub fn document(&self) -> Bytes {
        serde_json::to_vec(&self.problem()).unwrap_or_default().into()
    }

    fn fields(&self) -> Vec<serde_json::Value> {
        match self {
            Self::Parse(ParseError::Invalid(error)) => error
                .problems
                .iter()
                .map(|problem| json!({ "pointer": problem.pointer(), "detail": problem.to_string() }))
                .collect(),
            Self::Malformed { pointer, problem } | Self::Unprocessable { pointer, problem } if !pointer.is_empty() => {
                vec![json!({ "pointer": pointer, "detail": problem })]
            }
            _ => Vec::new(),
        }
    }

    /// A response with the status and the headers that go with it, its body yet to come.
    pub fn start_response(&self) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status());
        match self {
            Self::RateLimited { retry_after } | Self::Overloaded { retry_after, .. } => {
                response
                    .insert_header((header::RETRY_AFTER, retry_after.as_millis().div_ceil(1_000).max(1).to_string()));
            }
            Self::NotReady | Self::Store(_) if self.status() == StatusCode::SERVICE_UNAVAILABLE => {
                response.insert_header((header::RETRY_AFTER, "5"));
            }
            Self::Unauthorized => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            Self::Method { allow } => {
                response.insert_header((header::ALLOW, *allow));
            }
            // The rest of such a body is not waited for.
            Self::BodyTooLarge { .. } | Self::BodyTimeout | Self::BodyBroken => {
                response.force_close();
            }
            _ => {}
        }
        response
    }

    /// Logs what is ours to repair; a caller's mistake is only of interest when someone looks for it.
    pub fn log(&self) {
        match self {
            Self::Model(error) => limited(|| tracing::error!(%error, "the model could not answer")),
            Self::Internal { problem } => limited(|| tracing::error!(problem, "internal error")),
            Self::Store(error @ StoreError::Full { .. }) => limited(|| tracing::error!(%error, "the store is full")),
            _ => tracing::debug!(status = self.status().as_u16(), kind = self.kind().0, "refused"),
        }
    }
}

/// A fault that every request runs into is logged at most once a second.
fn limited(log: impl FnOnce()) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(0);
    let second = fraud_core::service::clock::unix_millis() / 1_000;
    if LAST.swap(second, Ordering::Relaxed) != second {
        log();
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(error) => error.fmt(f),
            Self::Malformed { problem, .. } | Self::Unprocessable { problem, .. } => f.write_str(problem),
            Self::Parameter { name, rule } => write!(f, "`{name}` must be {rule}"),
            Self::Store(error) => error.fmt(f),
            Self::Model(error) => error.fmt(f),
            Self::BodyTooLarge { limit } => write!(f, "at most {limit} bytes are read"),
            Self::TooManyRows { limit } => write!(f, "at most {limit} rows are read"),
            Self::BodyTimeout => f.write_str("the rest of the body did not come in time"),
            Self::BodyBroken => f.write_str("the body ended early or its framing is wrong"),
            Self::MediaType { expected } => write!(f, "send {expected}"),
            Self::Encoding => f.write_str("send the body as it is, without Content-Encoding"),
            Self::Unauthorized => write!(f, "{}", KeyRefusal::Unknown),
            Self::Forbidden { role } => write!(f, "{}", KeyRefusal::Role { role: *role }),
            Self::RateLimited { .. } => f.write_str("this caller's rate limit is reached"),
            Self::Overloaded { .. } => f.write_str("more work waits than can be done in time"),
            Self::NotReady => f.write_str("starting, or about to end"),
            Self::Deadline => f.write_str("the request's deadline has passed"),
            Self::NotFound { what } => write!(f, "no such {what}"),
            Self::Method { allow } => write!(f, "allowed: {allow}"),
            Self::Reload(error) => error.fmt(f),
            Self::Internal { problem } => f.write_str(problem),
        }
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.log();
        self.start_response().content_type(PROBLEM_JSON).body(self.document())
    }
}
