//! The filter between decoder and pipeline, as `pipelines/decode.toml` describes it.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::link::{Linked, link};
use super::probe::{DecoderProbe, offer_video_meta};
use crate::frame::hdr::Transfer;

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

/// Layouts of 8 bits that pass as they are, and the one that tone mapping takes.
const SDR: &str = "{I420,NV12,Y42B,Y444,RGB,GRAY8}";
const HDR: &str = "I420_10LE";

/// Puts the filter between the decoder's pad and `end`; `direction` is `videoflip`'s, where frames are turned.
pub(super) fn filter(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    direction: Option<&str>,
    probe: &DecoderProbe,
    end: &gst_app::AppSink,
) -> Linked {
    let video = pad.current_caps().and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
    let filter = elements(direction, video.as_ref())?;
    follow(pad, &filter);
    if let Some(pad) = filter.static_pad("sink") {
        offer_video_meta(&pad);
        probe.watch_decoded(&pad);
    }
    pipeline.add(&filter)?;
    filter.link(end)?;
    filter.sync_state_with_parent()?;
    link(pad, filter.upcast_ref())
}

/// The filter for frames like `video`.
pub(super) fn elements(
    direction: Option<&str>,
    video: Option<&gst_video::VideoInfo>,
) -> Result<gst::Bin, gst::glib::BoolError> {
    let description = description();
    let description = match direction {
        Some(direction) => description.turned.replace("DIRECTION", direction),
        None => description.upright,
    };
    let description = description.replace('\n', " ").replace("FORMATS", formats(video));
    gst::parse::bin_from_description(&description, true).map_err(|e| gst::glib::bool_error!("{}", e))
}

/// Whether `video` comes out of the filter as it went in.
pub(super) fn passes(direction: Option<&str>, video: &gst_video::VideoInfo) -> bool {
    let is_progressive = video.interlace_mode() == gst_video::VideoInterlaceMode::Progressive;
    let mut layouts = SDR.trim_matches(['{', '}']).split(',');
    direction.is_none() && is_progressive && layouts.any(|layout| layout == video.format().to_str())
}

/// `videoflip`'s direction where an image is to be shown turned or mirrored: by its EXIF `orientation`, else as the container's or
/// the decoder's tag says.
pub(super) fn direction(orientation: u8, tag: Option<&str>) -> Option<&'static str> {
    match orientation {
        2 => Some("horiz"),
        3 => Some("180"),
        4 => Some("vert"),
        5 => Some("ul-lr"),
        6 => Some("90r"),
        7 => Some("ur-ll"),
        8 => Some("90l"),
        _ => tag.is_some_and(|tag| tag != "rotate-0").then_some("auto"),
    }
}

/// The layouts that frames like `video` may leave the filter in.
fn formats(video: Option<&gst_video::VideoInfo>) -> &'static str {
    if video.and_then(Transfer::of).is_some() { HDR } else { SDR }
}

/// Has the filter's layouts follow what the decoder on `pad` puts out: HDR may begin and end midway.
fn follow(pad: &gst::Pad, filter: &gst::Bin) {
    let layouts: Vec<gst::glib::WeakRef<gst::Element>> = filter
        .iterate_elements()
        .into_iter()
        .flatten()
        .filter(|element| element.factory().is_some_and(|factory| factory.name() == "capsfilter"))
        .map(|element| element.downgrade())
        .collect();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) else {
            return gst::PadProbeReturn::Ok;
        };
        let video = gst_video::VideoInfo::from_caps(caps.caps()).ok();
        let description = format!("video/x-raw,format=(string){}", formats(video.as_ref()));
        if let Ok(now) = description.parse::<gst::Caps>() {
            for layout in layouts.iter().filter_map(gst::glib::WeakRef::upgrade) {
                if layout.property::<gst::Caps>("caps") != now {
                    layout.set_property("caps", &now);
                }
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// How what comes from `pad` lies, where its tags say that.
pub(super) fn orientation(pad: &gst::Pad) -> Option<String> {
    (0..)
        .map_while(|index| pad.sticky_event::<gst::event::Tag>(index))
        .filter_map(|event| event.tag().get::<gst::tags::ImageOrientation>().map(|o| o.get().to_owned()))
        .last()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_decode_description_parses() {
        let description = super::description();
        assert!(!description.upright.contains("videoflip"));
        assert!(description.turned.contains("videoflip video-direction=DIRECTION"));
    }
}
