//! The HTTP client of what lies elsewhere: hyper with the TLS that the rest of the program has.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use http::header::{HOST, IF_NONE_MATCH, LOCATION};
use http::{HeaderValue, Method, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use tokio::time::timeout;

use crate::publish::{PublishError, trusted};

/// How long is waited for a connection; for an answer to what only reads, and to what writes; for more of an answer.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_mins(1);
const WRITTEN: Duration = Duration::from_mins(5);
const IDLE: Duration = Duration::from_secs(30);
/// Of what gives a machine of AWS its role, which is there at once or not at all.
const ROLE: (&str, Duration) = ("169.254.", Duration::from_secs(2));
/// Between two files nothing reads what a server says: a connection is not kept for long.
const KEPT: Duration = Duration::from_secs(5);
/// How often a web server may send elsewhere.
const REDIRECTS: usize = 5;

/// A client.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client<HttpsConnector<TcpConnector>, HttpRequestBody>,
    follows: bool,
    is_new: bool,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("nothing more within {0:?}")]
    Stalled(Duration),
    #[error("redirected from https:// to http://, or too often")]
    Redirected,
}

impl Http {
    /// Trusts the system's certificates, or those of `AWS_CA_BUNDLE`.
    pub(super) fn new() -> Result<Self, PublishError> {
        let ca = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(trusted(ca.as_deref())?);
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        let mut builder = Client::builder(TokioExecutor::new());
        let client = builder.pool_idle_timeout(KEPT).pool_timer(TokioTimer::new()).build(connector);
        Ok(Self { client, follows: false, is_new: false })
    }

    /// One that goes where a web server sends it.
    pub(super) fn following(&self) -> Self {
        Self { follows: true, ..self.clone() }
    }

    /// One that completes what is uploaded in parts only where no object has its name: `object_store` knows that of what is uploaded at
    /// once. The header need not be signed.
    pub(super) fn writing_new(&self) -> Self {
        Self { is_new: true, ..self.clone() }
    }

    async fn answered(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let within = match request.uri().host() {
            Some(host) if host.starts_with(ROLE.0) => ROLE.1,
            _ if request.method().is_safe() => ANSWER,
            _ => WRITTEN,
        };
        let answer = timeout(within, self.client.request(request)).await;
        let answer = answer.map_err(|_| HttpError::new(HttpErrorKind::Timeout, Unanswered::Late(within)))?;
        let (parts, body) = answer.map_err(|error| failed(error.is_connect(), error))?.into_parts();
        let frames = unfold(body, |mut body| async move {
            let frame = match timeout(IDLE, body.frame()).await {
                Ok(frame) => frame?.map_err(|error| failed(false, error)),
                Err(_) => Err(HttpError::new(HttpErrorKind::Timeout, Unanswered::Stalled(IDLE))),
            };
            Some((frame, body))
        });
        // What is at its end may be asked again.
        let frames = frames.fuse();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(StreamBody::new(frames))))
    }
}

#[async_trait]
impl HttpService for Http {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_completion = || {
            let query = request.uri().query().unwrap_or_default();
            request.method() == Method::POST && query.split('&').any(|pair| pair.starts_with("uploadId="))
        };
        if self.is_new && is_completion() {
            request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        if !self.follows || !request.method().is_safe() {
            return self.answered(request).await;
        }
        for _ in 0..=REDIRECTS {
            let mut next =
                http::Request::builder().method(request.method()).uri(request.uri()).body(HttpRequestBody::empty());
            let answer = match &mut next {
                Ok(next) => {
                    next.headers_mut().clone_from(request.headers());
                    self.answered(next.clone()).await?
                }
                // It was one already.
                Err(_) => return self.answered(request).await,
            };
            let to = answer.headers().get(LOCATION).filter(|_| answer.status().is_redirection());
            let Some(to) = to.and_then(|to| to.to_str().ok()) else { return Ok(answer) };
            let Some(to) = redirected(request.uri(), to) else { break };
            *request.uri_mut() = to;
            request.headers_mut().remove(HOST);
        }
        Err(HttpError::new(HttpErrorKind::Unknown, Unanswered::Redirected))
    }
}

impl HttpConnector for Http {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// Where a server sends whoever asks for `from`.
fn redirected(from: &Uri, to: &str) -> Option<Uri> {
    let to = url::Url::parse(&from.to_string()).ok()?.join(to).ok()?;
    let is_less = from.scheme_str() == Some("https") && to.scheme() != "https";
    (!is_less && ["http", "https"].contains(&to.scheme())).then(|| to.as_str().parse().ok())?
}

/// What went wrong, and whether the same may be asked again: by the innermost reason.
fn failed(is_connect: bool, error: impl Error + Send + Sync + 'static) -> HttpError {
    let mut kind = if is_connect { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
    let mut reason: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(inner) = reason {
        if inner.is::<rustls::Error>() {
            // Another certificate than is trusted stays one.
            kind = HttpErrorKind::Unknown;
        }
        reason = inner.source();
    }
    HttpError::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_leads_on_but_not_out_of_encryption() {
        let to = |from: &str, to: &str| redirected(&from.parse().expect("an address"), to).map(|to| to.to_string());
        assert_eq!(to("https://h/a/b", "../c?x=1"), Some("https://h/c?x=1".into()));
        assert_eq!(to("http://h/a", "https://g/"), Some("https://g/".into()));
        assert_eq!(to("https://h/a", "http://h/a"), None);
        assert_eq!(to("http://h/a", "file:///etc/passwd"), None);
    }
}
