//! Errors as problem documents (RFC 9457).

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::secrets::redact;

/// The media type.
pub(super) const PROBLEM: &str = "application/problem+json";

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    retry: bool,
}

impl Problem {
    /// With what happened and what to do; without secrets, whatever `detail` says.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl AsRef<str>) -> Self {
        Self { status, detail: redact(detail.as_ref()), retry: false }
    }

    /// The request itself is wrong.
    #[must_use]
    pub fn bad(detail: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no room now: the same request may be sent again, after a second.
    #[must_use]
    pub fn busy(detail: impl AsRef<str>) -> Self {
        Self { retry: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// What happened failed on this side.
    #[must_use]
    pub fn failed(detail: impl AsRef<str>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What happened.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.retry
    }
}

/// The document.
pub(super) fn document(status: StatusCode, detail: &str) -> String {
    let title = status.canonical_reason().unwrap_or("Error");
    let mut problem = serde_json::json!({ "type": "about:blank", "title": title, "status": status.as_u16() });
    if !detail.is_empty() {
        problem["detail"] = detail.into();
    }
    format!("{problem}\n")
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, document(self.status, &self.detail)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if self.retry {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
