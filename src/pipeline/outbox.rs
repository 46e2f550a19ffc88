//! The worker's ways to the sink threads: a stalled sink costs its own stream, and the worker no more than a stated time.

use std::time::Duration;

use super::RunError;
use super::handover::{Refused, SinkEvent, ToSink, test_lose_point};
use super::shared::Shared;
use crate::clock::HostTime;
use crate::frame::DecodedFrame;
use crate::stream::{Dropped, StreamId};

/// How long a sink may take no frame before its stream fails. An encoder needs a second or two for a large frame on a slow
/// machine, a disk under load or a network mount that reconnects stands still for seconds.
const STALLED: Duration = Duration::from_secs(30);
/// How long the worker waits for a source that was told to stop: a camera's teardown takes tenths of a second, a name that
/// is being looked up five seconds.
const SOURCE_ENDS: Duration = Duration::from_secs(10);

/// One a stream.
pub(super) struct Outboxes<'a> {
    shared: &'a Shared,
    outboxes: Vec<Outbox>,
}

struct Outbox {
    /// `None` once the source has ended, or the sink is gone.
    sink: Option<ToSink<SinkEvent>>,
    /// When it took a frame last.
    took: HostTime,
    source_ended: bool,
    /// Since when the source is to stop.
    stopping_since: Option<HostTime>,
}

impl<'a> Outboxes<'a> {
    pub fn new(shared: &'a Shared, sinks: Vec<ToSink<SinkEvent>>) -> Self {
        let took = shared.clock.now();
        let outbox = |sink| Outbox { sink: Some(sink), took, source_ended: false, stopping_since: None };
        Self { shared, outboxes: sinks.into_iter().map(outbox).collect() }
    }

    /// Whether any source has more to deliver.
    pub fn are_open(&self) -> bool {
        self.outboxes.iter().any(|outbox| !outbox.source_ended)
    }

    /// Hands a frame to its sink. A live stream's sink is not waited for where others share the worker.
    pub fn frame(&mut self, frame: Box<DecodedFrame>) {
        if test_lose_point() {
            return;
        }
        let (shared, stream) = (self.shared, frame.stream);
        let outbox = &mut self.outboxes[stream.0 as usize];
        let failed = Dropped { failed: 1, ..Dropped::default() };
        let Some(sink) = &outbox.sink else { return shared.drop_frames(stream, failed) };
        let waits = shared.settings.jobs.len() == 1 || !is_live(shared, &frame);
        let patience = if waits { STALLED } else { Duration::ZERO };
        match sink.frame(SinkEvent::Frame(frame), patience, &shared.shutdown) {
            Ok(()) => {
                shared.stream(stream).counters.handed_on();
                outbox.took = shared.clock.now();
            }
            Err(Refused::Gone) => {
                shared.drop_frames(stream, failed);
                outbox.sink = None;
            }
            Err(Refused::Full) => {
                let stalled = waits || shared.clock.now().since(outbox.took) > STALLED;
                let queue_full = Dropped { queue_full: 1, ..Dropped::default() };
                shared.drop_frames(stream, if stalled { failed } else { queue_full });
                if stalled {
                    self.give_up_sink(stream);
                }
            }
        }
    }

    /// Says something to a stream's sink, without waiting.
    pub fn note(&mut self, stream: StreamId, event: SinkEvent) {
        let outbox = &mut self.outboxes[stream.0 as usize];
        match outbox.sink.as_ref().map(|sink| sink.note(event)) {
            None | Some(Ok(())) => {}
            // Its error is on record.
            Some(Err(Refused::Gone)) => outbox.sink = None,
            Some(Err(Refused::Full)) => self.give_up_sink(stream),
        }
    }

    fn give_up_sink(&mut self, stream: StreamId) {
        let outbox = &mut self.outboxes[stream.0 as usize];
        outbox.sink = None;
        let within = self.shared.clock.now().since(outbox.took);
        let (outputs, kept) = self.shared.outputs_of(stream);
        self.shared.fail_stream(stream, RunError::Stalled { outputs, within, kept });
    }

    /// The stream's source has ended: its sink finishes once it has taken what is on its way.
    pub fn end(&mut self, stream: StreamId) {
        let outbox = &mut self.outboxes[stream.0 as usize];
        outbox.source_ended = true;
        outbox.sink = None;
    }

    /// Waits no longer for sources that were told to stop and do not; that they did not is said when they are joined.
    pub fn give_up_late_sources(&mut self) {
        let now = self.shared.clock.now();
        for (outbox, stream) in self.outboxes.iter_mut().zip(&self.shared.streams) {
            if !outbox.source_ended && stream.shutdown.is_requested() {
                let since = *outbox.stopping_since.get_or_insert(now);
                if now.since(since) > SOURCE_ENDS {
                    outbox.source_ended = true;
                    outbox.sink = None;
                }
            }
        }
    }
}

/// Whether the frame is of a live source that does not wait.
pub(super) fn is_live(shared: &Shared, frame: &DecodedFrame) -> bool {
    frame.stamps.due.is_some() && shared.settings.jobs[frame.stream.0 as usize].source.is_live()
}
