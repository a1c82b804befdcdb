//! The answer's JSON: the assessment and the time of its prediction.

use std::cell::RefCell;

use actix_web::web::{Bytes, BytesMut};
use fraud_core::Assessment;
use fraud_core::service::clock;

/// Appends an assessment and the time of its prediction.
pub fn write(assessment: &Assessment, unix_millis: u64, json: &mut Vec<u8>) {
    assessment.write_json_open(json);
    json.extend_from_slice(b",\"prediction_time\":\"");
    json.extend_from_slice(&clock::rfc3339(unix_millis));
    json.extend_from_slice(b"\"}");
}

/// Memory that one thread's answers are made in: an allocation serves many of them.
#[derive(Debug, Default)]
pub struct Answers {
    scratch: RefCell<Vec<u8>>,
    block: RefCell<BytesMut>,
}

impl Answers {
    /// Bytes of a block.
    const BLOCK: usize = 32 << 10;

    /// What `write` appends, as bytes to be sent.
    pub fn write(&self, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let (mut scratch, mut block) = (self.scratch.borrow_mut(), self.block.borrow_mut());
        scratch.clear();
        write(&mut scratch);
        if block.capacity() < scratch.len() {
            block.reserve(Self::BLOCK.max(scratch.len()));
        }
        block.extend_from_slice(&scratch);
        block.split().freeze()
    }
}
