//! WHEP (draft-ietf-wish-whep): a viewer offers, gets an answer and a resource that stands for his session.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::session::Refusal;
use super::state::{Live, ReceivedAt};
use crate::serve::problem::Problem;

/// Most that an offer may have, bytes: a browser's has 6 to 10 KB.
const OFFER: usize = 64 << 10;

/// Watch a stream by WebRTC
///
/// WHEP: an SDP offer in, the answer out. The annotated stream goes as it is encoded already (H.264).
#[utoipa::path(
    post,
    path = "/v1/streams/{name}/whep",
    tag = "Viewing",
    params(("name" = String, Path, description = "The stream's name")),
    request_body(content = String, content_type = "application/sdp", description = "The offer"),
    responses(
        (status = 201, description = "The answer; Location is the session", content_type = "application/sdp", body = String),
        (status = 404, description = "There is no such stream"),
        (status = 406, description = "The offer takes no H.264")
    )
)]
pub(super) async fn open(
    State(live): State<Arc<Live>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let hub = live.streams.hub(&name).ok_or_else(|| Live::unknown(&name))?;
    if !is_sdp(request.headers()) {
        let detail = "the body of a WHEP request is an SDP offer; send it with Content-Type: application/sdp";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let place = live.places.clone().try_acquire_owned().map_err(|_| live.full())?;
    let received_at = request.extensions().get::<ReceivedAt>().map(|at| at.0.ip());
    let too_long = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("an offer has {OFFER} bytes at most"));
    let body = to_bytes(request.into_body(), OFFER).await.map_err(too_long)?;
    let offer = String::from_utf8_lossy(&body);
    let (id, answer) = live.sessions.open(&hub, &offer, received_at, place).await?;
    let location = format!("/v1/streams/{}/whep/{id}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
    let headers = [
        (header::CONTENT_TYPE, "application/sdp".to_owned()),
        (header::LOCATION, location),
        (header::ETAG, format!("\"{id}\"")),
    ];
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match &refusal {
            Refusal::Offer(_) => Self::bad(refusal.to_string()),
            Refusal::NoH264 => Self::new(StatusCode::NOT_ACCEPTABLE, refusal.to_string()),
            Refusal::Closing => Self::busy(refusal.to_string()),
            Refusal::Server(error) => Self::failed(error.to_string()),
        }
    }
}

/// End a session
///
/// `PATCH` (trickle ICE, restarts) is answered 405, as the draft has it for servers without: the answer has
/// all candidates there are.
#[utoipa::path(
    delete,
    path = "/v1/streams/{name}/whep/{session}",
    tag = "Viewing",
    params(
        ("name" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "The session, as Location had it")
    ),
    responses((status = 204, description = "It has ended"), (status = 404, description = "There is no such session"))
)]
pub(super) async fn close(
    State(live): State<Arc<Live>>,
    Path((_, session)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    if live.sessions.close(session).await {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::new(StatusCode::NOT_FOUND, "there is no such session; it may have ended"))
    }
}

fn is_sdp(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/sdp"))
}
