//! What messages look like, against the fields that the pages of those who read them name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::brokers::{Heard, Listener};
use crate::program::broker::{Broker, has};
use crate::program::running::Running;
use crate::program::{made_clip, probe, streamdet_command};
use crate::recorded;

/// Fields of a sensor by MQTT discovery: <https://www.home-assistant.io/integrations/sensor.mqtt/>, of a binary sensor:
/// <https://www.home-assistant.io/integrations/binary_sensor.mqtt/>, as far as both have them and one that is none.
const HOME_ASSISTANT: &[&str] = &[
    "availability",
    "availability_mode",
    "availability_template",
    "availability_topic",
    "device",
    "device_class",
    "enabled_by_default",
    "encoding",
    "entity_category",
    "entity_picture",
    "expire_after",
    "force_update",
    "icon",
    "json_attributes_template",
    "json_attributes_topic",
    "name",
    "object_id",
    "origin",
    "payload_available",
    "payload_not_available",
    "qos",
    "state_class",
    "state_topic",
    "unique_id",
    "unit_of_measurement",
    "value_template",
];
/// Of its device.
const DEVICE: &[&str] = &[
    "configuration_url",
    "connections",
    "hw_version",
    "identifiers",
    "manufacturer",
    "model",
    "model_id",
    "name",
    "serial_number",
    "suggested_area",
    "sw_version",
];
/// Fields of an object in `frigate/events`: <https://docs.frigate.video/integrations/mqtt/>.
const FRIGATE: &[&str] = &[
    "id",
    "camera",
    "frame_time",
    "snapshot",
    "snapshot_time",
    "label",
    "sub_label",
    "top_score",
    "false_positive",
    "start_time",
    "end_time",
    "score",
    "box",
    "area",
    "ratio",
    "region",
    "current_zones",
    "entered_zones",
    "thumbnail",
    "has_snapshot",
    "has_clip",
    "stationary",
    "motionless_count",
    "position_changes",
    "attributes",
    "current_attributes",
];

/// A clip of 120 frames, and lines as of `--json`: a car that drives to the right for four seconds, a person for the first two, and
/// so many more cars that stand.
pub fn found(folder: &Path, more: u32) {
    let detection = |(class, class_id): (&str, u32), id: u32, x: u32| {
        let corners = format!("[{x},40,{},80]", x + 40);
        format!(
            "{{\"class_id\":{class_id},\"class\":\"{class}\",\"confidence\":0.75,\"box\":{corners},\"track_id\":{id}}}"
        )
    };
    let line = |frame: u32| {
        let mut detections = vec![detection(("car", 1), 1, 10 + frame * 2)];
        if frame < 60 {
            detections.push(detection(("person", 0), 2, 200));
        }
        detections.extend((0..more).map(|number| detection(("car", 1), 3 + number, number)));
        let pts = u64::from(frame) * 1_001_000_000 / 30;
        let head = format!("\"schema\":1,\"stream\":0,\"frame\":{frame},\"pts_ns\":{pts},\"width\":320,\"height\":180");
        format!("{{{head},\"detections\":[{}]}}\n", detections.join(","))
    };
    std::fs::write(folder.join("found.jsonl"), (0..120).map(line).collect::<String>()).expect("a file");
    made_clip(folder, "street.mp4", "320x180", "4", &["-preset", "ultrafast"]);
}

/// Publishes that, to its end.
#[track_caller]
fn published(folder: &Path, url: &str, more: &[&str]) {
    found(folder, 0);
    let args = [&["street.mp4", "--detections", "found.jsonl", "--publish", url][..], more].concat();
    Running::start(recorded(folder, &args)).succeeds();
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// A broker and a listener to all of it.
fn heard_at(folder: &Path) -> Option<(Broker, Listener)> {
    if !has("mosquitto") || !has("mosquitto_sub") {
        return None;
    }
    let mut broker = Broker::mosquitto(folder, "allow_anonymous true");
    broker.start();
    let listener = Listener::start(&broker, "#", &[]);
    Some((broker, listener))
}

fn says(broker: &Broker, topic: &str, payload: &str) {
    let port = broker.port.to_string();
    let args = ["-h", "127.0.0.1", "-p", &port, "-V", "mqttv5", "-q", "1", "-t", topic, "-m", payload];
    assert!(Command::new("mosquitto_pub").args(args).status().expect("mosquitto_pub is installed").success());
}

#[test]
fn home_assistant_finds_entities_and_hears_everything_again_when_it_is_born() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let Some((mut broker, listener)) = heard_at(folder) else { return };
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    found(folder, 0);
    // A live stream, whose first frames have the file's detections; it goes on until it is killed.
    let args = ["test:ball", "--detections", "found.jsonl", "--publish", &url, "--home-assistant"];
    let run = Running::start(recorded(folder, &args));
    let configs = |heard: &[Heard]| {
        heard
            .iter()
            .filter(|heard| heard.topic.starts_with("homeassistant/") && heard.topic.ends_with("/config"))
            .count()
    };
    let is_idle = |heard: &[Heard]| {
        let last = heard.iter().rfind(|heard| heard.topic == "streamdet/test-ball/counts");
        last.is_some_and(|counts| counts.json()["all"] == 0 && counts.json()["classes"]["car"] == 0)
            && configs(heard) == 4
    };
    let heard = listener.wait(is_idle);
    let mut states = BTreeMap::new();
    for config in heard.iter().filter(|heard| heard.topic.ends_with("/config")) {
        let parts: Vec<&str> = config.topic.split('/').collect();
        assert_eq!((parts.len(), parts[0], parts[4]), (5, "homeassistant", "config"), "{}", config.topic);
        let is_id =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        assert!(
            ["sensor", "binary_sensor"].contains(&parts[1]) && is_id(parts[2]) && is_id(parts[3]),
            "{}",
            config.topic
        );
        let entity = config.json();
        let unknown: Vec<&str> = keys(&entity).into_iter().filter(|key| !HOME_ASSISTANT.contains(key)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(keys(&entity["device"]).iter().all(|key| DEVICE.contains(key)), "{entity}");
        assert_eq!(
            (&entity["state_topic"], &entity["availability_topic"]),
            (&"streamdet/test-ball/counts".into(), &"streamdet/test-ball/state".into())
        );
        assert!(entity["origin"]["name"].is_string() && entity["device"]["identifiers"][0].is_string());
        states.insert(entity["unique_id"].as_str().expect("an id").to_owned(), entity["value_template"].clone());
    }
    assert_eq!(states.len(), 4, "one each for all, occupancy, car and person: {states:?}");
    assert!(states.values().any(|template| template == "{{ value_json.classes[\"car\"] | default(0) }}"), "{states:?}");
    let before = heard.len();
    says(&broker, "homeassistant/status", "online");
    let again = listener
        .wait(|heard| configs(heard) == 8 && heard[before..].iter().any(|h| h.topic == "streamdet/test-ball/state"));
    let again: BTreeSet<&str> = again[before..].iter().map(|heard| heard.topic.as_str()).collect();
    assert!(again.contains("streamdet/test-ball/counts") && again.contains("streamdet/test-ball/state"), "{again:?}");
    // That it goes is no birth.
    says(&broker, "homeassistant/status", "offline");
    // A broker that has forgotten what it retained is told again.
    broker.kill();
    broker.forget();
    broker.start();
    let fresh = Listener::start(&broker, "#", &["-i", "fresh"]);
    let told = fresh.wait(|heard| configs(heard) >= 4 && heard.iter().any(|heard| heard.payload == "online"));
    assert_eq!(configs(&told), 4);
    run.signal("KILL");
    fresh.wait(|heard| heard.last().is_some_and(|heard| heard.payload == "offline" && heard.topic.ends_with("/state")));
    assert_eq!(configs(&fresh.heard()), 4);
    let late = Listener::start(&broker, "streamdet/#", &["-i", "late"]);
    let kept = late.wait(|heard| heard.len() >= 2);
    assert!(kept.iter().all(|heard| heard.retained), "{kept:?}");
}

#[test]
fn frigate_s_topics_have_its_payloads() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some((broker, listener)) = heard_at(folder.path()) else { return };
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    published(folder.path(), &url, &["--publish-format", "frigate", "--publish-rate", "2"]);
    let is_last = |heard: &[Heard]| {
        heard.last().is_some_and(|heard| heard.topic == "frigate/available" && heard.payload == "offline")
    };
    let heard = listener.wait(is_last);
    assert!(heard.iter().any(|heard| heard.topic == "frigate/available" && heard.payload == "online"));
    let events: Vec<Value> = heard.iter().filter(|heard| heard.topic == "frigate/events").map(Heard::json).collect();
    let mut lives: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in &events {
        assert_eq!(keys(event), ["after", "before", "type"].into());
        for state in [&event["before"], &event["after"]] {
            let missing: Vec<&&str> = FRIGATE.iter().filter(|key| !keys(state).contains(**key)).collect();
            assert!(missing.is_empty(), "{missing:?}");
            assert!(state["camera"] == "street" && state["box"].as_array().is_some_and(|corners| corners.len() == 4));
            assert!(state["frame_time"].as_f64() >= state["start_time"].as_f64(), "{state}");
        }
        let (after, kind) = (&event["after"], event["type"].as_str().expect("a type"));
        assert_eq!(after["end_time"].is_null(), kind != "end", "{event}");
        let (time, letters) = after["id"].as_str().and_then(|id| id.split_once('-')).expect("an id");
        assert!(time.parse::<f64>().is_ok() && letters.len() == 6, "{event}");
        lives.entry(after["label"].as_str().expect("a label").into()).or_default().push(kind.into());
    }
    for (label, life) in &lives {
        let whole = life.first().is_some_and(|first| first == "new") && life.last().is_some_and(|last| last == "end");
        assert!(whole && life[1..life.len() - 1].iter().all(|kind| kind == "update"), "{label}: {life:?}");
    }
    // For four seconds, twice a second.
    assert!(lives.len() == 2 && (7..=9).contains(&lives["car"].len()), "{lives:?}");
    let counts = |topic: &str| {
        heard.iter().filter(|heard| heard.topic == topic).map(|heard| heard.payload.clone()).collect::<Vec<_>>()
    };
    assert_eq!(counts("frigate/street/person").last().map(String::as_str), Some("0"));
    assert_eq!(counts("frigate/street/all").last().map(String::as_str), Some("1"));
    // In a format without numbers the packets have them.
    let numbers: Vec<u64> =
        heard.iter().filter(|h| h.topic == "frigate/events").filter_map(|h| h.seq.parse().ok()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
}

#[test]
fn changes_tracks_and_frames_are_published_as_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let Some((broker, listener)) = heard_at(folder) else { return };
    let address = |prefix: &str| format!("mqtt://127.0.0.1:{}/{prefix}", broker.port);
    published(folder, &address("change"), &[]);
    published(folder, &address("track"), &["--publish-on", "track"]);
    published(
        folder,
        &address("ds"),
        &["--publish-format", "deepstream-minimal", "--publish-on", "frame", "--publish-rate", "5"],
    );
    let line = ["--publish-on", "event", "--count-line", "gate=100,0,100,180"];
    published(folder, &address("event"), &line);
    let heard = listener.wait(|heard| {
        heard.last().is_some_and(|heard| heard.topic == "event/street/state" && heard.payload == "offline")
    });
    let of = |topic: &str| heard.iter().filter(|heard| heard.topic == topic).map(Heard::json).collect::<Vec<_>>();
    let changes = of("change/street/detections");
    let seen: Vec<usize> = changes.iter().map(|line| line["detections"].as_array().expect("a list").len()).collect();
    assert_eq!(seen, [2, 1], "the person goes");
    assert!(
        changes.iter().all(|line| line["schema"] == 1 && line["stream_name"] == "street" && line["run"].is_string())
    );
    let tracks = of("track/street/events");
    let kinds: BTreeSet<(u64, &str)> = tracks
        .iter()
        .map(|line| (line["track_id"].as_u64().expect("an id"), line["what"].as_str().expect("a word")))
        .collect();
    assert_eq!(kinds, [(1, "end"), (1, "new"), (1, "update"), (2, "end"), (2, "new"), (2, "update")].into());
    let frames = of("ds/street/detections");
    // For four seconds, five a second.
    assert!((18..=22).contains(&frames.len()), "{}", frames.len());
    assert_eq!(keys(&frames[0]), ["@timestamp", "id", "objects", "sensorId", "version"].into());
    let object = frames[0]["objects"][0].as_str().expect("a text");
    assert_eq!(object, "1|10|40|50|80|car");
    let crossings = of("event/street/events");
    assert_eq!(crossings.len(), 1, "{crossings:?}");
    assert_eq!(
        (&crossings[0]["events"][0]["name"], &crossings[0]["events"][0]["class"]),
        (&"gate".into(), &"car".into())
    );
}

/// The luma of an image, scaled to 640 by 320 pixels.
fn grey(image: &Path) -> Vec<u8> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(image);
    ffmpeg.args(["-vf", "scale=640:320", "-pix_fmt", "gray", "-f", "rawvideo", "-"]);
    let output = ffmpeg.output().expect("ffmpeg is installed");
    assert_eq!(output.stdout.len(), 640 * 320, "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The mean difference of two of them.
#[expect(clippy::cast_precision_loss, reason = "some hundred thousand pixels")]
fn difference(one: &[u8], other: &[u8]) -> f64 {
    let sum: u64 = one.iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / one.len() as f64
}

/// The end of an object has its best view, of at most 640 pixels a side; what is to be pixelated is.
#[test]
fn the_end_of_a_track_has_its_best_view() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let Some((broker, listener)) = heard_at(folder) else { return };
    // It comes closer for a second, white on black, is seen whole at 1,000 by 500 pixels, and is cut by the edge after that.
    let side = |frame: u32| if frame < 30 { 100 + frame * 10 } else { 500 };
    let corners = |frame: u32| {
        let left = if frame < 40 { 100 } else { 400 };
        [left, 100, (left + 2 * side(frame)).min(1280), 100 + side(frame)]
    };
    let line = |frame: u32| {
        let [x1, y1, x2, y2] = corners(frame);
        let found = format!(
            "{{\"class_id\":1,\"class\":\"car\",\"confidence\":0.75,\"box\":[{x1},{y1},{x2},{y2}],\"track_id\":7}}"
        );
        let pts = u64::from(frame) * 1_001_000_000 / 30;
        let head =
            format!("\"schema\":1,\"stream\":0,\"frame\":{frame},\"pts_ns\":{pts},\"width\":1280,\"height\":720");
        format!("{{{head},\"detections\":[{found}]}}\n")
    };
    std::fs::write(folder.join("found.jsonl"), (0..60).map(line).collect::<String>()).expect("a file");
    made_clip(folder, "street.mp4", "1280x720", "2", &["-preset", "ultrafast"]);
    let publish = |prefix: &str, more: &[&str]| {
        let url = format!("mqtt://127.0.0.1:{}/{prefix}", broker.port);
        let args =
            [&["street.mp4", "--detections", "found.jsonl", "--publish", &url, "--publish-crops"], more].concat();
        Running::start(recorded(folder, &args)).succeeds();
    };
    publish("plain", &["--publish-on", "track"]);
    publish("pixelated", &["--publish-on", "track", "--blur", "car"]);
    publish("frigate", &["--publish-format", "frigate"]);
    let heard = listener.wait(|heard| {
        heard.last().is_some_and(|heard| heard.topic.ends_with("/available") && heard.payload == "offline")
    });
    let crop = |prefix: &str| {
        let topic = format!("{prefix}/street/events");
        let lines: Vec<Value> = heard.iter().filter(|heard| heard.topic == topic).map(Heard::json).collect();
        let (end, others) = lines.split_last().expect("there are messages");
        assert!(end["what"] == "end" && others.iter().all(|line| line.get("crop").is_none()), "{others:?}");
        let jpeg = BASE64_STANDARD.decode(end["crop"].as_str().expect("a crop")).expect("base64");
        assert!(jpeg.starts_with(b"\xff\xd8\xff"));
        std::fs::write(folder.join("crop.jpg"), &jpeg).expect("a file");
        let file = folder.join("crop.jpg");
        let size = [probe(&file, "width"), probe(&file, "height")];
        // The whole one, though the cut one came later.
        assert_eq!(size, ["640", "320"]);
        (jpeg.len(), grey(&file))
    };
    let ((plain, sharp), (_, pixelated)) = (crop("plain"), crop("pixelated"));
    // As `--best-crops` writes them.
    publish("files", &["--publish-on", "track", "--blur", "car", "--crops", "crops", "--best-crops"]);
    let written = grey(&folder.join("crops/car/street-id7.jpg"));
    let (near, far) = (difference(&pixelated, &written), difference(&pixelated, &sharp));
    assert!(near < 5.0 && far > 2.0 * near, "{near} and {far}");
    let port = broker.port.to_string();
    let args = ["-h", "127.0.0.1", "-p", &port, "-C", "1", "-N", "-t", "frigate/street/car/snapshot"];
    let kept = Command::new("mosquitto_sub").args(args).output().expect("mosquitto_sub is installed").stdout;
    assert_eq!(kept.len(), plain);
}

/// `serve` publishes the streams of its configuration, and shows how that goes; whoever comes over HTTP has no say in it.
#[test]
fn serve_publishes_configured_streams() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let Some((broker, listener)) = heard_at(folder) else { return };
    let port = crate::program::free_port();
    let config = format!(
        "publish = \"mqtt://127.0.0.1:{}/site\"\npublish-on = \"frame\"\nspool = \"spool\"\nimgsz = 96\n[[stream]]\nname = \"gate\"\nsource = \
         \"test:ball\"\n",
        broker.port
    );
    std::fs::write(folder.join("c.toml"), config).expect("a file");
    let mut command = streamdet_command(folder, "serve");
    command.args(["--config", "c.toml", "--listen", &format!(":{port}")]);
    let run = Running::start(command);
    run.wait_for("http://", 1);
    listener.wait(|heard| heard.iter().filter(|heard| heard.topic == "site/gate/detections").count() > 10);
    let metrics = crate::refusals::request(port, "GET /metrics", "");
    for sample in [
        "streamdet_publish_connected{stream=\"gate\",to=\"mqtt://127.0.0.1:",
        "streamdet_published_total{",
        "streamdet_spool_bytes{",
    ] {
        assert!(metrics.contains(sample), "{sample} in {metrics}");
    }
    let refused = crate::refusals::request(
        port,
        "PUT /v1/streams/other",
        "{\"source\": \"test:ball\", \"publish\": \"mqtt://h\"}",
    );
    assert!(
        refused.contains(" 4") && refused.contains("publish: not an option of a stream that is started over HTTP"),
        "{refused}"
    );
    run.signal("TERM");
    let heard = listener.wait(|heard| heard.last().is_some_and(|heard| heard.topic == "site/gate/state"));
    assert_eq!(heard.last().map(|heard| heard.payload.as_str()), Some("offline"));
}
