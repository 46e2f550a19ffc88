//! An S3 server (moto, which `tests/moto/fetch.sh` fetches), and a relay before it that cuts and holds what a test says.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, bounded};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use streamdet::thread::spawn;

use crate::program::{events, free_port, skipped};

const MOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/moto");

/// What the workers' credentials are: none of it may be found anywhere.
pub const KEY_ID: &str = "AKIAGEHEIMGEHEIM";
pub const SECRET: &str = "geheim/Schluessel+geheim";

/// A server, until it is dropped; what it has is in memory.
pub struct Moto {
    pub port: u16,
    child: Child,
    log: PathBuf,
}

/// Starts one, with these buckets; says that the test is skipped where there is none.
#[track_caller]
pub fn started(folder: &Path, buckets: &[&str]) -> Option<Moto> {
    if !Path::new(MOTO).join("moto/server.py").is_file() {
        skipped("no S3 server (make test fetches it; tests/moto/fetch.sh target/moto)");
        return None;
    }
    let python = if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" };
    let (port, log) = (free_port(), folder.join("moto.log"));
    let file = std::fs::File::create(&log).expect("a file");
    let mut command = Command::new(python);
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]).env("PYTHONPATH", MOTO);
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    command.stdout(file.try_clone().expect("a file")).stderr(file);
    let moto = Moto { port, child: command.spawn().expect("it starts"), log };
    let said = || std::fs::read_to_string(&moto.log).unwrap_or_default();
    events::state(said, || TcpStream::connect(("127.0.0.1", port)).ok());
    for bucket in buckets {
        assert_eq!(moto.asked("PUT", bucket, b"").0, 200);
    }
    Some(moto)
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A name as it stands in a URL.
pub fn encoded(name: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-');
    utf8_percent_encode(name, KEPT).to_string()
}

impl Moto {
    /// Status and body of an answer.
    #[track_caller]
    pub fn asked(&self, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
        // Whoever says who it is may do everything; who does not, may read.
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let head = format!(
            "{method} /{target} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\nx-amz-acl: public-read\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=me/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("it takes it");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let status = String::from_utf8_lossy(&answer[9..12]).parse().expect("a status");
        (status, answer.split_off(at + 4))
    }

    /// Puts an object there.
    #[track_caller]
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        assert_eq!(self.asked("PUT", &format!("{bucket}/{}", encoded(key)), bytes).0, 200, "{key}");
    }

    /// What an object has.
    #[track_caller]
    pub fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        let (status, bytes) = self.asked("GET", &format!("{bucket}/{}", encoded(key)), b"");
        assert_eq!(status, 200, "{key}");
        bytes
    }

    /// The names in a bucket.
    #[track_caller]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let (status, list) = self.asked("GET", &format!("{bucket}?list-type=2"), b"");
        assert_eq!(status, 200);
        let list = String::from_utf8(list).expect("text");
        list.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())).collect()
    }

    /// Whether an upload in parts is there that is neither complete nor given up.
    #[track_caller]
    pub fn has_uploads(&self, bucket: &str) -> bool {
        String::from_utf8_lossy(&self.asked("GET", &format!("{bucket}?uploads"), b"").1).contains("<UploadId>")
    }

    /// All that it was asked for.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a file")
    }
}

/// What happens to the next requests whose head has these words, so many times.
struct Rule {
    words: String,
    what: What,
    times: u32,
}

#[derive(Clone)]
enum What {
    /// The answer ends after so many bytes.
    Cut(usize),
    /// It says that it is there, and goes on when it is told so.
    Hold(Sender<()>, Receiver<()>),
}

/// A port that leads to a server.
pub struct Relay {
    pub port: u16,
    rules: Arc<Mutex<Vec<Rule>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

/// A request that is held.
pub struct Held {
    here: Receiver<()>,
    go_on: Sender<()>,
}

impl Held {
    /// Waits until it is there.
    #[track_caller]
    pub fn wait(&self) {
        self.here.recv_timeout(events::PATIENCE).expect("it comes");
    }

    /// Lets it go on.
    pub fn release(self) {
        // Who asked may be gone.
        let _ = self.go_on.send(());
    }
}

impl Relay {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (rules, heads) = (Arc::<Mutex<Vec<Rule>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (own_rules, own_heads) = (rules.clone(), heads.clone());
        // It ends with the process.
        let listen = move || {
            for client in listener.incoming() {
                let (client, rules, heads) = (client.expect("a connection"), own_rules.clone(), own_heads.clone());
                // A connection that breaks is what is wanted.
                drop(spawn("relayed", move || drop(relayed(client, server, &rules, &heads))).expect("a thread"));
            }
        };
        drop(spawn("relay", listen).expect("a thread"));
        Self { port, rules, heads }
    }

    pub fn cut(&self, words: &str, bytes: usize, times: u32) {
        let rule = Rule { words: words.to_owned(), what: What::Cut(bytes), times };
        self.rules.lock().expect("no panic").push(rule);
    }

    pub fn hold(&self, words: &str) -> Held {
        let ((here, came), (go_on, told)) = (bounded(1), bounded(1));
        let rule = Rule { words: words.to_owned(), what: What::Hold(here, told), times: 1 };
        self.rules.lock().expect("no panic").push(rule);
        Held { here: came, go_on }
    }

    /// Heads of the requests that came so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic").clone()
    }
}

fn relayed(
    mut client: TcpStream,
    server: u16,
    rules: &Mutex<Vec<Rule>>,
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    heads.lock().expect("no panic").push(text.clone());
    let what =
        rules.lock().expect("no panic").iter_mut().find(|rule| rule.times > 0 && text.contains(&rule.words)).map(
            |rule| {
                rule.times -= 1;
                rule.what.clone()
            },
        );
    let mut most = usize::MAX;
    match what {
        Some(What::Cut(bytes)) => most = bytes,
        Some(What::Hold(here, told)) => {
            here.send(()).expect("the test waits");
            // Where the test lets it go, it is lost on its way.
            if told.recv_timeout(events::PATIENCE).is_err() {
                return Ok(());
            }
        }
        None => {}
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", server))?;
    upstream.write_all(&head)?;
    let (mut from, mut to) = (client.try_clone()?, upstream.try_clone()?);
    let body = move || {
        // It ends with either connection.
        let _ = std::io::copy(&mut from, &mut to);
    };
    drop(spawn("body", body).expect("a thread"));
    let mut buffer = [0; 16 << 10];
    loop {
        let wanted = buffer.len().min(most);
        let read = if wanted == 0 { 0 } else { upstream.read(&mut buffer[..wanted])? };
        if read == 0 {
            let _ = upstream.shutdown(Shutdown::Both);
            return client.shutdown(Shutdown::Both);
        }
        most -= read;
        client.write_all(&buffer[..read])?;
    }
}
