//! The first frames of a source, for those who want no more of it.

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::bounded;

use super::{RunError, SourceSpec};
use crate::channel::lanes;
use crate::clock::Clock;
use crate::controls::Controls;
use crate::frame::DecodedFrame;
use crate::shutdown::Shutdown;
use crate::source::{FileSource, LiveOptions, Outlet, SourceError, SourceEvent, Wanted, watch};
use crate::stream::StreamId;
use crate::thread;

/// Frames on their way.
const DECODED: usize = 4;

/// Shows up to `count` decoded frames of `source` to `take`.
///
/// # Errors
/// When it cannot be decoded.
pub fn first_frames(
    source: &SourceSpec,
    live: &LiveOptions,
    count: u64,
    clock: &Arc<dyn Clock>,
    take: &mut dyn FnMut(&DecodedFrame),
) -> Result<(), RunError> {
    let (events, frames) = lanes("decoded", 1, DECODED);
    // There is no session to wait for: a closed channel says that it is there.
    let (_, ready) = bounded(0);
    let controls = Arc::new(Controls::fixed(0.0, false));
    let outlets: Vec<_> = events
        .into_iter()
        .map(|events| Outlet {
            stream: StreamId(0),
            events,
            clock: clock.clone(),
            ready: ready.clone(),
            head: 0,
            counters: Arc::default(),
            controls: controls.clone(),
        })
        .collect();
    let several = Wanted { limit: Some(count), ..Wanted::default() };
    let (source, options) = (source.clone(), LiveOptions { reconnect: Some(0), ..live.clone() });
    let feed = move |outlet: &Outlet| -> Result<(), SourceError> {
        let file = |path: &Path, wanted: &Wanted| {
            let mut source = FileSource::open(path, wanted.clone(), outlet)?;
            source.release();
            source.wait(&Shutdown::new())
        };
        match &source {
            SourceSpec::Video(path) => file(path, &several).map(|_| ()),
            SourceSpec::Pictures(paths) => {
                let one = Wanted { limit: Some(1), ..Wanted::default() };
                let most = usize::try_from(count).unwrap_or(usize::MAX);
                paths.iter().take(most).try_for_each(|path| file(path, &one).map(|_| ()))
            }
            SourceSpec::Live(address) => {
                watch(address, &options, &several, outlet, &Shutdown::new(), &|_| {}).map(|_| ())
            }
        }
    };
    let feeding = thread::spawn("source-0", move || outlets.into_iter().try_for_each(|outlet| feed(&outlet)))?;
    while let Ok(taken) = frames.take(None) {
        if let SourceEvent::Frame(frame) = taken.item {
            take(&frame);
        }
    }
    // It has dropped its end of the channel, and with it what it decoded.
    feeding.join()?.map_err(RunError::from)
}
