//! The live console: one page, and the stream of figures that it shows.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use fraud_core::service::clock;
use fraud_core::{Assessment, Decision, Reason, Transaction};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};

use super::predict::{self, Wish};
use super::{Parts, as_problem, guarded, path};
use crate::app::{Shared, Worker};
use crate::http::body::{self, Limits};
use crate::http::keys::Role;
use crate::http::problem::ApiError;

mod figures;

/// The page. It asks for nothing beyond this service.
const PAGE: &str = include_str!("../console/index.html");
/// Nothing from elsewhere is loaded or sent to; the page's own script and style are part of it.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Pages that may look at once.
const MAX_VIEWERS: usize = 64;
/// How often figures are sent.
const EVERY: Duration = Duration::from_secs(1);

/// Adds the endpoints.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(path("/", "GET", [web::get().to(page)]))
        .service(path("/console/events", "GET", [web::get().to(events)]))
        .service(path("/console/score", "POST", [web::post().to(score)]));
}

/// A flagged transaction as the console shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Recent {
    at: u64,
    transaction: String,
    customer: String,
    terminal: String,
    amount: f64,
    probability: Option<f32>,
    decision: Decision,
    reasons: Vec<Reason>,
}

impl Recent {
    /// Keeps what may be shown: identifiers shortened.
    #[must_use]
    pub fn new(transaction: &Transaction, assessment: &Assessment) -> Self {
        Self {
            at: clock::unix_millis(),
            transaction: shortened(&transaction.transaction_id.to_string()),
            customer: shortened(&transaction.customer_id.to_string()),
            terminal: shortened(&transaction.terminal_id.to_string()),
            amount: transaction.amount.major(),
            probability: assessment.fraud_probability,
            decision: assessment.decision,
            reasons: assessment.reasons.clone(),
        }
    }
}

/// At most its last three characters, and never more than half of it.
fn shortened(id: &str) -> String {
    let letters: Vec<char> = id.chars().collect();
    let kept = 3.min(letters.len() / 2);
    let end: String = letters[letters.len() - kept..].iter().collect();
    format!("…{end}")
}

async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("content-security-policy", POLICY))
        .insert_header(("x-content-type-options", "nosniff"))
        .insert_header(("referrer-policy", "no-referrer"))
        .insert_header(("cache-control", "no-cache"))
        .body(PAGE)
}

/// Scores the form's transaction without recording it.
async fn score(Parts(request, mut payload): Parts) -> HttpResponse {
    guarded(&request, (Role::Operate, as_problem), async |worker| {
        let settings = &worker.shared.settings.admission;
        let limits = Limits { bytes: settings.max_body_bytes, time: settings.deadline.0 };
        body::media(request.headers(), "application/json")?;
        let body = body::read(&request, &mut payload, &worker.admission, limits).await?.bytes;
        let (now, millis) = (Instant::now(), clock::unix_millis());
        worker.admission.work(now)?;
        let assessment =
            predict::assess_anywhere(worker, &body, (Wish { record: false, explain: true }, now, millis)).await?;
        let json = predict::written(&assessment, millis);
        Ok(HttpResponse::Ok().content_type("application/json").body(json))
    })
    .await
}

/// A page that looks, counted until it leaves.
struct Viewer;

static VIEWERS: AtomicUsize = AtomicUsize::new(0);

impl Viewer {
    fn enter() -> Option<Self> {
        let enter = |viewers| (viewers < MAX_VIEWERS).then_some(viewers + 1);
        VIEWERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).ok().map(|_| Self)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        VIEWERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Server-sent events: all figures, once a second, until the service ends.
async fn events(request: HttpRequest) -> HttpResponse {
    guarded(&request, (Role::Operate, as_problem), async |worker| {
        let retry_after = Duration::from_secs(5);
        let reason = fraud_core::service::metrics::Shed::InFlight;
        let viewer = Viewer::enter().ok_or(ApiError::Overloaded { reason, retry_after })?;
        let shared = worker.shared.clone();
        let begin = (shared, viewer, tokio::time::interval(EVERY));
        let stream = futures_util::stream::unfold(begin, |(shared, viewer, mut interval)| async move {
            interval.tick().await;
            if shared.lifecycle.is_draining() {
                return None;
            }
            let event = Bytes::from(format!("data: {}\n\n", figures_now(&shared)));
            Some((Ok::<_, Infallible>(event), (shared, viewer, interval)))
        });
        Ok(HttpResponse::Ok()
            .content_type("text/event-stream")
            .insert_header(("cache-control", "no-store"))
            .insert_header(("x-accel-buffering", "no"))
            .streaming(stream))
    })
    .await
}

/// The figures, gathered once for all viewers.
fn figures_now(shared: &Shared) -> Arc<str> {
    static LAST: Mutex<Option<(Instant, usize, Arc<str>)>> = Mutex::new(None);
    let of = std::ptr::from_ref(shared).addr();
    let mut last = LAST.lock();
    if let Some((at, service, text)) = &*last
        && *service == of
        && at.elapsed() < EVERY / 2
    {
        return text.clone();
    }
    let text: Arc<str> = figures(shared).to_string().into();
    *last = Some((Instant::now(), of, text.clone()));
    text
}

fn figures(shared: &Shared) -> Value {
    let (review_at, _) = shared.life.shared().load().thresholds();
    let (features, score) = shared.fitness.drift();
    let psi =
        |psi: fraud_core::service::drift::Psi| json!({ "name": &*psi.name, "psi": psi.psi, "samples": psi.samples });
    let quality: Vec<Value> = shared
        .fitness
        .quality(review_at)
        .into_iter()
        .map(|figures| {
            json!({
                "label_age": figures.label_age, "samples": figures.samples, "frauds": figures.frauds,
                "precision": figures.precision, "recall": figures.recall,
                "average_precision": figures.average_precision,
            })
        })
        .collect();
    json!({
        "time": clock::unix_millis(),
        "ready": shared.is_ready(),
        "environment": shared.settings.environment,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "totals": figures::totals(&shared.metrics.registry().gather()),
        "card": shared.life.card(),
        "drift": { "features": features.into_iter().map(psi).collect::<Vec<_>>(), "score": score.map(psi) },
        "quality": quality,
        "recent": &*shared.recent.lock(),
    })
}

/// The worker that serves a request; here for the console's tests.
#[doc(hidden)]
pub fn snapshot(worker: &Worker) -> Arc<str> {
    figures_now(&worker.shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_shortened() {
        assert_eq!(shortened("customer-12345"), "…345");
        assert_eq!(shortened("1234"), "…34");
        assert_eq!(shortened("7"), "…");
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for outside in ["http://", "https://", "//cdn", "@import", "url("] {
            let found = PAGE.match_indices(outside).filter(|(at, _)| !PAGE[*at..].starts_with("http://www.w3.org/"));
            assert_eq!(found.count(), 0, "{outside}");
        }
    }
}
