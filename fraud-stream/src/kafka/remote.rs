//! Scoring by a fraud-api over HTTP: how load from Kafka reaches the autoscaled service.
//!
//! The API keeps the state and knows a repeated transaction by its id, so a request is sent again until it is
//! answered. Transactions of one customer always go through the same lane, one request after the other.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fraud_core::Transaction;
use fraud_core::service::metrics::Failure;
use rdkafka::message::Message;
use serde::Serialize;
use serde_json::value::RawValue;

use super::error::StreamError;
use super::outputs::Outputs;
use super::queues::Queues;
use super::reader::Taken;
use super::run::Shared;
use super::security;
use super::settings::StreamSettings;
use super::source::{Stream, Topics};
use super::state::{Reading, Reason, Refusal};

/// Greatest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;
/// First pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A fraud-api.
pub(super) struct Remote {
    agent: ureq::Agent,
    url: String,
    key: Option<String>,
    reading: Reading,
    request_records: usize,
    lanes: usize,
    max_backoff: Duration,
    hasher: hashbrown::DefaultHashBuilder,
}

/// A transaction as the API reads it.
#[derive(Serialize)]
struct Row<'a> {
    transaction_id: &'a fraud_core::Id,
    customer_id: &'a fraud_core::Id,
    terminal_id: &'a fraud_core::Id,
    tx_amount: f64,
    tx_datetime: String,
}

/// What the API said to one row.
enum Answer {
    Assessed { body: Vec<u8>, model_version: Arc<str> },
    Refused(String),
}

#[derive(serde::Deserialize)]
struct Glance<'a> {
    #[serde(borrow)]
    decision: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    model_version: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Problem<'a>>,
}

#[derive(serde::Deserialize)]
struct Problem<'a> {
    status: u16,
    #[serde(borrow)]
    title: std::borrow::Cow<'a, str>,
}

/// Why a request has to be sent again.
struct Busy {
    why: String,
    after: Option<Duration>,
}

impl Remote {
    /// The API of the settings.
    ///
    /// # Errors
    /// [`StreamError::Secret`] when the key cannot be read.
    pub(super) fn new(settings: &StreamSettings) -> Result<Self, StreamError> {
        let scorer = &settings.scorer;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(scorer.timeout.0))
            .max_idle_connections_per_host(scorer.concurrency)
            .http_status_as_error(false)
            .build();
        Ok(Self {
            agent: agent.into(),
            url: format!("{}/predict/batch", scorer.url.trim_end_matches('/')),
            key: scorer.key_file.as_deref().map(security::secret).transpose()?,
            reading: Reading::new(settings),
            request_records: scorer.request_records,
            lanes: scorer.concurrency,
            max_backoff: scorer.max_backoff.0,
            hasher: hashbrown::DefaultHashBuilder::default(),
        })
    }

    /// Has the records of a batch assessed. `false` when the process is to end before all are answered.
    ///
    /// # Errors
    /// [`StreamError::Unauthorised`] when the API does not know the key.
    pub(super) fn run(
        &self,
        records: &[Taken<'_>],
        (shared, topics, queues): (&Shared, &Topics, &Queues),
        out: &mut Outputs,
    ) -> Result<bool, StreamError> {
        let mut answers: Vec<Option<Answer>> = Vec::with_capacity(records.len());
        let mut lanes: Vec<Vec<(usize, Transaction)>> = vec![Vec::new(); self.lanes];
        for (index, taken) in records.iter().enumerate() {
            answers.push(None);
            if taken.source.stream == Stream::Labels {
                continue;
            }
            match self.reading.read(taken.message.payload(), taken.timestamp) {
                Ok(parsed) => {
                    let hash = self.hasher.hash_one(&parsed.transaction.customer_id);
                    let lane = usize::try_from(hash % self.lanes as u64).unwrap_or(0);
                    lanes[lane].push((index, parsed.transaction));
                }
                Err(refusal) => {
                    shared.metrics.shared.failed(Failure::Invalid);
                    shared.metrics.dead.with_label_values(&[refusal.reason.as_str()]).inc();
                    out.dead_letter(&taken.message, (topics, taken.source), &refusal);
                }
            }
        }
        out.ends = super::batch::ends(records);
        let answered = std::thread::scope(|scope| {
            let runs: Vec<_> = lanes
                .iter()
                .filter(|lane| !lane.is_empty())
                .map(|lane| scope.spawn(move || self.lane(lane, shared, queues)))
                .collect();
            let join = |run: std::thread::ScopedJoinHandle<'_, _>| {
                run.join().unwrap_or_else(|_| Err(StreamError::Internal("a lane ended early".to_owned())))
            };
            runs.into_iter().map(join).collect::<Result<Vec<_>, StreamError>>()
        })?;
        for lane in answered {
            let Some(lane) = lane else { return Ok(false) };
            for (index, answer) in lane {
                answers[index] = Some(answer);
            }
        }
        for (taken, answer) in records.iter().zip(answers) {
            match answer {
                None => {}
                Some(Answer::Assessed { body, model_version }) => {
                    let key = self.reading.read(taken.message.payload(), taken.timestamp);
                    let key = key.map(|parsed| parsed.transaction.transaction_id.to_string()).unwrap_or_default();
                    out.foreign(&key, (&body, model_version), &taken.message);
                }
                Some(Answer::Refused(detail)) => {
                    shared.metrics.dead.with_label_values(&[Reason::Refused.as_str()]).inc();
                    out.dead_letter(&taken.message, (topics, taken.source), &Refusal::new(Reason::Refused, detail));
                }
            }
        }
        Ok(true)
    }

    /// The answers of one lane; none when the process is to end.
    fn lane(
        &self,
        lane: &[(usize, Transaction)],
        shared: &Shared,
        queues: &Queues,
    ) -> Result<Option<Vec<(usize, Answer)>>, StreamError> {
        let mut answers = Vec::with_capacity(lane.len());
        for chunk in lane.chunks(self.request_records) {
            let mut pause = FIRST_PAUSE;
            let got = loop {
                let busy = match self.ask(chunk)? {
                    Ok(got) => break got,
                    Err(busy) => busy,
                };
                // Between half the pause and the whole, so that instances do not come back together.
                let jitter = 0.5 + f64::from(random_u16(&self.hasher)) / f64::from(u16::MAX) / 2.0;
                let wait = busy.after.unwrap_or(pause.mul_f64(jitter)).min(self.max_backoff);
                tracing::warn!(why = busy.why, wait = wait.as_secs_f64(), "the API does not answer; input is paused");
                shared.trouble(true);
                let _keeps_fetching = queues.pause(true);
                queues.look_at_input(&shared.lag);
                let until = Instant::now() + wait;
                while Instant::now() < until {
                    if shared.stopping() {
                        return Ok(None);
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                pause = (pause * 2).min(self.max_backoff);
                let _stays_paused = queues.pause(false);
                shared.trouble(false);
            };
            answers.extend(chunk.iter().map(|(index, _)| *index).zip(got));
        }
        Ok(Some(answers))
    }

    /// One request. The inner error is worth another try.
    fn ask(&self, chunk: &[(usize, Transaction)]) -> Result<Result<Vec<Answer>, Busy>, StreamError> {
        let rows: Vec<Row<'_>> = chunk.iter().map(|(_, transaction)| Row::new(transaction)).collect();
        let body = serde_json::to_vec(&rows).map_err(|error| StreamError::Internal(error.to_string()))?;
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let busy = |why: String, after| Ok(Err(Busy { why, after }));
        let mut response = match request.send(&body) {
            Ok(response) => response,
            Err(error) => return busy(error.to_string(), None),
        };
        let status = response.status().as_u16();
        let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let after = after.map(Duration::from_secs);
        let read = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => return busy(error.to_string(), None),
        };
        match status {
            200 | 207 => {}
            401 | 403 => {
                let problem = format!("the API answered {status}");
                return Err(StreamError::Unauthorised { action: "score over HTTP", problem });
            }
            status => return busy(format!("the API answered {status}"), after),
        }
        let rows: Vec<&RawValue> = match serde_json::from_slice(&bytes) {
            Ok(rows) => rows,
            Err(error) => return busy(format!("the API's answer is no array: {error}"), None),
        };
        if rows.len() != chunk.len() {
            return busy(format!("{} answers to {} transactions", rows.len(), chunk.len()), None);
        }
        let mut answers = Vec::with_capacity(rows.len());
        for row in rows {
            let glance: Glance<'_> = match serde_json::from_str(row.get()) {
                Ok(glance) => glance,
                Err(error) => return busy(format!("an answer cannot be read: {error}"), None),
            };
            answers.push(match (glance.decision, glance.error) {
                (Some(_), _) => Answer::Assessed {
                    body: row.get().as_bytes().to_vec(),
                    model_version: glance.model_version.as_deref().unwrap_or("none").into(),
                },
                // What is not the row's fault may pass; rows answered already are answered as duplicates.
                (None, Some(problem)) if problem.status < 500 && problem.status != 429 => {
                    Answer::Refused(format!("the API answered {}: {}", problem.status, problem.title))
                }
                (None, problem) => {
                    let status = problem.map_or(0, |problem| problem.status);
                    return busy(format!("the API answered {status} to a row"), after);
                }
            });
        }
        Ok(Ok(answers))
    }
}

impl<'a> Row<'a> {
    fn new(transaction: &'a Transaction) -> Self {
        Self {
            transaction_id: &transaction.transaction_id,
            customer_id: &transaction.customer_id,
            terminal_id: &transaction.terminal_id,
            tx_amount: transaction.amount.major(),
            tx_datetime: jiff::Timestamp::from_second(transaction.time)
                .map(|time| time.to_string())
                .unwrap_or_default(),
        }
    }
}

/// Some number that is another one each time.
fn random_u16(hasher: &hashbrown::DefaultHashBuilder) -> u16 {
    let hash = hasher.hash_one(Instant::now()).to_le_bytes();
    u16::from_le_bytes([hash[0], hash[1]])
}
