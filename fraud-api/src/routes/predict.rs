//! `POST /predict`: one transaction, one assessment.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use fraud_core::error::{FieldProblem, ParseError, ValidationError, ValueClass};
use fraud_core::features::{MemoryStore, Profile};
use fraud_core::{Assessment, Decision, Parsed, Scorer, Transaction};

use super::console::Recent;
use super::{Parts, as_problem, refuse};
use crate::app::{RECENT, Worker};
use crate::http::body::{self, Body, Limits, Look, Media, Received};
use crate::http::guard::{self, Passed};
use crate::http::keys::Role;
use crate::http::problem::{ApiError, PROBLEM_JSON};
use crate::store::Store;
use crate::trace;

/// What a caller may ask of an assessment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Keep the transaction.
    pub record: bool,
    /// Give reasons whatever the decision.
    pub explain: bool,
}

impl Wish {
    /// Reads a query. Parameters that are not known are passed over.
    ///
    /// # Errors
    /// [`ApiError::Parameter`].
    pub fn read(query: &str) -> Result<Self, ApiError> {
        let mut wish = Self { record: true, explain: false };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let (place, name) = match name {
                "record" => (&mut wish.record, "record"),
                "explain" => (&mut wish.explain, "explain"),
                _ => continue,
            };
            *place = match value {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => return Err(ApiError::Parameter { name, rule: "true or false" }),
            };
        }
        Ok(wish)
    }
}

/// Scores one transaction.
#[utoipa::path(
    post, path = "/predict", tag = "scoring",
    params(
        ("record" = Option<bool>, Query, description = "`false` scores without keeping the transaction"),
        ("explain" = Option<bool>, Query, description = "`true` gives reasons whatever the decision"),
    ),
    request_body(content = crate::schema::TransactionBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The assessment", body = crate::schema::AssessmentBody),
        crate::schema::Refusals,
    ),
)]
pub fn predict(Parts(request, payload): Parts) -> Predict {
    match Worker::of(&request).cloned() {
        Ok(worker) => {
            let settings = &worker.shared.settings.admission;
            let limits = Limits { bytes: settings.max_body_bytes, time: settings.deadline.0 };
            let way = Way { worker, request, payload, body: Body::new(limits), arrived: Instant::now() };
            Predict::Arrived(Some(way))
        }
        Err(error) => Predict::Waiting(Box::pin(std::future::ready(as_problem(&error)))),
    }
}

/// A request to `/predict` on its way to the answer. By hand, because nearly all are answered at the second look
/// at their body, without any state worth a box.
pub enum Predict {
    /// It may all be there. Empty once it was answered.
    Arrived(Option<Way>),
    /// Its body is waited for.
    Waiting(Pin<Box<dyn Future<Output = HttpResponse>>>),
}

/// What a request carries along.
pub struct Way {
    worker: Rc<Worker>,
    request: HttpRequest,
    payload: Payload,
    body: Body,
    arrived: Instant,
}

impl std::fmt::Debug for Predict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Waiting(_)) { "Waiting" } else { "Arrived" })
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("body", &self.body).finish_non_exhaustive()
    }
}

impl Future for Predict {
    type Output = HttpResponse;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<HttpResponse> {
        if let Self::Arrived(way) = &mut *self {
            let Some(Way { worker, request, payload, body, arrived }) = way else { return Poll::Pending };
            match body.look(payload, &worker.admission, context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Look::Done(body)) => {
                    if !worker.store.is_shared() {
                        return Poll::Ready(answer((worker, request), (body, None), *arrived));
                    }
                    let Some(way) = way.take() else { return Poll::Pending };
                    *self = Self::Waiting(Box::pin(asked(way, body, None)));
                }
                Poll::Ready(Look::NotYet) => {
                    let Some(way) = way.take() else { return Poll::Pending };
                    *self = Self::Waiting(Box::pin(late(way)));
                }
            }
        }
        match &mut *self {
            Self::Waiting(rest) => rest.as_mut().poll(context),
            Self::Arrived(_) => Poll::Pending,
        }
    }
}

/// The way of a request whose body does not come with its head.
async fn late(mut way: Way) -> HttpResponse {
    let (passed, body) = {
        let Way { worker, request, payload, body, .. } = &mut way;
        let _in_progress = worker.shared.metrics.http_in_progress();
        // Before its body: whoever may not come in must not be waited for.
        match guard::enter(worker, request, Role::Score) {
            Ok(passed) => (passed, body.rest(request, payload, &worker.admission).await),
            Err(error) => (Passed::default(), Err(error)),
        }
    };
    if way.worker.store.is_shared() {
        return asked(way, body, Some(passed)).await;
    }
    answer((&way.worker, &way.request), (body, Some(passed)), way.arrived)
}

/// From a body to the answer, over a store that has to be waited for.
async fn asked(
    Way { worker, request, arrived, .. }: Way,
    body: Result<Received, ApiError>,
    entered: Option<Passed>,
) -> HttpResponse {
    let _in_progress = worker.shared.metrics.http_in_progress();
    let mut span = trace::begin(&worker, &request, || "POST /predict".into());
    let mut passed = entered;
    let outcome = async {
        let (body, asked) = enter(&worker, (&request, body), arrived, &mut passed)?;
        let _place = worker.admission.wait_for_store()?;
        let assessment = assess_anywhere(&worker, &body.bytes, asked).await?;
        Ok::<Bytes, ApiError>(worker.answers.write(|json| crate::answer::write(&assessment, asked.2, json)))
    };
    let outcome = outcome.await;
    let response = respond(&worker, outcome, (passed.as_ref(), arrived));
    trace::end(&mut span, response.status());
    response
}

/// From a body to the answer.
fn answer(
    (worker, request): (&Worker, &HttpRequest),
    (body, mut passed): (Result<Received, ApiError>, Option<Passed>),
    arrived: Instant,
) -> HttpResponse {
    let metrics = &worker.shared.metrics;
    let _in_progress = metrics.http_in_progress();
    let mut span = trace::begin(worker, request, || "POST /predict".into());
    let outcome = serve(worker, (request, body), arrived, &mut passed);
    let response = respond(worker, outcome, (passed.as_ref(), arrived));
    trace::end(&mut span, response.status());
    response
}

/// The response to an outcome, counted.
fn respond(
    worker: &Worker,
    outcome: Result<Bytes, ApiError>,
    (passed, arrived): (Option<&Passed>, Instant),
) -> HttpResponse {
    let metrics = &worker.shared.metrics;
    let mut response = match outcome {
        Ok(body) => {
            let mut response = HttpResponse::Ok();
            response.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")));
            response.body(body)
        }
        Err(error) => {
            let response = match &error {
                ApiError::Overloaded { reason, .. } => {
                    metrics.shed(*reason);
                    let body = worker.overloaded.get_or_init(|| error.document());
                    error.start_response().content_type(PROBLEM_JSON).body(body.clone())
                }
                error => refuse(worker, error, as_problem),
            };
            metrics.http_error(response.status().as_u16());
            response
        }
    };
    guard::leave(worker, passed.unwrap_or(&Passed::default()), &mut response);
    worker.hot.observe(response.status(), arrived.elapsed());
    response
}

fn serve(
    worker: &Worker,
    (request, body): (&HttpRequest, Result<Received, ApiError>),
    arrived: Instant,
    passed: &mut Option<Passed>,
) -> Result<Bytes, ApiError> {
    let (body, asked) = enter(worker, (request, body), arrived, passed)?;
    let Some(store) = worker.store.embedded() else {
        return Err(ApiError::Internal { problem: "a shared store has to be waited for".to_owned() });
    };
    let assessment = assess(worker, store, &body.bytes, asked)?;
    Ok(worker.answers.write(|json| crate::answer::write(&assessment, asked.2, json)))
}

/// What is asked, when its work began, and the wall clock's milliseconds then.
type Asked = (Wish, Instant, u64);

/// Whether a request is to be worked on, and how.
fn enter(
    worker: &Worker,
    (request, body): (&HttpRequest, Result<Received, ApiError>),
    arrived: Instant,
    passed: &mut Option<Passed>,
) -> Result<(Received, Asked), ApiError> {
    // The body came first: a connection whose body was read can go on after a refusal. Then the question whether
    // there is time for it at all, because turning away must cost little.
    let mut now = arrived;
    if let Ok(body) = &body {
        // Where the body was waited for, the arrival lies in an earlier round of admission.
        if body.waited {
            now = Instant::now();
        }
        worker.admission.work(now)?;
    }
    if passed.is_none() {
        *passed = Some(guard::enter(worker, request, Role::Score)?);
    }
    let body = body?;
    if body::media(request.headers(), "application/json")? != Media::Json {
        return Err(ApiError::MediaType { expected: "application/json" });
    }
    let wish = Wish::read(request.query_string())?;
    if body.waited && is_late(arrived, worker.shared.settings.admission.deadline.0) {
        return Err(ApiError::Deadline);
    }
    let millis = worker.wall.millis(now);
    Ok((body, (wish, now, millis)))
}

/// Bytes to assessment: the whole path, begun at `began` and the wall clock's `millis`.
///
/// # Errors
/// [`ApiError::Parse`], [`ApiError::Store`], [`ApiError::Model`].
fn assess(
    worker: &Worker,
    store: &MemoryStore,
    body: &[u8],
    (wish, began, millis): Asked,
) -> Result<Assessment, ApiError> {
    let transaction = read(worker, body, millis)?;
    let _active = worker.shared.metrics.active();
    let scorer = worker.shared.life.shared().load();
    let mut profile = worker.profile.borrow_mut();
    let observed = if wish.record {
        store.observe(&transaction, scorer.profile_plan(), &mut profile)
    } else {
        store.peek(&transaction, scorer.profile_plan(), &mut profile)
    };
    observed.inspect_err(|error| worker.recorder.borrow().not_stored(error))?;
    finish(worker, (&scorer, &transaction, &profile), (wish, began))
}

/// Bytes to assessment: the whole path, whatever the store.
///
/// # Errors
/// [`ApiError::Parse`], [`ApiError::Store`], [`ApiError::Model`].
pub async fn assess_anywhere(
    worker: &Worker,
    body: &[u8],
    (wish, began, millis): Asked,
) -> Result<Assessment, ApiError> {
    let store = match &worker.store {
        Store::Embedded(store) => return assess(worker, store, body, (wish, began, millis)),
        Store::Shared(store) => store,
    };
    let transaction = read(worker, body, millis)?;
    let _active = worker.shared.metrics.active();
    let scorer = scorer(worker);
    // Others of this thread go on while this one waits: nothing of the worker is held.
    let mut profile = Profile::default();
    let observed = if wish.record {
        store.observe(&transaction, scorer.profile_plan(), &mut profile).await
    } else {
        store.peek(&transaction, scorer.profile_plan(), &mut profile).await
    };
    observed.inspect_err(|error| worker.recorder.borrow().not_stored(error))?;
    finish(worker, (&scorer, &transaction, &profile), (wish, began))
}

/// From a profile to the assessment, counted and remembered.
fn finish(
    worker: &Worker,
    (scorer, transaction, profile): (&Arc<Scorer>, &Transaction, &Profile),
    (wish, began): (Wish, Instant),
) -> Result<Assessment, ApiError> {
    worker.dawdle();
    let assessed =
        if wish.explain { scorer.explain(transaction, profile) } else { scorer.assess(transaction, profile) };
    let assessment = assessed.inspect_err(|_| {
        worker.recorder.borrow().model_failed();
        worker.shared.life.beside().failed(scorer);
    })?;
    worker.recorder.borrow_mut().assessed(&assessment, began.elapsed());
    sample(worker, scorer, (transaction, profile), &assessment);
    if wish.record {
        remember(worker, (transaction, profile), &assessment);
    }
    Ok(assessment)
}

/// Looks at the features of one in so many transactions, for drift.
pub fn sample(
    worker: &Worker,
    scorer: &Arc<Scorer>,
    (transaction, profile): (&Transaction, &Profile),
    assessment: &Assessment,
) {
    if worker.samples() {
        let mut row = worker.row.borrow_mut();
        row.clear();
        row.resize(scorer.features().len(), 0.0);
        scorer.write_features(transaction, profile, &mut row);
        worker.shared.fitness.add(scorer, &row, assessment.fraud_probability);
    }
}

/// Bytes to a transaction that an online edge takes.
///
/// # Errors
/// [`ApiError::Parse`].
pub fn read(worker: &Worker, body: &[u8], millis: u64) -> Result<Transaction, ApiError> {
    let shared = &worker.shared;
    let parsed = Parsed::from_json(body, shared.parse).and_then(|parsed| {
        let now = i64::try_from(millis / 1_000).unwrap_or(i64::MAX);
        let latest = now.saturating_add(shared.settings.time.max_future_skew.whole_seconds().into());
        if parsed.transaction.time <= latest { Ok(parsed) } else { Err(from_the_future()) }
    });
    let parsed = parsed.inspect_err(|error| worker.recorder.borrow().unreadable(error))?;
    if parsed.label_fields > 0 || parsed.unknown_fields > 0 {
        shared.metrics.ignored_fields(parsed.label_fields, parsed.unknown_fields);
    }
    Ok(parsed.transaction)
}

fn from_the_future() -> ParseError {
    let problem = FieldProblem {
        field: "tx_datetime",
        rule: "no later than its arrival and the clock difference allowed (`time.max_future_skew`)",
        found: ValueClass::Future,
    };
    ParseError::Invalid(ValidationError { problems: vec![problem] })
}

/// Keeps what quality and the console need of an assessment, and offers it to who looks beside the path.
pub fn remember(worker: &Worker, (transaction, profile): (&Transaction, &Profile), assessment: &Assessment) {
    let shared = &worker.shared;
    shared.life.beside().offer(transaction, profile, assessment);
    shared.fitness.scored(transaction, assessment);
    if assessment.duplicate {
        return;
    }
    // Who looks at the console must not slow the path down: a busy list goes without this one.
    if assessment.decision != Decision::Approve
        && let Some(mut recent) = shared.recent.try_lock()
    {
        recent.truncate(RECENT - 1);
        recent.push_front(Recent::new(transaction, assessment));
    }
}

/// The answer's JSON: the assessment and the time of the prediction.
#[must_use]
pub fn written(assessment: &Assessment, unix_millis: u64) -> Vec<u8> {
    let mut json = Vec::with_capacity(512);
    crate::answer::write(assessment, unix_millis, &mut json);
    json
}

/// Time since an arrival, for deadlines.
#[must_use]
pub fn is_late(arrived: Instant, deadline: Duration) -> bool {
    arrived.elapsed() > deadline
}

/// The scorer in service, held for as long as a batch takes.
#[must_use]
pub fn scorer(worker: &Worker) -> Arc<Scorer> {
    worker.shared.life.shared().load().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read() {
        let wish = |query: &str| Wish::read(query).map(|wish| (wish.record, wish.explain)).ok();
        assert_eq!(wish(""), Some((true, false)));
        assert_eq!(wish("record=false&explain=1&other=x"), Some((false, true)));
        assert_eq!(wish("explain"), Some((true, true)));
        assert_eq!(wish("record=maybe"), None);
    }
}
