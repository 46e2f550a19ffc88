//! Parameter sets in an SDP: of the list some servers leave one empty (`sprop-parameter-sets=Z2QA…,`), of which `GStreamer` 1.22
//! makes an encoded frame of no bytes, and nothing after it is decoded. What is left out comes with the stream.

use gstreamer as gst;
use gstreamer::glib;

/// Where H.264 and H.265 have them.
const FIELDS: [&str; 4] = ["sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps"];

/// The same caps without empty parameter sets; `None` where there are none.
pub(super) fn without_empty(caps: &gst::CapsRef) -> Option<gst::Caps> {
    let structure = caps.structure(0)?;
    let is_empty = |set: &str| glib::base64_decode(set.trim()).is_empty();
    let stated = FIELDS.into_iter().filter_map(|field| Some((field, structure.get::<String>(field).ok()?)));
    let faulty: Vec<_> = stated.filter(|(_, sets)| sets.split(',').any(is_empty)).collect();
    if faulty.is_empty() {
        return None;
    }
    let mut caps = caps.to_owned();
    let structure = caps.make_mut().structure_mut(0)?;
    for (field, sets) in faulty {
        let kept: Vec<_> = sets.split(',').filter(|set| !is_empty(set)).collect();
        if kept.is_empty() {
            structure.remove_field(field);
        } else {
            structure.set(field, kept.join(","));
        }
    }
    Some(caps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_parameter_sets_are_left_out() {
        gst::init().expect("GStreamer");
        let left = |sets: &str| {
            let caps = gst::Caps::builder("application/x-rtp").field("sprop-parameter-sets", sets).build();
            let field = |caps: gst::Caps| caps.structure(0).and_then(|s| s.get::<String>("sprop-parameter-sets").ok());
            without_empty(&caps).map(field)
        };
        assert_eq!(left("Z2QAFg==,aO48"), None);
        for sets in ["Z2QAFg==,", ",Z2QAFg==", "Z2QAFg==, ,%"] {
            assert_eq!(left(sets), Some(Some("Z2QAFg==".into())), "{sets}");
        }
        assert_eq!(left(","), Some(None));
        let h265 =
            gst::Caps::builder("application/x-rtp").field("sprop-sps", "Z2QAFg==").field("sprop-pps", "").build();
        let left = without_empty(&h265).expect("an empty one");
        assert_eq!(
            left.structure(0).map(|s| s.fields().map(ToString::to_string).collect()),
            Some(vec!["sprop-sps".into()])
        );
    }
}
