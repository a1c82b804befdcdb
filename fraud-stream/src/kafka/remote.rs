//! Scoring by a fraud-api over HTTP: how load from Kafka reaches the autoscaled service.
//!
//! The API keeps the state and knows a repeated transaction by its id, so what it did not answer is sent again until it is
//! answered, and only that: a row that it answered already would be a duplicate. Transactions of one customer always go
//! through the same lane, one request after the other.

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
use super::run::{Shared, Trouble};
use super::security;
use super::settings::StreamSettings;
use super::source::{Stream, Topics};
use super::state::{Reading, Reason, Refusal};

/// Greatest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;
/// How often a row is sent that the API fails on, while it answers others.
const TRIES: u32 = 3;
/// Characters of a title that is passed on at most.
const MAX_TITLE: usize = 200;
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
    Refused(Refusal),
}

/// A row that is to be answered.
struct Open<'a> {
    /// Which record of the batch it is.
    record: usize,
    transaction: &'a Transaction,
    /// How often the API failed on it.
    failures: u32,
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

/// Why there are rows that have to be sent again.
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
                Some(Answer::Refused(refusal)) => {
                    shared.metrics.dead.with_label_values(&[refusal.reason.as_str()]).inc();
                    out.dead_letter(&taken.message, (topics, taken.source), &refusal);
                }
            }
        }
        shared.trouble(Trouble::Api, false);
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
            let rows = chunk.iter().map(|(record, transaction)| Open { record: *record, transaction, failures: 0 });
            let mut open: Vec<Open<'_>> = rows.collect();
            while let Some(busy) = self.ask(&mut open, &mut answers)? {
                // Between half the pause and the whole, so that instances do not come back together.
                let jitter = 0.5 + f64::from(random_u16(&self.hasher)) / f64::from(u16::MAX) / 2.0;
                let wait = busy.after.unwrap_or(pause.mul_f64(jitter)).min(self.max_backoff);
                tracing::warn!(why = busy.why, wait = wait.as_secs_f64(), "the API does not answer; input is paused");
                shared.trouble(Trouble::Api, true);
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
            }
        }
        Ok(Some(answers))
    }

    /// One request. What it answers moves from the open rows to the answers; for the others, why they are worth another try.
    fn ask(&self, open: &mut Vec<Open<'_>>, answers: &mut Vec<(usize, Answer)>) -> Result<Option<Busy>, StreamError> {
        let rows: Vec<Row<'_>> = open.iter().map(|open| Row::new(open.transaction)).collect();
        let body = serde_json::to_vec(&rows).map_err(|error| StreamError::Internal(error.to_string()))?;
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let busy = |why: String, after| Ok(Some(Busy { why, after }));
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
        if rows.len() != open.len() {
            return busy(format!("{} answers to {} transactions", rows.len(), open.len()), None);
        }
        let glances: Vec<Glance<'_>> = match rows.iter().map(|row| serde_json::from_str(row.get())).collect() {
            Ok(glances) => glances,
            Err(error) => return busy(format!("an answer cannot be read: {error}"), None),
        };
        let mut why = None;
        let mut said = rows.into_iter().zip(glances);
        open.retain_mut(|open| {
            let Some((row, glance)) = said.next() else { return true };
            let answer = open.answer(row.get().as_bytes(), glance);
            let answered = answer.is_ok();
            match answer {
                Ok(answer) => answers.push((open.record, answer)),
                Err(status) => why = Some(format!("the API answered {status} to a row")),
            }
            !answered
        });
        Ok(why.map(|why| Busy { why, after }))
    }
}

impl Open<'_> {
    /// The row's answer, or the status that makes it worth another try.
    fn answer(&mut self, body: &[u8], glance: Glance<'_>) -> Result<Answer, u16> {
        if glance.decision.is_some() {
            let model_version = glance.model_version.as_deref().unwrap_or("none").into();
            return Ok(Answer::Assessed { body: body.to_vec(), model_version });
        }
        let Some(Problem { status, title }) = glance.error else { return Err(0) };
        let reason = match status {
            // Not the row's fault: it passes.
            429 | 503 => return Err(status),
            500.. => {
                self.failures += 1;
                if self.failures < TRIES {
                    return Err(status);
                }
                Reason::ModelError
            }
            _ => Reason::Refused,
        };
        let title: String = title.chars().take(MAX_TITLE).collect();
        Ok(Answer::Refused(Refusal::new(reason, format!("the API answered {status}: {title}"))))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_sent_again_while_that_may_help() {
        let transaction = fraud_core::transaction::Parsed::from_message(
            br#"{"transaction_id":1,"customer_id":1,"terminal_id":1,"tx_amount":1,"tx_time_seconds":1}"#,
            fraud_core::transaction::ParseOptions::default(),
        );
        let transaction = transaction.unwrap().transaction;
        let mut open = Open { record: 0, transaction: &transaction, failures: 0 };
        let mut answer = |text: &str| match open.answer(text.as_bytes(), serde_json::from_str(text).unwrap()) {
            Ok(Answer::Assessed { model_version, .. }) => format!("by {model_version}"),
            Ok(Answer::Refused(refusal)) => format!("{}, {}", refusal.reason.as_str(), refusal.detail),
            Err(status) => format!("again after {status}"),
        };
        let problem = |status: u16| format!(r#"{{"error":{{"status":{status},"title":"Sorry"}}}}"#);
        for _ in 0..9 {
            assert_eq!(answer(&problem(503)), "again after 503");
            assert_eq!(answer(&problem(429)), "again after 429");
        }
        assert_eq!(answer(r#"{"decision":"approve","model_version":"m"}"#), "by m");
        assert_eq!(answer(&problem(422)), "refused, the API answered 422: Sorry");
        assert_eq!(answer(&problem(500)), "again after 500");
        assert_eq!(answer(&problem(500)), "again after 500");
        assert_eq!(answer(&problem(500)), "model_error, the API answered 500: Sorry");
        assert_eq!(answer("{}"), "again after 0");
    }
}
