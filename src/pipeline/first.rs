//! The first frames of a source, where no more are needed.

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
use crate::thread::{self, Guard, ThreadError};

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
    let (mut events, frames) = lanes("decoded", 1, DECODED);
    // There is no session to wait for: a closed channel says that it is there.
    let (_, ready) = bounded(0);
    let (tell, told) = bounded(1);
    // The first of them is enough: the source ends with it.
    let guard = Guard::new(move |panicked| drop(tell.try_send(panicked)));
    let outlet = Outlet {
        stream: StreamId(0),
        events: events.remove(0),
        clock: clock.clone(),
        ready,
        head: 0,
        guard,
        counters: Arc::default(),
        controls: Arc::new(Controls::fixed(0.0, false)),
    };
    let (source, live) = (source.clone(), live.clone());
    let feeding = thread::spawn("source-0", move || feed(&source, &live, count, &outlet))?;
    while let Ok(received) = frames.take(None) {
        if let SourceEvent::Frame(frame) = received.item {
            take(&frame);
        }
    }
    feeding.join()?.map_err(RunError::from)?;
    told.try_recv().map_or(Ok(()), |panicked: ThreadError| Err(panicked.into()))
}

/// Decodes the first `count` frames; returns once they are taken.
fn feed(source: &SourceSpec, live: &LiveOptions, count: u64, outlet: &Outlet) -> Result<(), SourceError> {
    let shutdown = Shutdown::new();
    let first = Wanted { limit: Some(count), ..Wanted::default() };
    let file = |path: &Path, wanted: &Wanted| -> Result<(), SourceError> {
        thread::test_panic_point();
        let Some(mut source) = FileSource::open(path, wanted.clone(), outlet, &shutdown)? else { return Ok(()) };
        source.release();
        source.wait().map(|_| ())
    };
    match source {
        SourceSpec::Video(path) => file(path, &first),
        SourceSpec::Images(paths) => {
            let one = Wanted { limit: Some(1), ..Wanted::default() };
            let most = usize::try_from(count).unwrap_or(usize::MAX);
            paths.iter().take(most).try_for_each(|path| file(path, &one))
        }
        SourceSpec::Live(address) => {
            let options = LiveOptions { reconnect: Some(0), ..live.clone() };
            watch(address, &options, &first, outlet, &shutdown, [&|_| {}, &|_| {}]).map(|_| ())
        }
    }
}
