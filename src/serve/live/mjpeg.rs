//! A stream's annotated frames as JPEG: one, or one after the other.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use tokio::sync::OwnedSemaphorePermit;

use super::state::Live;
use crate::serve::problem::Problem;
use crate::sink::Stills;

/// How long a snapshot waits for the next frame: a stream that is there has one sooner.
const SNAPSHOT: Duration = Duration::from_secs(5);
/// What stands between two images.
const BOUNDARY: &str = "frame";

/// Watch a stream as JPEGs
///
/// For what speaks no WebRTC: the newest frames one after the other, at most 10 a second, without end.
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/live.mjpg",
    tag = "Viewing",
    params(("name" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "JPEGs", content_type = "multipart/x-mixed-replace", body = crate::serve::schema::Binary),
        (status = 404, description = "There is no such stream")
    )
)]
pub(super) async fn live(State(live): State<Arc<Live>>, Path(name): Path<String>) -> Result<Response, Problem> {
    let (stills, place) = watch(&live, &name)?;
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    let headers = [(header::CONTENT_TYPE, kind.as_str()), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(Images { stills, _place: place })).into_response())
}

/// Show a stream's newest frame
///
/// Annotated, as a JPEG.
#[utoipa::path(
    get,
    path = "/v1/streams/{name}/snapshot.jpg",
    tag = "Viewing",
    params(("name" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, description = "The frame", content_type = "image/jpeg", body = crate::serve::schema::Binary),
        (status = 404, description = "There is no such stream, or it shows no frame yet")
    )
)]
pub(super) async fn snapshot(State(live): State<Arc<Live>>, Path(name): Path<String>) -> Result<Response, Problem> {
    let (mut stills, _place) = watch(&live, &name)?;
    let next = poll_fn(|context| stills.poll_next(context));
    let late = |_| Problem::busy(format!("stream {name:?} has had no frame for {} s", SNAPSHOT.as_secs()));
    let image = tokio::time::timeout(SNAPSHOT, next).await.map_err(late)?.ok_or_else(|| Live::unknown(&name))?;
    let headers = [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Bytes::from_owner(image)).into_response())
}

/// A watcher of the stream, and his place.
fn watch(live: &Live, name: &str) -> Result<(Stills, OwnedSemaphorePermit), Problem> {
    let hub = live.streams.hub(name).ok_or_else(|| Live::unknown(name))?;
    let place = live.places.clone().try_acquire_owned().map_err(|_| live.full())?;
    let stills = hub.preview().watch().map_err(|error| Problem::failed(error.to_string()))?;
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
