//! `/v1/streams`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use utoipa::OpenApi;

use super::events::{self, Id};
use super::{Options, Put, Report, StreamError, Streams};
use crate::serve::Problem;
use crate::serve::aside::aside;

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

/// What these paths do.
#[must_use]
pub fn described() -> utoipa::openapi::OpenApi {
    Described::openapi()
}

#[derive(OpenApi)]
#[openapi(paths(list, show, put, delete, subscribe))]
struct Described;

/// All streams
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what is written elsewhere")]
struct StreamList {
    /// By name
    streams: Vec<Report>,
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        let status = match &error {
            StreamError::Name(_) | StreamError::Options(_) => StatusCode::UNPROCESSABLE_ENTITY,
            StreamError::Forbidden(_) => StatusCode::FORBIDDEN,
            StreamError::Unknown(_) => StatusCode::NOT_FOUND,
            StreamError::Taken { .. } => StatusCode::CONFLICT,
            StreamError::TooMany | StreamError::Stopping | StreamError::Thread(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

/// List streams
///
/// Every stream with its state and figures.
#[utoipa::path(get, path = "/v1/streams", tag = "Streams", responses((status = 200, description = "All streams", body = StreamList)))]
async fn list(State(streams): Shared) -> Response {
    Json(json!({ "streams": streams.reports() })).into_response()
}

/// Show a stream
///
/// Its state, frames, latencies, detections, outages and counts.
#[utoipa::path(
    get,
    path = "/v1/streams/{name}",
    tag = "Streams",
    params(("name" = String, Path, description = "The stream's name")),
    responses((status = 200, description = "The stream", body = Report), (status = 404, description = "There is no such stream"))
)]
async fn show(State(streams): Shared, Path(name): Path<String>) -> Result<Response, Problem> {
    Ok(Json(streams.report(&name)?).into_response())
}

/// Start a stream
///
/// The body has its source and any option of `streamdet detect` that is a stream's own and names no file. One that runs with the same options
/// goes on; with others, it ends first, and its outputs are finished.
#[utoipa::path(
    put,
    path = "/v1/streams/{name}",
    tag = "Streams",
    params(("name" = String, Path, description = "Letters, digits, -, _ and ., 64 at most")),
    request_body(content = crate::serve::schema::StreamOptions, description = "Options", example = json!({ "source": "test:ball", "conf": 0.4, "track": true })),
    responses(
        (status = 200, description = "It runs already, or anew", body = Report),
        (status = 201, description = "It starts", body = Report),
        (status = 403, description = "Its source is none that may be started over HTTP (--allow)"),
        (status = 409, description = "The fleet has a stream of this name"),
        (status = 422, description = "Its name or an option cannot be used")
    )
)]
async fn put(State(streams): Shared, Path(name): Path<String>, options: Bytes) -> Result<Response, Problem> {
    // Whatever its content type: `curl -T` sends none.
    let options: Options = serde_json::from_slice(&options).map_err(|e| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the body is no object of options in JSON: {e}"))
    })?;
    let (own, stream) = (streams.clone(), name.clone());
    let put = change(&streams, move || own.put(&stream, &options)).await??;
    let status = if put == Put::Created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(streams.report(&name)?)).into_response())
}

/// Stop a stream
///
/// Answered once its outputs are finished.
#[utoipa::path(
    delete,
    path = "/v1/streams/{name}",
    tag = "Streams",
    params(("name" = String, Path, description = "The stream's name")),
    responses((status = 204, description = "It has ended"), (status = 404, description = "There is no such stream"))
)]
async fn delete(State(streams): Shared, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let own = streams.clone();
    change(&streams, move || own.delete(&name)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts or stops a stream, when fewer do so than may. It goes on where the client goes away meanwhile.
async fn change<T: Send + 'static>(streams: &Streams, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let place = streams.changes.clone().acquire_owned().await;
    aside(move || {
        let _place = place;
        work()
    })
    .await
}

/// Follow a stream's detections
///
/// Server-sent events: each is a line of `--json`. With `Last-Event-ID` they go on after that one, where it is not too old; an event `missed` says how
/// many are. An event `ended` is the last.
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/events",
    tag = "Streams",
    params(
        ("name" = String, Path, description = "The stream's name"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that came")
    ),
    responses(
        (status = 200, description = "Events", content_type = "text/event-stream", body = crate::serve::schema::Event),
        (status = 404, description = "There is no such stream")
    )
)]
async fn subscribe(State(streams): Shared, Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let (feed, changed, run) = streams.feed(&name)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(Id::parse);
    let next = events::first(run, &feed, last);
    let place = streams.followers.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::busy("too many clients follow events: try again later"))?;
    let events = events::events((feed, changed, run), next, place);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}
