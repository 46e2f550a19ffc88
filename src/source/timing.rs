//! How a buffer's time becomes the stream's.

use std::sync::OnceLock;

use gstreamer as gst;

use super::stream_clock::ConnectionClock;

/// How a buffer's time becomes the stream's.
pub(super) enum Timing {
    /// As the container has it.
    Recorded(RecordedTime),
    /// By the moment at which the pipeline's clock showed it.
    Live(ConnectionClock),
}

impl Timing {
    /// A recording's.
    pub fn recorded() -> Self {
        Self::Recorded(RecordedTime::default())
    }

    /// The clock of the connection, where the source is live.
    pub fn connection(&self) -> Option<&ConnectionClock> {
        match self {
            Self::Live(clock) => Some(clock),
            Self::Recorded(_) => None,
        }
    }

    /// The time of a buffer of `sample` in the stream, the same zero for all tracks; `None` before it.
    pub fn stream_time(
        &self,
        sample: &gst::SampleRef,
        time: Option<gst::ClockTime>,
        demuxer: Option<&str>,
    ) -> Option<gst::ClockTime> {
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let time = time?;
        match self {
            Self::Recorded(recorded) => recorded.stream_time(segment, time, demuxer),
            Self::Live(clock) => clock.stream_time(segment.to_running_time(time)?),
        }
    }

    /// A time by which buffers of all tracks of one connection compare; what lies before the stream is at its beginning.
    pub fn track_time(
        &self,
        segment: &gst::Segment,
        time: gst::ClockTime,
        demuxer: Option<&str>,
    ) -> Option<gst::ClockTime> {
        let segment = segment.downcast_ref::<gst::ClockTime>()?;
        if let Self::Recorded(recorded) = self
            && let Some(time) = recorded.stream_time(segment, time, demuxer)
        {
            return Some(time);
        }
        Some(segment.to_running_time_full(time)?.positive().unwrap_or_default())
    }
}

/// By the segment; or by where time zero lies in the buffers' own times, where their segments do not say it reliably.
#[derive(Default)]
pub(super) struct RecordedTime(OnceLock<Option<gst::ClockTime>>);

impl RecordedTime {
    fn stream_time(
        &self,
        segment: &gst::FormattedSegment<gst::ClockTime>,
        time: gst::ClockTime,
        demuxer: Option<&str>,
    ) -> Option<gst::ClockTime> {
        match self.0.get_or_init(|| (demuxer == Some("matroskademux")).then(|| matroska_origin(segment))) {
            Some(origin) => time.checked_sub(*origin),
            None => segment.to_running_time(time),
        }
    }
}

/// matroskademux begins its segment at the first packet of the file, and moves it when another track's first packet turns
/// out to be earlier: the first frame would be moved and those after it not. Times in the file are taken as they are, but
/// for a recording that was cut out of a longer one.
fn matroska_origin(segment: &gst::FormattedSegment<gst::ClockTime>) -> gst::ClockTime {
    let start = segment.start().unwrap_or_default();
    if start < gst::ClockTime::from_seconds(1) { gst::ClockTime::ZERO } else { start }
}
