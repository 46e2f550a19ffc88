//! How long a file is: as its container states where that can be, else counted.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::link::discard;
use super::mpeg::help_demuxers;
use crate::teardown::tear_down;

/// A second of video takes at least this many bytes (32 kbit/s): a header that says otherwise is not believed, since room
/// is reserved in the output by it.
const LEAST_BYTES_PER_SECOND: u64 = 4_000;
/// How long counting may take before the length stays uncertain. A plain file is read at some hundred MB/s.
const COUNTING: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// How long a recording is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length {
    /// As far as can be said.
    pub likely: Option<Duration>,
    /// Where it is certain enough to reserve room by.
    pub sure: Option<Duration>,
}

impl Length {
    /// Of the file at `path`, for which `demuxer` states `stated`, and of which no more than `wanted` is decoded.
    pub fn of(
        path: &Path,
        demuxer: Option<&str>,
        stated: Option<gst::ClockTime>,
        wanted: Option<gst::ClockTime>,
    ) -> Self {
        // What is not a plain file cannot be read twice, and its size is unknown.
        let bytes =
            std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map_or(0, |metadata| metadata.len());
        let can_be =
            |time: &gst::ClockTime| !time.is_zero() && time.seconds().saturating_mul(LEAST_BYTES_PER_SECOND) <= bytes;
        let stated = stated.filter(can_be);
        // These and bare streams hold no statement. It is guessed from their last clock, which began anew where
        // recordings were joined, or from the bitrate; of a short one, nothing is.
        let guessed = matches!(demuxer, None | Some("tsdemux" | "mpegpsdemux"));
        let bounds = [stated.filter(|_| !guessed), wanted.filter(can_be)];
        let counted = || (bytes > 0).then(|| counted(path)).flatten().filter(can_be);
        let sure = bounds.into_iter().flatten().min().or_else(counted);
        let likely = [sure, stated.filter(|_| sure.is_none()), wanted].into_iter().flatten().min();
        Self { likely: likely.map(Duration::from), sure: sure.map(Duration::from) }
    }
}

/// First and last time in any track.
type Span = Option<(gst::ClockTime, gst::ClockTime)>;

/// Runs through the file without decoding.
fn counted(path: &Path) -> Option<gst::ClockTime> {
    let pipeline =
        gst::parse::launch("filesrc name=file ! parsebin name=tracks").ok()?.downcast::<gst::Pipeline>().ok()?;
    pipeline.by_name("file")?.set_property("location", path);
    help_demuxers(&pipeline, Some(path));
    let span = Arc::<Mutex<Span>>::default();
    let (seen, owner) = (span.clone(), pipeline.downgrade());
    pipeline.by_name("tracks")?.connect_pad_added(move |_, pad| {
        let seen = seen.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(packet) = info.buffer()
                && let Some(start) = packet.pts().or(packet.dts())
            {
                let end = start.saturating_add(packet.duration().unwrap_or_default());
                let mut span = seen.lock().unwrap_or_else(PoisonError::into_inner);
                *span = Some(span.map_or((start, end), |(first, last)| (first.min(start), last.max(end))));
            }
            gst::PadProbeReturn::Ok
        });
        if let Some(pipeline) = owner.upgrade() {
            // A track that cannot be linked ends the pipeline with an error.
            discard(&pipeline, pad).ok();
        }
    });
    let started = pipeline.set_state(gst::State::Playing);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = started.ok().and(pipeline.bus()).and_then(|bus| bus.timed_pop_filtered(COUNTING, &kinds));
    tear_down(&pipeline);
    message.filter(|message| message.type_() == gst::MessageType::Eos)?;
    let (first, last) = (*span.lock().unwrap_or_else(PoisonError::into_inner))?;
    Some(last - first)
}
