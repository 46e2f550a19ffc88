//! Who listens to brokers.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::program::broker::Broker;
use crate::program::events;

/// A message as it was heard.
#[derive(Debug, Clone)]
pub struct Heard {
    pub topic: String,
    pub retained: bool,
    /// MQTT's user properties `run` and `seq`.
    pub run: String,
    pub seq: String,
    pub payload: String,
}

impl Heard {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// mosquitto's own client, whose session outlasts the broker's end; an independent witness.
pub struct Listener {
    child: Child,
    pub file: PathBuf,
}

impl Listener {
    /// Listens to a topic, and waits until `broker` knows that.
    #[track_caller]
    pub fn start(broker: &Broker, topic: &str, more: &[&str]) -> Self {
        let id = more.iter().skip_while(|option| **option != "-i").nth(1).copied().unwrap_or("listener");
        let file = broker.folder.join(format!("heard-{id}"));
        let log = broker.folder.join(format!("log-{id}"));
        let out = std::fs::File::create(&file).expect("a file");
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-V", "mqttv5", "-q", "1"]);
        command.args(["-c", "-i", id, "-x", "3600", "-t", topic, "-F", "> %t\t%r\t%P\t%p"]).args(more);
        command.stdin(Stdio::null()).stdout(out).stderr(std::fs::File::create(&log).expect("a file"));
        let child = command.spawn().expect("mosquitto_sub is installed");
        let log = broker.folder.join("log");
        events::file(&log, |said| String::from_utf8_lossy(said).contains(&format!("Sending SUBACK to {id}\n")));
        // What is not saved is gone with the broker; SIGUSR1 has it saved.
        let broker_id = broker.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args(["-s", "USR1", &broker_id]).status().expect("kill").success());
        let database = broker.folder.join("mosquitto.db");
        events::file(&database, |saved| saved.windows(id.len()).any(|bytes| bytes == id.as_bytes()));
        Self { child, file }
    }

    /// All that was heard so far, in order.
    pub fn heard(&self) -> Vec<Heard> {
        heard(&std::fs::read(&self.file).expect("a file"))
    }

    /// Waits until all that was heard is as it should be.
    #[track_caller]
    pub fn wait(&self, as_it_should_be: impl Fn(&[Heard]) -> bool) -> Vec<Heard> {
        events::file(&self.file, |said| as_it_should_be(&heard(said)));
        self.heard()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The messages that `mosquitto_sub` has written whole.
fn heard(said: &[u8]) -> Vec<Heard> {
    let text = String::from_utf8_lossy(said);
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.strip_prefix("> "));
    let message = |line: &str| {
        let mut parts = line.splitn(4, '\t').map(str::to_owned);
        let (topic, retained) = (parts.next()?, parts.next()? == "1");
        let (properties, payload) = (parts.next()?, parts.next()?);
        let property = |name: &str| {
            let found = properties.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix(':'));
            found.unwrap_or_default().to_owned()
        };
        Some(Heard { topic, retained, run: property("run"), seq: property("seq"), payload })
    };
    whole.filter_map(message).collect()
}
