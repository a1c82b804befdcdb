//! Answers of a server, read. Anything may come.

use redis::Value;

/// An answer that is no error.
pub(super) fn checked(value: &Value) -> Result<&Value, String> {
    match value {
        Value::ServerError(error) => {
            Err(format!("{} {}", error.code(), error.details().unwrap_or_default()).trim_end().to_owned())
        }
        value => Ok(value),
    }
}

/// Whether the server lacks a script that it was given once.
pub(super) fn lacks_script(value: &Value) -> bool {
    matches!(value, Value::ServerError(error) if error.code() == "NOSCRIPT")
}

pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        value => text(value)?.parse().ok(),
    }
}

pub(super) fn list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// The epoch found, where a script refused to work because it is another.
pub(super) fn foreign(value: &Value) -> Option<String> {
    match value {
        Value::ServerError(error) if error.code() == "EPOCH" => Some(error.details().unwrap_or("none").to_owned()),
        _ => None,
    }
}
