//! Fraud scoring over HTTP.
//!
//! `fraud-api` is one edge of the platform's one path: bytes → transaction → profile → assessment. It adds
//! what a service in front of authorisations needs: admission, keys and limits, health, metrics, a model that can be
//! exchanged while it serves, and a store that survives a restart.
//!
//! [`settings::ApiSettings`] in, [`server::run`] out. Nothing in here reads the environment.
#![allow(clippy::doc_markdown)] // OpenAPI, MLflow and the like are names.

pub mod answer;
pub mod app;
pub mod http;
pub mod routes;
pub mod schema;
pub mod server;
pub mod settings;
pub mod state;
pub mod store;
pub mod trace;
