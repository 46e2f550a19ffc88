//! Whoever wants to know what happens in a run.

use std::sync::Arc;

use super::RunError;
use crate::clock::HostTime;
use crate::frame::StreamId;
use crate::geometry::Size;
use crate::inference::ProviderReport;
use crate::latency::FrameRecord;
use crate::report::Dropped;
use crate::source::{Gap, SourceFrame, StreamInfo};

/// Told of what happens, as it happens.
pub trait Observer: Send + Sync {
    /// A stream's first picture is there.
    fn opened(&self, _stream: StreamId, _info: &StreamInfo, _provider: Option<&ProviderReport>) {}
    /// A frame was drawn and handed to its sink.
    fn frame(&self, _frame: &SourceFrame, _size: Size) {}
    /// All is known of a frame, its time in the encoder included; in order within a stream, some frames later.
    fn record(&self, _record: &FrameRecord) {}
    /// Frames of a stream were lost.
    fn dropped(&self, _stream: StreamId, _dropped: Dropped, _at: HostTime) {}
    /// A stream is away, for this reason, and is tried again.
    fn away(&self, _stream: StreamId, _reason: &str) {}
    /// A stream was re-established.
    fn reconnected(&self, _stream: StreamId) {}
    /// How long a stream was away, once that is known.
    fn gap(&self, _stream: StreamId, _gap: &Gap) {}
    /// Nothing more comes from a stream that was open, and its output is finished.
    fn ended(&self, _stream: StreamId) {}
    /// So many decoded frames wait for the worker, of so many that may.
    fn queue(&self, _waiting: usize, _capacity: usize) {}
    /// The annotated stream can be watched at this address from now on.
    fn serving(&self, _stream: StreamId, address: &str) {
        self.notice(&format!("serving {address}"));
    }
    /// Something the user should know.
    fn notice(&self, _text: &str) {}
    /// Something failed; it is said at the end of the run as well.
    fn failed(&self, _stream: Option<StreamId>, _error: &RunError) {}
}

/// Several observers, told one after the other.
pub struct Observers(pub Vec<Arc<dyn Observer>>);

impl Observer for Observers {
    fn opened(&self, stream: StreamId, info: &StreamInfo, provider: Option<&ProviderReport>) {
        self.0.iter().for_each(|one| one.opened(stream, info, provider));
    }

    fn frame(&self, frame: &SourceFrame, size: Size) {
        self.0.iter().for_each(|one| one.frame(frame, size));
    }

    fn record(&self, record: &FrameRecord) {
        self.0.iter().for_each(|one| one.record(record));
    }

    fn dropped(&self, stream: StreamId, dropped: Dropped, at: HostTime) {
        self.0.iter().for_each(|one| one.dropped(stream, dropped, at));
    }

    fn away(&self, stream: StreamId, reason: &str) {
        self.0.iter().for_each(|one| one.away(stream, reason));
    }

    fn gap(&self, stream: StreamId, gap: &Gap) {
        self.0.iter().for_each(|one| one.gap(stream, gap));
    }

    fn reconnected(&self, stream: StreamId) {
        self.0.iter().for_each(|one| one.reconnected(stream));
    }

    fn ended(&self, stream: StreamId) {
        self.0.iter().for_each(|one| one.ended(stream));
    }

    fn queue(&self, waiting: usize, capacity: usize) {
        self.0.iter().for_each(|one| one.queue(waiting, capacity));
    }

    fn serving(&self, stream: StreamId, address: &str) {
        self.0.iter().for_each(|one| one.serving(stream, address));
    }

    fn notice(&self, text: &str) {
        self.0.iter().for_each(|one| one.notice(text));
    }

    fn failed(&self, stream: Option<StreamId>, error: &RunError) {
        self.0.iter().for_each(|one| one.failed(stream, error));
    }
}
