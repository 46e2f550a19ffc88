//! The server itself: what it refuses, how it ends, and that nobody keeps others from it.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use streamdet::serve::{Limits, Server, SharedCertificate, Tls};

use crate::client::{Answer, PATIENCE, ask, connect, get as fetch, send};
use crate::fixture::{listen, probes, start};

#[test]
fn whatever_is_refused_is_a_problem_document() {
    let server = start(probes(), Limits::default());
    let address = server.address();
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), 404),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(), 404),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab".into(), 405),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n".into(), 400),
        ("GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n".into(), 400),
        ("hello\r\n\r\n".into(), 400),
        ("\u{16}\u{3}\u{1}tls\r\n".into(), 400),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(32 << 10)), 431),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "a: b\r\n".repeat(200)), 431),
    ] {
        ask(address, request.as_bytes()).problem(status);
    }
    assert_eq!(send(address, "POST /metrics", &[], b"").header("allow"), Some("get, head"));
    let head = send(address, "HEAD /metrics", &[], b"");
    assert!(head.status == 200 && head.body.is_empty() && head.header("content-length") == Some("5"), "{}", head.head);
    assert_eq!(fetch(address, "/metrics").text(), "up 1\n");
    // An old client names no host.
    assert_eq!(ask(address, b"GET /healthz HTTP/1.0\r\n\r\n").text(), "ok\n");
    for header in ["x-content-type-options: nosniff", "cache-control: no-store", "content-security-policy: default-src"]
    {
        assert!(fetch(address, "/metrics").head.contains(header), "{header}");
    }
}

#[test]
fn a_page_of_another_site_cannot_use_a_server_on_loopback() {
    let server = start(probes(), Limits::default());
    let address = server.address();
    let rebound =
        format!("GET /metrics HTTP/1.1\r\nHost: evil.example:{}\r\nConnection: close\r\n\r\n", address.port());
    ask(address, rebound.as_bytes()).problem(421);
    send(address, "GET /metrics", &["Origin: http://evil.example"], b"").problem(403);
    let answer = send(address, "OPTIONS /metrics", &["Access-Control-Request-Method: GET"], b"");
    assert!(answer.status == 405 && answer.header("access-control-allow-origin").is_none(), "{}", answer.head);
}

#[test]
fn a_token_is_asked_for_on_loopback_too_where_there_is_one() {
    let server = Server::start(listen(Some("s3cret")), None, probes(), Limits::default()).expect("a server");
    let address = server.address();
    let answer = fetch(address, "/metrics");
    assert!(answer.problem(401).contains("Bearer"));
    assert_eq!(answer.header("www-authenticate"), Some("bearer realm=\"streamdet\""));
    let wrong = send(address, "GET /metrics", &["Authorization: Bearer s3creT"], b"");
    assert!(wrong.header("www-authenticate").expect("a challenge").contains("invalid_token"), "{}", wrong.head);
    assert_eq!(send(address, "GET /metrics", &["Authorization: Bearer s3cret"], b"").status, 200);
    for open in ["/healthz", "/readyz"] {
        assert_eq!(fetch(address, open).status, 200);
    }
    fetch(address, "/metrics?token=s3cret").problem(401);
    fetch(address, "//healthz").problem(401);
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    let server = start(probes(), Limits { connections: 128, ..Limits::default() });
    let mut idle: Vec<TcpStream> = (0..1000).map(|_| connect(server.address())).collect();
    for stream in &mut idle {
        // The oldest are closed meanwhile.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nX: ");
    }
    for _ in 0..50 {
        assert_eq!(fetch(server.address(), "/healthz").status, 200);
    }
    // The oldest gave way.
    let read = idle[0].read(&mut [0; 16]);
    assert!(
        matches!(&read, Ok(0)) || read.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset),
        "{read:?}"
    );
}

#[test]
fn a_slow_sender_is_told_so_and_keeps_nobody_out() {
    let limits = Limits { connections: 8, stall: Duration::from_millis(200), ..Limits::default() };
    let server = start(probes(), limits);
    let mut slow: Vec<TcpStream> = (0..8).map(|_| connect(server.address())).collect();
    for stream in &mut slow {
        stream
            .write_all(b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
            .expect("a request");
    }
    assert_eq!(fetch(server.address(), "/healthz").status, 200);
    // The newest one has its time.
    Answer::read(&mut slow[7]).problem(408);
}

#[test]
fn a_body_is_bounded_however_it_comes() {
    let server = start(probes(), Limits { body: 1000, bodies: 2 << 20, ..Limits::default() });
    let address = server.address();
    assert!(send(address, "POST /metrics", &[], &[0; 1001]).problem(413).contains("1000 bytes"));
    let chunked =
        "POST /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = format!("{chunked}{}0\r\n\r\n", format!("64\r\n{}\r\n", "x".repeat(100)).repeat(11));
    ask(address, chunks.as_bytes()).problem(413);
    // Announced and not sent: the answer comes at once.
    let announced = "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000000\r\n\r\n";
    ask(address, announced.as_bytes()).problem(413);
    send(address, "POST /metrics", &[], &[0; 1000]).problem(405);
}

#[test]
fn a_compressed_bomb_is_bounded_as_any_body() {
    let server = start(probes(), Limits { body: 1 << 20, ..Limits::default() });
    let address = server.address();
    let mut gzip = Command::new("sh");
    gzip.args(["-c", "head -c 100000000 /dev/zero | gzip"]).stderr(Stdio::inherit());
    let bomb = gzip.output().expect("gzip is installed").stdout;
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    send(address, "POST /metrics", &["Content-Encoding: gzip"], &bomb).problem(413);
    send(address, "POST /metrics", &["Content-Encoding: gzip"], b"not gzip").problem(400);
    send(address, "POST /metrics", &["Content-Encoding: br"], b"x").problem(415);
    send(address, "POST /metrics", &["Content-Encoding: identity"], b"x").problem(405);
}

#[test]
fn what_is_being_answered_is_answered_when_the_server_ends() {
    let (begun, begins) = sync_channel(1);
    let (let_go, held) = sync_channel::<()>(1);
    let held = std::sync::Arc::new(std::sync::Mutex::new(held));
    let routes = Router::new().route(
        "/slow",
        get(async move || {
            begun.send(()).expect("room");
            let work = tokio::task::spawn_blocking(move || held.lock().expect("one").recv().is_ok());
            work.await.expect("no panic").to_string()
        }),
    );
    let server = start(routes, Limits::default());
    let address = server.address();
    let mut asked = connect(address);
    asked.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
    begins.recv_timeout(PATIENCE).expect("it begins");
    let closing = streamdet::thread::spawn("closing", move || server.close()).expect("a thread");
    // Nobody is let in any more.
    while TcpStream::connect(address).is_ok() {}
    let_go.send(()).expect("room");
    assert_eq!(Answer::read(&mut asked).text(), "true");
    closing.join().expect("no panic").expect("no panic");
}

#[test]
fn a_client_that_does_not_read_keeps_no_server_from_ending() {
    let routes = Router::new().route("/long", get(async || "x".repeat(64 << 20)));
    let server = start(routes, Limits { grace: Duration::from_millis(100), ..Limits::default() });
    let mut deaf = connect(server.address());
    deaf.write_all(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
    let mut first = [0; 12];
    deaf.read_exact(&mut first).expect("the answer's beginning");
    assert_eq!(&first, b"HTTP/1.1 200");
    let address = server.address();
    server.close().expect("no panic");
    assert!(TcpStream::connect(address).is_err(), "it does not listen any more");
}

/// Says when it is dropped.
struct Told(SyncSender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

#[test]
fn a_client_that_reads_nothing_is_let_go_of() {
    let (tell, ended) = sync_channel(1);
    let endless = async move || {
        let told = Told(tell);
        let chunk = move || {
            let _held = &told;
            Ok::<_, Infallible>(Bytes::from(vec![0; 64 << 10]))
        };
        Body::from_stream(futures_util::stream::repeat_with(chunk))
    };
    let routes = Router::new().route("/endless", get(endless));
    let server = start(routes, Limits { stall: Duration::from_millis(100), ..Limits::default() });
    let mut deaf = connect(server.address());
    deaf.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
    ended.recv_timeout(PATIENCE).expect("its answer ends");
}

#[test]
fn a_panic_costs_one_answer() {
    let routes = Router::new().route("/bug", get(async || -> String { panic!("at rtsp://u:secret@h/") }));
    let server = start(routes.merge(probes()), Limits::default());
    let said = fetch(server.address(), "/bug").problem(500);
    assert!(!said.contains("secret"), "{said}");
    assert_eq!(fetch(server.address(), "/healthz").status, 200);
}

#[test]
fn answers_come_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let issue = || {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]);
        openssl
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&cert);
        assert!(openssl.output().expect("openssl is installed").status.success());
    };
    issue();
    let wrong = Tls { cert: cert.clone(), key: cert.clone() };
    let refused = wrong.read().err().expect("no key").to_string();
    assert!(refused.contains("--tls-key") && refused.contains("cert.pem"), "{refused}");
    let tls = Tls { cert: cert.clone(), key: key.clone() };
    let shown = SharedCertificate::new(tls.read().expect("a certificate"));
    let limits = Limits { head_time: Duration::from_millis(500), ..Limits::default() };
    let server = Server::start(listen(None), Some(shown.clone()), probes(), limits).expect("a server");
    let address = server.address();
    let curl = |url: &str| {
        let output = Command::new("curl").args(["-sS", "--cacert"]).arg(&cert).arg(url).output().expect("curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let url = format!("https://localhost:{}/metrics", address.port());
    assert_eq!(curl(&url), "up 1\n");
    // A new one is shown from then on.
    issue();
    assert_eq!(curl(&url), "", "the old one is no longer trusted");
    shown.renew(tls.read().expect("a certificate"));
    assert_eq!(curl(&url), "up 1\n");
    // Who shakes no hands is closed.
    let mut plain = connect(address);
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
}
