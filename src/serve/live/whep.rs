//! WHEP (draft-ietf-wish-whep): a viewer offers, gets an answer and a resource that stands for his session.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::session::Refusal;
use super::state::{Live, ReceivedAt, problem};

/// Most that an offer may have, bytes: a browser's has 6 to 10 KB.
const OFFER: usize = 64 << 10;

/// `POST /v1/streams/NAME/whep`.
pub(super) async fn open(State(live): State<Arc<Live>>, Path(name): Path<String>, request: Request) -> Response {
    let Some(hub) = live.streams.hub(&name) else { return Live::unknown(&name) };
    if !is_sdp(request.headers()) {
        let detail = "the body of a WHEP request is an SDP offer; send it with Content-Type: application/sdp";
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    }
    let Ok(place) = live.places.clone().try_acquire_owned() else { return live.full() };
    let received_at = request.extensions().get::<ReceivedAt>().map(|at| at.0.ip());
    let Ok(body) = to_bytes(request.into_body(), OFFER).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, &format!("an offer has {OFFER} bytes at most"));
    };
    let offer = String::from_utf8_lossy(&body);
    let (id, answer) = match live.sessions.open(&hub, &offer, received_at, place).await {
        Ok(opened) => opened,
        Err(refusal) => {
            let status = match &refusal {
                Refusal::Offer(_) => StatusCode::BAD_REQUEST,
                Refusal::NoH264 => StatusCode::NOT_ACCEPTABLE,
                Refusal::Closing => StatusCode::SERVICE_UNAVAILABLE,
                Refusal::Server(error) => {
                    tracing::warn!(%error, "a WebRTC session cannot be made");
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            };
            return problem(status, &refusal.to_string());
        }
    };
    let location = format!("/v1/streams/{}/whep/{id}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
    let headers = [
        (header::CONTENT_TYPE, "application/sdp".to_owned()),
        (header::LOCATION, location),
        (header::ETAG, format!("\"{id}\"")),
    ];
    (StatusCode::CREATED, headers, answer).into_response()
}

/// `DELETE` of a session. `PATCH` (trickle ICE, restarts) is answered 405, as the draft has it for servers without: the answer has
/// all candidates there are.
pub(super) async fn close(State(live): State<Arc<Live>>, Path((_, session)): Path<(String, String)>) -> Response {
    if live.sessions.close(session).await {
        StatusCode::NO_CONTENT.into_response()
    } else {
        problem(StatusCode::NOT_FOUND, "there is no such session; it may have ended")
    }
}

fn is_sdp(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/sdp"))
}
