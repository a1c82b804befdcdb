//! API keys as requests carry them; which there are, and what they may do, is `fraud_core::service::keys`.

use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
pub use fraud_core::service::keys::{Key, Keys, KeysError, Role};
use fraud_core::service::keys::{KeyRefusal, presented};

use super::problem::ApiError;

/// The key that a request carries, if it has the role.
///
/// # Errors
/// [`ApiError::Unauthorized`], [`ApiError::Forbidden`].
pub fn check(keys: &Keys, headers: &HeaderMap, role: Role) -> Result<Arc<Key>, ApiError> {
    let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let plain = headers.get("x-api-key").map(HeaderValue::as_bytes);
    Ok(keys.check(presented(authorization, plain), role)?)
}

impl From<KeyRefusal> for ApiError {
    fn from(refusal: KeyRefusal) -> Self {
        match refusal {
            KeyRefusal::Unknown => Self::Unauthorized,
            KeyRefusal::Role { role } => Self::Forbidden { role },
        }
    }
}
