//! Streams of a config file and of requests, as they are parsed.

use std::ffi::OsString;

use streamdet::cli::Cli;
use streamdet::cli::detect::DetectArgs;
use streamdet::config::{ConfigError, Layers, StreamConfig, changes, comparable, parse, stream_from, streams};

/// What streams inherit of `config`, with `flags` of `detect` and these variables.
fn layers(config: &str, flags: &[&str], environment: &[(&str, &str)]) -> Layers {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("c.toml");
    std::fs::write(&file, config).expect("a file");
    let mut args: Vec<OsString> = ["streamdet", "detect", "--show-config", "--config"].map(OsString::from).into();
    args.push(file.into());
    args.extend(flags.iter().map(OsString::from));
    let variable = |name: &str| environment.iter().find(|(own, _)| *own == name).map(|(_, value)| value.into());
    parse::<Cli>(&args, &variable).expect("detect passes over streams").layers
}

fn all(layers: &Layers) -> Vec<StreamConfig<DetectArgs>> {
    streams(layers).expect("they can be used")
}

/// Every line that says what is wrong, without the file's folder.
fn faults<T>(refused: Result<T, ConfigError>) -> Vec<String> {
    match refused {
        Err(ConfigError::Refused(faults)) => {
            let name = |place: &str| place.rsplit('/').next().unwrap_or_default().to_owned();
            faults.iter().map(|f| format!("{}: {}\n  {}", name(&f.place), f.problem, f.remedy)).collect()
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is not refused"),
    }
}

const TWO: &str = "conf = 0.3\nclasses = [\"car\"]\nmodel = \"visdrone-nano\"\n\n[[stream]]\nname = \"gate\"\nsource = \
                   \"rtsp://me:hunter2@cam/1\"\noutput = [\"gate-%H.mkv\", \"none\"]\nsegment = \"10m\"\ntrack = true\n\
                   [[stream]]\nname = \"yard\"\nsource = \"test:ball\"\nconf = 0.5\nimgsz = 320\n";

#[test]
fn a_stream_inherits_the_top_level_and_overrides_it() {
    let layers = layers(TWO, &["--stride", "2"], &[("STREAMDET_CONF", "0.4"), ("STREAMDET_MAX_DET", "7")]);
    let streams = all(&layers);
    let names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(names, ["gate", "yard"]);
    let settings = comparable(&layers, &streams);
    let value = |stream: &str, key: &str| settings.streams[stream].get(key).map(|values| values.join(","));
    let is = |value: &str| Some(value.to_owned());
    assert_eq!([value("gate", "conf"), value("yard", "conf")], [is("0.4"), is("0.5")]);
    assert_eq!(
        [value("gate", "stride"), value("gate", "max-det"), value("gate", "classes")],
        ["2", "7", "car"].map(is)
    );
    assert_eq!([value("gate", "track"), value("yard", "track")], [is("true"), None]);
    assert_eq!([value("gate", "segment"), value("yard", "segment")], [is("10m"), None]);
    assert_eq!(value("yard", "source"), is("test:ball"));
    // The model is the process's.
    assert_eq!((value("gate", "model"), settings.process.contains_key("model")), (None, true));
    let gate = format!("{:?}", streams[0].args);
    for said in
        ["conf: Some(0.4)", "stride: 2", "max_det: 7", "segment: Some(600s)", "sources: [\"rtsp://me:hunter2@cam/1\"]"]
    {
        assert!(gate.contains(said), "{said} in {gate}");
    }
    assert!(format!("{:?}", streams[1].args).contains("imgsz: Some(Size { width: 320, height: 320 })"));
    assert!(streams[1].place.ends_with("c.toml:11"), "{}", streams[1].place);
}

#[test]
fn everything_that_is_wrong_with_streams_is_said_with_its_line() {
    let config = "[[stream]]\nname = \"a b\"\nsource = \"x.mp4\"\n[[stream]]\nname = \"gate\"\nsource = \"x.mp4\"\nconv = 1\nbatch = 4\n\
                  conf = 1.5\n[[stream]]\nname = \"gate\"\n[[stream]]\nsource = 5\nquiet = true\ntui = true\n";
    let said = faults(streams::<DetectArgs>(&layers(config, &[], &[])));
    for line in [
        "c.toml:1: a stream's name cannot hold ' '\n  write name = \"gate\"",
        "c.toml:7: unknown key `conv`\n  the nearest is `conf`",
        "c.toml:8: `batch` belongs to the process: all streams share it\n  write it at the top level",
        "c.toml:9: conf = 1.5: give a number from 0 to 1",
        "c.toml:10: stream gate has no source",
        "c.toml:11: name = \"gate\": ",
        "c.toml:12: a stream without a name",
        "c.toml:13: source = integer: expected one source",
        "c.toml:14: unknown key `quiet`\n  --quiet belongs on the command line only",
        "c.toml:15: `tui` belongs to the process",
    ] {
        assert!(said.iter().any(|fault| fault.starts_with(line)), "{line} in {said:#?}");
    }
    assert_eq!(said.len(), 10, "{said:#?}");
}

#[test]
fn what_is_the_process_s_cannot_be_one_stream_s() {
    for key in [
        "model",
        "provider",
        "precision",
        "device",
        "threads",
        "onnxruntime",
        "batch",
        "batch-timeout",
        "metrics",
        "token",
        "tui",
        "log-format",
        "stats",
        "decoder",
    ] {
        let own = toml::Table::from_iter([("source".to_owned(), "test:ball".into()), (key.to_owned(), "1".into())]);
        let said = faults(stream_from::<DetectArgs>(&layers("", &[], &[]), "gate", &own, "PUT /v1/streams/gate"));
        assert!(said.len() == 1 && said[0].contains(&format!("`{key}` belongs to the process")), "{said:#?}");
    }
}

#[test]
fn a_request_starts_a_stream_as_the_file_does() {
    let layers = layers("conf = 0.3\n", &[], &[]);
    let body = r#"{"source": "rtsp://cam/1", "classes": ["car", "bus"], "json": "a.jsonl", "hud": true, "stride": 3}"#;
    let own: toml::Table = serde_json::from_str(body).expect("JSON");
    let stream = stream_from::<DetectArgs>(&layers, "gate", &own, "PUT /v1/streams/gate").expect("it can be used");
    let args = format!("{:?}", stream.args);
    assert!(
        args.contains("[\"car\", \"bus\"]") && args.contains("stride: 3") && args.contains("conf: Some(0.3)"),
        "{args}"
    );
    assert_eq!((stream.name.as_str(), stream.place.as_str()), ("gate", "PUT /v1/streams/gate"));
    let wrong: toml::Table = serde_json::from_str(r#"{"conf": "high", "colour": 1}"#).expect("JSON");
    let said = faults(stream_from::<DetectArgs>(&layers, "a/b", &wrong, "PUT"));
    assert_eq!(said.len(), 4, "{said:#?}");
    for word in ["cannot hold '/'", "has no source", "expected a number, without quotes", "unknown key `colour`"] {
        assert!(said.iter().any(|fault| fault.starts_with("PUT: ") && fault.contains(word)), "{word} in {said:#?}");
    }
}

#[test]
fn a_source_that_looks_like_an_option_is_none() {
    let own = toml::Table::from_iter([("source".to_owned(), "--overwrite".into())]);
    let stream = stream_from::<DetectArgs>(&layers("", &[], &[]), "a", &own, "PUT").expect("it is a name");
    assert!(format!("{:?}", stream.args).contains("sources: [\"--overwrite\"]"));
}

#[test]
fn a_reload_says_what_applies_now_and_what_needs_a_restart() {
    let (before, after) = (layers(TWO, &[], &[]), layers(&TWO.replace("0.5", "0.6").replace("yard", "roof"), &[], &[]));
    let said = |a: &Layers, b: &Layers| -> Vec<String> {
        changes(&comparable(a, &all(a)), &comparable(b, &all(b))).iter().map(ToString::to_string).collect()
    };
    assert_eq!(said(&before, &before), [""; 0]);
    assert_eq!(said(&before, &after), ["stream roof is new: it starts now", "stream yard is gone: it stops now"]);
    let other = TWO.replace("visdrone-nano", "yolov8n").replace("conf = 0.3", "conf = 0.2").replace("320", "640");
    assert_eq!(
        said(&before, &layers(&other, &[], &[])),
        [
            "model needs a restart",
            "conf applies now",
            "stream gate: conf applies now",
            "stream yard: imgsz applies now, the stream starts again"
        ]
    );
}
