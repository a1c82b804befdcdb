//! `/admin/model`: the model in service, `/admin/shadow`: its challenger. For operators, on the management listener
//! only.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use fraud_core::service::clock;
use fraud_core::service::life::{LifeError, ModelLife};
use serde_json::json;

use super::{as_problem, guarded, path};
use crate::app::Shared;
use crate::http::keys::Role;
use crate::http::problem::ApiError;

/// Adds the endpoints.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(path("/admin/model", "GET", [web::get().to(model)]))
        .service(path("/admin/model/reload", "POST", [web::post().to(reload)]))
        .service(path("/admin/model/rollback", "POST", [web::post().to(rollback)]))
        .service(path("/admin/shadow", "GET", [web::get().to(shadow)]));
}

/// The model in service and its card.
#[must_use]
pub fn card(shared: &Shared) -> serde_json::Value {
    let scorer = shared.life.shared().load();
    let attempt = shared.life.last_attempt();
    let (review_at, decline_at) = scorer.thresholds();
    let model = scorer.model().map(|model| {
        let metadata = model.metadata();
        let training = metadata.training.as_ref().map(|training| {
            json!({ "from": training.from, "to": training.to, "rows": training.rows, "frauds": training.frauds })
        });
        json!({
            "name": model.name(),
            "version": model.version(),
            "file_version": metadata.version,
            "sha256": model.sha256(),
            "engine": model.engine(),
            "features": model.features().names().collect::<Vec<_>>(),
            "metrics": metadata.metrics,
            "training": training,
        })
    });
    json!({
        "model": model,
        "registry": shared.life.release().map(|release| {
            json!({
                "name": release.name,
                "version": release.version,
                "file": release.file,
                "signed": release.signature.is_some(),
            })
        }),
        "guarded": shared.life.is_guarded(),
        "policy": { "version": scorer.policy_version(), "review_at": review_at, "decline_at": decline_at },
        "last_change": { "at": clock::rfc3339_text(attempt.at), "refused": attempt.refused },
    })
}

async fn model(request: HttpRequest) -> HttpResponse {
    guarded(&request, (Role::Operate, as_problem), async |worker| Ok(HttpResponse::Ok().json(card(&worker.shared))))
        .await
}

async fn shadow(request: HttpRequest) -> HttpResponse {
    guarded(&request, (Role::Operate, as_problem), async |worker| {
        let members = worker.shared.life.beside().members();
        let challenger = members.challenger.as_ref().ok_or(ApiError::NotFound { what: "challenger" })?;
        let served = worker.shared.life.shared().load();
        Ok(HttpResponse::Ok().json(challenger.report.json(&served, &challenger.scorer)))
    })
    .await
}

async fn reload(request: HttpRequest) -> HttpResponse {
    change(request, ModelLife::reload).await
}

async fn rollback(request: HttpRequest) -> HttpResponse {
    change(request, ModelLife::rollback).await
}

/// Loading takes a while and blocks, so it runs on a thread of its own.
async fn change(request: HttpRequest, change: fn(&ModelLife) -> Result<(), LifeError>) -> HttpResponse {
    guarded(&request, (Role::Operate, as_problem), async |worker| {
        let life = worker.shared.life.clone();
        let changed = web::block(move || change(&life)).await;
        changed.map_err(|error| ApiError::Internal { problem: error.to_string() })?.map_err(ApiError::Reload)?;
        Ok(HttpResponse::Ok().json(card(&worker.shared)))
    })
    .await
}
