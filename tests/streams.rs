//! `streamdet serve` with streams that come and go, over HTTP, as a client sees it.

mod program;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use program::running::Running;
use program::{SmallDisk, events, free_port, streamdet_command, text, witness};
use serde_json::{Value, json};

/// The program, and where it answers.
struct Served {
    program: Running,
    place: String,
}

impl Served {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut command = streamdet_command(folder, "serve");
        command.args(["--listen", ":0"]).args(args);
        let program = Running::start(command);
        let address = program.rest_after("http://");
        let place = address.split('/').next().expect("a place").to_owned();
        Self { program, place }
    }

    /// Told to stop, it does, and nothing failed.
    fn ends_well(mut self) {
        self.program.signal("TERM");
        assert_eq!(self.program.ended(), Some(0), "{}", self.program.said());
    }

    /// Status and body of an answer; a body that is no JSON is a text.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let uri = format!("http://{}{path}", self.place);
        let request = ureq::http::Request::builder().method(method).uri(uri);
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let answer = match body {
            Some(body) => {
                let request = request.header("Content-Type", "application/json").body(body.to_string());
                agent.run(request.expect("a request"))
            }
            None => agent.run(request.body(()).expect("a request")),
        };
        let mut answer = answer.expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a body");
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The stream once it is as `fits` says.
    fn stream(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/streams/{name}");
        let look = || {
            let (_, stream) = self.ask("GET", &path, None);
            fits(&stream).then_some(stream)
        };
        events::state(|| format!("{name}: {:?}", self.ask("GET", &path, None)), look)
    }

    /// The next events of a stream, each with its id.
    fn events(&self, name: &str, last: Option<&str>, count: usize) -> Vec<(String, Value)> {
        let mut stream = TcpStream::connect(&self.place).expect("it listens");
        stream.set_read_timeout(Some(events::PATIENCE)).expect("a socket");
        let last = last.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        write!(stream, "GET /v1/streams/{name}/events HTTP/1.1\r\nHost: {}\r\n{last}\r\n", self.place).expect("sent");
        let (mut found, mut id) = (Vec::new(), String::new());
        for line in BufReader::new(stream).lines() {
            let line = line.expect("the connection stays");
            if let Some(text) = line.strip_prefix("id:") {
                text.trim().clone_into(&mut id);
            } else if let Some(text) = line.strip_prefix("data:") {
                found.push((std::mem::take(&mut id), serde_json::from_str(text).expect("JSON")));
                if found.len() == count {
                    break;
                }
            }
        }
        found
    }
}

fn up(stream: &Value) -> bool {
    stream["state"] == "up" && stream["frames"]["processed"].as_u64() > Some(20)
}

#[test]
fn a_stream_starts_shows_its_figures_and_stops_while_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), &["--stream", "door=test:ball", "--imgsz", "160"]);
    served.stream("door", up);
    let gate = json!({ "source": "test:smpte", "track": true, "zone": ["all=0,0,1,0,1,1,0,1"], "conf": 0.4 });
    let (status, answer) = served.ask("PUT", "/v1/streams/gate", Some(&gate));
    assert_eq!(status, 201, "{answer}");
    let shown = served.stream("gate", up);
    assert_eq!(
        (&shown["name"], &shown["error"], &shown["zones"]["all"]["now"]),
        (&json!("gate"), &Value::Null, &json!(0))
    );
    let frames = &shown["frames"];
    let dropped: u64 = frames["dropped"].as_object().expect("reasons").values().filter_map(Value::as_u64).sum();
    assert_eq!(frames["received"].as_u64(), Some(frames["processed"].as_u64().expect("a count") + dropped));
    assert!(shown["latency_ms"]["end_to_end"]["p99"].as_f64() > Some(0.0), "{shown}");
    // What is refused ends nothing.
    for wrong in [json!({ "source": "test:smpte", "conf": 7 }), json!({ "source": "/etc/passwd" })] {
        assert!([403, 422].contains(&served.ask("PUT", "/v1/streams/gate", Some(&wrong)).0), "{wrong}");
    }
    assert_eq!(served.stream("gate", up)["error"], Value::Null);
    // The same once more changes nothing, others begin anew.
    assert_eq!(served.ask("PUT", "/v1/streams/gate", Some(&gate)).0, 200);
    assert!(served.stream("gate", up)["up_s"].as_f64() >= shown["up_s"].as_f64());
    assert_eq!(served.ask("PUT", "/v1/streams/gate", Some(&json!({ "source": "test:smpte" }))).0, 200);
    assert_eq!(served.stream("gate", up)["zones"], json!({}));

    let (_, all) = served.ask("GET", "/v1/streams", None);
    let names: Vec<&Value> = all["streams"].as_array().expect("a list").iter().map(|stream| &stream["name"]).collect();
    assert_eq!(names, [&json!("door"), &json!("gate")]);
    let (_, metrics) = served.ask("GET", "/metrics", None);
    let metrics = metrics.as_str().expect("text");
    for name in ["door", "gate"] {
        assert!(metrics.contains(&format!("streamdet_stream_up{{stream=\"{name}\"}} 1")), "{metrics}");
    }
    assert_eq!(metrics.matches("# TYPE streamdet_stream_up ").count(), 1);
    assert_eq!((served.ask("GET", "/healthz", None).0, served.ask("GET", "/readyz", None).0), (200, 200));

    assert_eq!(served.ask("DELETE", "/v1/streams/gate", None).0, 204);
    assert_eq!(served.ask("GET", "/v1/streams/gate", None).0, 404);
    assert_eq!(served.ask("DELETE", "/v1/streams/gate", None).0, 404);
    let before = served.stream("door", up)["frames"]["processed"].as_u64();
    served.stream("door", |door| door["frames"]["processed"].as_u64() > before);
    served.ends_well();
}

#[test]
fn a_client_gets_every_line_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), &["--stream", "door=test:ball", "--imgsz", "96"]);
    served.stream("door", up);
    let first = served.events("door", None, 5);
    let numbers = |events: &[(String, Value)]| {
        events.iter().map(|(_, line)| line["frame"].as_u64().expect("a frame")).collect::<Vec<_>>()
    };
    let seen = numbers(&first);
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    let rest = served.events("door", Some(&first[1].0), 3);
    assert_eq!(numbers(&rest), seen[2..5], "after the one that it named");
    // An id of another run: all of this one.
    let all = served.events("door", Some("1-7"), 1);
    assert_eq!(all[0].0.rsplit('-').next(), Some("0"), "{all:?}");
    // One that is not there yet: the next one.
    let run = first[0].0.split('-').next().expect("a run");
    assert_eq!(served.events("door", Some(&format!("{run}-999999999")), 1).len(), 1);
    assert_eq!(served.ask("GET", "/v1/streams/none/events", None).0, 404);
}

#[test]
fn a_stream_that_fails_says_why_and_the_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), &["--stream", "door=test:ball", "--imgsz", "96"]);
    let source = format!("rtsp://user:s3cret@127.0.0.1:{}/cam", free_port());
    let cam = json!({ "source": source, "wait": false });
    assert_eq!(served.ask("PUT", "/v1/streams/cam", Some(&cam)).0, 201);
    let failed = served.stream("cam", |stream| stream["state"] == "failed");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("127.0.0.1")), "{failed}");
    assert!(!failed.to_string().contains("s3cret"), "{failed}");
    assert_eq!(served.ask("GET", "/readyz", None).0, 503, "a stream that should be there is not");
    // One that is waited for is tried again and again.
    assert_eq!(served.ask("PUT", "/v1/streams/cam", Some(&json!({ "source": source }))).0, 200);
    let waited = served.stream("cam", |stream| stream["error"].is_string());
    assert_eq!(waited["state"], "starting", "{waited}");
    assert_eq!(served.ask("DELETE", "/v1/streams/cam", None).0, 204);
    served.stream("door", up);
    assert_eq!(served.ask("GET", "/readyz", None).0, 200);
    assert!(!served.program.said().contains("s3cret"));
}

#[test]
fn a_client_starts_no_file_writes_none_and_is_told_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), &[]);
    for (body, expected, words) in [
        (json!({ "source": "/etc/passwd" }), 403, "over HTTP"),
        (json!({ "source": "file:///etc/passwd" }), 403, "over HTTP"),
        (json!({ "source": "http://169.254.169.254/latest/" }), 403, "link-local"),
        (json!({ "source": "test:ball", "output": "x.mkv" }), 422, "output"),
        (json!({ "source": "test:ball", "json": "x.jsonl" }), 422, "json"),
        (json!({ "source": "test:ball", "confidence": 0.5 }), 422, "the nearest is conf"),
        (json!({ "source": "test:ball", "conf": 7 }), 422, "conf"),
        (json!({ "source": "test:ball", "classes": ["unicorn"] }), 422, "unicorn"),
        (json!({ "source": "test:ball", "conf": { "a": 1 } }), 422, "conf"),
        (json!({}), 422, "source"),
        (json!({ "source": "--help" }), 403, "over HTTP"),
    ] {
        let (status, problem) = served.ask("PUT", "/v1/streams/x", Some(&body));
        assert_eq!(status, expected, "{body}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{body}: {problem}");
    }
    for name in ["..", ".hidden", "a%2Fb", "a%20b", "%F0%9F%9A%97", &"x".repeat(65)] {
        let (status, _) = served.ask("PUT", &format!("/v1/streams/{name}"), Some(&json!({ "source": "test:ball" })));
        assert!([404, 405, 422].contains(&status), "{name}: {status}");
    }
    assert_eq!(served.ask("GET", "/v1/streams", None).1, json!({ "streams": [] }));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing was written");
}

#[test]
fn a_clients_stream_inherits_no_password_and_no_file_of_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "user = \"admin\"\npassword = \"hunter2\"\njson = \"found.jsonl\"\noutput = \"rec.mkv\"\nconf = 0.9\n";
    std::fs::write(folder.path().join("site.toml"), config).expect("a file");
    let served = Served::start(folder.path(), &["--config", "site.toml", "--imgsz", "96"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let source = format!("http://{}/clip.ts", listener.local_addr().expect("an address"));
    assert_eq!(served.ask("PUT", "/v1/streams/cam", Some(&json!({ "source": source }))).0, 201);
    let (mut asked, mut line) = (BufReader::new(listener.accept().expect("it connects").0), String::new());
    while asked.read_line(&mut line).is_ok_and(|read| read > 2) {}
    assert!(line.starts_with("GET /clip.ts") && !line.to_lowercase().contains("authorization"), "{line}");
    assert_eq!(served.ask("PUT", "/v1/streams/door", Some(&json!({ "source": "test:ball" }))).0, 201);
    served.stream("door", up);
    let files = std::fs::read_dir(folder.path()).expect("a folder").map(|file| file.expect("a file").file_name());
    assert_eq!(files.collect::<Vec<_>>(), ["site.toml"], "nothing was written");
}

#[test]
fn a_reload_starts_changes_and_stops_streams_while_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let stream = |name: &str, more: &str| format!("[[stream]]\nname = \"{name}\"\n{more}\n");
    let write = |text: &str| std::fs::write(folder.path().join("site.toml"), text).expect("a file");
    let (ball, smpte) = ("source = \"test:ball\"", "source = \"test:smpte\"\njson = \"gate.jsonl\"");
    let door = |conf: &str| stream("door", &format!("{ball}\nconf = {conf}\njson = \"door.jsonl\""));
    write(&(door("0.001") + &stream("gate", smpte) + &stream("yard", ball)));
    let served = Served::start(folder.path(), &["--config", "site.toml", "--imgsz", "96"]);
    for name in ["door", "gate", "yard"] {
        served.stream(name, up);
    }
    let image = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/visdrone-nano.jpg")).expect("the sample");
    let found = || {
        let url = format!("http://{}/v1/detect", served.place);
        let mut answer = ureq::post(url).header("Content-Type", "image/jpeg").send(&image[..]).expect("an answer");
        let line: Value = serde_json::from_str(&answer.body_mut().read_to_string().expect("a body")).expect("JSON");
        line["detections"].as_array().expect("a list").len()
    };
    assert!(found() > 0);
    assert_eq!(served.ask("POST", "/v1/reload", None), (200, json!({ "changes": [] })));

    // What cannot be used changes nothing.
    for wrong in ["conf = \"high\"\n", "[[stream]]\nname = \"a/b\"\nsource = \"test:ball\"\n", "conf = \n"] {
        write(wrong);
        let (status, problem) = served.ask("POST", "/v1/reload", None);
        assert_eq!(status, 422, "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|said| said.contains("site.toml:")), "{problem}");
    }
    write(&(stream("door", "source = \"nowhere.mp4\"") + &stream("gate", smpte)));
    assert_eq!(served.ask("POST", "/v1/reload", None).0, 422);
    for name in ["door", "gate", "yard"] {
        served.stream(name, up);
    }

    let before = served.stream("door", up);
    let gate = format!("{smpte}\nstride = 2");
    let threads = "threads = 1\nconf = 0.99\n";
    write(&(threads.to_owned() + &door("0.9") + &stream("gate", &gate) + &stream("roof", ball)));
    let (status, answer) = served.ask("POST", "/v1/reload", None);
    assert_eq!(status, 200, "{answer}");
    let changes = answer["changes"].as_array().expect("a list");
    let said: Vec<&str> = changes.iter().filter_map(|change| change["detail"].as_str()).collect();
    assert_eq!(
        said,
        [
            "threads needs a restart",
            "conf applies now",
            "stream door: conf applies now",
            "stream gate: conf applies now",
            "stream gate: stride applies now, the stream starts again",
            "stream roof is new: it starts now",
            "stream yard is gone: it stops now",
        ]
    );
    assert_eq!((&changes[0]["applies"], &changes[2]["stream"]), (&json!("restart"), &json!("door")));
    assert_eq!(found(), 0, "requests have the new threshold");
    served.stream("roof", up);
    assert_eq!(served.ask("GET", "/v1/streams/yard", None).0, 404);
    let after = served.stream("door", |door| up(door) && door["now"] == json!({}));
    assert!(after["up_s"].as_f64() > before["up_s"].as_f64(), "it went on: {after}");
    served
        .stream("gate", |gate| up(gate) && gate["frames"]["inferred"].as_u64() < gate["frames"]["processed"].as_u64());

    // What a client stopped runs again as configured.
    assert_eq!(served.ask("DELETE", "/v1/streams/roof", None).0, 204);
    served.program.signal("HUP");
    served.program.wait_for("stream roof did not run as configured: it starts again", 1);
    served.stream("roof", up);
    write("");
    served.program.signal("HUP");
    served.program.wait_for("stream roof is gone: it stops now", 1);
    assert_eq!(served.ask("GET", "/v1/streams", None).1, json!({ "streams": [] }));
    assert!(!served.program.said().contains("do not sum up"), "every frame is accounted for");
    served.ends_well();
}

/// Recordings of streams that start again stay, a name on a server goes to another stream, and each has its own samples.
#[test]
fn streams_that_start_again_keep_their_recordings_and_may_exchange_their_outputs() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let write = |top: &str, [a, b]: [&str; 2]| {
        let stream = |name: &str, output: &str, more: &str| {
            format!(
                "[[stream]]\nname = \"{name}\"\nsource = \"test:ball\"\njson = \"{name}.jsonl\"\n\
                 output = [\"{output}.mkv\", \"rtsp://:{port}/{output}\"]\n{more}\n"
            )
        };
        let streams = stream("door", a, "") + &stream("gate", b, "overwrite = true");
        std::fs::write(folder.path().join("site.toml"), top.to_owned() + &streams).expect("a file");
    };
    let mounts = |name: &str, served: &Served, mount: &str| {
        let url = format!("rtsp://127.0.0.1:{port}/{mount}");
        served.stream(name, |stream| up(stream) && stream["serving"] == json!([url]));
        witness("ffprobe", &["-rtsp_transport", "tcp", "-show_entries", "stream=width", &url]);
    };
    write("", ["a", "b"]);
    let served = Served::start(folder.path(), &["--config", "site.toml", "--imgsz", "96"]);
    mounts("door", &served, "a");
    mounts("gate", &served, "b");
    write("max-det = 9\n", ["b", "a"]);
    let (status, answer) = served.ask("POST", "/v1/reload", None);
    assert_eq!(status, 200, "{answer}");
    mounts("door", &served, "b");
    mounts("gate", &served, "a");
    let (_, metrics) = served.ask("GET", "/metrics", None);
    let mut samples = std::collections::HashSet::new();
    for line in metrics.as_str().expect("text").lines().filter(|line| !line.starts_with('#')) {
        let sample = line.rsplit_once(' ').map_or(line, |(sample, _)| sample);
        assert!(samples.insert(sample), "{sample} is there twice");
    }
    // Two streams of one name or file are refused before anything ends.
    for both in [["a", "a"], ["b", "b"]] {
        write("max-det = 9\n", both);
        assert_eq!(served.ask("POST", "/v1/reload", None).0, 422);
    }
    // So is what could not be written, and what is added again writes beside what it wrote before.
    write("max-det = 9\n", ["b", "a"]);
    let site = folder.path().join("site.toml");
    let last = std::fs::read_to_string(&site).expect("the file") + "heatmap = \"nowhere/h.png\"\n";
    std::fs::write(&site, last).expect("a file");
    let (status, answer) = served.ask("POST", "/v1/reload", None);
    assert!(status == 422 && answer["detail"].as_str().is_some_and(|said| said.contains("no such folder")), "{answer}");
    mounts("door", &served, "b");
    assert_eq!(served.ask("DELETE", "/v1/streams/gate", None).0, 204);
    write("max-det = 9\n", ["b", "a"]);
    assert_eq!(served.ask("POST", "/v1/reload", None).0, 200);
    mounts("gate", &served, "a");
    served.ends_well();
    let ending = |ending: &str| {
        let files = std::fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").path());
        files.filter(|file| text(file).ends_with(ending)).collect::<Vec<_>>()
    };
    let recordings = ending(".mkv");
    assert_eq!((recordings.len(), ending(".jsonl").len()), (5, 5), "{recordings:?}");
    for file in &recordings {
        witness("ffmpeg", &["-xerror", "-i", text(file), "-f", "null", "-"]);
    }
}

/// A full disk stops a recorder, and not its stream: that is said at once, and shown.
#[test]
fn a_recorder_without_room_is_said_and_shown_while_the_stream_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), "600k") else { return };
    let config = "[[stream]]\nname = \"door\"\nsource = \"test:snow\"\noutput = \"disk/door.mkv\"\n";
    std::fs::write(folder.path().join("site.toml"), config).expect("a file");
    let served = Served::start(folder.path(), &["--config", "site.toml", "--imgsz", "96"]);
    let door = served.stream("door", |door| up(door) && door["error"].is_string());
    assert!(door["error"].as_str().is_some_and(|error| error.contains("disk is full")), "{door}");
    served.program.wait_for("door: ", 1);
    assert!(served.program.said().contains("the other outputs go on"), "{}", served.program.said());
    drop(served);
    assert!(disk.unmount());
}

#[test]
fn a_stream_shows_what_has_failed_although_it_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[[stream]]\nname = \"door\"\nsource = \"test:ball\"\njson = \"/dev/full\"\n";
    std::fs::write(folder.path().join("site.toml"), config).expect("a file");
    let served = Served::start(folder.path(), &["--config", "site.toml", "--imgsz", "96"]);
    let door = served.stream("door", |door| up(door) && door["error"].is_string());
    assert!(door["error"].as_str().is_some_and(|error| error.contains("/dev/full: No space left")), "{door}");
}

#[test]
fn black_is_black_in_a_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(folder.path(), &["--stream", "door=test:black", "--imgsz", "96"]);
    served.stream("door", up);
    let url = format!("http://{}/v1/streams/door/snapshot.jpg", served.place);
    let image = ureq::get(url).call().expect("an answer").body_mut().read_to_vec().expect("an image");
    let file = folder.path().join("door.jpg");
    std::fs::write(&file, image).expect("a file");
    let (file, gray) = (text(&file), folder.path().join("gray"));
    witness("ffmpeg", &["-i", file, "-f", "rawvideo", "-pix_fmt", "gray", text(&gray)]);
    let gray = std::fs::read(gray).expect("pixels");
    let most = gray.iter().max().expect("pixels");
    assert!(*most < 4, "{most} of 255: a video's 16 is a JPEG's 0");
}

#[test]
fn two_streams_of_one_name_are_refused_and_a_port_that_is_taken_starts_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (args, words) in [
        (&["--listen", ":0", "--stream", "a=test:ball", "--stream", "a=test:smpte"][..], "called a is there already"),
        (&["--listen", &address, "--stream", "a=test:ball"], "name a free port"),
    ] {
        let output = streamdet_command(folder.path(), "serve").args(args).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(words), "{said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing was written");
}

#[test]
fn a_detector_that_panics_ends_the_program_with_its_outputs_finished() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = streamdet_command(folder.path(), "serve");
    command.args(["--listen", ":0", "--imgsz", "96", "--stream", "door=test:ball"]);
    command.env("STREAMDET_TEST_PANIC", "detector:30");
    let mut program = Running::start(command);
    assert_eq!(program.ended(), Some(1), "{}", program.said());
    let said = program.said();
    assert!(said.contains("thread detector panicked") && said.contains("please report"), "{said}");
    assert!(!said.contains("do not sum up"), "every frame is accounted for: {said}");
}
