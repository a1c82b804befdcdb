//! `/admin/model`: the model in service, `/admin/shadow`: its challenger. For operators, on the management listener
//! only.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use fraud_core::service::life::{LifeError, ModelLife};

use super::{as_problem, guarded, path};
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

async fn model(request: HttpRequest) -> HttpResponse {
    guarded(
        &request,
        (Role::Operate, as_problem),
        async |worker| Ok(HttpResponse::Ok().json(worker.shared.life.card())),
    )
    .await
}

async fn shadow(request: HttpRequest) -> HttpResponse {
    guarded(&request, (Role::Operate, as_problem), async |worker| {
        let report = worker.shared.life.shadow_report().ok_or(ApiError::NotFound { what: "challenger" })?;
        Ok(HttpResponse::Ok().json(report))
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
        Ok(HttpResponse::Ok().json(worker.shared.life.card()))
    })
    .await
}
