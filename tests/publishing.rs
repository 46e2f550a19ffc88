//! Detections published to real brokers, which are killed, as the program is.

#[path = "publishing/brokers.rs"]
mod brokers;
#[path = "publishing/cluster.rs"]
mod cluster;
#[path = "publishing/formats.rs"]
mod formats;
#[path = "publishing/kafka.rs"]
mod kafka;
mod program;
#[path = "publishing/refusals.rs"]
mod refusals;

use std::path::Path;
use std::process::Command;

use brokers::Listener;
use program::broker::{Broker, has, numbered, stored};
use program::events::{self, PATIENCE};
use program::running::Running;
use program::{SmallDisk, bare, json, json_lines};
use serde_json::Value;

/// What can be away for a while.
trait Away {
    fn kill(&mut self);
    fn start(&mut self);
}

impl Away for Broker {
    fn kill(&mut self) {
        Broker::kill(self);
    }

    fn start(&mut self) {
        Broker::start(self);
    }
}

/// `streamdet detect`, with its spool in `folder`.
fn detect(folder: &Path, args: &[&str]) -> Command {
    let mut command = bare(folder, "detect");
    command.args(["-o", "none", "--imgsz", "96", "--spool", "spool"]).args(args);
    command
}

/// The same on what a file has found.
fn recorded(folder: &Path, args: &[&str]) -> Command {
    let mut command = bare(folder, "detect");
    command.args(["-o", "none", "--spool", "spool"]).args(args);
    command
}

/// Lines of `--json` so far.
fn lines(folder: &Path, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Waits until so many more frames of each of two streams are processed.
#[track_caller]
fn processed(folder: &Path, name: &str, more: usize) -> [usize; 2] {
    let count = || {
        let lines = lines(folder, name);
        [0, 1].map(|stream| lines.iter().filter(|line| line["stream"] == stream).count())
    };
    let before = count();
    events::state(
        || format!("{more} frames more than {before:?} in {name}: {:?}", count()),
        || Some(count()).filter(|now| now.iter().zip(before).all(|(now, before)| *now >= before + more)),
    )
}

/// Two live streams, a broker that is killed twice and the program that is killed once; what `heard` then has of the first run and
/// of the second, and how many frames there were at the least.
#[track_caller]
fn killed(folder: &Path, url: &str, broker: &mut impl Away) -> ([usize; 2], usize) {
    let args = |json: &'static str| {
        ["test:ball", "test:smpte", "--publish-on", "frame", "--publish", url, "--json", json].map(str::to_owned)
    };
    let start = |json: &'static str, more: &[&str]| {
        let args = args(json);
        let mut all: Vec<&str> = args.iter().map(String::as_str).collect();
        all.extend(more);
        Running::start(detect(folder, &all))
    };
    let first = start("a.jsonl", &[]);
    processed(folder, "a.jsonl.part", 20);
    for _ in 0..2 {
        broker.kill();
        // Some seconds of both streams.
        first.wait_for("messages are kept on disk", 2);
        processed(folder, "a.jsonl.part", 60);
        broker.start();
        processed(folder, "a.jsonl.part", 60);
    }
    broker.kill();
    let sure = processed(folder, "a.jsonl.part", 30);
    processed(folder, "a.jsonl.part", 30);
    first.signal("KILL");
    drop(first);
    let mut second = start("b.jsonl", &["--frames", "90", "--report", "r.json"]);
    second.wait_for("of an earlier run are sent first", 2);
    processed(folder, "b.jsonl.part", 10);
    broker.start();
    second.succeeds();
    let report = json(&folder.join("r.json"));
    for stream in 0..2 {
        let published = &report["streams"][stream]["publish"][0];
        assert_eq!((&published["waiting"], &published["lost"]), (&Value::from(0), &Value::from(0)), "{published}");
    }
    (sure, json_lines(&folder.join("b.jsonl")).len())
}

/// Every stream's numbers of both runs are complete and in order.
#[track_caller]
fn complete<'a>(messages: impl Iterator<Item = &'a Value>, sure: [usize; 2], second: usize) {
    let numbers = numbered(messages);
    assert_eq!(numbers.len(), 4, "two streams, two runs: {:?}", numbers.keys());
    for ((name, run), seen) in &numbers {
        let all: Vec<u64> = (0..seen.len() as u64).collect();
        assert_eq!(*seen, all, "{name} of run {run}");
    }
    for (number, name) in ["test-ball", "test-smpte"].iter().enumerate() {
        let of: Vec<usize> = numbers.iter().filter(|((own, _), _)| own == name).map(|(_, seen)| seen.len()).collect();
        assert!(
            of.iter().any(|seen| *seen >= sure[number]),
            "{name}: {of:?}, at least {} of the first run",
            sure[number]
        );
    }
    let last: usize = numbers.values().map(Vec::len).filter(|seen| *seen <= 90).sum();
    assert_eq!(last, second, "one message a frame");
}

#[test]
fn mqtt_loses_nothing_when_the_broker_and_the_program_are_killed() {
    if !has("mosquitto") || !has("mosquitto_sub") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = Broker::mosquitto(folder.path(), "allow_anonymous true");
    broker.start();
    // Of what mosquitto has sent and acknowledged just before it is killed, a listener loses what it has not read when it fails to
    // acknowledge that itself. One without acknowledgements has that, and the other one what comes while both are away.
    let listener = Listener::start(&broker, "site/+/detections", &[]);
    let plain = Listener::start(&broker, "site/+/detections", &["-i", "plain", "-q", "0"]);
    let url = format!("mqtt://127.0.0.1:{}/site", broker.port);
    let (sure, second) = killed(folder.path(), &url, &mut broker);
    let heard = listener.wait(|heard| {
        let of_last = heard.last().map(|last| last.run.clone()).unwrap_or_default();
        let mut seen: Vec<_> = heard.iter().filter(|heard| heard.run == of_last).map(|h| (&h.topic, &h.seq)).collect();
        seen.sort();
        seen.dedup();
        seen.len() >= second
    });
    let in_order: Vec<Value> = plain.heard().iter().map(brokers::Heard::json).collect();
    for (of, seen) in numbered(in_order.iter()) {
        assert!(seen.is_sorted(), "{of:?}: {seen:?}");
    }
    let heard = [heard, plain.heard()].concat();
    let mut messages: Vec<Value> = heard.iter().map(brokers::Heard::json).collect();
    assert!(messages.len() > 300);
    // In formats without them in the payload, these tell.
    let number = |message: &Value| message["seq"].as_u64();
    assert!(heard.iter().zip(&messages).all(|(heard, message)| heard.seq.parse().ok() == number(message)));
    messages.sort_by_key(number);
    complete(messages.iter(), sure, second);
}

#[test]
fn nats_stores_every_message_once_when_the_server_and_the_program_are_killed() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = Broker::nats(folder.path());
    broker.start();
    let url = format!("nats://127.0.0.1:{}/site", broker.port);
    let (sure, second) = killed(folder.path(), &url, &mut broker);
    let stored = stored(&broker, "site");
    let messages: Vec<&Value> =
        stored.iter().filter(|(subject, _)| subject.ends_with(".detections")).map(|(_, value)| value).collect();
    let mut seen = std::collections::HashSet::new();
    let doubles = messages.iter().filter(|m| !seen.insert(format!("{}{}{}", m["stream_name"], m["run"], m["seq"])));
    assert_eq!(doubles.count(), 0);
    complete(messages.into_iter(), sure, second);
}

#[test]
fn what_does_not_fit_into_the_spool_is_counted_and_exactly_that_is_missing() {
    if !has("mosquitto") || !has("mosquitto_sub") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut broker = Broker::mosquitto(folder, "allow_anonymous true");
    broker.start();
    let listener = Listener::start(&broker, "site/#", &[]);
    broker.kill();
    let url = format!("mqtt://127.0.0.1:{}/site", broker.port);
    let (processed, lost) = overflows(folder, &url, || broker.start());
    let heard = listener.wait(|heard| heard.iter().filter(|heard| heard.seq == "0").count() >= 2);
    let messages: Vec<Value> = heard.iter().filter(|heard| !heard.run.is_empty()).map(brokers::Heard::json).collect();
    missing(&messages, processed, lost);
}

#[test]
fn a_disk_that_was_full_takes_messages_again_when_the_broker_has_taken_some() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let spool = folder.join("disk");
    let Some(disk) = SmallDisk::mount(&spool, "64k") else { return };
    let mut broker = Broker::nats(folder);
    let url = format!("nats://127.0.0.1:{}/site", broker.port);
    let mut command = bare(folder, "detect");
    command.args(["test:ball", "-o", "none", "--imgsz", "96", "--publish-on", "frame", "--publish", &url]);
    command.args(["--spool", disk.path.to_str().expect("a name"), "--report", "r.json"]);
    let mut run = Running::start(command);
    run.wait_for("No space left on device", 1);
    broker.start();
    run.wait_for(" lost (seq ", 1);
    run.signal("TERM");
    assert_eq!(run.ended(), Some(143), "{}", run.said());
    let said = run.said();
    let stream = json(&folder.join("r.json"))["streams"][0].clone();
    let (processed, report) = (stream["frames"]["processed"].as_u64().expect("a number"), &stream["publish"][0]);
    let lost = report["lost"].as_u64().expect("a number");
    assert!(lost > 0 && report["waiting"] == 0, "{report}\n{said}");
    let messages: Vec<Value> = stored(&broker, "site").into_iter().map(|(_, value)| value).collect();
    let messages: Vec<Value> = messages.into_iter().filter(|message| message["run"].is_string()).collect();
    missing(&messages, processed, lost);
    let last = messages.iter().filter_map(|message| message["seq"].as_u64()).max();
    assert_eq!(last, Some(processed - 1), "{said}");
}

/// A run whose messages are too many for its spool while the broker is away, and another one when it is there again, which `back`
/// sees to: how many frames the first processed, and how many messages it lost.
#[track_caller]
fn overflows(folder: &Path, url: &str, back: impl FnOnce()) -> (u64, u64) {
    // 25 kB a frame: of 120 a third fits.
    formats::found(folder, 200);
    let run = |more: &[&str]| {
        let args = ["street.mp4", "--detections", "found.jsonl", "--publish", url, "--publish-on", "frame"];
        let args = [&args[..], &["--report", "r.json", "--overwrite"], more].concat();
        let said = Running::start(recorded(folder, &args)).succeeds();
        (said, json(&folder.join("r.json"))["streams"][0].clone())
    };
    let (said, stream) = run(&["--spool-bytes", "1MB"]);
    let (processed, report) = (stream["frames"]["processed"].as_u64().expect("a number"), &stream["publish"][0]);
    let lost = report["lost"].as_u64().expect("a number");
    assert!(lost > 20 && lost < processed, "{report}");
    assert!(said.contains("the spool is full: messages are lost"), "{said}");
    assert!(said.contains("not acknowledged, kept on disk"), "{said}");
    back();
    // With room for its own.
    let (said, stream) = run(&["--spool-bytes", "16MB", "--frames", "1"]);
    let report = &stream["publish"][0];
    assert!(said.contains("of an earlier run are sent first"), "{said}");
    assert_eq!((&report["waiting"], &report["lost"]), (&Value::from(0), &Value::from(0)), "{report}");
    (processed, lost)
}

/// Of the first run in `messages`, each number came once, in order, or was told to be lost.
#[track_caller]
fn missing(messages: &[Value], processed: u64, lost: u64) {
    let first = messages[0]["run"].clone();
    let (told, frames): (Vec<&Value>, Vec<&Value>) =
        messages.iter().filter(|message| message["run"] == first).partition(|message| message["event"] == "lost");
    let number = |message: &Value, key: &str| message[key].as_u64().expect("a number");
    let mut numbers: Vec<u64> = frames.iter().map(|message| number(message, "seq")).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(told.iter().map(|message| number(message, "messages")).sum::<u64>(), lost, "{told:?}");
    numbers.extend(told.iter().flat_map(|message| number(message, "from_seq")..=number(message, "to_seq")));
    numbers.sort_unstable();
    assert_eq!(numbers, (0..processed).collect::<Vec<_>>(), "each number came once or was told to be lost");
}

#[test]
fn a_panic_of_the_thread_costs_messages_which_are_counted_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let port = program::free_port();
    let url = format!("mqtt://127.0.0.1:{port}/site");
    let args = [
        "test:ball",
        "--frames",
        "60",
        "--json",
        "d.jsonl",
        "--report",
        "r.json",
        "--publish-on",
        "frame",
        "--publish",
        &url,
    ];
    let mut command = detect(folder, &args);
    command.env("STREAMDET_TEST_PANIC", "publish:10").env("RUST_BACKTRACE", "0");
    let mut run = Running::start(command);
    let status = run.ends_within(PATIENCE).expect("it ends");
    let said = run.said();
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(said.matches("thread publish panicked").count(), 1, "{said}");
    let frames = json_lines(&folder.join("d.jsonl")).len() as u64;
    let published = &json(&folder.join("r.json"))["streams"][0]["publish"][0];
    let of = |key: &str| published[key].as_u64().expect("a number");
    assert!(of("lost") > 0 && of("lost") <= frames, "{published}, {frames} frames");
}
