//! `POST /labels`: which transactions turned out to be fraud.

use actix_web::HttpResponse;
use fraud_core::Id;
use fraud_core::features::{Label, LabelOutcome};
use fraud_core::service::clock;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Parts, as_problem, guarded, many_rows};
use crate::http::body::Media;
use crate::http::keys::Role;
use crate::http::problem::{ApiError, Problem};

/// How far in the future a label may claim to have been observed, in seconds.
const MAX_FUTURE: i64 = 300;

#[derive(Deserialize)]
struct Written {
    transaction_id: Id,
    label: serde_json::Value,
    #[serde(default)]
    observed_at: Option<String>,
}

/// What became of one label.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<Id>,
    /// `recorded`, `unchanged`, `unknown` or `refused`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

/// Records labels.
#[utoipa::path(
    post, path = "/labels", tag = "labels",
    request_body(content(
        (crate::schema::LabelsBody = "application/json"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 200, description = "What became of each label, in order", body = crate::schema::LabelsAnswer),
        crate::schema::Refusals,
    ),
)]
pub async fn labels(Parts(request, mut payload): Parts) -> HttpResponse {
    guarded(&request, (Role::Label, as_problem), async |worker| {
        let expected = "application/json or application/x-ndjson";
        let taken = many_rows(worker, (&request, &mut payload), expected).await?;
        let (rows, many) = rows(taken.media, &taken.body, worker.shared.settings.admission.max_batch_rows)?;
        let mut answers = Vec::with_capacity(rows.len());
        let mut known: Vec<(usize, Id, Label)> = Vec::with_capacity(rows.len());
        for row in rows {
            match read(row) {
                Ok((id, label)) => {
                    known.push((answers.len(), id.clone(), label));
                    answers.push(Answer { transaction_id: Some(id), status: "unknown", error: None });
                }
                Err(error) if !many => return Err(error),
                Err(error) => {
                    answers.push(Answer { transaction_id: None, status: "refused", error: Some(error.problem()) });
                }
            }
        }
        let labels: Vec<(&Id, Label)> = known.iter().map(|(_, id, label)| (id, *label)).collect();
        let outcomes = worker.store.label_all(&labels).await.inspect_err(|error| {
            worker.recorder.borrow().not_stored(error);
        })?;
        for ((place, id, label), outcome) in known.iter().zip(outcomes) {
            answers[*place].status = match outcome {
                LabelOutcome::UnknownTransaction => "unknown",
                LabelOutcome::Unchanged => "unchanged",
                LabelOutcome::Applied => "recorded",
            };
            if outcome == LabelOutcome::Applied {
                worker.shared.metrics.label(label.fraud);
                worker.shared.fitness.labelled(id, label.observed_at, label.fraud);
                worker.shared.life.beside().labelled(id, label.observed_at, label.fraud);
            }
        }
        let recorded = answers.iter().filter(|answer| matches!(answer.status, "recorded" | "unchanged")).count();
        Ok(HttpResponse::Ok().json(serde_json::json!({ "recorded": recorded, "results": answers })))
    })
    .await
}

/// The rows of a body, and whether there may be more than one.
fn rows(media: Media, body: &[u8], limit: usize) -> Result<(Vec<&[u8]>, bool), ApiError> {
    if media == Media::Json && body.trim_ascii_start().first() != Some(&b'[') {
        let one: &RawValue = serde_json::from_slice(body).map_err(|error| ApiError::Malformed {
            pointer: String::new(),
            problem: format!("one label or an array of labels was expected: {error}"),
        })?;
        return Ok((vec![one.get().as_bytes()], false));
    }
    Ok((super::batch::rows(media, body, limit)?, true))
}

fn read(row: &[u8]) -> Result<(Id, Label), ApiError> {
    let broken = |pointer: &str, problem: String| ApiError::Unprocessable { pointer: pointer.to_owned(), problem };
    let written: Written = serde_json::from_slice(row).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => broken("", format!("not a label: {error}")),
        _ => ApiError::Malformed { pointer: String::new(), problem: format!("not JSON: {error}") },
    })?;
    let fraud = match &written.label {
        serde_json::Value::Bool(fraud) => Some(*fraud),
        serde_json::Value::Number(number) => number.as_i64().filter(|number| (0..=1).contains(number)).map(|n| n == 1),
        serde_json::Value::String(text) if text == "fraud" => Some(true),
        serde_json::Value::String(text) if text == "legitimate" => Some(false),
        _ => None,
    };
    let rule = "`label` must be 1, true or \"fraud\", or 0, false or \"legitimate\"";
    let fraud = fraud.ok_or_else(|| broken("/label", rule.to_owned()))?;
    let now = clock::unix_seconds();
    let observed_at = match &written.observed_at {
        None => now,
        Some(text) => {
            let time: Result<jiff::Timestamp, _> = text.parse();
            time.map_err(|_| broken("/observed_at", "`observed_at` must be RFC 3339".to_owned()))?.as_second()
        }
    };
    if observed_at > now + MAX_FUTURE {
        return Err(broken("/observed_at", "`observed_at` is more than 5 minutes in the future".to_owned()));
    }
    Ok((written.transaction_id, Label { fraud, observed_at }))
}
