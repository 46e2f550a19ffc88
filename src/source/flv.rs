//! Times of FLV video that the file keeps seconds away from its audio.

use std::sync::{Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

/// A step between two frames that is longer is no frame's own.
const LONGEST_STEP: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// What is known of a track's times, as they are corrected.
#[derive(Default)]
struct Times {
    last: Option<gst::ClockTime>,
    step: gst::ClockTime,
    /// What is subtracted.
    excess: gst::ClockTime,
}

impl Times {
    /// Takes in the decoding time of the next packet; what is to be subtracted from its times.
    fn next(&mut self, dts: gst::ClockTime, is_resync: bool) -> gst::ClockTime {
        if let Some(last) = self.last {
            let follows = last + self.step;
            let at = dts.saturating_sub(self.excess);
            if is_resync && at > follows + LONGEST_STEP {
                self.excess += at - follows;
            }
        }
        let dts = dts.saturating_sub(self.excess);
        if let Some(step) = self.last.and_then(|last| dts.checked_sub(last)).filter(|step| *step <= LONGEST_STEP) {
            self.step = step;
        }
        self.last = Some(dts);
        self.excess
    }
}

/// Corrects the times of what `flvdemux` puts out in `pipeline`. Where audio comes seconds before its video, flvdemux of `GStreamer`
/// 1.22 moves the video's time on to the audio's, takes the next frame for the beginning of another stream, and adds the difference
/// to all times from there on. It marks that frame.
pub(super) fn keep_times(pipeline: &gst::Pipeline) {
    pipeline.connect_deep_element_added(|_, _, element| {
        if element.factory().is_some_and(|factory| factory.name() == "flvdemux") {
            element.connect_pad_added(|_, pad| correct(pad));
        }
    });
}

fn correct(pad: &gst::Pad) {
    let times = Mutex::<Times>::default();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        let Some(dts) = buffer.dts().or(buffer.pts()) else { return gst::PadProbeReturn::Ok };
        let is_resync = buffer.flags().contains(gst::BufferFlags::RESYNC);
        let excess = times.lock().unwrap_or_else(PoisonError::into_inner).next(dts, is_resync);
        if !excess.is_zero() {
            let earlier = |time: Option<gst::ClockTime>| time.map(|time| time.saturating_sub(excess));
            let own = buffer.make_mut();
            own.set_pts(earlier(own.pts()));
            own.set_dts(earlier(own.dts()));
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_that_the_demuxer_made_up_is_taken_back() {
        let ms = gst::ClockTime::from_mseconds;
        let mut times = Times::default();
        let packets =
            [(0, false), (40, false), (80, false), (37_000, true), (37_040, false), (39_000, false), (39_000, true)];
        let corrected = packets.map(|(dts, resync)| ms(dts) - times.next(ms(dts), resync));
        assert_eq!(
            corrected,
            [0, 40, 80, 120, 160, 2120, 2120].map(ms),
            "but not a pause, nor a stream that begins anew"
        );
    }
}
