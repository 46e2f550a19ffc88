//! The filter between decoder and pipeline, as `pipelines/decode.toml` describes it.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::link::{Linked, link};
use super::probe::{DecoderProbe, offer_video_meta};

const DECODE: &str = include_str!("../../pipelines/decode.toml");

/// `pipelines/decode.toml`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    upright: String,
    turned: String,
}

fn description() -> Description {
    toml::from_str(DECODE).expect("pipelines/decode.toml is checked by a test")
}

/// Puts the filter between the decoder's pad and `end`; `turned` says that frames are to be rotated.
pub(super) fn filter(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    turned: bool,
    probe: &DecoderProbe,
    end: &gst_app::AppSink,
) -> Linked {
    let description = description();
    let description = if turned { description.turned } else { description.upright };
    let filter = gst::parse::bin_from_description(&description.replace('\n', " "), true)
        .map_err(|e| gst::glib::bool_error!("{}", e))?;
    if let Some(pad) = filter.static_pad("sink") {
        offer_video_meta(&pad);
        probe.watch_decoded(&pad);
    }
    pipeline.add(&filter)?;
    filter.link(end)?;
    filter.sync_state_with_parent()?;
    link(pad, filter.upcast_ref())
}

/// Whether the container or the image says that it is to be shown turned or mirrored.
pub(super) fn is_turned(pad: &gst::Pad) -> bool {
    (0..)
        .map_while(|index| pad.sticky_event::<gst::event::Tag>(index))
        .filter_map(|event| event.tag().get::<gst::tags::ImageOrientation>().map(|o| o.get().to_owned()))
        .last()
        .is_some_and(|orientation| orientation != "rotate-0")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_decode_description_parses() {
        let description = super::description();
        assert!(!description.upright.contains("videoflip"));
        assert!(description.turned.contains("videoflip"));
    }
}
