//! A stream's annotated frames as JPEG: one, or one after the other.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use tokio::sync::OwnedSemaphorePermit;

use super::state::{Live, problem};
use crate::sink::Stills;

/// How long a snapshot waits for the next frame: a stream that is there has one sooner.
const SNAPSHOT: Duration = Duration::from_secs(5);
/// What stands between two images.
const BOUNDARY: &str = "frame";

/// `GET /v1/streams/NAME/live.mjpg`.
pub(super) async fn live(State(live): State<Arc<Live>>, Path(name): Path<String>) -> Response {
    let (stills, place) = match watch(&live, &name) {
        Ok(watched) => watched,
        Err(refusal) => return refusal,
    };
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    let headers = [(header::CONTENT_TYPE, kind.as_str()), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::new(Images { stills, _place: place })).into_response()
}

/// `GET /v1/streams/NAME/snapshot.jpg`: the next frame.
pub(super) async fn snapshot(State(live): State<Arc<Live>>, Path(name): Path<String>) -> Response {
    let (mut stills, _place) = match watch(&live, &name) {
        Ok(watched) => watched,
        Err(refusal) => return refusal,
    };
    match tokio::time::timeout(SNAPSHOT, poll_fn(|context| stills.poll_next(context))).await {
        Ok(Some(image)) => {
            let headers = [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")];
            (headers, Bytes::from_owner(image)).into_response()
        }
        Ok(None) => Live::unknown(&name),
        Err(_) => {
            let detail = format!("stream {name:?} has had no frame for {} s", SNAPSHOT.as_secs());
            problem(StatusCode::SERVICE_UNAVAILABLE, &detail)
        }
    }
}

/// A watcher of the stream, and his place.
fn watch(live: &Live, name: &str) -> Result<(Stills, OwnedSemaphorePermit), Response> {
    let hub = live.streams.hub(name).ok_or_else(|| Live::unknown(name))?;
    let place = live.places.clone().try_acquire_owned().map_err(|_| live.full())?;
    let stills = hub.preview().watch().map_err(|error| {
        tracing::warn!(%error, "no JPEGs of a stream");
        problem(StatusCode::INTERNAL_SERVER_ERROR, "the server has no threads left")
    })?;
    Ok((stills, place))
}

/// Images one after the other, the newest each time the client has room for one.
struct Images {
    stills: Stills,
    _place: OwnedSemaphorePermit,
}

impl HttpBody for Images {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let image = ready!(self.stills.poll_next(context));
        Poll::Ready(image.map(|image| Ok(Frame::data(part(&image)))))
    }
}

fn part(image: &[u8]) -> Bytes {
    let length = image.len();
    let mut part = format!("--{BOUNDARY}\r\ncontent-type: image/jpeg\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    part.extend_from_slice(image);
    part.extend_from_slice(b"\r\n");
    part.into()
}
