//! Sessions for streams that open while others run: they are made on a thread beside the worker, one stream's after the other's.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::shared::Shared;
use crate::detector::{DetectError, Detector};
use crate::geometry::Size;
use crate::inference::{InferenceError, NewSessions};
use crate::stream::StreamId;
use crate::thread::test_panic_point;

/// Streams whose sessions are being made, or are to be.
pub(super) struct WarmUps {
    /// Held as long as a stream's source has to wait.
    ready: Vec<Option<Sender<()>>>,
    /// One a stream at most, in the order in which they opened.
    waiting: VecDeque<Opened>,
    making: Option<(StreamId, Receiver<Result<NewSessions, InferenceError>>)>,
    /// Streams whose sessions could not be made.
    failed: Vec<StreamId>,
}

/// A stream that opened, with the size of its first frame.
struct Opened {
    stream: StreamId,
    size: Size,
    one_size: bool,
}

impl WarmUps {
    /// For streams whose sources wait until theirs of `ready` is dropped.
    pub fn new(ready: Vec<Sender<()>>) -> Self {
        Self {
            ready: ready.into_iter().map(Some).collect(),
            waiting: VecDeque::new(),
            making: None,
            failed: Vec::new(),
        }
    }

    /// Whether any are under way.
    pub fn are_under_way(&self) -> bool {
        self.making.is_some()
    }

    /// Whether any are for `stream`.
    pub fn are_for(&self, stream: StreamId) -> bool {
        self.making.as_ref().is_some_and(|(making, _)| *making == stream)
            || self.waiting.iter().any(|opened| opened.stream == stream)
    }

    /// Whether those of `stream` could not be made: it has ended.
    pub fn have_failed_for(&self, stream: StreamId) -> bool {
        self.failed.contains(&stream)
    }

    /// The stream has opened, once more perhaps.
    pub fn add(&mut self, stream: StreamId, size: Size, one_size: bool) {
        self.waiting.retain(|opened| opened.stream != stream);
        self.waiting.push_back(Opened { stream, size, one_size });
    }

    /// The stream needs none: its source goes on.
    pub fn are_needless_for(&mut self, stream: StreamId) {
        self.ready[stream.0 as usize] = None;
    }

    /// Hands sessions that are made to the detector, lets the stream's source go on, and begins with those of the next one. Where
    /// they cannot be made, the stream ends, and the others go on.
    pub fn go_on(&mut self, detector: &mut Detector, shared: &Arc<Shared>) {
        if let Some((stream, made)) = &self.making {
            match made.try_recv() {
                Err(TryRecvError::Empty) => return,
                Ok(Ok(sessions)) => detector.take_over(sessions),
                Ok(Err(error)) => {
                    self.failed.push(*stream);
                    shared.fail_source(*stream, DetectError::from(error).into());
                }
                // It panicked, which was said; they are made when a frame needs them.
                Err(TryRecvError::Disconnected) => {}
            }
            self.ready[stream.0 as usize] = None;
            self.making = None;
        }
        while let Some(Opened { stream, size, one_size }) = self.waiting.pop_front() {
            let Some(lacking) = detector.lacking(stream, size, one_size) else {
                self.ready[stream.0 as usize] = None;
                continue;
            };
            let (tell, made) = bounded(1);
            let make = move |_: &Arc<Shared>| {
                test_panic_point();
                // Where the run has ended, nobody takes them.
                drop(tell.send(lacking.make()));
            };
            if shared.start(None, "sessions".into(), make) {
                self.making = Some((stream, made));
                break;
            }
            self.ready[stream.0 as usize] = None;
        }
    }
}
