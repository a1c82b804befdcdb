//! What stops the Kafka edge, and what the process then says.

use std::path::PathBuf;

use fraud_core::error::{ModelError, SharedStoreError, SnapshotError, StoreError};
use fraud_core::service::keys::KeysError;
use fraud_core::service::life::LifeError;
use fraud_core::service::metrics::MetricsError;
use fraud_core::service::probe::ProbeError;
use fraud_core::service::settings::SettingsError;

/// What stopped the stream. Nothing was committed that is not in the topics.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A health check was answered with a no, or not at all.
    #[error(transparent)]
    Health(#[from] ProbeError),
    /// Arguments that contradict each other.
    #[error("{0}")]
    Arguments(String),
    /// A secret cannot be read.
    #[error("secret {}: {source}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The broker's answer, or the client library's.
    #[error("kafka: cannot {action}: {problem}")]
    Kafka {
        /// What was tried.
        action: &'static str,
        /// What was said.
        problem: String,
    },
    /// The broker does not let this user do it.
    #[error("kafka: not authorised to {action}: {problem}; grant the right or change `kafka.security`")]
    Unauthorised {
        /// What was tried.
        action: &'static str,
        /// What was said.
        problem: String,
    },
    /// Another process runs under the same name.
    #[error(
        "a newer instance took over the transactional id `{transactional_id}` (or the broker ended a transaction \
         that was open for too long): this one ends, nothing of it was committed since"
    )]
    Fenced {
        /// The name.
        transactional_id: String,
    },
    /// The consumer group gave our partitions to other instances.
    #[error("the consumer group gave our partitions to other instances; what was not committed is done by them")]
    PartitionsLost,
    /// A topic was given more partitions.
    #[error("topic `{topic}` has {now} partitions now, {read} are read: the next session reads them all")]
    PartitionsAdded {
        /// The topic.
        topic: String,
        /// How many are read.
        read: i32,
        /// How many there are.
        now: i32,
    },
    /// A topic is missing.
    #[error("topic `{topic}` does not exist: create it, for example with 6 partitions")]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// Records were deleted before they were read.
    #[error(
        "topic `{topic}` partition {partition} begins at offset {low}, but offset {wanted} is next: \
         {count} records were deleted unread; set `kafka.on_lost_input = \"continue\"` to go on without them"
    )]
    InputLost {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The oldest offset there is.
        low: i64,
        /// The offset needed.
        wanted: i64,
        /// How many are missing.
        count: i64,
    },
    /// The state cannot be rebuilt.
    #[error("the state cannot be rebuilt: {problem}; set `state.on_lost_state = \"continue\"` to go on without it")]
    StateLost {
        /// What is missing.
        problem: String,
    },
    /// The snapshot cannot be read or written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The snapshot is of another stream.
    #[error("snapshot {}: {problem}", path.display())]
    ForeignSnapshot {
        /// The file.
        path: PathBuf,
        /// What does not fit, with both values.
        problem: String,
    },
    /// A model, or a policy.
    #[error(transparent)]
    Life(#[from] LifeError),
    /// The model fails on transactions and on its own golden rows.
    #[error("the model does not work any more, its golden rows fail too: {0}")]
    Model(ModelError),
    /// The store cannot go on.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The metrics cannot be set up.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The file of API keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The client library gave up on its connection state; a new session may do.
    #[error("kafka: the session is over: {problem}")]
    SessionOver {
        /// What was said.
        problem: String,
    },
    /// A fault of this program.
    #[error("this is a fault of the program, please report it: {0}")]
    Internal(String),
}

impl StreamError {
    /// The process's exit code: 64 settings, 69 broker, 70 ours or the model's, 74 files, 76 fenced, 77 rights, 78 lost data.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Arguments(_) | Self::Secret { .. } | Self::Keys(_) => 64,
            Self::Life(error) => {
                if error.is_passing() {
                    69
                } else {
                    64
                }
            }
            Self::Health(_)
            | Self::Kafka { .. }
            | Self::NoTopic { .. }
            | Self::SessionOver { .. }
            | Self::PartitionsAdded { .. }
            | Self::PartitionsLost => 69,
            Self::Model(_) | Self::Metrics(_) | Self::Internal(_) | Self::Store(_) => 70,
            Self::Snapshot(_) | Self::Io { .. } => 74,
            Self::Fenced { .. } => 76,
            Self::Unauthorised { .. } => 77,
            Self::InputLost { .. } | Self::StateLost { .. } | Self::ForeignSnapshot { .. } => 78,
        }
    }

    /// Whether starting over in this process may help: nothing is wrong that a person has to see to.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Kafka { .. }
            | Self::SessionOver { .. }
            | Self::NoTopic { .. }
            | Self::PartitionsAdded { .. }
            | Self::PartitionsLost => true,
            Self::Store(StoreError::Shared(error)) => {
                matches!(error, SharedStoreError::Unreachable { .. } | SharedStoreError::NoStore { .. })
            }
            _ => false,
        }
    }

    pub(super) fn kafka(action: &'static str) -> impl FnOnce(rdkafka::error::KafkaError) -> Self {
        move |error| Self::from_kafka(action, &error)
    }

    pub(super) fn from_kafka(action: &'static str, error: &rdkafka::error::KafkaError) -> Self {
        use rdkafka::types::RDKafkaErrorCode as Code;
        let problem = error.to_string();
        match error.rdkafka_error_code() {
            Some(
                Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::Authentication
                | Code::SaslAuthenticationFailed,
            ) => Self::Unauthorised { action, problem },
            _ => Self::Kafka { action, problem },
        }
    }

    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
