//! Streams that several instances share: a real nats-server, and instances that are killed, paused, stopped, and cut off.

mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use program::broker::{self, Broker, has, numbered, stored};
use program::events;
use program::running::Running;
use program::{bare, said, succeeds};
use serde_json::Value;
use streamdet::clock;
use streamdet::shutdown::Shutdown;

/// `streamdet fleet` with its arguments.
fn fleet(folder: &Path, args: &[&str]) -> Output {
    bare(folder, "fleet").args(args).output().expect("it starts")
}

/// A server, and the address of a fleet on it.
fn started(folder: &Path) -> (Broker, String) {
    broker::started(folder, "")
}

/// An instance.
fn instance(folder: &Path, url: &str, name: &str, more: &[&str]) -> Running {
    let mut command = bare(folder, "serve");
    command.args(["--listen", ":0", "--provider", "cpu", "--imgsz", "96", "--threads", "1", "--fleet", url]);
    command.args(["--instance", name, "--capacity", "4", "--fleet-lease", "3s"]).args(more);
    command.env("XDG_STATE_HOME", folder.join(name));
    let running = Running::start(command);
    running.wait_for("http://", 1);
    running
}

/// What `streamdet fleet list --json` says.
#[track_caller]
fn list(folder: &Path, url: &str) -> Value {
    let output = fleet(folder, &["list", url, "--json"]);
    succeeds(&output);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Who runs which stream, of those that are alive.
fn owners(list: &Value) -> BTreeMap<String, String> {
    let streams = list["streams"].as_object().expect("streams");
    let alive = streams.iter().filter(|(_, stream)| stream["alive"] == true);
    alive.map(|(name, stream)| (name.clone(), stream["instance"].as_str().expect("a name").to_owned())).collect()
}

/// Who runs which stream, once that is as it should be.
#[track_caller]
fn until(folder: &Path, url: &str, fits: impl Fn(&BTreeMap<String, String>) -> bool) -> BTreeMap<String, String> {
    let look = || Some(owners(&list(folder, url))).filter(&fits);
    events::state(|| list(folder, url).to_string(), look)
}

/// Four streams that publish every frame to the fleet's own server.
#[track_caller]
fn four(folder: &Path, url: &str) {
    let publish = format!("publish={url}");
    let streams = ["a=test:ball", "b=test:ball", "c=test:ball", "d=test:ball"];
    let set = ["--set", "stride=5", "--set", "publish-on=frame", "--set", &publish];
    // With the usual lease, which the first instance changes.
    succeeds(&fleet(folder, &[&["add", url], &streams[..], &set].concat()));
}

/// No epoch of a stream is of two runs, and every run's numbers are complete.
#[track_caller]
fn nobody_speaks_as_another(broker: &Broker) -> usize {
    let messages = stored(broker, "streamdet");
    let mut runs: BTreeMap<(String, u64), BTreeSet<String>> = BTreeMap::new();
    for (_, message) in messages.iter().filter(|(_, message)| message["seq"].is_u64()) {
        let of = |key: &str| message[key].as_str().expect("a text").to_owned();
        let epoch = message["epoch"].as_u64().unwrap_or_else(|| panic!("an epoch in {message}"));
        runs.entry((of("stream_name"), epoch)).or_default().insert(of("run"));
    }
    for (of, runs) in &runs {
        assert_eq!(runs.len(), 1, "{of:?}: {runs:?}");
    }
    for (of, seen) in numbered(messages.iter().map(|(_, message)| message)) {
        assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>(), "{of:?}");
    }
    runs.len()
}

#[test]
fn streams_are_shared_and_run_elsewhere_when_an_instance_is_killed_paused_or_stopped() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (broker, url) = started(folder);
    four(folder, &url);
    // Both are there before the streams are: one that is alone takes all of them.
    succeeds(&fleet(folder, &["remove", &url, "a", "b", "c", "d"]));
    let (first, second) = (instance(folder, &url, "box-1", &[]), instance(folder, &url, "box-2", &[]));
    let both = || list(folder, &url)["instances"].as_object().filter(|instances| instances.len() == 2).map(|_| ());
    events::state(|| list(folder, &url).to_string(), both);
    four(folder, &url);
    let spread = until(folder, &url, |owners| owners.len() == 4);
    let of = |name: &str, owners: &BTreeMap<String, String>| owners.values().filter(|owner| *owner == name).count();
    assert_eq!((of("box-1", &spread), of("box-2", &spread)), (2, 2), "{spread:?}");
    // Killed.
    first.signal("KILL");
    until(folder, &url, |owners| owners.len() == 4 && of("box-2", owners) == 4);
    second.wait_for("from box-1, which is gone", 2);
    // Moved to another one.
    let third = instance(folder, &url, "box-3", &[]);
    succeeds(&fleet(folder, &["move", &url, "a", "box-3"]));
    until(folder, &url, |owners| owners.get("a").is_some_and(|owner| owner == "box-3"));
    third.wait_for("fleet: a taken (epoch", 1);
    // Paused, and continued when another has its stream.
    third.signal("STOP");
    until(folder, &url, |owners| owners.len() == 4 && of("box-2", owners) == 4);
    third.signal("CONT");
    third.wait_for("fleet: a is box-2's now: it ends here", 1);
    // It comes back to where it is wished.
    until(folder, &url, |owners| owners.get("a").is_some_and(|owner| owner == "box-3"));
    // Stopped: handed over, not left to be found.
    let mut second = second;
    second.signal("TERM");
    assert_eq!(second.ended(), Some(0), "{}", second.said());
    until(folder, &url, |owners| owners.len() == 4 && of("box-3", owners) == 4);
    assert!(!third.said().contains("from box-2, which is gone"), "{}", third.said());
    // Removed, and changed.
    succeeds(&fleet(folder, &["remove", &url, "d"]));
    succeeds(&fleet(folder, &["add", &url, "c=test:smpte"]));
    until(folder, &url, |owners| owners.len() == 3);
    let mut third = third;
    third.signal("TERM");
    assert_eq!(third.ended(), Some(0), "{}", third.said());
    // Two of the killed one, two more, one moved, taken and back, two of the stopped one; and what was changed has none.
    assert!(nobody_speaks_as_another(&broker) >= 9);
}

#[test]
fn streams_go_on_while_the_server_is_away_and_stay_where_they_are() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (mut broker, url) = started(folder);
    four(folder, &url);
    let both = ["box-1", "box-2"].map(|name| instance(folder, &url, name, &[]));
    let before = until(folder, &url, |owners| owners.len() == 4);
    broker.kill();
    for instance in &both {
        instance.wait_for("streams go on, and the server is asked again", 1);
    }
    // Longer away than a lease lasts.
    clock::process().pause(Duration::from_secs(4), &Shutdown::new());
    broker.start();
    for instance in &both {
        instance.wait_for(": connected", 1);
    }
    assert_eq!(until(folder, &url, |owners| owners.len() == 4), before);
    for mut instance in both {
        instance.signal("TERM");
        assert_eq!(instance.ended(), Some(0), "{}", instance.said());
        assert!(
            !instance.said().contains("which is gone") && !instance.said().contains("ends here"),
            "{}",
            instance.said()
        );
    }
    // One run each: nothing was interrupted.
    assert_eq!(nobody_speaks_as_another(&broker), 4);
}

#[test]
fn what_does_not_run_on_one_instance_runs_on_another_and_what_cannot_be_is_refused() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (_broker, url) = started(folder);
    let refused = |args: &[&str], word: &str| {
        let output = fleet(folder, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(said(&output).contains(word) && !said(&output).contains("s3cret"), "{}", said(&output));
    };
    refused(&["add", &url, "gate"], "NAME=SOURCE");
    refused(&["add", &url, "ga te=test:ball"], "name");
    refused(&["add", &url, "gate=test:ball", "--set", "confidence=0.5"], "conf");
    refused(&["add", &url, "gate=test:ball", "--set", "password s3cret"], "OPTION=VALUE");
    refused(&["add", &url, "gate=test:ball", "--set", "source=test:smpte"], "NAME=SOURCE");
    refused(&["add", &url, "gate=test:ball", "--set", "name=yard"], "its name already");
    refused(&["remove", &url, "gate", "--fleet-lease", "3s"], "no stream");
    refused(&["move", &url, "gate", "box-1"], "no stream");
    refused(&["list", "mqtt://me:s3cret@h"], "nats://");
    let output = bare(folder, "serve").args(["--fleet", &url]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--capacity"), "{}", said(&output));
    // A stream of its own has the name.
    let first = instance(folder, &url, "box-1", &["--stream", "gate=test:ball"]);
    let config = folder.join("box-2.toml");
    std::fs::write(&config, "conf = 0.3\n").expect("a file");
    let second = instance(folder, &url, "box-2", &["--config", config.to_str().expect("a name")]);
    succeeds(&fleet(folder, &["add", &url, "gate=test:ball", "--set", "stride=5"]));
    succeeds(&fleet(folder, &["move", &url, "gate", "box-1"]));
    until(folder, &url, |owners| owners.get("gate").is_some_and(|owner| owner == "box-2"));
    first.wait_for("gate does not run here", 1);
    let output = fleet(folder, &["list", &url, "--fleet-lease", "4s"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("the fleet's lease is 3 s"), "{}", said(&output));
    // Clients leave it alone.
    let address = second.rest_after("http://");
    let uri = format!("http://{}/v1/streams/gate", address.split('/').next().expect("a place"));
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    assert_eq!(agent.delete(&uri).call().expect("an answer").status(), 409);
    assert_eq!(agent.put(&uri).send(r#"{"source":"test:smpte"}"#).expect("an answer").status(), 409);
    // So does a configuration that is read again.
    std::fs::write(&config, "[[stream]]\nname = \"gate\"\nsource = \"test:smpte\"\n").expect("a file");
    second.signal("HUP");
    second.wait_for("runs here already, started by the fleet", 1);
    let state = agent.get(&uri).call().expect("an answer").into_body().read_to_string().expect("a text");
    assert!(!state.contains("ended") && state.contains("test:ball"), "{state}");
    let metrics = agent.get(uri.replace("v1/streams/gate", "metrics")).call().expect("an answer");
    let metrics = metrics.into_body().read_to_string().expect("a text");
    for line in ["connected 1", "streams 1", "desired_streams 1", "capacity_streams 4"] {
        assert!(metrics.contains(&format!("streamdet_fleet_{line}\n")), "{line}: {metrics}");
    }
    // Options that were put right are tried at once.
    succeeds(&fleet(folder, &["add", &url, "yard=test:ball", "--set", "output=/dev/null/yard.mp4"]));
    for instance in [&first, &second] {
        instance.wait_for("yard does not run here", 1);
    }
    succeeds(&fleet(folder, &["add", &url, "yard=test:ball"]));
    until(folder, &url, |owners| owners.contains_key("yard"));
}

#[test]
fn what_the_server_does_not_permit_is_said() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut broker = Broker::nats(folder).configured(
        r#"authorization { users = [{ user: me, password: s3cret, permissions: { publish: { deny: ["$JS.API.>"] } } }] }"#,
    );
    broker.start();
    let server = format!("nats://me:s3cret@127.0.0.1:{}", broker.port);
    for (command, args) in [("fleet", vec!["list", &server]), ("work", vec!["status", &format!("{server}/archive")])] {
        let output = bare(folder, command).args(args).output().expect("it starts");
        assert!(!output.status.success(), "{command}");
        let said = said(&output).to_lowercase();
        assert!(said.contains("permissions violation") && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn an_instance_whose_thread_panics_ends_and_others_take_its_streams() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (_broker, url) = started(folder);
    four(folder, &url);
    let mut command = bare(folder, "serve");
    command.args(["--listen", ":0", "--provider", "cpu", "--imgsz", "96", "--fleet", &url, "--instance", "box-1"]);
    command.args(["--capacity", "4", "--fleet-lease", "3s"]).env("STREAMDET_TEST_PANIC", "fleet:30");
    let mut first = Running::start(command);
    until(folder, &url, |owners| owners.len() == 4);
    let _second = instance(folder, &url, "box-2", &[]);
    assert_eq!(first.ended(), Some(1), "{}", first.said());
    assert!(first.said().contains("fleet"), "{}", first.said());
    until(folder, &url, |owners| owners.values().filter(|owner| *owner == "box-2").count() == 4);
}
