//! What a machine that watches sees: the real program scraped over HTTP while it runs, its text read by a strict parser, its
//! counters held against the run report.

mod program;
mod rtsp;

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use program::running::Running;
use program::{
    detect, events, frames, json, json_lines, made_clip, said, streamdet, text, times, track_times, witness,
};
use rtsp::{Feed, ServerProcess, Told};
use streamdet::clock::RealClock;
use streamdet::inference::{self, ProviderChoice, Runtime};
use streamdet::model::{Model, ModelRef, Origin};
use streamdet::monitoring::Metrics;
use streamdet::serve::{self, Limits, Listen, Probes, Server};

#[test]
fn rtsp_server_process() {
    rtsp::serve_as_told();
}

/// Status and body of an answer.
fn get(address: &str, path: &str) -> std::io::Result<(String, String)> {
    let (head, body) = ask(address, &format!("GET {path}"), "")?;
    Ok((head.split(' ').nth(1).unwrap_or_default().to_owned(), body))
}

/// Head, in lower case, and body of the answer to a request with this header.
fn ask(address: &str, request: &str, header: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(events::PATIENCE))?;
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((head.to_ascii_lowercase(), body.to_owned()))
}

#[test]
fn other_machines_see_metrics_with_the_token_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["test:ball", "-o", "none", "--imgsz", "96", "--metrics", "0.0.0.0:0"];
    let refused = detect(folder.path(), &args).env_remove("STREAMDET_TOKEN").output().expect("it starts");
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(
        said(&refused).contains("needs a token") && said(&refused).contains("STREAMDET_TOKEN"),
        "{}",
        said(&refused)
    );
    // In the environment, and in a config file.
    let token = "planted-t0ken";
    std::fs::write(folder.path().join("c.toml"), format!("token = \"{token}\"\n")).expect("a file");
    for way in ["environment", "file"] {
        let mut command = detect(folder.path(), &args);
        command.args(["--report", "r.json", "--overwrite", "-vvv"]).env_remove("STREAMDET_TOKEN");
        match way {
            "environment" => command.env("STREAMDET_TOKEN", token),
            _ => command.args(["--config", "c.toml"]),
        };
        let run = Running::start(command);
        let port = run.rest_after("metrics at http://0.0.0.0:");
        let address = format!("127.0.0.1:{}", port.strip_suffix("/metrics").expect("where they are"));
        let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
        let asked = |request: &str, header: &str| ask(&address, request, header).expect("an answer");
        events::state(|| "it is not ready".into(), || asked("GET /readyz", "").0.contains(" 200 ").then_some(()));
        let (head, body) = asked("GET /metrics", &bearer(token));
        assert!(head.contains(" 200 ok"), "{head}");
        assert!(!parse(&body).is_empty() && !body.contains(token));
        for (request, header, status, more) in [
            ("GET /metrics", String::new(), 401, "www-authenticate: bearer realm=\"streamdet\"\r\n"),
            ("GET /metrics", bearer("planted-t0keN"), 401, "error=\"invalid_token\""),
            ("GET /metrics?token=planted-t0ken", String::new(), 401, "www-authenticate"),
            ("GET /nothing", String::new(), 401, "www-authenticate"),
            ("GET /nothing", bearer(token), 404, ""),
            ("POST /metrics", bearer(token), 405, "allow: get, head"),
            ("hello", String::new(), 400, ""),
        ] {
            let (head, body) = asked(request, &header);
            assert!(head.starts_with(&format!("http/1.1 {status} ")) && head.contains(more), "{request}: {head}");
            assert!(head.contains("content-type: application/problem+json"), "{request}: {head}");
            let problem: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert!(problem["status"] == status && problem["title"].is_string(), "{problem}");
        }
        for probe in ["/healthz", "/readyz"] {
            assert!(asked(&format!("GET {probe}"), "").0.contains(" 200 ok"), "{probe}");
        }
        let (code, said) = run.interrupt();
        assert_eq!(code, Some(130), "{said}");
        let report = std::fs::read_to_string(folder.path().join("r.json")).expect("a report");
        assert!(!said.contains(token) && !report.contains(token), "{said}");
    }
    let shown = streamdet(folder.path(), &["--show-config", "--config", "c.toml"]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("token ") && !shown.contains(token), "{shown}");
}

/// Who probes from another machine learns whether, not what.
#[test]
fn a_probe_without_the_token_is_told_no_detail() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = format!("rtsp://127.0.0.1:{}/secret-camera", program::free_port());
    let mut command = detect(folder.path(), &[&source, "--wait", "--imgsz", "96", "--metrics", "0.0.0.0:0"]);
    command.env("STREAMDET_TOKEN", "planted-t0ken");
    let run = Running::start(command);
    let port = run.rest_after("metrics at http://0.0.0.0:");
    let address = format!("127.0.0.1:{}", port.strip_suffix("/metrics").expect("where they are"));
    let (head, body) = ask(&address, "GET /readyz", "").expect("an answer");
    assert!(head.contains(" 503 ") && !body.contains("camera"), "{head} {body}");
    let (_, body) = ask(&address, "GET /readyz", "Authorization: Bearer planted-t0ken\r\n").expect("an answer");
    assert!(body.contains("secret-camera: no frame has been processed yet"), "{body}");
    run.interrupt();
}

/// A series: name and labels in order of their names.
type Series = (String, BTreeMap<String, String>);

/// Reads Prometheus' text format 0.0.4 as strictly as `promtool check metrics`: every family has its help, its type and its
/// samples together, names and labels are well formed, no series comes twice, counters end in `_total`, histograms are
/// cumulative and complete.
#[track_caller]
fn parse(text: &str) -> BTreeMap<Series, f64> {
    assert!(text.ends_with('\n'), "the last line ends");
    let mut series = BTreeMap::new();
    let mut families = HashSet::new();
    let (mut helped, mut family, mut kind) = ("", "", "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty() && families.insert(name), "{name} has one help text");
            helped = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            (family, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(family, helped, "the help comes first");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", family.ends_with("_total"), "{family}");
            assert!(is_name(family), "{family}");
        } else {
            let (name, labels, value) = sample(line);
            let stem = match kind {
                "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)),
                _ => Some(name.as_str()),
            };
            assert_eq!(stem, Some(family), "{line}");
            assert!(kind != "counter" || (value >= 0.0 && value.is_finite()), "{line}");
            assert!(series.insert((name, labels), value).is_none(), "twice: {line}");
        }
    }
    histograms(&series);
    series
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

#[track_caller]
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let mut labels = BTreeMap::new();
    let (name, rest) = match line.split_once('{') {
        None => line.split_once(' ').expect("a value"),
        Some((name, mut rest)) => loop {
            let (label, after) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label), "{line}");
            let (mut value, mut chars) = (String::new(), after.char_indices());
            let end = loop {
                match chars.next().expect("the value's end") {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next().expect("an escape").1 {
                        'n' => value.push('\n'),
                        c @ ('\\' | '"') => value.push(c),
                        c => panic!("\\{c} is no escape: {line}"),
                    },
                    (_, c) => value.push(c),
                }
            };
            assert!(labels.insert(label.to_owned(), value).is_none(), "a label twice: {line}");
            match &after[end + 1..] {
                more if more.starts_with(',') => rest = &more[1..],
                last => break (name, last.strip_prefix("} ").expect("a value")),
            }
        },
    };
    assert!(is_name(name), "{line}");
    let value = if rest == "+Inf" { f64::INFINITY } else { rest.parse().expect("a number") };
    (name.to_owned(), labels, value)
}

#[track_caller]
fn histograms(series: &BTreeMap<Series, f64>) {
    let mut buckets: BTreeMap<Series, Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, labels), value) in series {
        if let Some(stem) = name.strip_suffix("_bucket") {
            let mut labels = labels.clone();
            let bound = labels.remove("le").expect("a bound");
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a bound") };
            buckets.entry((stem.to_owned(), labels)).or_default().push((bound, *value));
        }
    }
    for ((stem, labels), mut buckets) in buckets {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{stem} {labels:?}: {buckets:?}");
        let (bound, all) = *buckets.last().expect("a bucket");
        assert!(bound.is_infinite(), "{stem} {labels:?} has no +Inf");
        assert_eq!(series.get(&(format!("{stem}_count"), labels.clone())), Some(&all));
        assert!(series.contains_key(&(format!("{stem}_sum"), labels)));
    }
}

#[track_caller]
fn value(series: &BTreeMap<Series, f64>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    *series.get(&(name.to_owned(), labels)).unwrap_or_else(|| panic!("{name} is missing: {series:#?}"))
}

/// What `/metrics`, `/readyz` and `/healthz` say during an outage and after it, and what is written across it.
#[test]
fn an_outage_is_told_and_what_is_written_plays_across_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = ServerProcess::start(Told::showing([Feed { audio: true, ..Feed::new("/x") }]));
    let url = server.url("/x");
    let outputs =
        ["-o", "hls:live/", "-o", "whole.mkv", "--stall-timeout", "2s", "--report", "r.json", "--json", "d.jsonl"];
    let (run, address) = watched(
        folder.path(),
        &[[url.as_str(), "--rtsp-transport", "tcp", "--imgsz", "96"].as_slice(), &outputs].concat(),
    );
    let stream = [("stream", "0")];
    let says = |name: &str| value(&parse(&get(&address, "/metrics").expect("an answer").1), name, &stream);
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        events::state(|| what.to_owned(), || holds().then_some(()));
    };
    let ready = || get(&address, "/readyz").expect("an answer");
    until("it is not ready", &|| ready().0 == "200");
    until("no five seconds of frames", &|| says("streamdet_frames_processed_total") > 150.0);
    assert!((says("streamdet_stream_up") - 1.0).abs() < 0.1 && says("streamdet_newest_frame_age_seconds") < 2.0);
    server.kill();
    until("the stream is up", &|| says("streamdet_stream_up") < 0.5);
    until("no outage of 5 s", &|| says("streamdet_outage_seconds_total") > 5.0);
    let (status, body) = ready();
    assert!(status == "503" && body.contains("no frame for "), "{status} {body}");
    assert_eq!(get(&address, "/healthz").expect("an answer").0, "200", "every thread is well");
    assert!(says("streamdet_newest_frame_age_seconds") > 4.0);
    let (age, outage) = (says("streamdet_newest_frame_age_seconds"), says("streamdet_outage_seconds_total"));
    assert!((outage - age).abs() < 1.0, "it began with the last frame: {outage} s, and that is {age} s ago");
    server.restart(None);
    until("it is not back", &|| says("streamdet_stream_up") > 0.5 && ready().0 == "200");
    let away = says("streamdet_outage_seconds_total");
    let before = says("streamdet_frames_processed_total");
    until("no frames after it", &|| says("streamdet_frames_processed_total") > before + 250.0);
    assert!((says("streamdet_outage_seconds_total") - away).abs() < 0.001 && says("streamdet_reconnects_total") > 0.5);
    let (code, said) = run.interrupt();
    assert_eq!(code, Some(130), "{said}");

    // Neither holds the time in which nothing came.
    let report = json(&folder.path().join("r.json"));
    let outages_s = report["streams"][0]["outages_s"].as_f64().expect("seconds");
    // The first frame after it is known a little later than it came, by far less than the stall timeout of 2 s.
    let later = away - outages_s;
    assert!((-0.01..1.9).contains(&later), "the report has {outages_s} s of outages, the metrics {away}");
    let processed = frames(&report).1;
    let whole = times(&folder.path().join("whole.mkv"));
    let longest = whole.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!(whole.len() as u64 == processed && longest < 1.0, "{longest} s between two of {} frames", whole.len());
    let audio = track_times(&folder.path().join("whole.mkv"), "a:0");
    let longest = audio.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!(longest < 1.0 && audio.len() > 400, "{longest} s between two of {} packets", audio.len());
    let list = folder.path().join("live/index.m3u8");
    let playlist = std::fs::read_to_string(&list).expect("a list");
    assert!(
        playlist.contains("#EXT-X-TARGETDURATION:4\n") && playlist.matches("DISCONTINUITY\n").count() == 1,
        "{playlist}"
    );
    let lengths =
        playlist.lines().filter_map(|line| line.strip_prefix("#EXTINF:")?.trim_end_matches(',').parse::<f64>().ok());
    assert!(lengths.clone().all(|length| length < 4.5), "{playlist}");
    let played =
        witness("ffmpeg", &["-i", text(&list), "-map", "0:v", "-fps_mode", "passthrough", "-f", "framehash", "-"]);
    let played = played.lines().filter(|line| !line.starts_with('#')).count() as u64;
    assert_eq!(played, processed, "a player shows all of it");
}

/// The rules of `deploy/prometheus/alerts.yaml` are rules, and name what there is.
#[test]
fn alert_rules_are_well_formed() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/alerts.yaml");
    match Command::new("promtool").args(["check", "rules", text(&rules)]).output() {
        Ok(output) => assert!(output.status.success(), "{}", said(&output)),
        Err(_) => program::skipped("promtool is not installed"),
    }
    let rules = std::fs::read_to_string(rules).expect("the rules");
    let metrics = concat!(include_str!("../src/monitoring/metrics.rs"), include_str!("../src/monitoring/merged.rs"));
    for word in
        rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| word.starts_with("streamdet_"))
    {
        let family = word.strip_suffix("_bucket").unwrap_or(word);
        assert!(metrics.contains(&format!("\"{family}\"")), "{word} is in no answer");
    }
}

/// Starts a run that serves metrics at a free port, and says where.
fn watched(folder: &Path, args: &[&str]) -> (Running, String) {
    let mut command = detect(folder, args);
    command.args(["--metrics", ":0"]);
    let run = Running::start(command);
    let address = run.rest_after("metrics at http://");
    let address = address.strip_suffix("/metrics").expect("where they are").to_owned();
    (run, address)
}

#[test]
fn counters_agree_with_the_run_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = "an \"odd\"\\name.ts";
    let clip = made_clip(folder.path(), "made.ts", "320x240", "3", &["-g", "30", "-bf", "0", "-f", "mpegts"]);
    let mut bytes = std::fs::read(&clip).expect("the clip");
    let middle = bytes.len() / 2;
    for at in (middle..middle + bytes.len() / 10).filter(|at| at % 188 >= 12 && at % 5 == 0) {
        bytes[at] ^= 0x5a;
    }
    std::fs::write(folder.path().join(odd), bytes).expect("a file");
    made_clip(folder.path(), "long.mp4", "320x240", "120", &["-preset", "ultrafast"]);
    // Of so low a confidence that there is something to count.
    let args =
        [odd, "long.mp4", "-o", "out/", "--conf", "0.02", "--stride", "2", "--json", "d.jsonl", "--report", "r.json"];
    let (run, address) = watched(folder.path(), &args);
    let scrape = || {
        let (status, text) = get(&address, "/metrics").expect("an answer");
        assert_eq!(status, "200");
        let series = parse(&text);
        let processed = value(&series, "streamdet_frames_processed_total", &[("stream", "0")]);
        if processed > 0.0 && value(&series, "streamdet_stream_up", &[("stream", "0")]) < 0.5 {
            promtool(&text);
            return Some(series);
        }
        None
    };
    let series = events::state(|| "the first stream never ended".into(), scrape);
    assert_eq!(get(&address, "/healthz").expect("an answer").0, "200");
    assert_eq!(get(&address, "/readyz").expect("an answer").0, "200");
    assert_eq!(get(&address, "/").expect("an answer").0, "404");
    assert!(value(&series, "streamdet_stream_up", &[("stream", "1")]) > 0.5, "the second stream goes on");
    assert_eq!(run.interrupt().0, Some(130));
    assert!(get(&address, "/metrics").is_err(), "nobody answers any more");

    let report = json(&folder.path().join("r.json"));
    let (received, processed, corrupt) = frames(&report);
    assert!(processed > 0 && corrupt > 0, "{processed} frames, {corrupt} of them damaged");
    let first = [("stream", "0")];
    let same = |name, labels: &[(&str, &str)], expected: u64| {
        let expected = f64::from(u32::try_from(expected).expect("few frames"));
        let found = value(&series, name, labels);
        assert!((found - expected).abs() < 0.5, "{name}: {found} against {expected}");
    };
    same("streamdet_frames_received_total", &first, received);
    same("streamdet_frames_processed_total", &first, processed);
    let inferred = report["streams"][0]["frames"]["inferred"].as_u64().expect("a number");
    assert!(inferred < processed, "every second frame");
    same("streamdet_frames_inferred_total", &first, inferred);
    for (reason, lost) in [("corrupt", corrupt), ("stale", 0), ("queue_full", 0), ("failed", 0)] {
        same("streamdet_frames_dropped_total", &[first[0], ("reason", reason)], lost);
    }
    for (stage, count) in [("end_to_end", processed), ("queue_wait", processed), ("inference", inferred)] {
        same("streamdet_stage_duration_seconds_count", &[first[0], ("stage", stage)], count);
    }
    same("streamdet_reconnects_total", &first, 0);
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for line in json_lines(&folder.path().join("d.jsonl")).iter().filter(|line| line["stream"] == 0) {
        for detection in line["detections"].as_array().expect("a list") {
            *found.entry(detection["class"].as_str().expect("a class").to_owned()).or_default() += 1;
        }
    }
    assert!(!found.is_empty(), "there is something to count");
    for (class, count) in found {
        same("streamdet_detections_total", &[first[0], ("class", &class)], count);
    }
    let info = series.keys().find(|(name, labels)| name == "streamdet_stream_info" && labels["stream"] == "0");
    assert_eq!(info.expect("what the stream is").1["uri"], odd);
    let version = [("arch", std::env::consts::ARCH), ("version", env!("CARGO_PKG_VERSION"))];
    same("streamdet_build_info", &version, 1);
}

/// Prometheus' own checker, where it is installed.
#[track_caller]
fn promtool(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        return eprintln!("promtool is not installed: the parser alone decides");
    };
    child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "{}{}", said(&output), String::from_utf8_lossy(&output.stdout));
}

#[test]
fn nobody_is_ready_before_the_first_frame() {
    let runtime = Runtime::load(None, ProviderChoice::Cpu).expect("ONNX Runtime is installed");
    let reference = ModelRef::resolve(None).expect("the built-in model");
    let facts = inference::inspect(&runtime, reference.file()).expect("it can be read");
    let model = Model::build(reference, &facts).expect("its layout is known");
    let sources: Vec<String> = (0..100).map(|n| format!("rtsp://user:secret{n}@host/{n}")).collect();
    let metrics = Arc::new(Metrics::new(&sources, &Origin::from(&model), Arc::new(RealClock::new())));
    let (hung, not_ready, written) = (metrics.clone(), metrics.clone(), metrics.clone());
    let probes = Probes {
        hung: Box::new(move || hung.hung()),
        not_ready: Box::new(move || not_ready.not_ready()),
        metrics: Box::new(move |text| written.write(text)),
    };
    let listen = Listen { option: "--metrics", address: ([127, 0, 0, 1], 0).into(), token: None };
    let server = Server::start(listen, None, serve::probes(probes), Limits::small()).expect("a server");
    let address = server.address().to_string();
    assert_eq!(get(&address, "/readyz").expect("an answer").0, "503");
    assert_eq!(get(&address, "/healthz").expect("an answer").0, "200");
    let (_, text) = get(&address, "/metrics").expect("an answer");
    promtool(&text);
    let series = parse(&text);
    let streams = series.keys().filter(|(name, _)| name == "streamdet_frames_processed_total").count();
    assert_eq!(streams, 65, "64 streams have figures of their own, the others share theirs");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn an_address_that_is_taken_is_said_before_any_work() {
    let folder = tempfile::tempdir().expect("a folder");
    made_clip(folder.path(), "made.mp4", "320x240", "1", &[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("a port").to_string();
    for (address, words) in [(address.as_str(), address.as_str()), ("nowhere", "HOST:PORT")] {
        let output = streamdet(folder.path(), &["made.mp4", "-o", "o.mp4", "--metrics", address]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
        assert!(!folder.path().join("o.mp4").exists(), "{}", text(folder.path()));
    }
}
