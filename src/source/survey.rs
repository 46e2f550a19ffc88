//! What is installed of `GStreamer`: decoders by codec, best first, and single elements.

use gio::prelude::*;
use gstreamer as gst;
use gstreamer::prelude::*;

/// An element that can decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoder {
    /// Its factory.
    pub name: String,
    /// Whether it runs in hardware.
    pub hardware: bool,
}

/// The decoders for a media type such as `video/x-h264` that `decodebin` plugs, best first.
#[must_use]
pub fn decoders(media_type: &str) -> Vec<Decoder> {
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    let images = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_IMAGE;
    let caps = gst::Caps::new_empty_simple(media_type);
    let mut found: Vec<gst::ElementFactory> = Vec::new();
    for kind in [kind, images] {
        let all = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
        found.extend(all.into_iter().filter(|factory| factory.can_sink_any_caps(&caps)));
    }
    // For video with an alpha channel, and nothing else.
    found.retain(|factory| !factory.name().contains("alphadecodebin"));
    found.sort_by_key(|factory| (std::cmp::Reverse(factory.rank()), factory.name()));
    found.dedup_by_key(|factory| factory.name());
    let hardware = |factory: &gst::ElementFactory| {
        factory.has_type(gst::ElementFactoryType::HARDWARE)
            || factory.metadata("klass").is_some_and(|class| class.contains("Hardware"))
    };
    found.iter().map(|factory| Decoder { name: factory.name().into(), hardware: hardware(factory) }).collect()
}

/// Whether an element is installed.
#[must_use]
pub fn has(element: &str) -> bool {
    gst::ElementFactory::find(element).is_some()
}

/// Whether connections can be encrypted: `rtsps://` and `https://`.
#[must_use]
pub fn has_tls() -> bool {
    gio::TlsBackend::default().supports_tls()
}
