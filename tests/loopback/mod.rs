//! An HTTP server on loopback that does byte by byte what the tests tell it, faults included.

#![allow(dead_code, reason = "every test binary uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a request asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub line: String,
    pub range: Option<u64>,
    pub if_range: Option<String>,
    pub authorization: Option<String>,
}

/// One answer: writes whatever it likes, then the connection is closed.
pub type Answer = Box<dyn Fn(&Asked, &mut TcpStream) + Send>;

/// A server that gives one answer after the other, the last one again and again.
pub struct Server {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let serve = move || {
            for (n, stream) in listener.incoming().enumerate() {
                let mut stream = stream.expect("a connection");
                let request = read_request(&stream);
                log.lock().expect("no panic").push(request.clone());
                answers[n.min(answers.len() - 1)](&request, &mut stream);
            }
        };
        // It ends with the process.
        drop(streamdet::thread::spawn("server", serve).expect("a thread"));
        Self { address, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn read_request(stream: &TcpStream) -> Asked {
    let mut asked = Asked::default();
    for line in BufReader::new(stream).lines() {
        // A client that speaks TLS, or leaves, has said what it has to say.
        let Ok(line) = line else { break };
        if line.is_empty() {
            break;
        }
        match line.split_once(": ").map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned())) {
            _ if asked.line.is_empty() => asked.line = line,
            Some((key, value)) if key == "range" => {
                asked.range = value.strip_prefix("bytes=").and_then(|v| v.strip_suffix('-')?.parse().ok());
            }
            Some((key, value)) if key == "if-range" => asked.if_range = Some(value),
            Some((key, value)) if key == "authorization" => asked.authorization = Some(value),
            _ => {}
        }
    }
    asked
}

/// Sends; a client that has left is no fault of the server.
pub fn send(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).and_then(|()| stream.flush()).is_ok()
}

pub fn head(stream: &mut TcpStream, status: &str, headers: &[String]) {
    let headers = headers.join("\r\n");
    send(stream, format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n\r\n").as_bytes());
}

pub fn status(text: &'static str, headers: &[&str]) -> Answer {
    let headers: Vec<String> = headers.iter().map(|&h| h.to_owned()).chain(["Content-Length: 0".to_owned()]).collect();
    Box::new(move |_, stream| head(stream, text, &headers))
}

/// As a good server does it: ranges, and `If-Range` compared with its `ETag`. `until`: then it is cut off.
pub fn good(body: &[u8], etag: &'static str, until: usize) -> Answer {
    let body = body.to_vec();
    Box::new(move |asked, stream| {
        let from = asked.range.filter(|_| asked.if_range.as_ref().is_none_or(|tag| tag == etag));
        let from = usize::try_from(from.unwrap_or(0)).expect("small");
        let mut headers = vec![format!("ETag: {etag}"), format!("Content-Length: {}", body.len() - from)];
        if from > 0 {
            headers.push(format!("Content-Range: bytes {from}-{}/{}", body.len() - 1, body.len()));
        }
        head(stream, if from > 0 { "206 Partial Content" } else { "200 OK" }, &headers);
        send(stream, &body[from..body.len().min(from.max(until))]);
    })
}

pub fn whole(body: &[u8]) -> Answer {
    good(body, "\"one\"", usize::MAX)
}

/// Knows no ranges; says that the body is `stated` bytes long.
pub fn plain(body: &[u8], stated: usize) -> Answer {
    let body = body.to_vec();
    Box::new(move |_, stream| {
        head(stream, "200 OK", &[format!("Content-Length: {stated}")]);
        send(stream, &body);
    })
}

/// Sends a beginning and then nothing, until the client leaves.
pub fn stalling(body: &[u8], until: usize) -> Answer {
    let answer = good(body, "\"one\"", until);
    Box::new(move |asked, stream| {
        answer(asked, stream);
        let _ = stream.read(&mut [0; 1]);
    })
}
