//! A small HTTP server on one thread with bounded work: few connections at once, each with a deadline; small requests; a
//! limited number per second. A new connection beyond the limit closes the oldest one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::trace;

use super::MonitoringError;
use crate::clock::{self, HostTime};
use crate::secrets::Secret;
use crate::thread::{self, Thread, ThreadError};

/// Connections at once.
const CONNECTIONS: usize = 32;
/// Longest request with its headers, bytes.
const REQUEST: usize = 8 << 10;
/// Headers a request.
const HEADERS: usize = 64;
/// How long a connection may last, from being accepted to its end.
const DEADLINE: Duration = Duration::from_secs(5);
/// Connections accepted in a [`WINDOW`]: further ones wait in the system's queue. Two hundred a second.
const ACCEPTED: usize = 20;
/// Time for so many.
const WINDOW: Duration = Duration::from_millis(100);
/// Bytes read or discarded at a time.
const CHUNK: usize = 2 << 10;

/// What is answered.
pub(super) struct Answer {
    pub status: (u16, &'static str),
    pub kind: &'static str,
    pub body: String,
}

impl Answer {
    /// That all is well, or what is not, to who may know it.
    pub fn tell(&mut self, well: &str, problems: &[String], is_known: bool) {
        if problems.is_empty() {
            self.body.extend([well, "\n"]);
        } else {
            let detail = if is_known { problems.join("; ") } else { String::new() };
            self.refuse((503, "Service Unavailable"), &detail);
        }
    }

    /// An error, as a problem document (RFC 9457).
    pub fn refuse(&mut self, status: (u16, &'static str), detail: &str) {
        self.status = status;
        self.kind = "application/problem+json";
        let mut problem = serde_json::json!({ "type": "about:blank", "title": status.1, "status": status.0 });
        if !detail.is_empty() {
            problem["detail"] = detail.into();
        }
        self.body.clear();
        self.body.extend([&problem.to_string(), "\n"]);
    }
}

/// Answers until it is dropped.
pub struct Server {
    address: SocketAddr,
    /// Its end wakes the thread.
    alive: Option<UnixStream>,
    thread: Option<Thread<()>>,
}

impl Server {
    /// Listens at `address`; `answer` fills in what a path is answered with, and is told whether who asks has shown the token,
    /// where there is one.
    ///
    /// # Errors
    /// When the address cannot be listened on, or there is no thread.
    pub(super) fn start(
        address: SocketAddr,
        token: Option<Secret>,
        answer: impl Fn(&str, bool, &mut Answer) + Send + 'static,
    ) -> Result<Self, MonitoringError> {
        let refused = |problem| MonitoringError::Address { address, problem };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (alive, end) = UnixStream::pair().map_err(MonitoringError::Wake)?;
        let mut requests = EventLoop {
            listener,
            end,
            token,
            answer,
            connections: Vec::new(),
            window: clock::now(),
            accepted: 0,
            body: String::new(),
        };
        let thread = thread::spawn("metrics", move || requests.run())?;
        Ok(Self { address, alive: Some(alive), thread: Some(thread) })
    }

    /// Answers no more.
    ///
    /// # Errors
    /// When its thread panicked.
    pub fn close(mut self) -> Result<(), ThreadError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ThreadError> {
        drop(self.alive.take());
        self.thread.take().map_or(Ok(()), Thread::join)
    }

    /// Where it listens, with the port that was free.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A caller that reports a panic calls `close`.
        let _ = self.end();
    }
}

/// What the thread works on.
struct EventLoop<A> {
    listener: TcpListener,
    end: UnixStream,
    token: Option<Secret>,
    answer: A,
    /// The oldest first.
    connections: Vec<Connection>,
    window: HostTime,
    accepted: usize,
    /// The body of the last answer, kept for the next one.
    body: String,
}

struct Connection {
    stream: TcpStream,
    since: HostTime,
    state: State,
}

enum State {
    /// So much of the request.
    Reading(Vec<u8>),
    /// The answer, and how much of it is sent.
    Writing(Vec<u8>, usize),
    /// All is sent. What the client still sends is discarded: closed at once, the answer might not reach it.
    Ending,
}

impl<A: Fn(&str, bool, &mut Answer)> EventLoop<A> {
    fn run(&mut self) {
        loop {
            thread::test_panic_point();
            let now = clock::now();
            self.connections.retain(|connection| now.since(connection.since) < DEADLINE);
            if now.since(self.window) >= WINDOW {
                (self.window, self.accepted) = (now, 0);
            }
            let takes = self.accepted < ACCEPTED;
            let wait = match self.connections.first() {
                _ if !takes => Some(WINDOW),
                Some(oldest) => Some(DEADLINE.saturating_sub(now.since(oldest.since))),
                None => None,
            };
            let Some((ended, comes, ready)) = self.poll(takes, wait) else { return };
            if ended {
                return;
            }
            let mut ready = ready.into_iter();
            let (token, answer, body) = (self.token.as_ref(), &self.answer, &mut self.body);
            self.connections
                .retain_mut(|connection| !ready.next().unwrap_or(false) || connection.advance(token, answer, body));
            if comes {
                self.accept();
            }
        }
    }

    /// Waits for an event: whether this is the end, whether a connection waits to be accepted, which connections are ready.
    fn poll(&self, takes: bool, wait: Option<Duration>) -> Option<(bool, bool, Vec<bool>)> {
        let mut all = vec![PollFd::new(&self.end, PollFlags::IN)];
        all.push(PollFd::new(&self.listener, if takes { PollFlags::IN } else { PollFlags::empty() }));
        all.extend(self.connections.iter().map(|connection| {
            let wanted = if matches!(connection.state, State::Writing(..)) { PollFlags::OUT } else { PollFlags::IN };
            PollFd::new(&connection.stream, wanted)
        }));
        let wait = wait.map(|wait| Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        });
        match poll(&mut all, wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
        let mut something = all.iter().map(|one| !one.revents().is_empty());
        Some((something.next()?, something.next()?, something.collect()))
    }

    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else {
            // Out of file descriptors or memory: not to be asked again at once.
            self.accepted = ACCEPTED;
            return;
        };
        self.accepted += 1;
        if stream.set_nonblocking(true).is_ok() {
            if self.connections.len() == CONNECTIONS {
                self.connections.remove(0);
            }
            self.connections.push(Connection { stream, since: clock::now(), state: State::Reading(Vec::new()) });
        }
    }
}

impl Connection {
    /// Does a little; whether there is more to do.
    fn advance(
        &mut self,
        token: Option<&Secret>,
        answer: &impl Fn(&str, bool, &mut Answer),
        body: &mut String,
    ) -> bool {
        let mut chunk = [0; CHUNK];
        match &mut self.state {
            State::Reading(request) => match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(n) => {
                    request.extend_from_slice(&chunk[..n]);
                    let Some(reply) = reply(request, token, answer, body) else { return true };
                    self.state = State::Writing(reply, 0);
                    // Most answers go at once.
                    return self.advance(token, answer, body);
                }
                Err(e) => return goes_on(&e),
            },
            State::Writing(reply, sent) => match self.stream.write(&reply[*sent..]) {
                Ok(n) => *sent += n,
                Err(e) => return goes_on(&e),
            },
            State::Ending => {
                return match self.stream.read(&mut chunk) {
                    Ok(n) => n > 0,
                    Err(e) => goes_on(&e),
                };
            }
        }
        if matches!(&self.state, State::Writing(reply, sent) if *sent == reply.len()) {
            self.state = State::Ending;
            return self.stream.shutdown(Shutdown::Write).is_ok();
        }
        true
    }
}

fn goes_on(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The answer to a request, once it is whole; `kept` is room for its body.
fn reply(
    request: &[u8],
    token: Option<&Secret>,
    answer: &impl Fn(&str, bool, &mut Answer),
    kept: &mut String,
) -> Option<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let mut body = std::mem::take(kept);
    body.clear();
    let mut reply = Answer { status: (200, "OK"), kind: "text/plain; charset=utf-8", body };
    let (mut head_only, mut shown) = (false, Shown::Nothing);
    match parsed.parse(request) {
        Ok(httparse::Status::Partial) if request.len() < REQUEST => {
            *kept = reply.body;
            return None;
        }
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            reply.refuse((431, "Request Header Fields Too Large"), "");
        }
        Err(_) => reply.refuse((400, "Bad Request"), ""),
        Ok(httparse::Status::Complete(_)) => match (parsed.method, parsed.path) {
            (Some(method @ ("GET" | "HEAD")), Some(target)) => {
                head_only = method == "HEAD";
                shown = Shown::by(parsed.headers, token);
                answer(target.split('?').next().unwrap_or(target), shown == Shown::Token, &mut reply);
            }
            _ => reply.refuse((405, "Method Not Allowed"), "GET and HEAD are answered"),
        },
    }
    let Answer { status: (code, reason), kind, body } = reply;
    // A query may hold a token.
    let path = parsed.path.map(|path| path.split('?').next().unwrap_or_default());
    trace!(method = parsed.method, path, status = code, bytes = body.len(), "request");
    let more = match (code, shown) {
        (405, _) => "Allow: GET, HEAD\r\n",
        (401, Shown::Another) => "WWW-Authenticate: Bearer realm=\"streamdet\", error=\"invalid_token\"\r\n",
        (401, _) => "WWW-Authenticate: Bearer realm=\"streamdet\"\r\n",
        _ => "",
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n"
    );
    let mut text = String::with_capacity(head.len() + length);
    text.push_str(&head);
    if !head_only {
        text.push_str(&body);
    }
    *kept = body;
    Some(text.into_bytes())
}

/// What a request shows of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Another,
    /// The one that is asked for, if any is.
    Token,
}

impl Shown {
    fn by(headers: &[httparse::Header], token: Option<&Secret>) -> Self {
        let Some(token) = token else { return Self::Token };
        let mut given = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("Authorization"));
        let (Some(header), None) = (given.next(), given.next()) else { return Self::Nothing };
        let scheme = b"Bearer ";
        let value = header.value;
        match value.split_at_checked(scheme.len()) {
            Some((before, value)) if before.eq_ignore_ascii_case(scheme) => {
                if token.matches(value.trim_ascii()) {
                    Self::Token
                } else {
                    Self::Another
                }
            }
            _ => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server() -> Server {
        let answer = |path: &str, _: bool, answer: &mut Answer| answer.body = format!("{path}\n");
        Server::start(([127, 0, 0, 1], 0).into(), None, answer).expect("a server")
    }

    fn ask(server: &Server, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
        // One that is refused early may be closed before all of it is sent.
        let _ = stream.write_all(request);
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer that ends");
        text
    }

    fn status(answer: &str) -> &str {
        answer.split(' ').nth(1).unwrap_or_default()
    }

    #[test]
    fn requests_are_answered_or_refused() {
        let server = server();
        let answer = ask(&server, b"GET /x?y=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n/x\n"), "{answer}");
        assert!(answer.contains("Content-Length: 3\r\n"), "{answer}");
        let head = ask(&server, b"HEAD /x HTTP/1.0\r\n\r\n");
        assert!(head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        for (request, expected) in [
            ("POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nab".to_owned(), "405"),
            ("hello\r\n\r\n".into(), "400"),
            ("\u{16}\u{3}\u{1}tls".into(), "400"),
            (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(REQUEST)), "431"),
            (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1)), "431"),
        ] {
            let answer = ask(&server, request.as_bytes());
            assert_eq!(status(&answer), expected, "{request:.40}");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains("Content-Type: application/problem+json\r\n"), "{head}");
            let problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(problem["status"].to_string(), expected);
            assert!(problem["title"].is_string() && problem["type"] == "about:blank", "{problem}");
        }
    }

    #[test]
    fn a_token_is_known_however_its_header_is_written() {
        let token = Secret::new("s3cret");
        let said = |header: &str| {
            let request = format!("GET /x HTTP/1.1\r\nHost: a\r\n{header}\r\n");
            let answer = |_: &str, is_known: bool, answer: &mut Answer| {
                if !is_known {
                    answer.refuse((401, "Unauthorized"), "");
                }
            };
            let reply = reply(request.as_bytes(), Some(&token), &answer, &mut String::new()).expect("it is whole");
            String::from_utf8(reply).expect("text")
        };
        for right in ["Authorization: Bearer s3cret\r\n", "authorization: bearer  s3cret \r\n"] {
            assert_eq!(status(&said(right)), "200", "{right}");
        }
        for (wrong, error) in [
            ("", false),
            ("Authorization: Basic s3cret\r\n", false),
            ("Authorization: Bearer s3cret\r\nAuthorization: Bearer x\r\n", false),
            ("Authorization: Bearers3cret\r\n", false),
            ("Authorization: Bearer s3cre\r\n", true),
            ("Authorization: Bearer \r\n", false),
        ] {
            let said = said(wrong);
            assert_eq!(status(&said), "401", "{wrong}");
            assert!(said.contains("\r\nWWW-Authenticate: Bearer realm=\"streamdet\""), "{said}");
            assert_eq!(said.contains("error=\"invalid_token\""), error, "{wrong}: {said}");
            assert!(!said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn idle_connections_keep_no_request_from_being_answered() {
        let server = server();
        let idle: Vec<TcpStream> =
            (0..3 * CONNECTIONS).map(|_| TcpStream::connect(server.address()).expect("a connection")).collect();
        for stream in &idle {
            let mut stream = stream;
            // The oldest are closed meanwhile.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nX: ");
        }
        assert_eq!(status(&ask(&server, b"GET / HTTP/1.1\r\n\r\n")), "200");
        // The oldest are closed, the newest are not yet.
        let mut first = &idle[0];
        first.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
        let read = first.read(&mut [0; 16]);
        assert!(matches!(&read, Ok(0)) || read.as_ref().is_err_and(|e| !goes_on(e)), "{read:?}");
    }

    #[test]
    fn a_client_that_does_not_read_does_not_keep_the_server_from_ending() {
        let long = |_: &str, _: bool, answer: &mut Answer| answer.body = "x".repeat(64 << 20);
        let server = Server::start(([127, 0, 0, 1], 0).into(), None, long).expect("a server");
        let mut deaf = TcpStream::connect(server.address()).expect("a connection");
        deaf.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("a request");
        let mut first = [0; 12];
        deaf.read_exact(&mut first).expect("the answer's beginning");
        assert_eq!(&first, b"HTTP/1.1 200");
        let address = server.address();
        drop(server);
        assert!(TcpStream::connect(address).is_err(), "it does not listen any more");
    }

    proptest! {
        #[test]
        fn any_request_is_answered_waited_for_or_refused(request in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(reply) = reply(&request, None, &|_, _, _| {}, &mut String::new()) {
                prop_assert!(reply.starts_with(b"HTTP/1.1 "));
            }
        }
    }
}
