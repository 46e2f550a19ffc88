//! A stream's detection sinks, and what a failure of one ends: what the sink itself says.

use super::OutputSpec;
use super::shared::Shared;
use crate::detections::{DetectedFrame, DetectionError, DetectionSink, OnError, StreamEvent};
use crate::stream::{StreamId, StreamInfo};

/// The sinks of one stream that still work.
pub(super) struct DetectionSinks<'a> {
    shared: &'a Shared,
    stream: StreamId,
    sinks: Vec<Box<dyn DetectionSink>>,
}

impl<'a> DetectionSinks<'a> {
    /// One of every output that was asked for.
    pub fn new(shared: &'a Shared, stream: StreamId) -> Self {
        let names = &shared.names[stream.0 as usize];
        let sinks =
            shared.detections.iter().map(|output| output.sink(stream, names, shared.shutdown_of(stream))).collect();
        Self { shared, stream, sinks }
    }

    /// The stream is there.
    pub fn open(&mut self, info: &StreamInfo) {
        self.each(|sink| sink.open(info));
    }

    /// A frame's detections.
    pub fn frame(&mut self, frame: &DetectedFrame<'_>) {
        self.each(|sink| sink.frame(frame));
    }

    /// What is not a frame.
    pub fn event(&mut self, event: StreamEvent<'_>) {
        self.each(|sink| sink.event(&event));
    }

    /// The stream has ended.
    pub fn finish(&mut self) {
        self.each(|sink| sink.flush().and_then(|()| sink.finish()));
        self.sinks.clear();
    }

    /// Does so with every sink; one that fails ends.
    fn each(&mut self, mut act: impl FnMut(&mut dyn DetectionSink) -> Result<(), DetectionError>) {
        let before = self.sinks.len();
        let shared = self.shared;
        self.sinks.retain_mut(|sink| {
            let outcome = act(sink.as_mut());
            outcome.map_err(|error| handle(shared, sink.on_error(&error), error)).is_ok()
        });
        let video = !matches!(shared.settings.jobs[self.stream.0 as usize].output, OutputSpec::None);
        if self.sinks.is_empty() && before > 0 && !video {
            // Nothing takes what is found in it any more. The error is on record.
            shared.end_stream(self.stream);
        }
    }
}

/// Ends what the error of a sink ends.
pub(super) fn handle(shared: &Shared, ends: OnError, error: DetectionError) {
    match ends {
        OnError::EndSink => shared.fail(error.into()),
        OnError::StopRun => shared.requested.request(),
        OnError::Reported => {}
    }
}
