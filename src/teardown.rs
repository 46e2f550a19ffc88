//! The end of a `GStreamer` pipeline.

use gstreamer as gst;
use gstreamer::prelude::*;

/// How often it is tried.
const ATTEMPTS: usize = 5;

/// Sets `pipeline` to Null, which joins its streaming threads.
///
/// That fails where an element fails to start in the same moment, as of a damaged file, and what is freed in any other state ends the
/// program: it is tried again then, from the elements up.
pub fn tear_down(pipeline: &gst::Pipeline) {
    for _ in 0..ATTEMPTS {
        if pipeline.set_state(gst::State::Null).is_ok() {
            return;
        }
        for element in pipeline.iterate_recurse().into_iter().flatten() {
            // The next attempt asks again those that fail.
            element.set_state(gst::State::Null).ok();
        }
    }
    // One reference stays for good.
    std::mem::forget(pipeline.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_to_start_is_stopped() {
        gst::init().expect("GStreamer");
        let pipeline = gst::parse::launch("filesrc location=/nothing/here ! decodebin ! fakesink").expect("a pipeline");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        assert!(pipeline.set_state(gst::State::Playing).is_err());
        tear_down(&pipeline);
        assert_eq!(pipeline.current_state(), gst::State::Null);
        for element in pipeline.iterate_recurse().into_iter().flatten() {
            assert_eq!(element.current_state(), gst::State::Null, "{}", element.name());
        }
    }
}
