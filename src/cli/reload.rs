//! A configuration that is read again while `serve` runs, and applied as far as it can be.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use axum::http::StatusCode;

use super::detect::DetectArgs;
use super::launch::{Clients, Launcher};
use super::messages::told;
use crate::config::{self, Change, Effect, Settings, StreamConfig};
use crate::serve::streams::{Asked, Prepared, Streams};
use crate::serve::{Defaults, Problem, SharedCertificate, SharedDefaults, Tls};

/// A configuration, as read.
pub(super) struct New {
    pub settings: Settings,
    pub streams: Vec<StreamConfig<DetectArgs>>,
    pub defaults: Defaults,
    pub clients: Clients,
    pub tls: Option<Tls>,
}

/// What a reload applies to.
pub(super) struct Running {
    /// What runs is configured so.
    settings: Mutex<Settings>,
    streams: Arc<Streams>,
    launcher: Arc<Launcher>,
    defaults: SharedDefaults,
    certificate: Option<SharedCertificate>,
}

/// A stream to start.
type ToStart = (StreamConfig<DetectArgs>, Prepared);

impl Running {
    /// `settings` runs.
    pub(super) fn new(
        settings: Settings,
        (streams, launcher): (Arc<Streams>, Arc<Launcher>),
        defaults: SharedDefaults,
        certificate: Option<SharedCertificate>,
    ) -> Self {
        Self { settings: Mutex::new(settings), streams, launcher, defaults, certificate }
    }

    /// Applies what `read` finds; what has changed.
    ///
    /// # Errors
    /// When the configuration cannot be used: nothing has changed then. When streams do not start: everything else is applied.
    pub(super) fn reload(&self, read: impl Fn() -> anyhow::Result<New>) -> Result<Vec<Change>, Problem> {
        let mut running = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let New { settings: mut new, streams, defaults, clients, tls } = read().map_err(unusable)?;
        let mut changes = config::changes(&running, &new);
        let as_before = |name: &String| !changes.iter().any(|change| change.stream() == Some(name));
        let restored = new.streams.keys().filter(|name| as_before(name) && !self.streams.is_as_configured(name));
        let restored: Vec<Change> = restored.map(|stream| Change::Restored { stream: stream.clone() }).collect();
        changes.extend(restored);

        // Everything is checked before anything changes.
        let certificate = tls.filter(|_| self.certificate.is_some()).map(|tls| tls.read()).transpose();
        let certificate = certificate.map_err(|error| unusable(error.into()))?;
        let (mut to_start, mut live) = (Vec::new(), Vec::new());
        for stream in streams {
            let own = changes.iter().filter(|change| change.stream() == Some(stream.name.as_str()));
            let (mut is_changed, mut begins) = (false, false);
            for change in own {
                is_changed = true;
                begins |= !matches!(change, Change::Key { effect: Effect::Now, .. });
            }
            // One that a client has stopped, or that has failed, begins with what changed.
            begins |= is_changed && !self.streams.is_as_configured(&stream.name);
            if is_changed {
                let prepared = self.launcher.checked(&stream, false);
                let prepared = prepared.map_err(|error| unusable(anyhow!("{}: {error}", stream.place)))?;
                if begins { to_start.push((stream, prepared)) } else { live.push(stream) }
            }
        }

        self.defaults.set(defaults);
        self.launcher.allow(clients);
        if let Some((shown, certificate)) = self.certificate.as_ref().zip(certificate) {
            shown.renew(certificate);
        }
        // What is gone frees its addresses and files for what is new.
        for change in &changes {
            if let Change::Removed { stream } = change {
                // A client may have stopped it.
                let _ = self.streams.delete(stream);
            }
        }
        for stream in live {
            self.adjust(&stream);
        }
        let failed = self.start(to_start);
        for (name, _) in &failed {
            // The next reload tries it again.
            new.streams.remove(name);
        }
        *running = new;
        if failed.is_empty() {
            return Ok(changes);
        }
        let failed: Vec<String> = failed.into_iter().map(|(_, said)| said).collect();
        Err(Problem::failed(format!("everything else is applied, but:\n{}", failed.join("\n"))))
    }

    /// Those that did not start, and why.
    fn start(&self, streams: Vec<ToStart>) -> Vec<(String, String)> {
        let mut failed = Vec::new();
        for (StreamConfig { name, place, .. }, prepared) in streams {
            let started = self.streams.start(&name, Asked::Configuration, || Ok(prepared));
            failed.extend(started.err().map(|error| (name, format!("{place}: {error}"))));
        }
        failed
    }

    /// What a stream takes over while it runs.
    fn adjust(&self, stream: &StreamConfig<DetectArgs>) {
        let Some(controls) = self.streams.controls(&stream.name) else { return };
        let options = stream.args.options();
        controls.set_confidence(options.detections.conf.unwrap_or(self.launcher.origin().conf));
        controls.show_hud(options.drawing.hud);
    }
}

/// Nothing has changed.
fn unusable(error: anyhow::Error) -> Problem {
    let detail = format!("the configuration cannot be used, and nothing has changed:\n{}", told(&error));
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}
