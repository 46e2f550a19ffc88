//! Real brokers, started on free ports, killed and started again.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use async_nats::jetstream;
use serde_json::Value;

use super::{events, free_port, number, skipped, succeeds, text};

/// The Kafka broker that `tests/tansu/fetch.sh` fetches.
pub const TANSU: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tansu/tansu");

/// A server in a folder of its own, until it is dropped.
pub struct Broker {
    program: &'static str,
    args: Vec<String>,
    pub port: u16,
    pub folder: PathBuf,
    pub child: Option<Child>,
}

/// Whether a program is installed; else the test says that it is skipped.
#[track_caller]
pub fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).env("PATH", path()).output();
    let has = found.is_ok_and(|output| output.status.success());
    if !has {
        skipped(&format!("{program} is not installed (make test installs it)"));
    }
    has
}

/// Debian puts servers where only root looks.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

impl Broker {
    /// mosquitto, which keeps sessions and what is retained through a kill; `more` is added to its configuration. It does not run.
    pub fn mosquitto(folder: &Path, more: &str) -> Self {
        let (folder, port) = (folder.join("mosquitto"), free_port());
        std::fs::create_dir_all(&folder).expect("a folder");
        // Everything goes on to a listener at once: what the broker has acknowledged, its listener has. As another user it could not
        // write into the folder.
        let config = format!(
            "user root\nlistener {port} 127.0.0.1\nlog_type all\npersistence true\npersistence_location {}/\nautosave_interval 1\nautosave_on_changes true\n\
             max_inflight_messages 0\nmax_queued_messages 0\n{more}\n",
            text(&folder)
        );
        let own = folder.join("mosquitto.conf");
        std::fs::write(&own, config).expect("a file");
        Self { program: "mosquitto", args: vec!["-c".into(), text(&own).into()], port, folder, child: None }
    }

    /// nats-server with JetStream. It does not run.
    pub fn nats(folder: &Path) -> Self {
        let (folder, port) = (folder.join("nats"), free_port());
        std::fs::create_dir_all(&folder).expect("a folder");
        let args = ["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd", text(&folder)].map(str::to_owned);
        Self { program: "nats-server", args: args.into(), port, folder, child: None }
    }

    /// With a configuration beside its arguments.
    #[must_use]
    pub fn configured(mut self, config: &str) -> Self {
        let own = self.folder.with_extension("conf");
        std::fs::write(&own, config).expect("a file");
        self.args.extend(["-c".into(), text(&own).into()]);
        self
    }

    /// Tansu, which keeps messages in memory, through no kill; clients are told to come to `port`. It does not run.
    pub fn tansu(folder: &Path, advertised: u16, more: &[&str]) -> Self {
        let (folder, port) = (folder.join("tansu"), free_port());
        std::fs::create_dir_all(&folder).expect("a folder");
        let own = format!("tcp://127.0.0.1:{port}");
        let told = format!("tcp://localhost:{advertised}");
        let args = ["broker", "--listener-url", &own, "--advertised-listener-url", &told, "--storage-engine"];
        let args = [&args[..], &["memory://tansu/"], more].concat().into_iter().map(str::to_owned).collect();
        Self { program: TANSU, args, port, folder, child: None }
    }

    /// Starts it, and waits until it answers.
    #[track_caller]
    pub fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).expect("a file");
        let mut command = Command::new(self.program);
        command.args(&self.args).env("PATH", path()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        let mut child = command.spawn().expect("it starts");
        let said = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        events::state(said, || {
            // While it was away, somebody may have taken its port for a moment.
            if child.try_wait().expect("its state").is_some() {
                child = command.spawn().expect("it starts");
            }
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
        self.child = Some(child);
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is killed");
            child.wait().expect("its end");
        }
    }

    /// Deletes what it has saved.
    pub fn forget(&self) {
        std::fs::remove_file(self.folder.join("mosquitto.db")).expect("it has saved something");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A nats-server that runs, and its address with `below` behind it.
#[track_caller]
pub fn started(folder: &Path, below: &str) -> (Broker, String) {
    let mut broker = Broker::nats(folder);
    broker.start();
    let address = format!("nats://127.0.0.1:{}{below}", broker.port);
    (broker, address)
}

/// Waiting, running, done, failed: of what `streamdet work status --json` says.
#[track_caller]
pub fn figures(status: &Output) -> [u64; 4] {
    succeeds(status);
    let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    ["waiting", "running", "done", "failed"].map(|key| number(&status["figures"][key]))
}

/// All messages that the server stores, in its order: `(subject, payload)`.
pub fn stored(broker: &Broker, stream: &str) -> Vec<(String, Value)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = format!("nats://127.0.0.1:{}", broker.port);
    runtime.block_on(async {
        let client = async_nats::connect(address).await.expect("it answers");
        let context = jetstream::new(client);
        let stream = context.get_stream(stream).await.expect("a stream");
        let state = stream.cached_info().state.clone();
        let mut messages = Vec::new();
        for number in state.first_sequence.max(1)..=state.last_sequence {
            let message = stream.get_raw_message(number).await.expect("a message");
            let payload = serde_json::from_slice(&message.payload);
            let payload = payload.unwrap_or_else(|_| String::from_utf8_lossy(&message.payload).into());
            messages.push((message.subject.to_string(), payload));
        }
        messages
    })
}

/// Numbers of messages by topic's stream and run, in the order in which each came first; a message that comes again is the same.
#[track_caller]
pub fn numbered<'a>(messages: impl Iterator<Item = &'a Value>) -> BTreeMap<(String, String), Vec<u64>> {
    let mut numbers: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    let mut known: BTreeMap<(String, String, u64), &Value> = BTreeMap::new();
    for message in messages.filter(|message| message["seq"].is_u64()) {
        let of = |key: &str| message[key].as_str().unwrap_or_else(|| panic!("{key} in {message}")).to_owned();
        let (name, run, seq) = (of("stream_name"), of("run"), message["seq"].as_u64().expect("a number"));
        match known.insert((name.clone(), run.clone(), seq), message) {
            Some(before) => assert_eq!(before, message, "a double is the same message"),
            None => numbers.entry((name, run)).or_default().push(seq),
        }
    }
    numbers
}
