//! Probes and metrics.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::gate::Known;
use super::problem::Problem;

/// What is asked for whoever probes.
pub struct Probes {
    /// What does not work, for `/healthz`; nothing where every thread gets done with its work.
    pub hung: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// What is not ready, for `/readyz`.
    pub not_ready: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Writes Prometheus' text format, version 0.0.4, for `/metrics`.
    pub metrics: Box<dyn Fn(&mut String) + Send + Sync>,
}

/// `/healthz`, `/readyz` and `/metrics`.
pub fn probes(probes: Probes) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(probes))
}

/// Whether every thread gets done with its work
#[utoipa::path(get, path = "/healthz", tag = "Probes and metrics", responses((status = 200, description = "It does", body = String, content_type = "text/plain"), (status = 503, description = "One does not: it is named to who has the token")), security(()))]
pub(super) async fn healthz(State(probes): State<Arc<Probes>>, Extension(known): Extension<Known>) -> Response {
    told("ok", &(probes.hung)(), known)
}

/// Whether the model is loaded, and every stream that should deliver frames does
#[utoipa::path(get, path = "/readyz", tag = "Probes and metrics", responses((status = 200, description = "It is so", body = String, content_type = "text/plain"), (status = 503, description = "It is not: what lacks is named to who has the token")), security(()))]
pub(super) async fn readyz(State(probes): State<Arc<Probes>>, Extension(known): Extension<Known>) -> Response {
    told("ready", &(probes.not_ready)(), known)
}

/// Metrics, in Prometheus' text format
#[utoipa::path(get, path = "/metrics", tag = "Probes and metrics", responses((status = 200, description = "All of them", body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(probes): State<Arc<Probes>>) -> Response {
    let mut text = String::new();
    (probes.metrics)(&mut text);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// That all is well, or what is not, to who may know it: an orchestrator's probe carries no token, and is told whether, not what.
fn told(well: &str, problems: &[String], Known(is_known): Known) -> Response {
    if problems.is_empty() {
        return ([(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{well}\n")).into_response();
    }
    let detail = if is_known { problems.join("; ") } else { String::new() };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
}
