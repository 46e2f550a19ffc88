//! The images of a folder, decoded ahead on a thread of their own and taken one by one.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::RunError;
use crate::channel::{Lanes, RecvError, lanes};
use crate::clock::{self, Clock, Deadline};
use crate::controls::Controls;
use crate::frame::DecodedFrame;
use crate::shutdown::Shutdown;
use crate::source::{FileSource, ImageDecoder, Outlet, SourceError, SourceEvent, Wanted};
use crate::stream::{StreamId, StreamInfo};
use crate::thread::{self, Guard, Thread, ThreadError};

/// Decoded images that wait to be taken.
const DECODED: usize = 8;

/// Images that are being decoded, in order. Dropping it ends the decoding.
pub struct Images {
    decoded: Lanes<SourceEvent>,
    refused: Receiver<SourceError>,
    /// Dropped once the session is made.
    ready: Option<Sender<()>>,
    /// A panic on one of the decoder's threads.
    panicked: Receiver<ThreadError>,
    thread: Thread<()>,
}

/// What comes next.
pub enum NextImage {
    /// The first image is about to come; what is known of it.
    Opened(StreamInfo),
    /// An image; its `index` is its place among the paths.
    Frame(Box<DecodedFrame>),
    /// An image that does not decode.
    Refused(SourceError),
    /// An image that the decoder flags as damaged.
    Corrupt,
    /// Nothing came by the deadline.
    Timeout,
    /// All have been taken.
    End,
}

impl Images {
    /// Starts to decode `paths`, until `shutdown` is requested. Images beyond the first `head` wait for
    /// [`session_is_made`](Self::session_is_made), so that their stamps do not contain that wait.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn open(
        paths: Vec<PathBuf>,
        clock: &Arc<dyn Clock>,
        head: u64,
        shutdown: &Shutdown,
    ) -> Result<Self, ThreadError> {
        let (mut events, decoded) = lanes("decoded", 1, DECODED);
        // Never full: one a path at most.
        let (refusing, refused) = bounded(paths.len().max(1));
        let (ready_tx, ready) = bounded(0);
        let controls = Arc::new(Controls::fixed(0.0, false));
        // A panic on one of the decoder's threads ends it all: the first is enough to say so.
        let (stop, (tell, panicked)) = (shutdown.child(), bounded(1));
        let guard = {
            let stop = stop.clone();
            Guard::new(move |error| {
                drop(tell.try_send(error));
                stop.request();
            })
        };
        let outlet = events.pop().map(|events| {
            let (stream, clock) = (StreamId(0), clock.clone());
            Outlet { stream, events, clock, ready, head, guard, controls, counters: Arc::default() }
        });
        let thread = thread::spawn("source-0", move || {
            let Some(outlet) = outlet else { return };
            let (mut opened, mut decoder) = (false, ImageDecoder::default());
            for (path, number) in paths.into_iter().zip(0..) {
                if stop.is_requested() {
                    return;
                }
                let image = Some((Arc::from(path.as_path()), number));
                let wanted = Wanted { limit: Some(1), image, ..Wanted::default() };
                if opened && decoder.decode(&path, &wanted, &outlet, &stop) {
                    continue;
                }
                let decoded = FileSource::open(&path, wanted, &outlet, &stop).and_then(|source| {
                    let Some(mut source) = source else { return Ok(0) };
                    if !std::mem::replace(&mut opened, true) {
                        let opening = Box::new((source.info().clone(), Vec::new()));
                        // Where the receiver is gone, the frame says so, too.
                        let _ = outlet.events.note(SourceEvent::Open(outlet.stream, opening));
                    }
                    source.release();
                    source.wait()
                });
                if let Err(error) = decoded
                    && refusing.send(error).is_err()
                {
                    return;
                }
            }
        })?;
        Ok(Self { decoded, refused, ready: Some(ready_tx), panicked, thread })
    }

    /// The session is made: images are decoded without waiting for it.
    pub fn session_is_made(&mut self) {
        self.ready = None;
    }

    /// What comes next, by `deadline` where there is one.
    pub fn next(&self, deadline: Option<Deadline>) -> NextImage {
        loop {
            if let Ok(error) = self.refused.try_recv() {
                return NextImage::Refused(error);
            }
            match self.decoded.take(deadline).map(|received| received.item) {
                Ok(SourceEvent::Frame(frame)) => return NextImage::Frame(frame),
                Ok(SourceEvent::Open(_, opening)) => return NextImage::Opened(opening.0),
                Ok(SourceEvent::Corrupt(..)) => return NextImage::Corrupt,
                // Images have no outages and no late frames.
                Ok(_) => {}
                Err(RecvError::Timeout) => return NextImage::Timeout,
                Err(RecvError::Disconnected) => {
                    return self.refused.try_recv().map_or(NextImage::End, NextImage::Refused);
                }
            }
        }
    }

    /// Waits for the thread's end.
    ///
    /// # Errors
    /// When it panicked.
    pub fn finish(self) -> Result<(), ThreadError> {
        let Self { decoded, refused, ready, panicked, thread } = self;
        drop((decoded, refused, ready));
        thread.join()?;
        panicked.try_recv().map_or(Ok(()), Err)
    }
}

/// Decodes the image at `path`, turned as its EXIF says.
///
/// # Errors
/// When it cannot be decoded, or `GStreamer` does not start.
pub fn decode_image(path: impl Into<PathBuf>) -> Result<Box<DecodedFrame>, RunError> {
    let path = path.into();
    let input = path.display().to_string();
    gstreamer::init().map_err(|e| SourceError::Unusable {
        input: input.clone(),
        problem: format!("GStreamer does not start: {e}"),
        remedy: "run `make setup` to install it".into(),
    })?;
    let images = Images::open(vec![path], clock::process(), 1, &Shutdown::new())?;
    loop {
        match images.next(None) {
            NextImage::Frame(frame) => return Ok(frame),
            NextImage::Refused(error) => return Err(error.into()),
            NextImage::Opened(_) => {}
            NextImage::Corrupt | NextImage::Timeout | NextImage::End => {
                let (problem, remedy) = ("it is damaged".into(), "check that it opens elsewhere".into());
                return Err(SourceError::Unusable { input, problem, remedy }.into());
            }
        }
    }
}
