//! `streamdet model fetch` against a server on loopback that does all that servers do.

mod loopback;
mod program;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use loopback::{Answer, Asked, Server, good, head, plain, send, stalling, status, whole};
use program::events;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// 300 000 bytes that are no model, but no web page either.
fn body() -> Vec<u8> {
    let mut state = 1_u32;
    let next = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    next.take(300_000).collect()
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamdet"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_lowercase();
        if text.ends_with("_proxy") || text.starts_with("streamdet_") {
            command.env_remove(&name);
        }
    }
    command.current_dir(folder).env("XDG_DATA_HOME", folder.join("data")).arg("model");
    command
}

/// ONNX Runtime as it is installed for the user who runs the tests.
fn runtime() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))?;
    let named = std::env::var_os("STREAMDET_ONNXRUNTIME").map(PathBuf::from);
    named.or_else(|| Some(data.join("streamdet/onnxruntime")).filter(|folder| folder.is_dir()))
}

fn fetch(folder: &Path, args: &[&str]) -> Output {
    command(folder).arg("fetch").args(args).output().expect("it starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The exit code and each of `parts` on standard error, in plain lines.
#[track_caller]
fn ends(output: &Output, code: i32, parts: &[&str]) {
    let text = said(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(!text.contains(['\r', '\u{1b}']), "no terminal, no control characters: {text:?}");
    assert!(output.stdout.is_empty());
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

/// A card `mine.toml` in `./models` for what `server` gives.
fn card(folder: &Path, server: &Server, body: &[u8], more: &str) {
    std::fs::create_dir(folder.join("models")).expect("a folder");
    let (url, sha256, size) = (server.url("m.onnx"), sha256(body), body.len());
    let text = format!("file = \"m.onnx\"\nurl = \"{url}\"\nsha256 = \"{sha256}\"\nsize_bytes = {size}\n{more}\n");
    std::fs::write(folder.join("models/mine.toml"), text).expect("a card");
}

#[test]
fn a_file_is_fetched_checked_and_not_fetched_twice() {
    let (folder, body) = (folder(), body());
    let server = Server::start(vec![whole(&body)]);
    let (url, sum) = (server.url("a/m.onnx?x=1"), sha256(&body));
    ends(&fetch(folder.path(), &[&url, "--sha256", &sum]), 0, &["licence: not stated", &sum, "as expected", "-m m"]);
    let data = folder.path().join("data/streamdet/models");
    assert_eq!(std::fs::read(data.join("m.onnx")).expect("the file"), body);
    assert_eq!(names(&data), ["m.onnx"]);
    ends(&fetch(folder.path(), &[&url, "--sha256", &sum]), 0, &["already here", "m.onnx"]);
    assert_eq!(server.asked().len(), 1);
    // Without a checksum nobody knows whether that is the file.
    ends(&fetch(folder.path(), &[&url]), 2, &["exists", "--overwrite"]);
    ends(&fetch(folder.path(), &[&url, "-o", "here.onnx"]), 0, &["not checked", "-m here.onnx"]);
    ends(&fetch(folder.path(), &[&url, "--folder", "new/one", "-q"]), 0, &[]);
    assert_eq!(names(&folder.path().join("new/one")), ["m.onnx"]);
}

#[test]
fn a_connection_that_drops_is_taken_up_again() {
    let (folder, body) = (folder(), body());
    let answers = [100_000, 150_000, 150_000].map(|until| good(&body, "\"one\"", until));
    let server = Server::start(answers.into_iter().chain([whole(&body)]).collect());
    ends(&fetch(folder.path(), &[&server.url("m.onnx"), "-o", "m.onnx"]), 0, &["cut; next try in 0.5 s"]);
    assert_eq!(std::fs::read(folder.path().join("m.onnx")).expect("the file"), body);
    let asked = server.asked();
    assert_eq!(asked.iter().map(|a| a.range).collect::<Vec<_>>(), [None, Some(100_000), Some(150_000), Some(150_000)]);
    assert!(asked[1..].iter().all(|a| a.if_range.as_deref() == Some("\"one\"")));
    assert_eq!(names(folder.path()), ["m.onnx"]);
}

#[test]
fn an_interrupted_fetch_goes_on_in_the_next_run() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (folder, body) = (folder(), body());
        let server = Server::start(vec![stalling(&body, 100_000), whole(&body)]);
        let args = ["fetch", &server.url("m.onnx"), "-o", "m.onnx"];
        let child = command(folder.path()).args(args).stderr(std::process::Stdio::piped()).spawn().expect("it starts");
        let part = folder.path().join("m.onnx.part");
        events::file(&part, |bytes| !bytes.is_empty());
        Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().expect("kill");
        let output = child.wait_with_output().expect("its end");
        ends(&output, code, &["interrupted", "m.onnx.part", "the same command goes on from there"]);
        let kept = std::fs::metadata(&part).expect("the part").len();
        assert!(said(&output).contains(&format!("{kept} bytes are kept")));
        ends(&fetch(folder.path(), &args[1..]), 0, &["m.onnx"]);
        assert_eq!(server.asked()[1].range, Some(kept));
        assert_eq!(std::fs::read(folder.path().join("m.onnx")).expect("the file"), body);
        assert_eq!(names(folder.path()), ["m.onnx"]);
    }
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let (folder, body) = (folder(), body());
    let server = Server::start(vec![whole(&body)]);
    let wrong = "0".repeat(64);
    let output = fetch(folder.path(), &[&server.url("m.onnx"), "-o", "m.onnx", "--sha256", &wrong]);
    ends(&output, 1, &[&format!("expected {wrong}"), &format!("found    {}", sha256(&body)), "removed"]);
    assert_eq!((names(folder.path()).len(), server.asked().len()), (0, 1));
    ends(&fetch(folder.path(), &["http://h/m.onnx", "--sha256", "12"]), 2, &["64 hex digits"]);
}

#[test]
fn a_part_of_another_file_is_found_out_by_its_checksum() {
    let (folder, body) = (folder(), body());
    let server = Server::start(vec![whole(&body)]);
    std::fs::write(folder.path().join("m.onnx.part"), vec![7; 1000]).expect("a part");
    let args = [&server.url("m.onnx"), "-o", "m.onnx", "--sha256", &sha256(&body)];
    ends(&fetch(folder.path(), &args), 0, &["wrong checksum: starting again"]);
    assert_eq!(server.asked().iter().map(|a| a.range).collect::<Vec<_>>(), [Some(1000), None]);
    assert_eq!(std::fs::read(folder.path().join("m.onnx")).expect("the file"), body);
}

#[test]
fn without_ranges_it_starts_again() {
    let (folder, body) = (folder(), body());
    let server = Server::start(vec![plain(&body[..200_000], body.len()), plain(&body, body.len())]);
    let args = [&server.url("m.onnx"), "-o", "m.onnx", "--sha256", &sha256(&body)];
    ends(&fetch(folder.path(), &args), 0, &["gives the whole file again"]);
    assert_eq!(server.asked()[1].range, Some(200_000));
    assert_eq!(std::fs::read(folder.path().join("m.onnx")).expect("the file"), body);
}

#[test]
fn a_file_that_changed_meanwhile_is_fetched_anew() {
    let (old, new) = (body(), body().into_iter().rev().collect::<Vec<_>>());
    // A good server gives all of the new file; a careless one the end of it, under another tag.
    let careless: Answer = Box::new({
        let new = new.clone();
        move |asked, stream| good(&new, "\"two\"", usize::MAX)(&Asked { if_range: None, ..asked.clone() }, stream)
    });
    for second in [good(&new, "\"two\"", usize::MAX), careless] {
        let folder = folder();
        let server = Server::start(vec![good(&old, "\"one\"", 100_000), second]);
        ends(&fetch(folder.path(), &[&server.url("m.onnx"), "-o", "m.onnx"]), 0, &["notice"]);
        assert_eq!(std::fs::read(folder.path().join("m.onnx")).expect("the file"), new);
    }
}

#[test]
fn refusals_are_final_and_troubles_are_not() {
    let (folder, body) = (folder(), body());
    for (answer, hint) in [
        ("404 Not Found", "not there any more"),
        ("410 Gone", "not there any more"),
        ("403 Forbidden", "login"),
        ("401 Unauthorized", "login"),
        ("400 Bad Request", "link of the file"),
        ("204 No Content", "link of the file"),
    ] {
        let server = Server::start(vec![status(answer, &[])]);
        let output = fetch(folder.path(), &[&server.url("m.onnx"), "-o", "m.onnx"]);
        ends(&output, 1, &[&format!("the server answers {}", &answer[..3]), hint, &server.url("m.onnx")]);
        assert_eq!((names(folder.path()).len(), server.asked().len()), (0, 1), "{answer}");
    }
    let busy = status("503 Service Unavailable", &["Retry-After: 1"]);
    let server = Server::start(vec![busy, status("429 Too Many Requests", &[]), whole(&body)]);
    let output = fetch(folder.path(), &[&server.url("m.onnx"), "-o", "m.onnx"]);
    ends(&output, 0, &["the server answers 503; next try in 1.0 s", "the server answers 429"]);
    assert_eq!(server.asked().len(), 3);
    let server = Server::start(vec![status("500 Internal Server Error", &[])]);
    let output = fetch(folder.path(), &[&server.url("m.onnx"), "-o", "n.onnx", "--retries", "1"]);
    ends(&output, 1, &["the server answers 500; gave up after 2 tries"]);
    assert_eq!(server.asked().len(), 2);
    assert_eq!(names(folder.path()), ["m.onnx"]);
}

#[test]
fn a_length_that_lies_is_found_out() {
    let body = body();
    let sum = sha256(&body);
    // Too long, and the checksum is known: the file is whole, whatever the server says.
    let dir = folder();
    let server = Server::start(vec![plain(&body, body.len() + 1000)]);
    ends(&fetch(dir.path(), &[&server.url("m.onnx"), "-o", "m.onnx", "--sha256", &sum]), 0, &["as expected"]);
    assert_eq!(server.asked().len(), 1);
    // Too long, and nothing is known: asked again, the server says where the file ends, or it is given up.
    let dir = folder();
    let end = Box::leak(format!("Content-Range: bytes */{}", body.len()).into_boxed_str());
    let tagged: Answer = Box::new({
        let body = body.clone();
        move |_, stream| {
            head(stream, "200 OK", &[format!("Content-Length: {}", body.len() + 1000), "ETag: \"one\"".into()]);
            send(stream, &body);
        }
    });
    let server = Server::start(vec![tagged, status("416 Range Not Satisfiable", &[end])]);
    ends(&fetch(dir.path(), &[&server.url("m.onnx"), "-o", "m.onnx"]), 0, &["cut; next try"]);
    assert_eq!(std::fs::read(dir.path().join("m.onnx")).expect("the file"), body);
    let dir = folder();
    let server = Server::start(vec![plain(&body, body.len() + 1000)]);
    let output = fetch(dir.path(), &[&server.url("m.onnx"), "-o", "m.onnx", "--retries", "1"]);
    ends(&output, 1, &["gave up after 2 tries", "300000 bytes are kept"]);
    // Too short: what comes is not the file.
    let dir = folder();
    let server = Server::start(vec![plain(&body, body.len() - 1000)]);
    let output = fetch(dir.path(), &[&server.url("m.onnx"), "-o", "m.onnx", "--sha256", &sum]);
    ends(&output, 1, &["SHA-256 differs"]);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn more_than_a_model_is_not_taken() {
    let body = body();
    // A body without an end, against the size of the card.
    let endless: Answer = Box::new(|_, stream| {
        head(stream, "200 OK", &["Transfer-Encoding: chunked".into()]);
        while send(stream, format!("1000\r\n{}\r\n", "x".repeat(0x1000)).as_bytes()) {}
    });
    let dir = folder();
    let server = Server::start(vec![endless]);
    card(dir.path(), &server, &body, "");
    ends(&fetch(dir.path(), &["mine"]), 1, &["sends more than the 300000 bytes of its card"]);
    assert!(names(&dir.path().join("data/streamdet/models")).is_empty());
    // Another length than the card says, and one that no ONNX file has.
    let dir = folder();
    let server = Server::start(vec![plain(&body, body.len() + 1)]);
    card(dir.path(), &server, &body, "");
    ends(&fetch(dir.path(), &["mine"]), 1, &["has 300001 bytes, the card says 300000"]);
    let server = Server::start(vec![plain(&body, 3_000_000_000)]);
    ends(&fetch(dir.path(), &[&server.url("m.onnx"), "-o", "m.onnx"]), 1, &["3000000000 bytes, more than"]);
    assert_eq!(names(dir.path()), ["data", "models"]);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let (folder, body) = (folder(), body());
    for until in [0, 100_000] {
        let server = Server::start(vec![stalling(&body, until)]);
        let args = [&server.url("m.onnx"), "-o", "m.onnx", "--timeout", "1", "--retries", "0"];
        ends(&fetch(folder.path(), &args), 1, &["the server says nothing; gave up after 1 try"]);
    }
    let mute: Answer = Box::new(|_, stream| {
        let _ = stream.read(&mut [0; 1]);
    });
    let server = Server::start(vec![mute]);
    let args = [&server.url("m.onnx"), "-o", "n.onnx", "--timeout", "1", "--retries", "0"];
    ends(&fetch(folder.path(), &args), 1, &["the server says nothing; gave up after 1 try"]);
}

#[test]
fn redirects_are_followed_but_not_in_circles() {
    let (folder, body) = (folder(), body());
    let target = Server::start(vec![good(&body, "\"one\"", 100_000), whole(&body)]);
    let there = Box::leak(format!("Location: {}", target.url("cdn/x")).into_boxed_str());
    let server = Server::start(vec![status("302 Found", &[there])]);
    let url = format!("http://me:s3cret@{}/m.onnx", server.address);
    ends(&fetch(folder.path(), &[&url, "-o", "m.onnx"]), 0, &["m.onnx"]);
    assert_eq!(target.asked()[1].range, Some(100_000));
    // The password is for the host it was given for.
    assert!(server.asked()[1].authorization.is_some() && target.asked()[1].authorization.is_none());
    let server = Server::start(vec![status("301 Moved Permanently", &["Location: /again"])]);
    ends(&fetch(folder.path(), &[&server.url("m.onnx"), "-o", "n.onnx"]), 1, &["in a circle"]);
    assert!(server.asked().len() < 20);
}

#[test]
fn what_is_not_encrypted_is_not_taken_for_https() {
    let (folder, body) = (folder(), body());
    let server = Server::start(vec![plain(&body, body.len())]);
    let url = format!("https://{}/m.onnx", server.address);
    ends(&fetch(folder.path(), &[&url, "-o", "m.onnx"]), 1, &["no trusted encryption", "ca-certificates"]);
    assert_eq!((server.asked().len(), names(folder.path()).len()), (1, 0));
}

#[test]
fn secrets_of_a_url_are_sent_and_never_shown() {
    let (folder, body) = (folder(), body());
    let secret_url = |server: &Server| format!("http://me:s3cret@{}/m.onnx?token=s3cret&sig=s3cret", server.address);
    for answers in [
        vec![whole(&body)],
        vec![status("404 Not Found", &[])],
        vec![good(&body, "\"one\"", 1000), status("500 Internal Server Error", &[])],
        vec![status("302 Found", &["Location: http://me:s3cret@127.0.0.1:1/x?token=s3cret"])],
    ] {
        let server = Server::start(answers);
        let output = fetch(folder.path(), &[&secret_url(&server), "-o", "m.onnx", "--retries", "1", "--overwrite"]);
        assert!(!said(&output).contains("s3cret"), "{}", said(&output));
        assert_eq!(server.asked()[0].authorization.as_deref(), Some("Basic bWU6czNjcmV0"));
        for name in names(folder.path()) {
            let bytes = std::fs::read(folder.path().join(name)).expect("a file");
            assert!(!bytes.windows(6).any(|w| w == b"s3cret"));
        }
    }
    let output = fetch(folder.path(), &["gopher://me:s3cret@h/m.onnx", "-o", "m.onnx", "--overwrite"]);
    ends(&output, 2, &["expected https://"]);
    assert!(!said(&output).contains("s3cret"));
}

#[test]
fn a_proxy_of_the_environment_is_asked() {
    let folder = folder();
    let proxy = Server::start(vec![status("502 Bad Gateway", &[])]);
    for scheme in ["http", "https"] {
        let output = command(folder.path())
            .env(format!("{scheme}_proxy"), format!("http://{}", proxy.address))
            .args(["fetch", &format!("{scheme}://model.invalid/m.onnx"), "-o", "m.onnx", "--retries", "0"])
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let asked = proxy.asked().pop().expect("a request");
        assert!(asked.line.contains("model.invalid"), "{}", asked.line);
    }
}

#[test]
fn a_licence_that_asks_much_has_to_be_accepted() {
    for (licence, words) in [
        ("AGPL-3.0", "copyleft"),
        ("CC-BY-NC-4.0", "commercial use"),
        ("non-commercial", "commercial use"),
        ("ask my aunt", "read it"),
    ] {
        let (folder, body) = (folder(), body());
        let server = Server::start(vec![whole(&body)]);
        let more = format!("licence = \"{licence}\"\nterms = \"be kind\"\nsource = \"https://page.example\"");
        card(folder.path(), &server, &body, &more);
        let output = fetch(folder.path(), &["mine"]);
        ends(&output, 2, &[licence, words, "be kind", "https://page.example", "--accept-license"]);
        assert!(server.asked().is_empty());
        ends(&fetch(folder.path(), &["mine", "--accept-license"]), 0, &[licence, "as expected", "-m mine"]);
        ends(&fetch(folder.path(), &["mine"]), 0, &["already here"]);
    }
}

#[test]
fn a_model_without_a_download_says_how_to_make_it() {
    let folder = folder();
    ends(
        &fetch(folder.path(), &["yolov8n"]),
        2,
        &["yolo export model=yolov8n.pt format=onnx", "AGPL-3.0", "yolov8n.onnx"],
    );
    ends(&fetch(folder.path(), &["visdrone-nano"]), 0, &["built in"]);
    ends(&fetch(folder.path(), &["yolov8q"]), 2, &["yolov8", "model list"]);
    let other = "0".repeat(64);
    ends(&fetch(folder.path(), &["yolox-s", "--sha256", &other]), 2, &["the card of yolox-s says c5c2d13e"]);
    ends(&fetch(folder.path(), &["http://127.0.0.1/"]), 2, &["no file name", "-o"]);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_file_that_is_there_is_replaced_only_when_asked_and_whole() {
    let (folder, body) = (folder(), body());
    let server = Server::start(vec![status("404 Not Found", &[]), whole(&body)]);
    let (url, sum) = (server.url("m.onnx"), sha256(&body));
    let args = [&url, "-o", "m.onnx", "--sha256", &sum, "--overwrite"];
    let file = folder.path().join("m.onnx");
    std::fs::write(&file, "mine").expect("a file");
    ends(&fetch(folder.path(), &args[..5]), 2, &["m.onnx exists", &format!("expected {sum}"), "--overwrite"]);
    ends(&fetch(folder.path(), &args), 1, &["404"]);
    assert_eq!(std::fs::read(&file).expect("the file"), b"mine");
    ends(&fetch(folder.path(), &args), 0, &["as expected"]);
    assert_eq!(std::fs::read(&file).expect("the file"), body);
    std::fs::create_dir(folder.path().join("d")).expect("a folder");
    ends(&fetch(folder.path(), &[&url, "-o", "d"]), 2, &["it is a folder"]);
    ends(&fetch(folder.path(), &[&url, "-o", "/dev/zero"]), 2, &["no ordinary file"]);
}

#[test]
fn what_is_no_model_is_not_kept() {
    let folder = folder();
    for (text, what) in [
        ("\n<!DOCTYPE html><html>Please log in</html>", "a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "Git LFS pointer"),
        ("", "empty"),
    ] {
        let server = Server::start(vec![plain(text.as_bytes(), text.len())]);
        ends(&fetch(folder.path(), &[&server.url("m.onnx"), "-o", "m.onnx"]), 1, &[what]);
        let output = fetch(folder.path(), &[&server.url("m.onnx"), "-o", "m.onnx", "--sha256", &"1".repeat(64)]);
        ends(&output, 1, &["SHA-256 differs", what]);
        assert!(names(folder.path()).is_empty());
    }
}

#[test]
fn a_disk_that_takes_no_more_is_said_and_the_part_kept() {
    let (folder, body) = (folder(), body());
    let server = Server::start(vec![whole(&body)]);
    // A limit on the size of files stands for the full disk: the same call fails at the same place.
    let script = "trap '' XFSZ; ulimit -f 200; exec \"$0\" model fetch \"$1\" -o m.onnx";
    let mut limited = Command::new("sh");
    limited.current_dir(folder.path()).args(["-c", script, env!("CARGO_BIN_EXE_streamdet"), &server.url("m.onnx")]);
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().to_ascii_lowercase().ends_with("_proxy")) {
        limited.env_remove(name);
    }
    let output = limited.output().expect("sh");
    ends(&output, 1, &["m.onnx.part", "File too large", "make room"]);
    let kept = std::fs::metadata(folder.path().join("m.onnx.part")).expect("the part").len();
    assert!((1..300_000).contains(&kept));
    ends(&fetch(folder.path(), &[&server.url("m.onnx"), "-o", "m.onnx"]), 0, &["m.onnx"]);
    assert_eq!(server.asked()[1].range, Some(kept));
    assert_eq!(std::fs::read(folder.path().join("m.onnx")).expect("the file"), body);
    ends(&fetch(folder.path(), &[&server.url("m.onnx"), "-o", "/proc/m.onnx"]), 1, &["/proc/m.onnx.part"]);
}

#[test]
fn two_fetches_do_not_write_one_file() {
    let (folder, body) = (folder(), body());
    let server = Server::start(vec![whole(&body)]);
    let part = File::create(folder.path().join("m.onnx.part")).expect("a part");
    part.lock().expect("a lock");
    let args = [&server.url("m.onnx"), "-o", "m.onnx"];
    ends(&fetch(folder.path(), &args), 1, &["is being written by another fetch"]);
    drop(part);
    ends(&fetch(folder.path(), &args), 0, &["m.onnx"]);
}

#[test]
fn a_fetched_model_is_known_by_its_name() {
    let folder = folder();
    let model = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/visdrone-nano.onnx");
    let bytes = std::fs::read(model).expect("the built-in model");
    let server = Server::start(vec![whole(&bytes)]);
    card(folder.path(), &server, &bytes, "licence = \"MIT\"\nconf = 0.125");
    let inspect = |name: &str| {
        let mut command = command(folder.path());
        // The runtime lies where the user's data are, and those are elsewhere here.
        command
            .args(["inspect", name, "--json"])
            .args(runtime().iter().flat_map(|path| ["--onnxruntime".as_ref(), path.as_os_str()]));
        command.output().expect("it starts")
    };
    let missing = inspect("mine");
    ends(&missing, 2, &["model mine: its file m.onnx is not here", "streamdet model fetch mine"]);
    ends(&fetch(folder.path(), &["mine"]), 0, &["licence: MIT", "as expected"]);
    let shown: serde_json::Value = serde_json::from_slice(&inspect("mine").stdout).expect("JSON");
    assert_eq!((&shown["conf"], &shown["layout"]["name"]), (&0.125.into(), &"yolov8".into()));
    // By its file's name it is the built-in model's twin: the card with its checksum counts.
    let shown: serde_json::Value = serde_json::from_slice(&inspect("m").stdout).expect("JSON");
    assert_eq!((&shown["conf"], &shown["card"].is_null()), (&0.25.into(), &false));
}

#[test]
fn the_files_beside_a_model_that_its_weights_lie_in_are_fetched_with_it() {
    let (folder, body) = (folder(), body());
    let weights: Vec<u8> = body.iter().rev().copied().collect();
    let server = Server::start(vec![whole(&weights), whole(&body)]);
    let data = |sha256: &str| {
        let (url, size) = (server.url("w/m.onnx.data"), weights.len());
        format!("[[data]]\nfile = \"m.onnx.data\"\nurl = \"{url}\"\nsha256 = \"{sha256}\"\nsize_bytes = {size}")
    };
    card(folder.path(), &server, &body, &data(&sha256(&weights)));
    let args = ["mine", "--folder", "here"];
    ends(&fetch(folder.path(), &args), 0, &["m.onnx.data", &sha256(&weights), &sha256(&body), "-m here/m.onnx"]);
    let here = folder.path().join("here");
    assert_eq!(names(&here), ["m.onnx", "m.onnx.data"]);
    assert_eq!(std::fs::read(here.join("m.onnx.data")).expect("the weights"), weights);
    ends(&fetch(folder.path(), &args), 0, &["already here, SHA-256 as expected: here/m.onnx.data"]);
    assert_eq!(server.asked().len(), 2);
    // Other weights than the card states are not left beside a model.
    std::fs::remove_dir_all(folder.path().join("models")).expect("it is there");
    card(folder.path(), &server, &body, &data(&"0".repeat(64)));
    ends(&fetch(folder.path(), &["mine", "--folder", "there"]), 1, &["m.onnx.data", &"0".repeat(64)]);
    assert_eq!(names(&folder.path().join("there")), [""; 0]);
}
