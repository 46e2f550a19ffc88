//! Options of what is published to brokers.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::folders;
use crate::publish::{Format, On, PublishError, Request, Target};
use crate::units::Bytes;

/// Where detections are published, and what of them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Publishing")]
pub struct PublishOptions {
    /// Publish to a broker: mqtt[s]://[USER:PASSWORD@]HOST[:PORT][/PREFIX] (MQTT 5), nats[s]://… (JetStream) or
    /// kafka[s]://…HOST[:PORT],HOST…[/PREFIX][?sasl=scram-sha-512] (Kafka); repeatable. What it has not acknowledged lies on disk, and
    /// outlasts its outages and a restart
    #[arg(long, value_name = "URL")]
    publish: Vec<Target>,
    /// Publish with: change (other objects than before), every frame, track (an object is new, there, gone), event (of --count-line and
    /// --zone) [default: change; track for frigate]
    #[arg(long, value_name = "change|frame|track|event")]
    publish_on: Option<On>,
    /// Publish frames, changes and updates of a track at most so often a second; its beginning, its end and events always [default: 5 for
    /// change, 1 for track, no limit for frame]
    #[arg(long, value_name = "N", value_parser = rate)]
    publish_rate: Option<f64>,
    /// With --publish-on track, send each object's best view with its end: a JPEG of at most 640 pixels a side. What --blur names is
    /// pixelated
    #[arg(long)]
    publish_crops: bool,
    /// What messages look like: streamdet (lines of --json), frigate, deepstream-minimal [default: streamdet]
    #[arg(long, value_name = "FORMAT")]
    publish_format: Option<Format>,
    /// CA certificates to trust for mqtts://, natss:// and kafkas://, a PEM file [default: the system's]
    #[arg(long, value_name = "FILE")]
    publish_ca: Option<PathBuf>,
    /// Announce counts by class to Home Assistant (MQTT discovery) below PREFIX [default without a prefix: homeassistant]
    #[arg(long, value_name = "PREFIX", value_parser = prefix, num_args = 0..=1, require_equals = true, default_missing_value = "homeassistant")]
    home_assistant: Option<String>,
    /// Folder for messages that are not acknowledged [default: ~/.local/state/streamdet/spool]
    #[arg(long, value_name = "FOLDER")]
    spool: Option<PathBuf>,
    /// Room for them, a stream and broker, from 1MB on; what no longer fits is lost, and counted: 16MB, 2GB
    #[arg(long, value_name = "SIZE", value_parser = room, default_value = "256MB")]
    spool_bytes: Bytes,
}

impl PublishOptions {
    /// CA certificates to trust.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        self.publish_ca.as_deref()
    }

    /// What is of no use.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        let Self {
            publish,
            publish_on,
            publish_rate,
            publish_crops,
            publish_format,
            publish_ca,
            home_assistant,
            spool,
            spool_bytes: _,
        } = self;
        let files = publish_ca.is_some() || spool.is_some();
        let how = publish_on.is_some() || publish_rate.is_some() || publish_format.is_some();
        let what = *publish_crops || home_assistant.is_some();
        (publish.is_empty() && (files || how || what)).then(|| NOWHERE.to_owned())
    }

    /// What is to be published.
    ///
    /// # Errors
    /// When options do not fit together, or there is no folder for the spool.
    pub fn request(&self) -> Result<Option<Request>, PublishError> {
        if self.publish.is_empty() {
            return Ok(None);
        }
        let home = || folders::state().map(|folder| folder.join("spool"));
        let spool = self.spool.clone().or_else(home);
        let request = Request {
            epoch: None,
            targets: self.publish.clone(),
            format: self.publish_format.unwrap_or(Format::Streamdet),
            on: self.publish_on,
            rate: self.publish_rate,
            crops: self.publish_crops,
            home_assistant: self.home_assistant.clone(),
            spool: spool.ok_or(PublishError::NoFolder)?,
            spool_bytes: self.spool_bytes.0,
            tls_ca: self.publish_ca.clone(),
        };
        request.check()?;
        Ok(Some(request))
    }
}

/// That options say how, and nothing where.
const NOWHERE: &str = "options of publishing are given, and nothing is published: name a broker with --publish";

/// How often, a second.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("give messages a second, from 0.001 to 1000".into()),
    }
}

/// What a spool may take.
fn room(text: &str) -> Result<Bytes, String> {
    let room: Bytes = text.parse()?;
    if room.0 < 1_000_000 { Err("give at least 1MB, as 16MB or 2GB".into()) } else { Ok(room) }
}

/// What topics begin with.
fn prefix(text: &str) -> Result<String, String> {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if text.split('/').all(is_part) { Ok(text.to_owned()) } else { Err("give letters, digits, -, _ and /".into()) }
}
