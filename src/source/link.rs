//! Elements that tracks are linked to.

use gstreamer as gst;
use gstreamer::prelude::*;

/// Compressed bytes that may wait before the decoder, and packets: enough that audio which a container keeps seconds
/// away from its video is reached while the video waits.
const QUEUE_BYTES: u32 = 64 << 20;
const QUEUE_PACKETS: u32 = 512;

pub(super) type Linked = Result<(), gst::glib::BoolError>;

/// A queue of encoded packets; its name is that of the thread it feeds.
pub(super) fn compressed_queue(name: &str) -> Result<gst::Element, gst::glib::BoolError> {
    gst::ElementFactory::make("queue")
        .name(name)
        .property("max-size-buffers", QUEUE_PACKETS)
        .property("max-size-time", 0u64)
        .property("max-size-bytes", QUEUE_BYTES)
        .build()
}

/// Links a pad to an element's only sink pad.
pub(super) fn link(pad: &gst::Pad, element: &gst::Element) -> Linked {
    let sink = element.static_pad("sink").ok_or_else(|| gst::glib::bool_error!("no sink pad"))?;
    pad.link(&sink).map(|_| ()).map_err(|e| gst::glib::bool_error!("{:?}", e))
}

/// Discards a track. Its packets are dropped before the sink, and so are the GAP events of a sparse track (KLV, subtitles,
/// teletext): the sink would wait in preroll with either, on the demuxer's only thread.
pub(super) fn discard(pipeline: &gst::Pipeline, pad: &gst::Pad) -> Linked {
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, |_, info| match info.event().map(|event| event.type_()) {
        Some(gst::EventType::Gap) | None => gst::PadProbeReturn::Handled,
        Some(_) => gst::PadProbeReturn::Ok,
    });
    let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build()?;
    pipeline.add(&sink)?;
    sink.sync_state_with_parent()?;
    link(pad, &sink)
}

/// Puts other caps in place of those that pass `pad`, where `changed` has any.
pub(super) fn change_caps(pad: &gst::Pad, changed: fn(&gst::CapsRef) -> Option<gst::Caps>) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
            && let Some(caps) = changed(caps.caps())
        {
            info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
        }
        gst::PadProbeReturn::Ok
    });
}
