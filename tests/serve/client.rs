//! A client that writes what it is told, byte for byte, and reads what comes back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long anything is waited for that must come.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// An answer.
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn read(stream: &mut impl Read) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer that ends");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.head, self.text()))
    }

    /// What went wrong, as the problem document has it that this must be.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{} {}", self.head, self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        let problem = self.json();
        assert!(
            problem["status"] == status && problem["title"].is_string() && problem["type"] == "about:blank",
            "{problem}"
        );
        problem["detail"].as_str().unwrap_or_default().to_owned()
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    stream
}

/// The answer to these bytes.
#[track_caller]
pub fn ask(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address);
    // Who is refused early may be cut off before all of it is sent.
    let _ = stream.write_all(request);
    Answer::read(&mut stream)
}

/// The answer to a request with these headers, a line each.
#[track_caller]
pub fn send(address: SocketAddr, line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut head = format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if !line.starts_with("GET") || !body.is_empty() {
        head.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    ask(address, &[head.as_bytes(), b"\r\n", body].concat())
}

#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, &format!("GET {path}"), &[], b"")
}
