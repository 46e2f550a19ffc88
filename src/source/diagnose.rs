//! Why a live source cannot be connected to, in words that name the remedy. `rtspsrc` says "could not open" for nearly
//! everything: what it leaves out is found out here.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use gstreamer as gst;

use super::address::{Address, Kind};
use super::error::ConnectError;
use crate::secrets::redact;

/// How long a connection may take that is made to find out, an address.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What an error on the bus is about; `certificate` is what is wrong with the server's.
pub(super) fn diagnose(
    address: &Address,
    error: &gst::glib::Error,
    debug: &str,
    certificate: Option<&str>,
) -> ConnectError {
    if let Some(fault) = certificate {
        return ConnectError::new(
            format!("TLS: {fault}"),
            "give the authority that signed it with --tls-ca FILE; --insecure does without",
        );
    }
    let message = error.message();
    if message.contains("No supported stream") {
        return unsupported_transport("unsupported transport: the server offers no stream over it");
    }
    if message.contains("does not support seeking") {
        return ConnectError::new(
            "its index is at its end, and the server does not support range requests",
            "download it first, or have it written with its index first (ffmpeg -movflags +faststart)",
        );
    }
    if address.kind == Kind::Http && error.matches(gst::StreamError::TypeNotFound) {
        return ConnectError::new(
            "what the server sends is not recognised as video",
            "check the path after the host; `curl -v URL` shows what it sends",
        );
    }
    if let Some(status) = status(debug).or_else(|| status(message)) {
        return by_status(address, status, debug);
    }
    if error.matches(gst::ResourceError::NotAuthorized) {
        return by_status(address, 401, debug);
    }
    if error.matches(gst::ResourceError::NotFound)
        && matches!(address.kind, Kind::Rtsp | Kind::Http)
        && has_answered(address)
    {
        return by_status(address, 404, debug);
    }
    match address.kind {
        Kind::Rtsp | Kind::Http | Kind::Page => by_connection(address).unwrap_or_else(|| {
            if address.is_secure() {
                let scheme = if address.kind == Kind::Rtsp { "rtsp" } else { "http" };
                let remedy = format!("check the port; without TLS it is {scheme}://");
                return ConnectError::new("TLS handshake failed: the server does not speak TLS on this port", remedy);
            }
            let what = if address.kind == Kind::Rtsp { "RTSP server" } else { "web server" };
            let said = redact(message.trim_end_matches('.'));
            ConnectError::new(format!("no {what} on this port, or it closed the connection ({said})"), "check the port")
        }),
        Kind::Udp | Kind::Rtp => {
            let remedy = "another program may use this port; choose another, or give an address of this machine";
            ConnectError::new(redact(message.trim_end_matches('.')), remedy)
        }
        Kind::Srt => ConnectError::new(
            srt_problem(message, debug),
            "check host, port, mode and passphrase (srt://HOST:PORT?mode=caller&passphrase=…)",
        ),
        Kind::Device | Kind::Camera => ConnectError::new(
            redact(message.trim_end_matches('.')),
            "check that it is connected, not used by another program, and readable (group video)",
        ),
        Kind::Sdp => ConnectError::new(
            redact(message.trim_end_matches('.')),
            "give the path of a session description (SDP) whose m=, c= and a=rtpmap lines say where RTP arrives and what it is",
        ),
        Kind::Test | Kind::Stdin | Kind::Own => ConnectError::new(
            redact(message.trim_end_matches('.')),
            "check that it is video in a container that GStreamer supports",
        ),
    }
}

fn srt_problem(message: &str, debug: &str) -> String {
    let detail = debug.lines().last().unwrap_or_default().rsplit("): ").next().unwrap_or_default();
    let said = redact(message.trim_end_matches('.'));
    let detail = redact(detail.trim());
    if detail.is_empty() || detail == said { said } else { format!("{said}: {detail}") }
}

/// The status code of an answer, as `GStreamer` words it: `404 (Not Found)`, `Not Found (404)`.
fn status(text: &str) -> Option<u16> {
    let number =
        |at: usize| text.get(at..at + 3).and_then(|n| n.parse::<u16>().ok()).filter(|n| (301..600).contains(n));
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.char_indices().find_map(|(at, _)| {
        let status = number(at)?;
        let (before, after) = (text[..at].chars().next_back(), text[at + 3..].chars().next());
        if is_word(before) || is_word(after) {
            return None;
        }
        let in_brackets = text[..at].ends_with(" (") && after == Some(')');
        let named = text[at + 3..].starts_with(" (") || in_brackets;
        named.then_some(status)
    })
}

fn by_status(address: &Address, status: u16, debug: &str) -> ConnectError {
    let has_credentials = address.credentials().is_some();
    match status {
        401 | 407 if has_credentials => ConnectError::new(
            format!("authentication failed: user name or password rejected ({status})"),
            "check them; in an address, write special characters as %XX, or give --user and STREAMDET_PASSWORD",
        ),
        401 | 407 => ConnectError::new(
            format!("authentication required: user name and password ({status})"),
            "give them as USER:PASSWORD@ before the host, or as --user and STREAMDET_PASSWORD",
        ),
        301..=303 | 307 | 308 if has_credentials => ConnectError::new(
            format!("the server redirects to another address ({status}), which gets no user name and password"),
            "give the address that it redirects to (`curl -I URL` shows it), and theirs",
        ),
        403 => ConnectError::new("access forbidden (403)", "check the permissions of this user on the server"),
        404 => ConnectError::new("not found (404)", "check the path after the host"),
        454 => ConnectError::new("session not found (454)", "try again"),
        461 => unsupported_transport("unsupported transport (461)"),
        // As a server answers that is still busy with an earlier client.
        503 => ConnectError::transient("service unavailable (503)", "see the server's log; try again later"),
        500.. => ConnectError::new(format!("server error ({status})"), "see the server's log; try again later"),
        _ => ConnectError {
            other_transport: debug.contains("transport"),
            ..ConnectError::new(format!("the server rejected the request ({status})"), "check the address")
        },
    }
}

fn unsupported_transport(problem: &str) -> ConnectError {
    ConnectError::of_transport(problem, "choose another with --rtsp-transport")
}

fn has_answered(address: &Address) -> bool {
    by_connection(address).is_none()
}

/// Why no connection to the host can be made; `None` when one can.
fn by_connection(address: &Address) -> Option<ConnectError> {
    let (host, port) = (address.host()?, address.port()?);
    let mut found = match (host, port).to_socket_addrs() {
        Ok(found) => found.peekable(),
        Err(e) => {
            let problem = format!(
                "host {host} not found ({})",
                e.to_string().replace("failed to lookup address information: ", "")
            );
            return Some(ConnectError::new(problem, "check its name, and the network of this machine"));
        }
    };
    found.peek()?;
    let mut last = None;
    for one in found {
        match TcpStream::connect_timeout(&one, PROBE_TIMEOUT) {
            Ok(_) => return None,
            Err(e) => last = Some(e),
        }
    }
    let error = last?;
    Some(match error.kind() {
        std::io::ErrorKind::ConnectionRefused => ConnectError::new(
            format!("connection refused: nothing listens on port {port} of {host}"),
            "check the port, and that the server runs",
        ),
        std::io::ErrorKind::TimedOut => ConnectError::new(
            format!("connection timed out: no answer from {host} on port {port}"),
            "check the host and firewalls",
        ),
        _ => ConnectError::new(format!("{host} cannot be reached: {error}"), "check the host and the network"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_found_in_what_gstreamer_says() {
        for (text, expected) in [
            ("gstrtspsrc.c(6815): gst_rtspsrc_send ():\nGot error response: 404 (Not Found).", Some(404)),
            ("Not Found (404), URL: http://h:8080/500, Redirect to: (NULL)", Some(404)),
            ("gstrtspsrc.c(404): connect ()", None),
            ("Failed to connect. (Generic error)", None),
            ("port 554 of host", None),
        ] {
            assert_eq!(status(text), expected, "{text}");
        }
    }

    #[test]
    fn connections_are_diagnosed() {
        let parsed = |text: &str| Address::parse(text, None).expect("fine").expect("live");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        assert_eq!(by_connection(&parsed(&format!("rtsp://127.0.0.1:{port}/x"))), None);
        drop(listener);
        let refused = by_connection(&parsed(&format!("rtsp://127.0.0.1:{port}/x"))).expect("refused");
        assert!(refused.problem.contains("connection refused"), "{refused:?}");
        let unknown = by_connection(&parsed("rtsp://no-such-host.invalid/x")).expect("no host");
        assert!(unknown.problem.contains("host no-such-host.invalid not found"), "{unknown:?}");
    }
}
