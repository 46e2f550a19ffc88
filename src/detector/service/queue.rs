//! What waits for the detector, and how it is answered.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::detector::{DetectError, TilingFigures, Wanted};
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::inference::{InferenceError, NewSessions};
use crate::stream::StreamId;
use crate::tensor::{InputShape, InputTensor};
use crate::thread::ThreadError;

/// Why there is no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ServiceError {
    /// Nothing could be detected.
    #[error(transparent)]
    Detect(#[from] Arc<DetectError>),
    /// The detector's thread cannot be started, or it panicked.
    #[error(transparent)]
    Thread(#[from] ThreadError),
    /// It detects no more.
    #[error("the detector has ended")]
    Ended,
}

impl ServiceError {
    /// Whether the model or the options are unusable, rather than a run having failed.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Detect(error) if error.is_usage())
    }
}

/// As many requests wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} requests wait already")]
pub struct Full(pub usize);

/// One of the model's outputs as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values.
    pub data: Vec<f32>,
}

/// Frames on their way to the detector and back.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order. Those that were detected on come back with detections, letterbox and stamps.
    pub frames: Vec<Box<DecodedFrame>>,
    /// Numbers of the frames that are to be detected on.
    pub inferred: Vec<usize>,
    /// Shape of the last input tensor that one of them was part of.
    pub shape: Option<InputShape>,
}

/// What a request is told.
pub type Reply<T> = Box<dyn FnOnce(Result<T, ServiceError>) + Send>;

#[derive(Clone)]
pub struct Caller {
    /// The detector's name for it.
    pub id: StreamId,
    pub one_size: bool,
    pub wanted: Arc<Wanted>,
}

pub struct Queue {
    /// Requests that may wait.
    pub capacity: usize,
    pub last_id: AtomicU32,
    pub waiting: Mutex<Waiting>,
    pub filled: Condvar,
}

#[derive(Default)]
pub struct Waiting {
    /// Each stream has one, at most.
    pub streams: VecDeque<Work>,
    pub requests: VecDeque<Work>,
    /// Whether a request is next where both wait.
    pub requests_turn: bool,
    /// Callers that want nothing more, and who is told of their tiles.
    pub gone: Vec<(StreamId, Option<StreamReply>)>,
    pub made: Option<Result<NewSessions, InferenceError>>,
    pub closing: bool,
    pub ended: bool,
}

pub enum Work {
    Detect(Detect),
    Run { tensor: InputTensor, is_dropped: Arc<AtomicBool>, reply: Reply<Vec<Output>> },
    WarmUp { caller: Caller, frame: Size, reply: StreamReply },
}

pub struct Detect {
    pub caller: Caller,
    pub batch: Batch,
    pub confidence: Option<f32>,
    pub reply: BatchReply,
}

pub enum BatchReply {
    Stream(StreamReply),
    Request(Arc<AtomicBool>, Reply<Batch>),
}

/// Where a stream waits for its answer.
#[derive(Default)]
pub struct Slot {
    answer: Mutex<Option<Answer>>,
    filled: Condvar,
}

pub struct Answer {
    pub batch: Batch,
    pub tiles: Option<TilingFigures>,
    pub result: Result<(), ServiceError>,
}

/// Answers a stream, if only by being dropped.
pub struct StreamReply(pub Option<Arc<Slot>>);

impl StreamReply {
    pub fn answer(mut self, batch: Batch, tiles: Option<TilingFigures>, result: Result<(), ServiceError>) {
        self.put(Answer { batch, tiles, result });
    }

    fn put(&mut self, answer: Answer) {
        if let Some(slot) = self.0.take() {
            *slot.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            slot.filled.notify_all();
        }
    }
}

impl Drop for StreamReply {
    fn drop(&mut self) {
        self.put(Answer { batch: Batch::default(), tiles: None, result: Err(ServiceError::Ended) });
    }
}

impl Slot {
    pub fn wait(&self) -> Answer {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(answer) = answer.take() {
                return answer;
            }
            answer = self.filled.wait(answer).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Work {
    pub fn is_dropped(&self) -> bool {
        match self {
            Self::Detect(Detect { reply: BatchReply::Request(is_dropped, _), .. }) | Self::Run { is_dropped, .. } => {
                is_dropped.load(Ordering::Relaxed)
            }
            Self::Detect(_) | Self::WarmUp { .. } => false,
        }
    }

    /// Whether it is so many frames at most.
    pub fn fits(&self, frames: usize) -> bool {
        matches!(self, Self::Detect(detect) if detect.batch.inferred.len() <= frames)
    }
}

impl Queue {
    pub fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Requests whose callers went away.
    pub fn take_dropped(&mut self) -> Vec<Work> {
        let mut dropped = Vec::new();
        while let Some(at) = self.requests.iter().position(Work::is_dropped) {
            dropped.extend(self.requests.remove(at));
        }
        dropped
    }

    /// The next work, streams and requests in turn, of those that `fits`.
    pub fn take(&mut self, fits: impl Fn(&Work) -> bool) -> Option<Work> {
        let takes = |works: &VecDeque<Work>| works.front().is_some_and(&fits);
        let from_requests = match (takes(&self.streams), takes(&self.requests)) {
            (false, false) => return None,
            (true, true) => self.requests_turn,
            (_, requests) => requests,
        };
        self.requests_turn = !from_requests;
        if from_requests { self.requests.pop_front() } else { self.streams.pop_front() }
    }
}

/// Says that nothing is detected any more, when it is dropped; who waits is told.
pub struct Ends(pub Arc<Queue>);

impl Drop for Ends {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.ended = true;
        let Waiting { streams, requests, gone, .. } = &mut *waiting;
        let unanswered = (std::mem::take(streams), std::mem::take(requests), std::mem::take(gone));
        drop(waiting);
        drop(unanswered);
    }
}
