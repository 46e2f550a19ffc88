//! A connection's bytes: who takes none of an answer in time is let go of, and what hyper itself refuses (a head that is none, or too
//! long) is a problem document, too.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::problem::{PROBLEM, document};

/// A header that every answer of a route has, and none of hyper's own.
pub(super) const MARK: &str = "x-content-type-options";

/// Longest head that hyper writes for itself, bytes.
const OWN_HEAD: usize = 512;

/// A connection.
pub(super) struct Wire<S> {
    stream: S,
    stall: Duration,
    /// While nothing is taken.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What is written in place of hyper's own answer, and how much of it is.
    instead: Vec<u8>,
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S, stall: Duration) -> Self {
        Self { stream, stall, stalled: None, instead: Vec::new(), written: 0 }
    }

    /// What came of a write, which fails where nothing was taken for too long.
    fn timed<T>(&mut self, cx: &mut Context<'_>, result: Poll<Result<T>>) -> Poll<Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let stall = self.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(Error::from(ErrorKind::TimedOut)))
    }
}

/// What is written in place of `bytes`, where they are an answer of hyper's own: it has no body.
fn instead(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() > OWN_HEAD || !bytes.starts_with(b"HTTP/1.") || !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok().filter(|status| (400..500).contains(status))?;
    let status = StatusCode::from_u16(status).ok().filter(|_| !head.contains(MARK))?;
    let detail = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "send fewer or shorter headers",
        StatusCode::URI_TOO_LONG => "send a shorter path and query",
        _ => "this is no HTTP request",
    };
    let (reason, body) = (status.canonical_reason().unwrap_or_default(), document(status, detail));
    let head = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: {PROBLEM}\r\ncontent-length: {}\r\n{MARK}: nosniff\r\nconnection: close\r\n\r\n",
        status.as_u16(),
        body.len()
    );
    Some([head, body].concat().into_bytes())
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, bytes)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = &mut *self;
        if this.instead.is_empty() {
            let Some(own) = instead(bytes) else {
                let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
                return this.timed(cx, result);
            };
            (this.instead, this.written) = (own, 0);
        }
        while this.written < this.instead.len() {
            let result = Pin::new(&mut this.stream).poll_write(cx, &this.instead[this.written..]);
            let written = ready!(this.timed(cx, result))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            this.written += written;
        }
        this.instead.clear();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.timed(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.timed(cx, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hyper_says_itself_is_replaced() {
        let own = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let text = String::from_utf8(instead(own).expect("it is its own")).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 431 ") && head.contains(PROBLEM), "{head}");
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())) && body.contains("\"status\":431"),
            "{text}"
        );
        for other in [
            "HTTP/1.1 404 Not Found\r\nx-content-type-options: nosniff\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nab",
            "the rest of an image\r\n\r\n",
        ] {
            assert_eq!(instead(other.as_bytes()), None, "{other}");
        }
    }
}
