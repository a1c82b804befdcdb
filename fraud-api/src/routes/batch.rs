//! `POST /predict/batch`: many transactions, answered in order; a bad one fails alone.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix_web::HttpResponse;
use fraud_core::features::Profile;
use fraud_core::service::clock;
use fraud_core::service::metrics::Failure;
use fraud_core::{Assessment, Scorer, Transaction};
use serde_json::value::RawValue;

use super::predict::{self, Wish};
use super::{Parts, as_problem, guarded, many_rows};
use crate::answer;
use crate::app::Worker;
use crate::http::body::Media;
use crate::http::keys::Role;
use crate::http::problem::ApiError;

/// Rows assessed before other requests get their turn.
const CHUNK: usize = 64;

/// Scores many transactions, in order.
#[utoipa::path(
    post, path = "/predict/batch", tag = "scoring",
    params(("record" = Option<bool>, Query, description = "`false` scores without keeping the transactions")),
    request_body(content(
        (Vec<crate::schema::TransactionBody> = "application/json"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 200, description = "One answer per row, in order: an assessment, or `{\"error\": problem}`", content(
            (Vec<crate::schema::BatchItem> = "application/json"),
            (String = "application/x-ndjson"),
        )),
        crate::schema::Refusals,
    ),
)]
pub async fn batch(Parts(request, mut payload): Parts) -> HttpResponse {
    let arrived = Instant::now();
    guarded(&request, (Role::Score, as_problem), async |worker| {
        let expected = "application/json (an array) or application/x-ndjson";
        let taken = many_rows(worker, (&request, &mut payload), expected).await?;
        let wish = Wish::read(request.query_string())?;
        let rows = rows(taken.media, &taken.body, worker.shared.settings.admission.max_batch_rows)?;
        let json = answers(worker, &rows, taken.media, (wish, arrived)).await;
        let content_type = if taken.media == Media::Lines { "application/x-ndjson" } else { "application/json" };
        Ok(HttpResponse::Ok().content_type(content_type).body(json))
    })
    .await
}

/// The rows of a body, each as its JSON text.
///
/// # Errors
/// [`ApiError::Malformed`] for a body that is not an array, [`ApiError::TooManyRows`].
pub fn rows(media: Media, body: &[u8], limit: usize) -> Result<Vec<&[u8]>, ApiError> {
    let rows: Vec<&[u8]> = match media {
        Media::Lines => {
            body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|row| !row.is_empty()).collect()
        }
        Media::Json => {
            let rows: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| ApiError::Malformed {
                pointer: String::new(),
                problem: format!("an array of transactions was expected: {error}"),
            })?;
            rows.into_iter().map(|row| row.get().as_bytes()).collect()
        }
        Media::Octets => {
            return Err(ApiError::MediaType { expected: "application/json (an array) or application/x-ndjson" });
        }
    };
    if rows.len() > limit { Err(ApiError::TooManyRows { limit }) } else { Ok(rows) }
}

async fn answers(worker: &Rc<Worker>, rows: &[&[u8]], media: Media, (wish, arrived): (Wish, Instant)) -> Vec<u8> {
    let deadline = worker.shared.settings.admission.deadline.0;
    let mut json = Vec::with_capacity(rows.len() * 448 + 2);
    let (open, between, close): (&[u8], &[u8], &[u8]) =
        if media == Media::Lines { (b"", b"\n", b"\n") } else { (b"[", b",", b"]") };
    json.extend_from_slice(open);
    // One for all rows: an answer never mixes two models, however many rows it has.
    let mut work = Work::new(predict::scorer(worker));
    for (index, chunk) in rows.chunks(CHUNK).enumerate() {
        if index > 0 {
            tokio::task::yield_now().await;
        }
        let answers = if predict::is_late(arrived, deadline) {
            chunk.iter().for_each(|_| worker.shared.metrics.failed(Failure::Deadline));
            chunk.iter().map(|_| Err(ApiError::Deadline)).collect()
        } else {
            work.chunk(worker, chunk, wish).await
        };
        let now = clock::unix_millis();
        for (at, answer) in answers.iter().enumerate() {
            if index + at > 0 {
                json.extend_from_slice(between);
            }
            match answer {
                Ok(assessment) => answer::write(assessment, now, &mut json),
                Err(error) => {
                    error.log();
                    json.extend_from_slice(b"{\"error\":");
                    // A problem is made of texts and numbers: it always has a JSON form.
                    let _ = serde_json::to_writer(&mut json, &error.problem());
                    json.push(b'}');
                }
            }
        }
    }
    json.extend_from_slice(close);
    json
}

/// What a batch is assessed with, and its buffers.
struct Work {
    scorer: Arc<Scorer>,
    transactions: Vec<Transaction>,
    profiles: Vec<Profile>,
    /// Where in the chunk each transaction stands.
    places: Vec<usize>,
}

impl Work {
    fn new(scorer: Arc<Scorer>) -> Self {
        Self { scorer, transactions: Vec::new(), profiles: Vec::new(), places: Vec::new() }
    }

    /// Observes row after row, as single requests in this order would, then asks the model once.
    async fn chunk(&mut self, worker: &Worker, rows: &[&[u8]], wish: Wish) -> Vec<Result<Assessment, ApiError>> {
        let began = Instant::now();
        let _active = worker.shared.metrics.active();
        let (scorer, millis) = (self.scorer.clone(), clock::unix_millis());
        self.transactions.clear();
        self.places.clear();
        let mut answers: Vec<Option<Result<Assessment, ApiError>>> = Vec::with_capacity(rows.len());
        for (place, row) in rows.iter().enumerate() {
            match predict::read(worker, row, millis) {
                Ok(transaction) => {
                    self.transactions.push(transaction);
                    self.places.push(place);
                    answers.push(None);
                }
                Err(error) => answers.push(Some(Err(error))),
            }
        }
        self.profiles.resize_with(self.transactions.len(), Profile::default);
        let sink = (wish.record, self.profiles.as_mut_slice());
        let observed = worker.store.observe_all(&self.transactions, scorer.profile_plan(), sink).await;
        let mut known = 0;
        for (index, observed) in observed.into_iter().enumerate() {
            match observed {
                Ok(()) => {
                    self.transactions.swap(known, index);
                    self.profiles.swap(known, index);
                    self.places.swap(known, index);
                    known += 1;
                }
                Err(error) => {
                    worker.recorder.borrow().not_stored(&error);
                    answers[self.places[index]] = Some(Err(error.into()));
                }
            }
        }
        self.transactions.truncate(known);
        self.profiles.truncate(known);
        self.places.truncate(known);
        self.transactions.iter().for_each(|_| worker.dawdle());
        let mut assessed = Vec::with_capacity(self.transactions.len());
        if wish.explain {
            let pairs = self.transactions.iter().zip(&self.profiles);
            assessed.extend(pairs.map(|(transaction, profile)| scorer.explain(transaction, profile)));
        } else {
            scorer.assess_batch(&self.transactions, &self.profiles, &mut assessed);
        }
        let share = began.elapsed() / u32::try_from(self.places.len().max(1)).unwrap_or(u32::MAX);
        let known = self.transactions.iter().zip(&self.profiles);
        for ((place, (transaction, profile)), answer) in self.places.iter().zip(known).zip(assessed) {
            match &answer {
                Ok(assessment) => {
                    worker.recorder.borrow_mut().assessed(assessment, share);
                    predict::sample(worker, &scorer, (transaction, profile), assessment);
                    if wish.record {
                        predict::remember(worker, (transaction, profile), assessment);
                    }
                }
                Err(_) => {
                    worker.recorder.borrow().model_failed();
                    worker.shared.life.beside().failed(&scorer);
                }
            }
            answers[*place] = Some(answer.map_err(ApiError::Model));
        }
        let missing = || Err(ApiError::Internal { problem: "a row without an answer".to_owned() });
        answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
    }
}
