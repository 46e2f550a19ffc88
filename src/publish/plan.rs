//! What is published, where and how, as the user asked for it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::spool::SpoolError;
use super::target::{Protocol, Target};
use crate::stream::StreamId;
use crate::thread::ThreadError;

/// When there is a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// With other objects in the frame than before.
    Change,
    /// With every frame.
    Frame,
    /// When an object comes, as long as it is there, when it is gone.
    Track,
    /// When something crosses a line or visits a zone.
    Event,
}

impl FromStr for On {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "change" => Ok(Self::Change),
            "frame" => Ok(Self::Frame),
            "track" => Ok(Self::Track),
            "event" => Ok(Self::Event),
            _ => Err("expected one of change, frame, track, event".into()),
        }
    }
}

/// What messages look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The lines of `--json`.
    Streamdet,
    /// As Frigate has them.
    Frigate,
    /// NVIDIA's minimal schema.
    DeepStreamMinimal,
}

impl Format {
    /// What topics begin with, where the address says nothing.
    fn prefix(self) -> &'static str {
        match self {
            Self::Frigate => "frigate",
            Self::Streamdet | Self::DeepStreamMinimal => "streamdet",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "streamdet" => Ok(Self::Streamdet),
            "frigate" => Ok(Self::Frigate),
            "deepstream-minimal" => Ok(Self::DeepStreamMinimal),
            "cot" => Err("Cursor on Target is made of positions, which this version does not work out".into()),
            _ => Err("expected one of streamdet, frigate, deepstream-minimal".into()),
        }
    }
}

/// As the options say it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Brokers.
    pub targets: Vec<Target>,
    /// What messages look like.
    pub format: Format,
    /// When there is one; `None`: as the format has it.
    pub on: Option<On>,
    /// Frames, changes and updates of a track a second, at most; `None`: as `on` has it.
    pub rate: Option<f64>,
    /// Whether the end of a track has its best view.
    pub crops: bool,
    /// Home Assistant's prefix, where its entities are announced.
    pub home_assistant: Option<String>,
    /// Where messages lie until they are acknowledged.
    pub spool: PathBuf,
    /// So many bytes of them, a stream and broker.
    pub spool_bytes: u64,
    /// Certificates that are trusted, a PEM file; `None`: the system's.
    pub tls_ca: Option<PathBuf>,
    /// Of a fleet's stream: who runs it by this number is the only one that has it.
    pub epoch: Option<u64>,
}

/// Why nothing can be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Options that do not fit together.
    #[error("--publish-format {0}")]
    Format(&'static str),
    /// Entities that nobody would hear of.
    #[error("--home-assistant {0}")]
    HomeAssistant(&'static str),
    /// A view of what is not followed.
    #[error("--publish-crops: the end of a track has them\n  use --publish-on track")]
    Crops,
    /// Two times the same.
    #[error("--publish {0}: given twice\n  leave one out, or give them different prefixes")]
    Twice(String),
    /// No home folder.
    #[error("--publish: there is no home folder\n  name a folder with --spool")]
    NoFolder,
    /// No folder for what is not acknowledged.
    #[error("--spool {0}")]
    Spool(#[from] SpoolError),
    /// No certificates.
    #[error("--publish-ca {path}: {problem}\n  give a PEM file with CA certificates")]
    Certificates {
        /// The file, or the system's.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No thread.
    #[error("--publish: {0}")]
    Thread(#[from] ThreadError),
}

impl Request {
    /// Whether the options fit together.
    ///
    /// # Errors
    /// Those that do not.
    pub fn check(&self) -> Result<(), PublishError> {
        let on = self.on();
        let speaks = |protocol| self.targets.iter().any(|target| target.protocol == protocol);
        match self.format {
            Format::Frigate if self.targets.iter().any(|target| target.protocol != Protocol::Mqtt) => {
                return Err(PublishError::Format("frigate: its topics are those of MQTT\n  give an mqtt:// address"));
            }
            Format::Frigate if on != On::Track => {
                return Err(PublishError::Format("frigate: it has tracks only\n  leave --publish-on out"));
            }
            Format::DeepStreamMinimal if matches!(on, On::Track | On::Event) => {
                return Err(PublishError::Format(
                    "deepstream-minimal: it has frames only\n  use --publish-on frame or change",
                ));
            }
            _ => {}
        }
        if self.crops && on != On::Track {
            return Err(PublishError::Crops);
        }
        if self.home_assistant.is_some() && !speaks(Protocol::Mqtt) {
            return Err(PublishError::HomeAssistant("it listens to MQTT\n  give an mqtt:// address to --publish"));
        }
        if self.home_assistant.is_some() && self.format != Format::Streamdet {
            return Err(PublishError::HomeAssistant(
                "its entities read --publish-format streamdet\n  of frigate, Frigate's own integration makes them",
            ));
        }
        let mut known = HashSet::new();
        match self.targets.iter().map(ToString::to_string).find(|target| !known.insert(target.clone())) {
            Some(twice) => Err(PublishError::Twice(twice)),
            None => Ok(()),
        }
    }

    /// When there is a message.
    #[must_use]
    pub fn on(&self) -> On {
        self.on.unwrap_or(if self.format == Format::Frigate { On::Track } else { On::Change })
    }

    /// Whether objects have to be tracked for it.
    #[must_use]
    pub fn needs_tracks(&self) -> bool {
        self.on() == On::Track
    }

    /// The shortest time between two of them, ns.
    pub(super) fn interval_ns(&self) -> u64 {
        let rate = self.rate.or(match self.on() {
            On::Frame | On::Event => None,
            On::Change => Some(5.0),
            On::Track => Some(1.0),
        });
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the option's parser bounds it")]
        rate.map_or(0, |rate| (1e9 / rate) as u64)
    }

    /// A plan for streams of these names.
    #[must_use]
    pub fn plan(self, names: &[String]) -> Plan {
        let mut taken = HashSet::new();
        let mut routes = Vec::new();
        for (name, number) in names.iter().zip(0..) {
            let mut own = part_of_topic(name);
            for further in 2.. {
                if taken.insert(own.clone()) {
                    break;
                }
                own = format!("{}-{further}", part_of_topic(name));
            }
            routes.extend(self.targets.iter().map(|target| {
                let prefix = target.prefix.clone().unwrap_or_else(|| self.format.prefix().to_owned());
                let (stream, name) = (StreamId(number), own.clone());
                let (target, figures) = (target.clone(), Figures::default());
                Arc::new(Route { stream, name, target, prefix, epoch: self.epoch, figures })
            }));
        }
        Plan { request: self, routes }
    }
}

/// A name as a part of a topic: what would part it, or match others, becomes `_`; so do dots, which part NATS' subjects.
fn part_of_topic(name: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = name.chars().take(64).map(kept).collect();
    if name.is_empty() { "stream".into() } else { name }
}

/// Which stream goes where.
#[derive(Debug)]
pub struct Plan {
    /// As the options say it.
    pub request: Request,
    /// One for each stream and broker.
    pub routes: Vec<Arc<Route>>,
}

impl Plan {
    /// The routes of a stream.
    pub fn of(&self, stream: StreamId) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().filter(move |route| route.stream == stream)
    }

    /// What the report says of a stream.
    #[must_use]
    pub fn report(&self, stream: StreamId) -> Vec<PublishReport> {
        self.of(stream).map(|route| route.figures.report(&route.target)).collect()
    }
}

/// One stream on its way to one broker.
#[derive(Debug)]
pub struct Route {
    /// Which stream.
    pub stream: StreamId,
    /// Its name in topics.
    pub name: String,
    /// The broker.
    pub target: Target,
    /// What topics begin with.
    pub prefix: String,
    /// Of a fleet's stream.
    pub epoch: Option<u64>,
    /// What is counted.
    pub figures: Figures,
}

impl Route {
    /// The name of its folder: the stream's, and what tells this broker and prefix from others.
    pub(super) fn folder(&self) -> String {
        let Target { host, port, .. } = &self.target;
        let hash = Sha256::digest(format!("{host}:{port}/{}", self.prefix));
        format!("{}-{:02x}{:02x}{:02x}{:02x}", self.name, hash[0], hash[1], hash[2], hash[3])
    }

    /// A topic below the prefix, whole.
    pub(super) fn topic(&self, below: &str) -> String {
        format!("{}/{below}", self.prefix)
    }
}

/// Counters of a route.
#[derive(Debug, Default)]
pub struct Figures {
    /// Messages that the broker has acknowledged.
    pub published: AtomicU64,
    /// Messages that did not fit.
    pub lost: AtomicU64,
    /// Messages that are not acknowledged.
    pub waiting: AtomicU64,
    /// Bytes of the spool.
    pub bytes: AtomicU64,
    /// Times it was connected again.
    pub reconnects: AtomicU64,
    /// Whether it is connected.
    pub is_connected: AtomicBool,
}

impl Figures {
    fn report(&self, target: &Target) -> PublishReport {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PublishReport {
            to: target.to_string(),
            published: get(&self.published),
            lost: get(&self.lost),
            waiting: get(&self.waiting),
            reconnects: get(&self.reconnects),
        }
    }
}

/// What was published of a stream.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PublishReport {
    /// Where, without secrets.
    pub to: String,
    /// Messages that the broker acknowledged in this run, those of earlier runs included.
    pub published: u64,
    /// Messages that did not fit into the spool or could not be written to it.
    pub lost: u64,
    /// Messages that are left for the next run.
    pub waiting: u64,
    /// Times the broker was connected again.
    pub reconnects: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(targets: &[&str]) -> Request {
        Request {
            targets: targets.iter().map(|target| target.parse().expect("a broker")).collect(),
            format: Format::Streamdet,
            on: None,
            rate: None,
            crops: false,
            home_assistant: None,
            spool: PathBuf::new(),
            spool_bytes: 256_000_000,
            tls_ca: None,
            epoch: None,
        }
    }

    #[test]
    fn every_stream_has_a_topic_and_a_folder_of_its_own_at_every_broker() {
        let names = ["gate.1/a", "gate 1 a", "x"].map(str::to_owned);
        let plan = request(&["mqtt://h/a", "nats://h"]).plan(&names);
        let topics: Vec<String> = plan.routes.iter().map(|route| route.topic(&route.name)).collect();
        assert_eq!(
            topics,
            ["a/gate_1_a", "streamdet/gate_1_a", "a/gate_1_a-2", "streamdet/gate_1_a-2", "a/x", "streamdet/x"]
        );
        let folders: HashSet<String> = plan.routes.iter().map(|route| route.folder()).collect();
        assert_eq!(folders.len(), 6);
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_what_to_do() {
        let with = |targets: &[&str], change: &dyn Fn(&mut Request)| {
            let mut request = request(targets);
            change(&mut request);
            request.check().expect_err("it is refused").to_string()
        };
        let said = [
            with(&["nats://h"], &|request| request.format = Format::Frigate),
            with(&["mqtt://h"], &|request| (request.format, request.on) = (Format::Frigate, Some(On::Frame))),
            with(&["mqtt://h"], &|request| (request.format, request.on) = (Format::DeepStreamMinimal, Some(On::Track))),
            with(&["nats://h"], &|request| request.home_assistant = Some("homeassistant".into())),
            with(&["mqtt://h", "kafka://h"], &|request| request.format = Format::Frigate),
            with(&["kafka://h"], &|request| request.home_assistant = Some("homeassistant".into())),
            with(&["mqtt://h"], &|request| request.crops = true),
            with(&["mqtt://u:p@h/x", "mqtt://v:q@h/x"], &|_| {}),
        ];
        for text in &said {
            assert!(text.contains("\n  ") && !text.contains("u:p"), "{text}");
        }
        assert!(request(&["mqtt://h", "nats://h", "kafka://h,h2"]).check().is_ok());
        assert!("cot".parse::<Format>().expect_err("refused").contains("positions"));
    }
}
