//! What `parsebin` and `decodebin` choose from, asked of the registry once for all images.
//!
//! Every one of them looks through all features of the registry for what parses, demuxes and decodes, and sorts it. For a clip
//! that is nothing; for a small image it takes twenty times as long as decoding it.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::OnceLock;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

/// Answers that [`Factories`] keeps.
const KEPT: usize = 8;

/// What was found for caps, kept for images of the same kind and size: looking takes as long as decoding a small image.
#[derive(Default)]
pub(super) struct Factories {
    found: VecDeque<(gst::Caps, Vec<gst::ElementFactory>)>,
}

impl Factories {
    /// What takes `caps`, the best first, by the ranks of when they were first asked for.
    pub fn for_caps(&mut self, caps: &gst::Caps) -> &[gst::ElementFactory] {
        let place = self.found.iter().position(|(asked, _)| asked.is_strictly_equal(caps)).unwrap_or_else(|| {
            self.found.truncate(KEPT - 1);
            self.found.push_front((caps.clone(), for_caps(caps)));
            0
        });
        &self.found[place].1
    }
}

/// Has every `parsebin` and `decodebin` of `pipeline`, which is not running yet, choose from what was found for the first.
pub(super) fn look_up_once(pipeline: &gst::Pipeline) {
    for element in pipeline.iterate_elements().into_iter().flatten() {
        offer(&element);
    }
    pipeline.connect_deep_element_added(|_, _, element| offer(element));
}

fn offer(element: &gst::Element) {
    let name = element.factory().map(|factory| factory.name());
    if name.is_some_and(|name| name == "parsebin" || name == "decodebin") {
        element.connect("autoplug-factories", false, |values| {
            let caps = values.get(2)?.get::<gst::Caps>().ok()?;
            Some(glib::ValueArray::new(for_caps(&caps)).to_value())
        });
    }
}

/// What takes `caps`, the best first, as `gstdecodebin2.c` and `gstparsebin.c` have it: parsers, then by rank and name.
fn for_caps(caps: &gst::CapsRef) -> Vec<gst::ElementFactory> {
    static ALL: OnceLock<Vec<gst::ElementFactory>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let all = gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DECODABLE, gst::Rank::NONE);
        all.into_iter().collect()
    });
    let is_fixed = caps.is_fixed();
    let takes = |factory: &gst::ElementFactory| {
        if is_fixed { factory.can_sink_all_caps(caps) } else { factory.can_sink_any_caps(caps) }
    };
    // Ranks change when a run begins.
    let ranked = all.iter().filter(|factory| factory.rank() >= gst::Rank::MARGINAL);
    let mut found: Vec<gst::ElementFactory> = ranked.filter(|factory| takes(factory)).cloned().collect();
    let is_parser = |factory: &gst::ElementFactory| factory.has_type(gst::ElementFactoryType::PARSER);
    found.sort_by_cached_key(|factory| (!is_parser(factory), Reverse(factory.rank()), factory.name()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the element's own handler gives.
    fn own(element: &str, caps: &gst::Caps) -> Vec<String> {
        let element = gst::ElementFactory::make(element).build().expect("it is installed");
        let pad = element.static_pad("sink").expect("a pad");
        let given = element.emit_by_name::<glib::ValueArray>("autoplug-factories", &[&pad, caps]);
        let named = given.iter().map(|value| value.get::<gst::ElementFactory>().expect("a factory").name().to_string());
        named.collect()
    }

    #[test]
    fn images_are_given_what_they_would_find_themselves() {
        gst::init().expect("GStreamer");
        let mut factories = Factories::default();
        for caps in [
            "image/jpeg",
            "image/jpeg,parsed=true,width=64,height=48,framerate=0/1",
            "image/png",
            "image/webp",
            "image/bmp",
            "image/tiff",
            "image/gif",
            "video/quicktime",
            "application/x-no-such-thing",
        ] {
            let caps: gst::Caps = caps.parse().expect("caps");
            let found: Vec<String> = for_caps(&caps).iter().map(|factory| factory.name().to_string()).collect();
            assert_eq!(found, own("decodebin", &caps), "{caps}");
            assert_eq!(found, own("parsebin", &caps), "{caps}");
            for _ in 0..2 {
                let kept: Vec<String> =
                    factories.for_caps(&caps).iter().map(|factory| factory.name().to_string()).collect();
                assert_eq!(found, kept, "{caps}");
            }
        }
    }
}
