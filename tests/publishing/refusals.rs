//! What is refused, and what is not shown.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::brokers::Listener;
use crate::detect;
use crate::program::broker::{Broker, has};
use crate::program::running::Running;
use crate::program::{free_port, said, text};

pub const SECRET: &str = "s3cr3t%40Word";
pub const DECODED: &str = "s3cr3t@Word";

/// An HTTP request and its answer.
#[track_caller]
pub fn request(port: u16, what: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let length = body.len();
    let request = format!(
        "{what} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it takes it");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn what_cannot_be_published_is_refused_with_exit_code_2_and_without_the_password() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "").expect("a file");
    std::fs::write(folder.path().join("empty.pem"), "").expect("a file");
    let url = format!("mqtt://me:{SECRET}@127.0.0.1:1/x");
    for (args, words) in [
        (vec!["--publish", "amqp://h/x"], "give mqtt://HOST"),
        (vec!["--publish", "kafka://me:s3cr3t%40Word@h,h2/x?sasl=gssapi"], "give ?sasl=plain"),
        (vec!["--publish", "kafka://h", "--publish-format", "frigate"], "its topics are those of MQTT"),
        (vec!["--publish", "kafka://h", "--home-assistant"], "listens to MQTT"),
        (vec!["--publish", "kafkas://h", "--publish-ca", "empty.pem"], "no certificate in it"),
        (vec!["--publish", "mqtt://me:s3cr3t%40Word@h:port/x"], "no host and port in it"),
        (vec!["--publish", &url, "--publish-format", "cot"], "made of positions"),
        (vec!["--publish", "nats://h", "--publish-format", "frigate"], "its topics are those of MQTT"),
        (vec!["--publish", &url, "--publish", &url], "given twice"),
        (vec!["--publish", "nats://h", "--home-assistant"], "listens to MQTT"),
        (vec!["--publish", &url, "--publish-rate", "0"], "give messages a second"),
        (vec!["--publish", &url, "--spool", "file"], "choose a folder that can be written"),
        (vec!["--publish", "mqtts://h", "--publish-ca", "empty.pem"], "no certificate in it"),
        (vec!["--publish", "mqtts://h", "--publish-ca", "none.pem"], "--publish-ca none.pem"),
    ] {
        let mut command = crate::program::bare(folder.path(), "detect");
        command.args(["test:ball", "-o", "none", "--imgsz", "96", "--frames", "1"]).args(&args);
        let output = command.output().expect("it starts");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
        assert!(!said.contains("s3cr3t"), "{said}");
    }
}

#[test]
fn two_processes_cannot_share_a_spool() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("mqtt://127.0.0.1:{}/x", free_port());
    let args = ["test:ball", "--publish", &url];
    let first = Running::start(detect(folder.path(), &args));
    first.wait_for("messages are kept on disk", 1);
    let mut second = Running::start(detect(folder.path(), &args));
    assert_eq!(second.ended(), Some(2), "{}", second.said());
    assert!(second.said().contains("another streamdet publishes this stream to this broker"), "{}", second.said());
    let (code, _) = first.interrupt();
    assert_eq!(code, Some(130));
}

fn run(program: &str, folder: &Path, args: &[&str]) {
    let output = Command::new(program).current_dir(folder).args(args).output().expect("it is installed");
    assert!(output.status.success(), "{program} {args:?}: {}", said(&output));
}

/// A key and a certificate for `localhost`, in `key.pem` and `cert.pem`.
#[track_caller]
pub fn certificate(keys: &Path) {
    run(
        "openssl",
        keys,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ],
    );
}

/// No file below `folder` holds the password.
pub fn holds_no_secret(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            holds_no_secret(&path);
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        for secret in [SECRET, DECODED] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", path.display());
        }
    }
}

#[test]
fn a_broker_with_tls_and_passwords_is_published_to_and_the_password_is_nowhere() {
    if !has("mosquitto") || !has("mosquitto_passwd") || !has("mosquitto_sub") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let keys = tempfile::tempdir().expect("a folder");
    let (folder, keys) = (folder.path(), keys.path());
    certificate(keys);
    run("mosquitto_passwd", keys, &["-b", "-c", "passwords", "me", DECODED]);
    let tls = free_port();
    let path = |name: &str| text(&keys.join(name)).to_owned();
    let more = format!(
        "allow_anonymous false\npassword_file {}\nlistener {tls} 127.0.0.1\ncertfile {}\nkeyfile {}",
        path("passwords"),
        path("cert.pem"),
        path("key.pem")
    );
    let mut broker = Broker::mosquitto(keys, &more);
    broker.start();
    let listener = Listener::start(&broker, "site/#", &["-u", "me", "-P", DECODED]);
    let run = |url: &str, more: &[&str]| {
        let ca = path("cert.pem");
        let args = [
            "test:ball",
            "--frames",
            "20",
            "--publish-on",
            "frame",
            "--publish-ca",
            &ca,
            "--report",
            "r.json",
            "--run-dir",
            "kept",
            "--overwrite",
        ];
        let mut command = detect(folder, &args);
        // As a service gets it: not on the command line.
        command.env("STREAMDET_PUBLISH", url).args(more);
        let mut run = Running::start(command);
        run.succeeds()
    };
    let right = format!("mqtts://me:{SECRET}@localhost:{tls}/site");
    let output = run(&right, &["-vvv"]);
    let heard = listener.wait(|heard| heard.iter().any(|heard| heard.seq == "19"));
    assert!(heard.iter().any(|heard| heard.topic == "site/test-ball/state" && heard.payload == "online"));
    let wrong = run(&format!("mqtts://me:{SECRET}x@localhost:{tls}/site"), &[]);
    assert!(
        wrong.contains("the broker refuses the connection: NotAuthorized") || wrong.contains("BadUserNamePassword"),
        "{wrong}"
    );
    // The name in the certificate is another.
    let other = run(&format!("mqtts://me:{SECRET}@127.0.0.1:{tls}/site"), &[]);
    assert!(other.contains("certificate") && other.contains("kept on disk"), "{other}");
    for said in [&output, &wrong, &other] {
        assert!(!said.contains(SECRET) && !said.contains(DECODED), "{said}");
    }
    holds_no_secret(folder);
}
