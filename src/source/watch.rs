//! A live source as the pipeline runs it.

use std::sync::Arc;

use super::address::Address;
use super::audio::StreamAudio;
use super::error::SourceError;
use super::opener::LiveOpener;
use super::options::{LiveOptions, Wanted};
use super::outlet::Outlet;
use super::reconnect::Reconnect;
use super::stream_clock::StreamClock;
use super::supervisor::Supervisor;
use crate::channel::WhenFull;
use crate::shutdown::Shutdown;

/// Decodes `address` into `outlet` until it ends, is given up, or `shutdown` is requested; tells `disconnected` why, whenever
/// an outage begins, and `notice` what a user should know. Returns the encoded frames that were never decoded.
///
/// # Errors
/// [`SourceError::Unusable`] when it never worked, [`SourceError::Broken`] when it is given up after it did.
pub fn watch(
    address: &Address,
    options: &LiveOptions,
    wanted: &Wanted,
    outlet: &Outlet,
    shutdown: &Shutdown,
    [disconnected, notice]: [&dyn Fn(&str); 2],
) -> Result<u64, SourceError> {
    let clock = Arc::new(StreamClock::new(outlet.clock.clone()));
    let audio = Arc::new(StreamAudio::default());
    let mut opener =
        LiveOpener { address, options, wanted, outlet, shutdown, clock: clock.clone(), audio: audio.clone() };
    let supervisor = Supervisor {
        input: address.to_string(),
        policy: Reconnect::new(options, address.is_secure()),
        outlet,
        clock: &clock,
        audio: &audio,
        shutdown,
        disconnected,
        notice,
    };
    let result = supervisor.run(&mut opener);
    audio.close();
    // Whatever is sent from here on has its place.
    outlet.events.set_when_full(WhenFull::Wait);
    result
}
