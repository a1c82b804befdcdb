//! The answer's JSON: the assessment and the time of its prediction.

use fraud_core::Assessment;
use fraud_core::service::clock;

/// Appends an assessment and the time of its prediction.
pub fn write(assessment: &Assessment, unix_millis: u64, json: &mut Vec<u8>) {
    assessment.write_json_open(json);
    json.extend_from_slice(b",\"prediction_time\":\"");
    json.extend_from_slice(&clock::rfc3339(unix_millis));
    json.extend_from_slice(b"\"}");
}
