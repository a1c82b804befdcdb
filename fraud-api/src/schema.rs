//! What requests and answers look like, for the OpenAPI document. The types that do the work are elsewhere;
//! tests hold these to what the service really says.
#![allow(missing_docs, dead_code, unused_qualifications)] // The documentation is the descriptions; the derives qualify.

use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

/// An identifier: 1 to 128 bytes as text; an integer and its decimal text are the same.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Identifier {
    Text(IdText),
    #[schema(title = "IdInteger")]
    Integer(i64),
}

#[derive(Serialize)]
pub struct IdText(String);

impl PartialSchema for IdText {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(128)).into()
    }
}

impl ToSchema for IdText {}

/// A payment. Unknown fields are ignored and counted. One of `tx_datetime` and `tx_time_seconds` is needed.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "transaction_id": "a-1", "customer_id": 7, "terminal_id": 42, "tx_amount": 57.16,
    "tx_datetime": "2026-01-31 12:00:00"
}))]
pub struct TransactionBody {
    pub transaction_id: Identifier,
    pub customer_id: Identifier,
    pub terminal_id: Identifier,
    /// Major currency units.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub tx_amount: f64,
    /// RFC 3339, or `YYYY-MM-DD HH:MM:SS` in UTC. Wins over `tx_time_seconds`.
    pub tx_datetime: Option<String>,
    /// Seconds since the setting `time.epoch`.
    #[schema(minimum = 0)]
    pub tx_time_seconds: Option<i64>,
    /// Accepted and ignored.
    pub tx_time_days: Option<serde_json::Value>,
    /// Accepted, never an input.
    pub tx_fraud: Option<serde_json::Value>,
    /// Accepted, never an input.
    pub tx_fraud_scenario: Option<serde_json::Value>,
}

/// The assessment of one transaction.
#[derive(Serialize, ToSchema)]
pub struct AssessmentBody {
    pub transaction_id: String,
    /// None when only a rule answered.
    #[schema(required, minimum = 0, maximum = 1)]
    pub fraud_probability: Option<f32>,
    pub risk_level: RiskLevel,
    pub decision: Decision,
    pub decision_source: DecisionSource,
    pub reasons: Vec<Reason>,
    pub duplicate: bool,
    pub late: bool,
    pub history_complete: bool,
    /// There only when true.
    pub approximate: Option<bool>,
    pub model_version: String,
    pub model_type: ModelType,
    pub policy_version: String,
    #[schema(required, minimum = 0.5, maximum = 1)]
    pub confidence_score: Option<f32>,
    pub prediction_time: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    Low,
    Medium,
    High,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Approve,
    Review,
    Decline,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionSource {
    Model,
    Rules,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelType {
    Onnx,
    Rules,
}

/// A feature whose training median would lower the probability, or the rule that fired.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Reason {
    #[schema(title = "FeatureReason")]
    Feature { feature: String, value: f64, median: f64, change: f32 },
    #[schema(title = "RuleReason")]
    Rule { rule: String },
}

/// One answer of a batch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum BatchItem {
    #[schema(title = "BatchAssessment")]
    Assessment(AssessmentBody),
    #[schema(title = "BatchError")]
    Error { error: Problem },
}

/// RFC 9457.
#[derive(Serialize, ToSchema)]
pub struct Problem {
    /// `urn:fraud-api:problem:…`, stable.
    pub r#type: String,
    pub title: String,
    pub status: u16,
    pub detail: Option<String>,
    pub errors: Option<Vec<FieldError>>,
}

#[derive(Serialize, ToSchema)]
pub struct FieldError {
    /// RFC 6901.
    pub pointer: String,
    pub detail: String,
}

/// One label.
#[derive(Serialize, ToSchema)]
pub struct LabelBody {
    pub transaction_id: Identifier,
    pub label: LabelValue,
    /// RFC 3339; now, if left out. At most 5 minutes in the future.
    #[schema(format = DateTime)]
    pub observed_at: Option<String>,
}

/// Fraud: 1, true, `fraud`. Not fraud: 0, false, `legitimate`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum LabelValue {
    Number(LabelNumber),
    #[schema(title = "LabelBoolean")]
    Boolean(bool),
    #[schema(title = "LabelName")]
    Name(LabelName),
}

#[derive(Serialize)]
pub struct LabelNumber(i64);

impl PartialSchema for LabelNumber {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(1)).into()
    }
}

impl ToSchema for LabelNumber {}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelName {
    Fraud,
    Legitimate,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum LabelsBody {
    #[schema(title = "OneLabel")]
    One(LabelBody),
    #[schema(title = "ManyLabels")]
    Many(Vec<LabelBody>),
}

#[derive(Serialize, ToSchema)]
pub struct LabelsAnswer {
    /// How many are in force now.
    pub recorded: u64,
    pub results: Vec<LabelResult>,
}

#[derive(Serialize, ToSchema)]
pub struct LabelResult {
    pub transaction_id: Option<String>,
    pub status: LabelStatus,
    pub error: Option<Problem>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelStatus {
    Recorded,
    Unchanged,
    Unknown,
    Refused,
}

#[derive(Serialize, ToSchema)]
pub struct Health {
    pub status: String,
    pub model_loaded: bool,
    pub model_type: ModelType,
    #[schema(required)]
    pub model_version: Option<String>,
    pub version: String,
    pub timestamp: String,
    pub environment: String,
}

#[derive(Serialize, ToSchema)]
pub struct Status {
    pub status: String,
}

#[derive(Serialize, ToSchema)]
pub struct Live {
    pub live: bool,
}

#[derive(Serialize, ToSchema)]
pub struct Ready {
    pub ready: bool,
}

#[derive(Serialize, ToSchema)]
pub struct ModelReady {
    pub name: String,
    pub ready: bool,
}

#[derive(Serialize, ToSchema)]
pub struct ServerMetadata {
    pub name: String,
    pub version: String,
    pub extensions: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ModelMetadata {
    pub name: String,
    pub versions: Vec<String>,
    pub platform: String,
    pub inputs: Vec<TensorMetadata>,
    pub outputs: Vec<TensorMetadata>,
    pub parameters: serde_json::Value,
}

#[derive(Serialize, ToSchema)]
pub struct TensorMetadata {
    pub name: String,
    pub datatype: String,
    pub shape: Vec<i64>,
}

#[derive(Serialize, ToSchema)]
pub struct InferBody {
    pub id: Option<String>,
    #[schema(min_items = 1)]
    pub inputs: Vec<InferInput>,
    pub outputs: Option<Vec<InferOutput>>,
}

#[derive(Serialize, ToSchema)]
pub struct InferInput {
    pub name: String,
    pub shape: Vec<u64>,
    pub datatype: String,
    /// Numbers, flat or nested; without it `parameters.binary_data_size`.
    pub data: Option<Vec<serde_json::Value>>,
}

#[derive(Serialize, ToSchema)]
pub struct InferOutput {
    pub name: String,
}

#[derive(Serialize, ToSchema)]
pub struct InferAnswer {
    pub model_name: String,
    pub model_version: String,
    pub id: Option<String>,
    pub outputs: Vec<InferTensor>,
}

#[derive(Serialize, ToSchema)]
pub struct InferTensor {
    pub name: String,
    pub datatype: String,
    pub shape: Vec<u64>,
    pub data: Option<Vec<f64>>,
}

/// Just one of the four.
#[derive(Serialize, ToSchema)]
pub struct InvocationsBody {
    pub dataframe_split: Option<serde_json::Value>,
    pub dataframe_records: Option<Vec<serde_json::Value>>,
    pub inputs: Option<serde_json::Value>,
    pub instances: Option<serde_json::Value>,
}

#[derive(Serialize, ToSchema)]
pub struct Predictions {
    pub predictions: Vec<f32>,
}

#[derive(Serialize, ToSchema)]
pub struct InferenceError {
    pub error: String,
}

#[derive(Serialize, ToSchema)]
pub struct MlflowError {
    pub error_code: String,
    pub message: String,
}

/// What every endpoint of the service's own may answer.
#[derive(IntoResponses)]
pub enum Refusals {
    /// Not JSON, or another shape
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] Problem),
    /// No valid key
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] Problem),
    /// A key without the role
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] Problem),
    /// The body came too slowly
    #[response(status = 408, content_type = "application/problem+json")]
    Timeout(#[to_schema] Problem),
    /// The id belongs to another payment
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(#[to_schema] Problem),
    /// Too many bytes or rows
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    /// A content type or encoding that is not read
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(#[to_schema] Problem),
    /// A rule is broken; `errors` says where
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(#[to_schema] Problem),
    /// This caller's rate limit
    #[response(status = 429, content_type = "application/problem+json")]
    RateLimited(#[to_schema] Problem),
    /// The model could not answer
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(#[to_schema] Problem),
    /// At the limit, or not ready; `Retry-After` says when to come again
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

/// What the inference protocol's endpoints may answer.
#[derive(IntoResponses)]
pub enum InferenceRefusals {
    /// The request does not fit the model
    #[response(status = 400)]
    BadRequest(#[to_schema] InferenceError),
    /// No valid key
    #[response(status = 401)]
    Unauthorized(#[to_schema] InferenceError),
    /// A key without the role
    #[response(status = 403)]
    Forbidden(#[to_schema] InferenceError),
    /// No such model or version
    #[response(status = 404)]
    NotFound(#[to_schema] InferenceError),
    /// Too many bytes or rows
    #[response(status = 413)]
    TooLarge(#[to_schema] InferenceError),
    /// A content type or encoding that is not read
    #[response(status = 415)]
    MediaType(#[to_schema] InferenceError),
    /// This caller's rate limit
    #[response(status = 429)]
    RateLimited(#[to_schema] InferenceError),
    /// The model could not answer
    #[response(status = 500)]
    Internal(#[to_schema] InferenceError),
    /// At the limit, or not ready
    #[response(status = 503)]
    Unavailable(#[to_schema] InferenceError),
}

/// What MLflow's endpoint may answer.
#[derive(IntoResponses)]
pub enum MlflowRefusals {
    /// The request does not fit the model
    #[response(status = 400)]
    BadRequest(#[to_schema] MlflowError),
    /// No valid key
    #[response(status = 401)]
    Unauthorized(#[to_schema] MlflowError),
    /// A key without the role
    #[response(status = 403)]
    Forbidden(#[to_schema] MlflowError),
    /// Too many bytes or rows
    #[response(status = 413)]
    TooLarge(#[to_schema] MlflowError),
    /// A content type or encoding that is not read
    #[response(status = 415)]
    MediaType(#[to_schema] MlflowError),
    /// This caller's rate limit
    #[response(status = 429)]
    RateLimited(#[to_schema] MlflowError),
    /// The model could not answer
    #[response(status = 500)]
    Internal(#[to_schema] MlflowError),
    /// At the limit, or not ready
    #[response(status = 503)]
    Unavailable(#[to_schema] MlflowError),
}
