//! The first bytes of a stream, and what is found out from them.

use gstreamer as gst;

/// What is found out from the first bytes.
pub(super) trait Head: Send + 'static {
    /// Takes more of them; `None` as long as it takes more to know.
    fn read(&mut self, bytes: &[u8]) -> Option<Finding>;

    /// What is known when nothing more comes.
    fn end(&self) -> Finding;
}

/// What the demuxer has to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing.
    Fine,
    /// There is no program clock; the first time in it is so much later than the earliest.
    NoClock(gst::ClockTime),
    /// These bytes.
    Missing(Vec<u8>),
}
