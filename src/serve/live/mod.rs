//! Live viewing: streams by WHEP (WebRTC) as they are encoded already, or as JPEGs for what speaks none of it.

mod datagrams;
mod mjpeg;
mod session;
mod sessions;
mod state;
mod whep;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};
use utoipa::OpenApi;

use state::Live;

pub use state::{LiveError, LiveOptions, LiveStreams, ReceivedAt};

/// What these paths do.
#[must_use]
pub fn described() -> utoipa::openapi::OpenApi {
    Described::openapi()
}

#[derive(OpenApi)]
#[openapi(paths(whep::open, whep::close, mjpeg::live, mjpeg::snapshot))]
struct Described;

/// The paths of live viewing, in a tokio runtime, which carries the sessions.
///
/// # Errors
/// When there is no socket for media.
pub fn routes(streams: Arc<dyn LiveStreams>, options: &LiveOptions) -> Result<Router, LiveError> {
    let live = Arc::new(Live::start(streams, options)?);
    Ok(Router::new()
        .route("/v1/streams/{name}/whep", post(whep::open))
        .route("/v1/streams/{name}/whep/{session}", delete(whep::close))
        .route("/v1/streams/{name}/live.mjpg", get(mjpeg::live))
        .route("/v1/streams/{name}/snapshot.jpg", get(mjpeg::snapshot))
        .with_state(live))
}
