//! Which video decoders are preferred.

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::text::nearest;

/// Hardware decoders; `GStreamer` ranks some of them below software.
const HARDWARE: [&str; 12] = [
    "nvh264dec",
    "nvh265dec",
    "nvav1dec",
    "nvvp9dec",
    "vah264dec",
    "vah265dec",
    "vaav1dec",
    "vavp9dec",
    "v4l2h264dec",
    "v4l2h265dec",
    "v4l2slh264dec",
    "v4l2slh265dec",
];

/// No such decoder.
#[derive(Debug, thiserror::Error)]
#[error("--decoder {name}: no such video decoder is installed\n  the nearest is {nearest}")]
pub struct UnknownDecoder {
    /// What was asked for.
    pub name: String,
    /// The installed one with the most similar name; empty where there is none.
    pub nearest: String,
}

/// Ranks hardware decoders above software in this process, and `asked`, an element's name, above all.
///
/// # Errors
/// When no decoder is called `asked`.
pub fn prefer_decoder(asked: Option<&str>) -> Result<(), UnknownDecoder> {
    for name in HARDWARE {
        if let Some(factory) = gst::ElementFactory::find(name) {
            factory.set_rank(factory.rank().max(gst::Rank::PRIMARY + 128));
        }
    }
    let Some(name) = asked else { return Ok(()) };
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    if let Some(factory) = gst::ElementFactory::find(name).filter(|factory| factory.has_type(kind)) {
        factory.set_rank(gst::Rank::PRIMARY + 1024);
        return Ok(());
    }
    let all = gst::ElementFactory::factories_with_type(kind, gst::Rank::NONE);
    let names = all.iter().map(|factory| factory.name().to_string());
    Err(UnknownDecoder { name: name.to_owned(), nearest: nearest(name, names).unwrap_or_default() })
}
