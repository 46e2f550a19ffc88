//! What every request passes on its way to a route, and every answer on its way out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    RETRY_AFTER,
};
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower::ServiceExt;
use tracing::trace;

use super::access::{Shown, check_origin};
use super::connections::{Connection, Phase};
use super::inflate::inflate;
use super::limits::Limits;
use super::problem::{PROBLEM, Problem};
use super::received::{Room, receive};
use super::wire::MARK;
use crate::secrets::Secret;

/// Paths that are answered without the token: what is the same in every copy of the program, and whether all is well.
const OPEN: [&str; 8] =
    ["/", "/docs", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/favicon.ico", "/page/"];

/// How long the answer that there is no room takes.
const REFUSAL: Duration = Duration::from_millis(100);
/// Longest text of another's refusal that is passed on, bytes.
const DETAIL: usize = 4 << 10;

/// Whether who asks has shown the token, where there is one: an extension of every request.
#[derive(Debug, Clone, Copy)]
pub struct Known(pub bool);

/// What all connections share.
pub(super) struct Gate {
    routes: Router,
    token: Option<Secret>,
    address: SocketAddr,
    pub limits: Limits,
    room: Room,
    requests: Arc<Semaphore>,
}

impl Gate {
    pub fn new(routes: Router, token: Option<Secret>, address: SocketAddr, limits: Limits) -> Self {
        let (room, requests) = (Room::new(limits.bodies), Arc::new(Semaphore::new(limits.requests)));
        Self { routes, token, address, limits, room, requests }
    }

    /// The answer to a request of `connection`.
    pub async fn answer(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        connection.set(Phase::Answering);
        let turn = Turn(connection.clone());
        // A query may hold a token.
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.pass(&connection, request).await.unwrap_or_else(|refusal| refusal);
        if response.headers().contains_key(RETRY_AFTER) {
            // Clients that come again at once would take the processor from those that are answered.
            sleep(REFUSAL).await;
        }
        let response = finished(response, &path).await;
        trace!(%method, path, status = response.status().as_u16(), "request");
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, Body::new(Sent { body, _turn: turn })))
    }

    async fn pass(&self, connection: &Connection, request: Request<Incoming>) -> Result<Response, Response> {
        let (mut parts, body) = request.into_parts();
        check_origin((&parts.uri, parts.version, &parts.headers), self.address).map_err(Problem::into_response)?;
        let shown = Shown::by(&parts.headers, self.token.as_ref());
        if shown != Shown::Token && !is_open(parts.uri.path()) {
            return Err(shown.refusal());
        }
        parts.extensions.insert(Known(shown == Shown::Token));
        let (mut whole, mut kept) = (Body::empty(), None);
        if !body.is_end_stream() {
            connection.set(Phase::Receiving);
            let received = receive(body, body_length(&parts), &self.limits, &self.room).await;
            connection.set(Phase::Answering);
            let received = received.map_err(Problem::into_response)?;
            let received = inflate(received, &mut parts.headers, &self.limits, &self.room).await;
            let received = received.map_err(Problem::into_response)?;
            let Ok(permit) = self.requests.try_acquire() else {
                return Err(Problem::busy("too many requests at once: try again later").into_response());
            };
            whole = Body::from(received.bytes);
            kept = Some((permit, received.held));
        }
        let answered = self.routes.clone().oneshot(Request::from_parts(parts, whole));
        let answered = AssertUnwindSafe(answered).catch_unwind().await;
        drop(kept);
        match answered {
            Ok(Ok(response)) => Ok(response),
            // The panic's hook has said where.
            Err(_) => Err(Problem::failed("the program failed at this: please report it").into_response()),
        }
    }
}

/// What a request says of its body's length.
fn body_length(parts: &axum::http::request::Parts) -> Option<u64> {
    parts.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_open(path: &str) -> bool {
    OPEN.iter().any(|open| path == *open || open.len() > 1 && open.ends_with('/') && path.starts_with(open))
}

/// An answer as it goes out: refusals of every kind are problem documents, and browsers are told what not to do with it.
async fn finished(response: Response, path: &str) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_text = kind.is_empty() || kind.starts_with("text/plain");
    let mut response = if (status.is_client_error() || status.is_server_error()) && is_text {
        let (head, body) = response.into_parts();
        let text = to_bytes(body, DETAIL).await.unwrap_or_default();
        let allow = head.headers.get(ALLOW).and_then(|allow| allow.to_str().ok()).map(|allow| allow.replace(',', ", "));
        let detail = match (status, &allow) {
            (StatusCode::METHOD_NOT_ALLOWED, Some(allow)) => format!("what is answered here: {allow}"),
            (StatusCode::NOT_FOUND, _) if text.is_empty() => "nothing is at this path".to_owned(),
            _ => String::from_utf8_lossy(&text).into_owned(),
        };
        let mut problem = Problem::new(status, detail).into_response();
        for (name, value) in &head.headers {
            if name != CONTENT_TYPE && name != CONTENT_LENGTH {
                problem.headers_mut().insert(name, value.clone());
            }
        }
        if let Some(allow) = allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            problem.headers_mut().insert(ALLOW, allow);
        }
        problem
    } else {
        response
    };
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM);
    if is_problem && (path == "/v2" || path.starts_with("/v2/")) {
        response = with_error(response).await;
    }
    let headers = response.headers_mut();
    headers.insert(MARK, HeaderValue::from_static("nosniff"));
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// A problem document with what clients of the Open Inference Protocol look for, its `error`.
async fn with_error(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let text = to_bytes(body, DETAIL * 4).await.unwrap_or_default();
    let mut problem: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let said = [&problem["detail"], &problem["title"]].into_iter().find(|said| said.is_string()).cloned();
    problem["error"] = said.unwrap_or_else(|| "error".into());
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::from(format!("{problem}\n")))
}

/// A connection is idle again once this is dropped.
struct Turn(Arc<Connection>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.set(Phase::Idle);
    }
}

/// An answer's body, with the turn that it belongs to.
struct Sent {
    body: Body,
    _turn: Turn,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
