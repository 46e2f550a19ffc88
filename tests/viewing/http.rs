//! The server, and requests to it as plain as they are on the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use streamdet::serve::live::{self, LiveOptions, LiveStreams};
use streamdet::sink::Hub;
use streamdet::thread::spawn;

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The streams of a test.
pub struct Streams(pub Vec<Hub>);

impl LiveStreams for Streams {
    fn hub(&self, name: &str) -> Option<Hub> {
        self.0.iter().find(|hub| hub.name() == name).cloned()
    }
}

/// Serves live viewing of `hubs`, and what `more` has, until the test ends.
pub fn serve(hubs: Vec<Hub>, max_viewers: usize, more: impl FnOnce() -> Router + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let listen = listener.local_addr().expect("its address");
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let routes = live::routes(Arc::new(Streams(hubs)), &LiveOptions { listen, max_viewers }).expect("a socket");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, routes.merge(more())).await.expect("it serves");
        });
    };
    // It ends with the process.
    drop(spawn("http", body).expect("it starts"));
    listen
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request; what comes in answer is read from what is returned.
pub fn send(server: SocketAddr, line: &str, kind: &str, body: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(server).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let head = format!("{line} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\ncontent-type: {kind}\r\n");
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).expect("sent");
    BufReader::new(stream)
}

/// Reads status and headers.
pub fn head(stream: &mut BufReader<TcpStream>) -> Answer {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let status = lines[0].split(' ').nth(1).expect("a status").parse().expect("a number");
    let field = |line: &String| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
    Answer { status, headers: lines[1..].iter().filter_map(field).collect(), body: Vec::new() }
}

/// A request and its whole answer.
pub fn ask(server: SocketAddr, line: &str, kind: &str, body: &str) -> Answer {
    let mut stream = send(server, line, kind, body);
    let mut answer = head(&mut stream);
    stream.read_to_end(&mut answer.body).expect("a body");
    answer
}
