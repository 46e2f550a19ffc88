//! Streams of a fleet, run by this server.

use std::sync::Arc;

use super::{Asked, Options, Streams};
use crate::fleet::Runs;

/// Runs the fleet's streams beside those of the configuration and of clients.
pub struct FleetStreams(pub Arc<Streams>);

impl Runs for FleetStreams {
    fn start(&self, name: &str, options: &Options, epoch: u64) -> Result<(), String> {
        let asked = Asked::Fleet(epoch, options.to_string());
        let started = self.0.start(name, asked, || self.0.launcher.prepare_for_fleet(name, options, epoch));
        started.map(drop).map_err(|error| error.to_string())
    }

    fn stop(&self, name: &str) {
        // One that did not start is not there.
        let _ = self.0.remove(name, true);
    }

    fn failure(&self, name: &str) -> Option<String> {
        self.0.status(name).and_then(|status| status.failure())
    }
}
