//! Every error of the library, as facts: fields, not sentences. The sentence is the `Display`.

use std::fmt;
use std::path::PathBuf;

/// What kind of value stood where another was expected. Never the value itself: it may identify a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueClass {
    /// Not present at all.
    Missing,
    /// JSON `null`, or an empty cell of a file.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number with a fraction, or beyond the integers.
    Float,
    /// NaN or an infinity.
    NotFinite,
    /// A number that needs more than 64 bits.
    OutOfRange,
    /// A number below zero.
    Negative,
    /// A text.
    Text,
    /// A text of no characters.
    EmptyText,
    /// A text that is longer than allowed.
    LongText,
    /// A list.
    Array,
    /// An object.
    Object,
    /// The same field a second time.
    Repeated,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// A time that has not come yet.
    Future,
    /// JSON, but not an object.
    NotObject,
}

impl fmt::Display for ValueClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "nothing",
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Integer => "an integer",
            Self::Float => "a number with a fraction",
            Self::NotFinite => "a number that is not finite",
            Self::OutOfRange => "a number out of range",
            Self::Negative => "a negative number",
            Self::Text => "a text",
            Self::EmptyText => "an empty text",
            Self::LongText => "a text that is too long",
            Self::Array => "an array",
            Self::Object => "an object",
            Self::Repeated => "the field twice",
            Self::NotUtf8 => "bytes that are not UTF-8",
            Self::Future => "a time in the future",
            Self::NotObject => "another kind of value",
        })
    }
}

/// One field that breaks one rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} must be {rule}; found {found}", Field(field))]
pub struct FieldProblem {
    /// The field's name in lower case; empty for the whole document.
    pub field: &'static str,
    /// The rule, worded to follow "must be".
    pub rule: &'static str,
    /// What was there instead.
    pub found: ValueClass,
}

impl FieldProblem {
    /// RFC 6901 pointer of the field inside its transaction.
    #[must_use]
    pub fn pointer(&self) -> String {
        if self.field.is_empty() { String::new() } else { format!("/{}", self.field) }
    }
}

/// A field's name in a message; the whole document where there is no field.
struct Field(&'static str);

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("a transaction") } else { write!(f, "`{}`", self.0) }
    }
}

/// A transaction that was read but breaks the rules; every broken rule is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationError {
    /// At least one problem, in the order of the field table.
    pub problems: Vec<FieldProblem>,
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ValidationError {}

/// Why bytes did not become a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes are not JSON, or not one JSON object.
    #[error("not a JSON object: {reason} at line {line}, column {column}")]
    NotJson {
        /// 1-based line.
        line: usize,
        /// 1-based column, in bytes.
        column: usize,
        /// What the JSON reader expected.
        reason: String,
    },
    /// JSON, but not a valid transaction.
    #[error(transparent)]
    Invalid(#[from] ValidationError),
}

/// A feature that cannot be defined or computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The name is not in the catalogue and no definition came with it.
    #[error(
        "feature `{name}` is not known: name one of the catalogue (for example \
         `CUSTOMER_ID_NB_TX_7DAY_WINDOW`) or give its definition \
         {{\"name\", \"source\", \"key\", \"aggregate\", \"window\", \"delay\"}}"
    )]
    Unknown {
        /// The feature's name.
        name: String,
    },
    /// The definition contradicts itself or leaves something out.
    #[error("feature `{name}`: {problem}")]
    BadDefinition {
        /// The feature's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The same name twice.
    #[error("feature `{name}` is listed twice")]
    Repeated {
        /// The feature's name.
        name: String,
    },
    /// The feature looks further back than the store keeps events.
    #[error(
        "feature `{name}` needs {needed_seconds} s of history, the store keeps {kept_seconds} s: \
         raise `store.history` or drop the feature"
    )]
    TooMuchHistory {
        /// The feature's name.
        name: String,
        /// Delay + window of the feature, in seconds.
        needed_seconds: u32,
        /// What the store keeps, in seconds, lateness not counted.
        kept_seconds: u32,
    },
    /// The list of features could not be read.
    #[error("the feature list cannot be read: {problem}")]
    Unreadable {
        /// What the reader expected.
        problem: String,
    },
}

/// A model file that cannot be used, or a model that failed on a row.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file could not be opened or read.
    #[error("model file {}: {problem}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        problem: String,
    },
    /// The bytes are larger than a model may be.
    #[error("the model has {bytes} bytes, at most {limit} are read: raise `model.max_bytes` if it is meant")]
    TooLarge {
        /// Size of the file in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The bytes are not an ONNX model.
    #[error("not an ONNX model: {problem}")]
    NotOnnx {
        /// What the reader expected.
        problem: String,
    },
    /// Tensors stored outside of the file.
    #[error(
        "tensor `{tensor}` is stored in another file: save the model as a single file \
         (onnx.save with save_as_external_data=False)"
    )]
    ExternalData {
        /// The tensor's name.
        tensor: String,
    },
    /// An operator that this build does not have.
    #[error("operator `{operator}` (node `{node}`) is not supported: {advice}")]
    UnsupportedOperator {
        /// Domain and type, for example `ai.onnx.ml.SVMClassifier`.
        operator: String,
        /// The node's name or first output.
        node: String,
        /// What to export instead.
        advice: String,
    },
    /// A node whose attributes are not legal.
    #[error("node `{node}` ({operator}): {problem}")]
    BadNode {
        /// The node's name or first output.
        node: String,
        /// Its operator.
        operator: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The graph cannot be built or typed.
    #[error("the model's graph cannot be prepared: {problem}")]
    BadGraph {
        /// What the engine said.
        problem: String,
    },
    /// Inputs that do not fit the features.
    #[error("the model's input does not fit: {problem}")]
    Signature {
        /// What does not fit, and what to change.
        problem: String,
    },
    /// No output can be read as the probability of fraud.
    #[error("no output gives the probability of fraud: {problem}")]
    Output {
        /// What was found, and what to set.
        problem: String,
    },
    /// A `fraud.*` metadata entry that cannot be used.
    #[error("metadata `{key}`: {problem}")]
    Metadata {
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A golden row gave another probability than the file expects.
    #[error("golden row {row}: expected {expected}, got {actual} (tolerance {tolerance}); the file is refused")]
    GoldenRow {
        /// Index of the row, from 0.
        row: usize,
        /// The probability that the file expects.
        expected: f32,
        /// The probability computed here.
        actual: f32,
        /// The tolerance, absolute.
        tolerance: f32,
    },
    /// A feature that the model asks for and the path cannot give.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// The row has another number of features than the model takes.
    #[error("a row has {found} features, the model takes {expected}")]
    RowWidth {
        /// Features the model takes.
        expected: usize,
        /// Features given.
        found: usize,
    },
    /// The engine failed on a row.
    #[error("the model failed on a row: {problem}")]
    Run {
        /// What the engine said.
        problem: String,
    },
    /// A row holds a value that an encoder of the model does not know, and takes no others.
    #[error(
        "a value of the row is none of the {categories} categories of the model's encoder: export it so that others \
         are passed over (scikit-learn: OneHotEncoder(handle_unknown=\"ignore\"))"
    )]
    UnknownCategory {
        /// How many the encoder knows.
        categories: usize,
    },
    /// The model answered with something that is no probability.
    #[error("the model answered {value}, which is no probability in [0, 1]{advice}")]
    NotAProbability {
        /// The value.
        value: f32,
        /// What to set, or empty.
        advice: &'static str,
    },
    /// The profile was made for other windows than the scorer's: take profile and assessment from one scorer.
    #[error("the profile was made by another plan: take the plan and the assessment from one scorer")]
    ForeignProfile,
    /// There is no model, and the policy declares no rules to fall back on.
    #[error("no model is loaded")]
    NoModel,
}

/// A policy file that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file could not be read.
    #[error("policy file {}: {problem}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        problem: String,
    },
    /// Not TOML, or not the policy's shape.
    #[error("the policy cannot be read: {problem}")]
    Unreadable {
        /// What the reader expected, with line and column.
        problem: String,
    },
    /// A threshold outside of [0, 1].
    #[error("`{field}` is {value}, it must be a number from 0 to 1")]
    Threshold {
        /// `review_at` or `decline_at`.
        field: &'static str,
        /// Its value.
        value: f32,
    },
    /// The thresholds are the wrong way round.
    #[error(
        "`review_at` {review_at} (from {review_from}) must not exceed `decline_at` {decline_at} (from {decline_from})"
    )]
    ThresholdOrder {
        /// The review threshold.
        review_at: f32,
        /// Where it was set.
        review_from: &'static str,
        /// The decline threshold.
        decline_at: f32,
        /// Where it was set.
        decline_from: &'static str,
    },
    /// A rule that cannot be used.
    #[error("rule `{rule}`: {problem}")]
    Rule {
        /// The rule's name.
        rule: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A rule names a feature that cannot be computed.
    #[error("rule `{rule}`: {source}")]
    RuleFeature {
        /// The rule's name.
        rule: String,
        /// The feature's problem.
        source: FeatureError,
    },
}

/// Why the store did not observe a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The transaction id was seen with another customer, terminal, amount or second.
    #[error(
        "this transaction_id was already used for a different payment: \
         send a new id, or the same customer, terminal, amount and time again"
    )]
    Conflict,
    /// The memory ceiling is reached and the transaction needs a key that is not there yet.
    #[error(
        "the store holds {bytes} bytes of at most {limit}: no new customers or terminals are taken; \
         raise `store.max_bytes`"
    )]
    Full {
        /// Bytes in use.
        bytes: u64,
        /// The ceiling in bytes.
        limit: u64,
    },
    /// The plan looks further back than the store keeps events.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// The shared store did not answer, or must not be asked. Nothing of the transaction counts; sent again, it
    /// takes up whatever a broken attempt left.
    #[error(transparent)]
    Shared(#[from] SharedStoreError),
}

/// Why a shared store cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SharedStoreError {
    /// No connection, or no answer in time.
    #[error("the store at {address} cannot be reached ({problem}): see that it runs; it is asked again by itself")]
    Unreachable {
        /// Where it was looked for, without credentials.
        address: String,
        /// What happened.
        problem: String,
    },
    /// An address, user or password that cannot be used.
    #[error("`store.redis.{key}`: {problem}")]
    Settings {
        /// The setting, for example `url`.
        key: &'static str,
        /// What is wrong with it, and what to change.
        problem: String,
    },
    /// The server holds no store: it is new, was emptied, or is another one.
    #[error(
        "the server at {address} holds no store under the prefix `{prefix}`: an empty one must not pass for customers \
         without history; begin one with `fraud-api store init`, or fill one with `fraud-stream replay --store`"
    )]
    NoStore {
        /// Where.
        address: String,
        /// The prefix of its keys.
        prefix: String,
    },
    /// The server holds another store than the one known.
    #[error(
        "the store has the epoch `{found}`, not `{expected}`: it was emptied or exchanged; bring the old one back, or \
         restart with `store.redis.epoch` as the new one says"
    )]
    OtherStore {
        /// The epoch known since the start, or set.
        expected: String,
        /// The epoch found; `none` where there is none.
        found: String,
    },
    /// The server would throw away keys when memory is short.
    #[error(
        "the server's maxmemory-policy is `{policy}`: it would forget customers without a word; \
         set `maxmemory-policy noeviction`"
    )]
    Evicts {
        /// The policy found.
        policy: String,
    },
    /// There is a store already.
    #[error(
        "there is a store already, with the epoch `{epoch}`: it is left as it is; take another `store.redis.prefix`"
    )]
    Exists {
        /// Its epoch.
        epoch: String,
    },
    /// The store is being filled with history, or what filled it broke off.
    #[error(
        "the store `{epoch}` is still being filled, or what filled it broke off: wait for it; run a broken-off \
         `replay --store` again, and after a broken-off `store init --load-state` empty the server or take another \
         `store.redis.prefix`"
    )]
    Filling {
        /// Its epoch.
        epoch: String,
    },
    /// The server answered something that this version does not understand.
    #[error("the store's answer cannot be used: {problem}")]
    Answer {
        /// What came.
        problem: String,
    },
}

/// A snapshot that could not be written or taken over. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file system refused.
    #[error("snapshot {}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, for example "write".
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("snapshot {}: this is not a store snapshot", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is of a format that this version does not read.
    #[error("snapshot {}: format {found}, this version reads {supported}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The format in the file.
        found: u32,
        /// The format read here.
        supported: u32,
    },
    /// The file is torn or altered.
    #[error("snapshot {}: damaged ({problem}); restore an older one or start empty", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// The file was made with settings that cannot be reconciled with the present ones.
    #[error("snapshot {}: {problem}", path.display())]
    Incompatible {
        /// The file.
        path: PathBuf,
        /// What does not fit, with both values.
        problem: String,
    },
}
