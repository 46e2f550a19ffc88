//! Why a live source cannot be had, in words that name the remedy. `rtspsrc` says "could not open" for nearly everything: what
//! it leaves out is found out here.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use gstreamer as gst;

use super::address::{Address, Kind};
use crate::secrets::redact;

/// How long finding out may take, an address.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub problem: String,
    pub remedy: String,
    /// Another transport may do.
    pub by_transport: bool,
    /// A moment later it may be different.
    pub passing: bool,
}

impl Refusal {
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into(), by_transport: false, passing: false }
    }
}

/// Says what an error on the bus is about.
pub(super) fn name(address: &Address, error: &gst::glib::Error, debug: &str, certificate: Option<&str>) -> Refusal {
    if let Some(fault) = certificate {
        return Refusal::new(
            format!("its certificate is not trusted: {fault}"),
            "give the authority that signed it with --tls-ca FILE; --insecure does without",
        );
    }
    let message = error.message();
    if message.contains("No supported stream") {
        return untransported("the server does not send by this transport");
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
                return Refusal::new("what answers there does not speak TLS as we do", remedy);
            }
            let what = if address.kind == Kind::Rtsp { "an RTSP server" } else { "a web server" };
            let said = redact(message.trim_end_matches('.'));
            Refusal::new(
                format!("what answers there is not {what}, or closed the connection ({said})"),
                "check the port",
            )
        }),
        Kind::Udp => {
            let remedy = "another program may listen there; choose another port, or give an address of this machine";
            Refusal::new(redact(message.trim_end_matches('.')), remedy)
        }
        Kind::Srt => Refusal::new(
            srt_says(message, debug),
            "check host, port, mode and passphrase (srt://HOST:PORT?mode=caller&passphrase=…)",
        ),
        Kind::Device | Kind::Camera => Refusal::new(
            redact(message.trim_end_matches('.')),
            "check that it is connected, that no other program uses it, and that you may read it (group video)",
        ),
        Kind::Test | Kind::Stdin | Kind::Own => Refusal::new(
            redact(message.trim_end_matches('.')),
            "check that it is video in a container that GStreamer knows",
        ),
    }
}

fn srt_says(message: &str, debug: &str) -> String {
    let detail = debug.lines().last().unwrap_or_default().rsplit("): ").next().unwrap_or_default();
    let said = redact(message.trim_end_matches('.'));
    let detail = redact(detail.trim());
    if detail.is_empty() || detail == said { said } else { format!("{said}: {detail}") }
}

/// A status that a server answered with, as `GStreamer` words it: `404 (Not Found)`, `Not Found (404)`.
fn status(text: &str) -> Option<u16> {
    let number =
        |at: usize| text.get(at..at + 3).and_then(|n| n.parse::<u16>().ok()).filter(|n| (400..600).contains(n));
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

fn by_status(address: &Address, status: u16, debug: &str) -> Refusal {
    let given = address.credentials().is_some();
    match status {
        401 | 407 if given => Refusal::new(
            format!("the server refuses this name or password ({status})"),
            "check them; in an address, write special characters as %XX, or give --user and STREAMDET_PASSWORD",
        ),
        401 | 407 => Refusal::new(
            format!("the server asks for a name and a password ({status})"),
            "give them as USER:PASSWORD@ before the host, or as --user and STREAMDET_PASSWORD",
        ),
        403 => Refusal::new("the server does not allow it (403)", "check what this user may see there"),
        404 => Refusal::new("there is nothing by this name (404)", "check the path after the host"),
        454 => Refusal::new("the server has lost the session (454)", "try again"),
        461 => untransported("the server does not send by this transport (461)"),
        // As a server says that is still busy with whoever came before.
        503 => Refusal {
            passing: true,
            ..Refusal::new("the server is not available (503)", "its own log says why; try again later")
        },
        500.. => Refusal::new(format!("the server fails ({status})"), "its own log says why; try again later"),
        _ => Refusal {
            by_transport: debug.contains("transport"),
            ..Refusal::new(format!("the server refuses ({status})"), "check the address")
        },
    }
}

fn untransported(problem: &str) -> Refusal {
    Refusal { by_transport: true, ..Refusal::new(problem, "choose another with --rtsp-transport") }
}

fn has_answered(address: &Address) -> bool {
    by_connection(address).is_none()
}

/// Why no connection to the host comes about; `None` when one does.
fn by_connection(address: &Address) -> Option<Refusal> {
    let (host, port) = (address.host()?, address.port()?);
    let mut found = match (host, port).to_socket_addrs() {
        Ok(found) => found.peekable(),
        Err(e) => {
            let problem = format!(
                "there is no host {host} ({})",
                e.to_string().replace("failed to lookup address information: ", "")
            );
            return Some(Refusal::new(problem, "check its name, and that this machine has a network"));
        }
    };
    found.peek()?;
    let mut last = None;
    for one in found {
        match TcpStream::connect_timeout(&one, PATIENCE) {
            Ok(_) => return None,
            Err(e) => last = Some(e),
        }
    }
    let error = last?;
    Some(match error.kind() {
        std::io::ErrorKind::ConnectionRefused => Refusal::new(
            format!("connection refused: nothing listens at port {port} of {host}"),
            "check the port, and that the server runs",
        ),
        std::io::ErrorKind::TimedOut => {
            Refusal::new(format!("{host} does not answer at port {port}"), "check the host, and firewalls in between")
        }
        _ => Refusal::new(format!("{host} cannot be reached: {error}"), "check the host and the network"),
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
        let nobody = by_connection(&parsed("rtsp://no-such-host.invalid/x")).expect("no host");
        assert!(nobody.problem.contains("no host no-such-host.invalid"), "{nobody:?}");
    }
}
