//! A configuration that is read again while the server runs, and applied as far as it can be.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;

use crate::config::{self, Change, Effect, Settings, StreamConfig};
use crate::controls::Controls;
use crate::serve::defaults::{Defaults, SharedDefaults};
use crate::serve::problem::Problem;
use crate::serve::streams::{Asked, Prepared, StreamError, Streams};
use crate::serve::tls::{SharedCertificate, Tls};

/// A configuration, as read. `A` are a stream's options.
pub struct New<A> {
    /// All of it, to compare it by.
    pub settings: Settings,
    /// Its streams.
    pub streams: Vec<StreamConfig<A>>,
    /// What requests get.
    pub defaults: Defaults,
    /// The certificate's files.
    pub tls: Option<Tls>,
    /// Applies what else there is.
    pub apply: Box<dyn FnOnce() + Send>,
}

#[expect(clippy::type_complexity, reason = "each is named by its field")]
/// What a reload applies to.
pub struct Running<A> {
    /// What runs is configured so.
    pub settings: Mutex<Settings>,
    /// The streams.
    pub streams: Arc<Streams>,
    /// What requests get.
    pub defaults: SharedDefaults,
    /// The certificate, where there is one.
    pub certificate: Option<SharedCertificate>,
    /// Checks a stream; nothing is opened yet.
    pub check: Box<dyn Fn(&StreamConfig<A>) -> Result<Prepared, StreamError> + Send + Sync>,
    /// Has a stream that runs take over what it can.
    pub adjust: Box<dyn Fn(&A, &Controls) + Send + Sync>,
}

/// A stream to start.
type ToStart<A> = (StreamConfig<A>, Prepared);

impl<A> Running<A> {
    /// Applies what `read` finds; what has changed.
    ///
    /// # Errors
    /// When the configuration cannot be used: nothing has changed then. When streams do not start: everything else is applied.
    pub fn reload(&self, read: impl Fn() -> Result<New<A>, String>) -> Result<Vec<Change>, Problem> {
        let mut running = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let New { settings: mut new, streams, defaults, tls, apply } = read().map_err(unusable)?;
        let mut changes = config::changes(&running, &new);
        let as_before = |name: &String| !changes.iter().any(|change| change.stream() == Some(name));
        let restored = new.streams.keys().filter(|name| as_before(name) && !self.streams.is_as_configured(name));
        let restored: Vec<Change> = restored.map(|stream| Change::Restored { stream: stream.clone() }).collect();
        changes.extend(restored);

        // Everything is checked before anything changes.
        let certificate = tls.filter(|_| self.certificate.is_some()).map(|tls| tls.read()).transpose();
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
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
                let prepared = (self.check)(&stream);
                let prepared = prepared.map_err(|error| unusable(format!("{}: {error}", stream.place)))?;
                if begins { to_start.push((stream, prepared)) } else { live.push(stream) }
            }
        }

        self.defaults.set(defaults);
        apply();
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
            if let Some(controls) = self.streams.controls(&stream.name) {
                (self.adjust)(&stream.args, &controls);
            }
        }
        let failed = self.start(to_start);
        for (name, _) in &failed {
            // The next reload tries it again.
            new.streams.remove(name);
        }
        // What needs a restart is said every time until then.
        for change in &changes {
            if let Change::Key { stream: None, key, effect: Effect::Restart } = change {
                match running.process.get(key) {
                    Some(values) => drop(new.process.insert(key.clone(), values.clone())),
                    None => drop(new.process.remove(key)),
                }
            }
        }
        *running = new;
        if failed.is_empty() {
            return Ok(changes);
        }
        let failed: Vec<String> = failed.into_iter().map(|(_, said)| said).collect();
        Err(Problem::failed(format!("everything else is applied, but:\n{}", failed.join("\n"))))
    }

    /// Those that did not start, and why.
    fn start(&self, streams: Vec<ToStart<A>>) -> Vec<(String, String)> {
        let mut failed = Vec::new();
        for (StreamConfig { name, place, .. }, prepared) in streams {
            let started = self.streams.start(&name, Asked::Configuration, || Ok(prepared));
            failed.extend(started.err().map(|error| (name, format!("{place}: {error}"))));
        }
        failed
    }
}

/// Nothing has changed.
fn unusable(said: impl std::fmt::Display) -> Problem {
    let detail = format!("the configuration cannot be used, and nothing has changed:\n{said}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}
