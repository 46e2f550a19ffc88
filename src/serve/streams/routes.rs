//! `/v1/streams`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::events::{self, Id};
use super::{Options, Put, StreamError, Streams};
use crate::serve::Problem;

/// Comments that keep a connection without events open, for proxies that close idle ones.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Shared = State<Arc<Streams>>;

/// Streams with state and figures; start, stop, events.
pub fn routes(streams: Arc<Streams>) -> Router {
    Router::new()
        .route("/v1/streams", get(list))
        .route("/v1/streams/{name}", get(show).put(put).delete(delete))
        .route("/v1/streams/{name}/events", get(subscribe))
        .with_state(streams)
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        let status = match &error {
            StreamError::Name(_) | StreamError::Options(_) => StatusCode::UNPROCESSABLE_ENTITY,
            StreamError::Forbidden(_) => StatusCode::FORBIDDEN,
            StreamError::Unknown(_) => StatusCode::NOT_FOUND,
            StreamError::TooMany | StreamError::Stopping | StreamError::Thread(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

async fn list(State(streams): Shared) -> Response {
    Json(json!({ "streams": streams.reports() })).into_response()
}

async fn show(State(streams): Shared, Path(name): Path<String>) -> Result<Response, Problem> {
    Ok(Json(streams.report(&name)?).into_response())
}

async fn put(
    State(streams): Shared,
    Path(name): Path<String>,
    options: Result<Json<Options>, axum::extract::rejection::JsonRejection>,
) -> Result<Response, Problem> {
    let Json(options) = options.map_err(|e| Problem::new(e.status(), e.body_text()))?;
    let (own, stream) = (streams.clone(), name.clone());
    let put = blocking(move || own.put(&stream, &options)).await??;
    let status = if put == Put::Created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(streams.report(&name)?)).into_response())
}

async fn delete(State(streams): Shared, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    blocking(move || streams.delete(&name)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Where a thread may wait. It goes on where the client goes away meanwhile.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this is a bug, please report it"))
}

async fn subscribe(State(streams): Shared, Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let (feed, changed, run) = streams.feed(&name)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(Id::parse);
    let next = events::first(run, &feed, last);
    let events = events::events((feed, changed, run), next);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}
