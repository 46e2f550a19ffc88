//! One request: made on a thread of its own, so that waiting for it can be interrupted at any moment.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crossbeam_channel::{Receiver, Sender};
use percent_encoding::percent_decode_str;
use ureq::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, LAST_MODIFIED, RANGE,
    RETRY_AFTER,
};
use ureq::http::{HeaderValue, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error};

use crate::thread::{self, test_panic_point};

/// Bytes of a piece of the body.
const PIECE: usize = 1 << 16;
/// Pieces under way. When they are not taken, the thread waits, and with it the server.
const PIECES: usize = 8;

/// Where to ask: the URL without its credentials, and these as a header.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub url: String,
    authorization: Option<HeaderValue>,
    encrypted: bool,
}

impl Origin {
    /// Takes a URL apart; the error says what is wrong with it, without repeating it.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is not a URL")?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("expected https:// or http://"),
        };
        let authority = uri.authority().ok_or("it names no host")?.as_str();
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authorization = user.map(|user| {
            let decoded: Vec<u8> = percent_decode_str(user).collect();
            let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(decoded)))
                .expect("base64 is a header's value");
            value.set_sensitive(true);
            value
        });
        let scheme = if encrypted { "https" } else { "http" };
        Ok(Self { url: format!("{scheme}://{host}{path}"), authorization, encrypted })
    }

    /// For messages: without the query, which may hold a signature.
    pub(super) fn shown(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }
}

/// What the server says before the body.
#[derive(Debug)]
pub(super) struct Head {
    pub status: u16,
    /// First byte of the body within the file.
    pub offset: u64,
    /// Bytes of the whole file, if the server says so.
    pub total: Option<u64>,
    /// What to resume with: a strong `ETag`, else the time of the last change.
    pub validator: Option<String>,
    pub retry_after: Option<Duration>,
}

/// What comes from the server, in order: a head, pieces of the body, its end; or what went wrong.
#[derive(Debug)]
pub(super) enum Message {
    Head(Head),
    Piece(Vec<u8>),
    End,
    Failed { problem: String, lasting: bool },
}

/// Makes the clients of one download, which differ only in their connections.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: Agent,
    origin: Origin,
}

impl Client {
    /// `patience`: how long a server may say nothing. Proxies come from the environment.
    pub(super) fn new(origin: Origin, patience: Duration) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // Who asked for encryption gets it to the end of every redirect.
            .https_only(origin.encrypted)
            .user_agent(concat!("streamdet/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(patience))
            .timeout_connect(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .timeout_per_write(Some(patience))
            .build()
            .into();
        Self { agent, origin }
    }

    /// Asks for the file from byte `offset` on; `validator` as the server gave it for the bytes before.
    pub(super) fn get(&self, offset: u64, validator: Option<String>) -> std::io::Result<Receiver<Message>> {
        let (sender, receiver) = crossbeam_channel::bounded(PIECES);
        let client = self.clone();
        // An interrupted download leaves it behind: it ends with the server's next bytes, or with its time-out.
        let body = move || {
            let outcome = thread::catch("fetch", || client.run(offset, validator.as_deref(), &sender));
            let failed = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(error)) => Message::Failed { lasting: lasting(&error), problem: in_words(&error) },
                Err(panicked) => Message::Failed { lasting: true, problem: panicked.to_string() },
            };
            // Without a receiver the download was given up.
            let _ = sender.send(failed);
        };
        thread::spawn("fetch", body).map_err(std::io::Error::other)?;
        Ok(receiver)
    }

    fn run(&self, offset: u64, validator: Option<&str>, sender: &Sender<Message>) -> Result<(), Error> {
        let mut request = self.agent.get(&self.origin.url);
        if let Some(authorization) = &self.origin.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
            if let Some(validator) = validator {
                request = request.header(IF_RANGE, validator);
            }
        }
        let response = request.call()?;
        if sender.send(Message::Head(head(response.status().as_u16(), response.headers()))).is_err() {
            return Ok(());
        }
        let mut body = response.into_body().into_reader();
        loop {
            test_panic_point();
            let mut piece = vec![0; PIECE];
            let n = body.read(&mut piece).map_err(Error::from)?;
            piece.truncate(n);
            let message = if n == 0 { Message::End } else { Message::Piece(piece) };
            if sender.send(message).is_err() || n == 0 {
                return Ok(());
            }
        }
    }
}

fn head(status: u16, headers: &HeaderMap) -> Head {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let number = |name: HeaderName| text(name).and_then(|value| value.trim().parse::<u64>().ok());
    let strong = text(ETAG).filter(|tag| tag.starts_with('"')).or_else(|| text(LAST_MODIFIED));
    let (offset, total) = match text(CONTENT_RANGE) {
        Some(range) => content_range(range).unwrap_or((u64::MAX, None)),
        None if status == 206 => (u64::MAX, None),
        None => (0, number(CONTENT_LENGTH)),
    };
    Head {
        status,
        offset,
        total,
        validator: strong.map(str::to_owned),
        retry_after: number(RETRY_AFTER).map(Duration::from_secs),
    }
}

/// First byte and whole length from `bytes 100-199/200`, `bytes 100-199/*` or `bytes */200`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let first = if range == "*" { 0 } else { range.split_once('-')?.0.trim().parse().ok()? };
    Some((first, total.trim().parse().ok()))
}

/// Whether asking again would change nothing.
fn lasting(error: &Error) -> bool {
    match error {
        // What does not come as TLS is "invalid data".
        Error::Io(e) => matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::InvalidData),
        Error::Timeout(_)
        | Error::ConnectionFailed
        | Error::ConnectProxyFailed(_)
        | Error::Protocol(_)
        | Error::BodyStalled => false,
        _ => true,
    }
}

fn in_words(error: &Error) -> String {
    match error {
        Error::Io(e) if e.kind() == ErrorKind::UnexpectedEof => "the connection was cut".into(),
        Error::Timeout(_) => "the server says nothing".into(),
        Error::HostNotFound => "the host is not known, or this machine is offline".into(),
        Error::TooManyRedirects => "it redirects in a circle".into(),
        Error::RequireHttpsOnly(_) => "it redirects from https to http".into(),
        Error::ConnectProxyFailed(_) => format!("{error}\n  see HTTPS_PROXY and NO_PROXY in the environment"),
        Error::InvalidProxyUrl => "the environment's HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is not a proxy's URL".into(),
        Error::Io(e) if e.kind() == ErrorKind::InvalidData => tls(e),
        Error::Rustls(e) => tls(e),
        Error::Io(e) => e.to_string(),
        other => other.to_string(),
    }
}

fn tls(error: &dyn std::fmt::Display) -> String {
    format!(
        "no trusted encryption: {error}\n  trusted are the system's certificates (package ca-certificates), or those of SSL_CERT_FILE"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_url() {
        let origin = Origin::parse("https://me:p%40ss@host:8443/a/b.onnx?token=t").expect("a URL");
        assert_eq!(origin.url, "https://host:8443/a/b.onnx?token=t");
        assert_eq!(origin.shown(), "https://host:8443/a/b.onnx");
        assert_eq!(origin.authorization.expect("a header"), "Basic bWU6cEBzcw==");
        assert!(Origin::parse("http://host").expect("a URL").authorization.is_none());
        for wrong in ["ftp://host/a", "host/a", "/a/b", "https://", ""] {
            Origin::parse(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 100-199/200"), Some((100, Some(200))));
        assert_eq!(content_range("bytes 100-199/*"), Some((100, None)));
        assert_eq!(content_range("bytes */200"), Some((0, Some(200))));
        for wrong in ["", "bytes", "100-199/200", "bytes -/", "items 1-2/3", "bytes x-2/3"] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
