//! The first frames of a source, for those who want no more of it.

use std::sync::Arc;

use crossbeam_channel::bounded;

use super::{RunError, SourceSpec};
use crate::clock::Clock;
use crate::controls::Controls;
use crate::frame::StreamId;
use crate::source::{FileOptions, FileSource, Outlet, SourceError, SourceEvent, SourceFrame};

/// Frames on their way.
const DECODED: usize = 4;

/// Shows up to `count` decoded frames of `source` to `take`.
///
/// # Errors
/// When it cannot be decoded.
pub fn first_frames(
    source: &SourceSpec,
    count: u64,
    clock: &Arc<dyn Clock>,
    take: &mut dyn FnMut(&SourceFrame),
) -> Result<(), RunError> {
    let (events, frames) = bounded(DECODED);
    // There is no session to wait for: a closed channel says that it is there.
    let (_, ready) = bounded(0);
    let controls = Arc::new(Controls::fixed(0.0, false));
    let outlet = Outlet { stream: StreamId(0), events, clock: clock.clone(), ready, head: 0, controls };
    let files: Vec<_> = match source {
        SourceSpec::Video(path) => vec![(path.clone(), FileOptions { limit: Some(count), ..FileOptions::default() })],
        SourceSpec::Pictures(paths) => {
            let options = FileOptions { limit: Some(1), ..FileOptions::default() };
            let most = usize::try_from(count).unwrap_or(usize::MAX);
            paths.iter().take(most).map(|path| (path.clone(), options.clone())).collect()
        }
    };
    std::thread::scope(|scope| {
        let feed = move || -> Result<(), SourceError> {
            for (path, options) in files {
                let mut source = FileSource::open(&path, options, &outlet)?;
                source.release();
                source.wait(&|| false)?;
            }
            Ok(())
        };
        let feeding = std::thread::Builder::new()
            .name("source-0".into())
            .spawn_scoped(scope, feed)
            .map_err(|e| RunError::Thread(e.to_string()))?;
        for event in &frames {
            if let SourceEvent::Frame(frame) = event {
                take(&frame);
            }
        }
        feeding.join().map_err(|_| RunError::Thread("a source thread panicked".into()))?.map_err(RunError::from)
    })
}
