//! One detector for many callers: a thread that runs it, for streams, which wait for their results, and for requests, which are
//! told of theirs. What waits is batched, streams and requests in turn.

mod queue;
mod runner;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use super::{Detector, DetectorOptions, TilingFigures, Wanted};
use crate::geometry::Size;
use crate::inference::{ProviderReport, Runtime};
use crate::model::Model;
use crate::stream::StreamId;
use crate::tensor::InputTensor;
use crate::thread::{self, Thread, ThreadError};
use queue::{Answer, BatchReply, Caller, Detect, Ends, Queue, Slot, StreamReply, Work};
pub use queue::{Batch, Full, Output, Reply, ServiceError};
use runner::Runner;

/// A frame of this size makes the first session, for any shape: it is there before the first caller.
const FIRST: Size = Size { width: 640, height: 480 };

/// The thread that runs the detector; it ends with this.
pub struct Service {
    queue: Arc<Queue>,
    batch: usize,
    provider: ProviderReport,
    thread: Option<Thread<()>>,
}

/// A caller, with what it asks for.
pub struct Client {
    queue: Arc<Queue>,
    caller: Caller,
    slot: Arc<Slot>,
}

/// A request that is to be answered; it is not run any more once this is dropped.
#[derive(Debug)]
pub struct Ticket(Arc<AtomicBool>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Service {
    /// Makes the first session, and starts the thread. `capacity` requests may wait.
    ///
    /// # Errors
    /// When no execution provider takes the model, or there is no thread.
    pub fn start(
        runtime: &Runtime,
        model: &Model,
        options: DetectorOptions,
        capacity: usize,
    ) -> Result<Self, ServiceError> {
        let batch = options.provider.batch.max(1);
        let mut detector = Detector::new(runtime, model, options);
        let first = StreamId(0);
        detector.warm_up(first, FIRST, false).map_err(Arc::new)?;
        detector.forget(first);
        let provider = detector.provider().cloned().ok_or(ServiceError::Ended)?;
        let queue =
            Arc::new(Queue { capacity, last_id: AtomicU32::new(0), waiting: Mutex::default(), filled: Condvar::new() });
        let own = queue.clone();
        let thread = thread::spawn("detector", move || {
            let _ends = Ends(own.clone());
            Runner::new(detector, own, batch).run();
        })?;
        Ok(Self { queue, batch, provider, thread: Some(thread) })
    }

    /// A caller that asks for `wanted`; `one_size` as in [`DetectorInput`](super::DetectorInput).
    #[must_use]
    pub fn client(&self, wanted: Wanted, one_size: bool) -> Client {
        let id = StreamId(self.queue.last_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
        let caller = Caller { id, one_size, wanted: Arc::new(wanted) };
        Client { queue: self.queue.clone(), caller, slot: Arc::default() }
    }

    /// Which execution provider runs.
    #[must_use]
    pub fn provider(&self) -> &ProviderReport {
        &self.provider
    }

    /// Frames that are run at once, at most.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Requests that may wait.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.capacity
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.lock().requests.len()
    }

    /// Whether it has ended by itself: its thread panicked.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.queue.lock().ended
    }

    /// Ends it, after what waits.
    ///
    /// # Errors
    /// When its thread panicked.
    pub fn close(mut self) -> Result<(), ThreadError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ThreadError> {
        self.queue.lock().closing = true;
        self.queue.filled.notify_all();
        self.thread.take().map_or(Ok(()), Thread::join)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Who reports a panic calls `close`.
        let _ = self.end();
    }
}

impl Client {
    /// Detects on the batch's `inferred` frames, above `confidence`, and waits for that.
    ///
    /// # Errors
    /// When nothing could be detected. The frames are there again; where the detector has ended, they are lost.
    pub fn detect(&self, batch: &mut Batch, confidence: f32) -> Result<(), ServiceError> {
        let (caller, batch_of_frames) = (self.caller.clone(), std::mem::take(batch));
        let answer = self.ask(|reply| {
            let (confidence, reply) = (Some(confidence), BatchReply::Stream(reply));
            Work::Detect(Detect { caller, batch: batch_of_frames, confidence, reply })
        })?;
        *batch = answer.batch;
        answer.result
    }

    /// Sees to the sessions for frames of this size, made beside what goes on, and waits for them.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn warm_up(&self, frame: Size) -> Result<(), ServiceError> {
        self.ask(|reply| Work::WarmUp { caller: self.caller.clone(), frame, reply })?.result
    }

    /// Nothing more comes. The tiles that frames were given, where they were asked for.
    #[must_use]
    pub fn finish(&self) -> Option<TilingFigures> {
        let mut waiting = self.queue.lock();
        if waiting.ended {
            return None;
        }
        waiting.gone.push((self.caller.id, Some(StreamReply(Some(self.slot.clone())))));
        drop(waiting);
        self.queue.filled.notify_all();
        self.slot.wait().tiles
    }

    /// Has the frames detected on, and `reply` told, on the detector's thread.
    ///
    /// # Errors
    /// When too many requests wait.
    pub fn submit(&self, batch: Batch, reply: Reply<Batch>) -> Result<Ticket, Full> {
        let is_dropped = Arc::new(AtomicBool::new(false));
        let reply = BatchReply::Request(is_dropped.clone(), reply);
        self.request(Work::Detect(Detect { caller: self.caller.clone(), batch, confidence: None, reply }))?;
        Ok(Ticket(is_dropped))
    }

    /// Has the model run on a tensor as it takes it, f32 `[N,3,H,W]`, and `reply` told of its outputs.
    ///
    /// # Errors
    /// When too many requests wait.
    pub fn submit_tensor(&self, tensor: InputTensor, reply: Reply<Vec<Output>>) -> Result<Ticket, Full> {
        let is_dropped = Arc::new(AtomicBool::new(false));
        self.request(Work::Run { tensor, is_dropped: is_dropped.clone(), reply })?;
        Ok(Ticket(is_dropped))
    }

    fn ask(&self, work: impl FnOnce(StreamReply) -> Work) -> Result<Answer, ServiceError> {
        let work = work(StreamReply(Some(self.slot.clone())));
        let mut waiting = self.queue.lock();
        if waiting.ended {
            // It answers, too: nobody waits for it.
            drop(waiting);
            drop(work);
            self.slot.wait();
            return Err(ServiceError::Ended);
        }
        waiting.streams.push_back(work);
        drop(waiting);
        self.queue.filled.notify_all();
        Ok(self.slot.wait())
    }

    fn request(&self, work: Work) -> Result<(), Full> {
        // Dropped after the lock: a reply may hold a client.
        let _gone;
        let mut waiting = self.queue.lock();
        // Those whose callers went away make room.
        _gone = waiting.take_dropped();
        if waiting.ended || waiting.requests.len() >= self.queue.capacity {
            return Err(Full(waiting.requests.len()));
        }
        waiting.requests.push_back(work);
        drop(waiting);
        self.queue.filled.notify_all();
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        if !waiting.ended {
            waiting.gone.push((self.caller.id, None));
            drop(waiting);
            self.queue.filled.notify_all();
        }
    }
}

#[cfg(test)]
mod tests;
