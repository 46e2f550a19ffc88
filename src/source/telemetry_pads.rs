//! Where telemetry comes out of a demuxer, and where the frames do that it is about.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::decoding::Decoding;
use super::link::{Linked, discard};
use super::telemetry::Carries;

/// Has what comes out of `pad` read, and then discarded.
pub(super) fn read(pipeline: &gst::Pipeline, pad: &gst::Pad, carries: Carries, shared: &Arc<Decoding>) -> Linked {
    shared.telemetry.begin();
    let owner = shared.clone();
    // Before it is discarded.
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        owner.outlet.guard.run("telemetry", || {
            if let Some(packet) = info.buffer() {
                let time = owner.track_time(pad, packet.pts());
                owner.telemetry.take(carries, packet, time, &owner.outlet.counters.telemetry);
            }
        });
        gst::PadProbeReturn::Ok
    });
    discard(pipeline, pad)
}

/// Notes how far the demuxer has shown the video at `pad`.
pub(super) fn note_shown(pad: &gst::Pad, shared: &Arc<Decoding>) {
    let shared = shared.clone();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    demuxed(pad).add_probe(kinds, move |pad, info| {
        shared.outlet.guard.run("telemetry", || match (info.buffer(), info.event()) {
            (Some(frame), _) if shared.telemetry.is_there() => {
                shared.telemetry.show(shared.track_time(pad, frame.pts()), &shared.outlet.counters.telemetry);
            }
            (None, Some(event)) if event.type_() == gst::EventType::Eos => shared.telemetry.end(),
            _ => {}
        });
        gst::PadProbeReturn::Ok
    });
}

/// The demuxer's own pad of the track that parsebin shows at `pad`: the parser between them holds frames back.
fn demuxed(pad: &gst::Pad) -> gst::Pad {
    let target = |pad: gst::Pad| match pad.downcast::<gst::GhostPad>() {
        Ok(ghost) => ghost.target(),
        Err(pad) => Some(pad),
    };
    let mut shown = target(pad.clone());
    while let Some(here) = shown {
        let is_demuxer = |e: &gst::Element| e.factory().is_some_and(|f| f.has_type(gst::ElementFactoryType::DEMUXER));
        let Some(element) = here.parent_element().filter(|element| !is_demuxer(element)) else { return here };
        shown = element.static_pad("sink").and_then(|sink| sink.peer()).and_then(target);
    }
    pad.clone()
}
