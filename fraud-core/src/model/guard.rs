//! Calls of tract.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tract_onnx::prelude::{TractError, TractResult};

use crate::error::ModelError;

/// Runs a part of the engine. tract answers some graphs that are not legal with a panic instead of an error: as a
/// last resort that is turned into one (the panic's message still goes to standard error). Nothing that the call
/// changed may be used after an error.
pub(super) fn guarded<T>(run: impl FnOnce() -> TractResult<T>) -> Result<T, ModelError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(match error.downcast_ref::<ModelError>() {
            Some(own) => own.clone(),
            None => ModelError::BadGraph { problem: shortened(&error) },
        }),
        Err(_) => Err(ModelError::BadGraph { problem: "the engine gave up on it".to_owned() }),
    }
}

/// tract's message, which may hold whole tensors, cut to a readable length.
pub(super) fn shortened(error: &TractError) -> String {
    format!("{error:#}").chars().take(600).collect()
}
