//! Motion JPEG over HTTP whose first part has no boundary before it, as the firmware of many ESP32 cameras sends it. Browsers show it;
//! `GStreamer` does not recognise it.

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::thread::Guard;

/// A part of one image, where even its header is left out.
const HEADER: &str = "Content-Type: image/jpeg\r\n\r\n";

/// Has what leaves `pad` begin with the boundary that the response's header names.
pub(super) fn begin_with_boundary(pad: &gst::Pad, guard: &Guard) {
    let guard = guard.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let complete = || {
            let missing = info.buffer().zip(boundary(pad)).and_then(|(first, boundary)| {
                let bytes = first.map_readable().ok()?;
                missing(&bytes, &boundary)
            });
            if let Some((missing, buffer)) = missing.zip(info.buffer_mut()) {
                let mut whole = gst::Buffer::from_mut_slice(missing.into_bytes());
                whole.make_mut().set_pts(buffer.pts());
                whole.append(buffer.copy());
                *buffer = whole;
            }
        };
        guard.run("multipart", complete).map_or(gst::PadProbeReturn::Handled, |()| gst::PadProbeReturn::Remove)
    });
}

/// The boundary of what comes out of `pad`, where it is multipart, as its response's header has it.
fn boundary(pad: &gst::Pad) -> Option<String> {
    let mut found = None;
    pad.sticky_events_foreach(|event| {
        if let gst::EventView::CustomDownstreamSticky(custom) = event.view()
            && let Some(headers) = custom.structure().filter(|structure| structure.name() == "http-headers")
            && let Ok(response) = headers.get::<gst::Structure>("response-headers")
        {
            let is_type = |name: &&str| name.eq_ignore_ascii_case("content-type");
            let field = response.fields().map(gst::glib::GStr::as_str).find(is_type).map(str::to_owned);
            found = field.and_then(|name| response.get::<String>(name.as_str()).ok());
        }
        std::ops::ControlFlow::Continue(gst::EventForeachAction::Keep)
    });
    boundary_of(&found?)
}

/// The boundary in a `Content-Type`.
fn boundary_of(content_type: &str) -> Option<String> {
    let mut parameters = content_type.split(';');
    if !parameters.next()?.trim().to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    parameters.find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"').trim_start_matches("--");
        (key.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then(|| value.to_owned())
    })
}

/// What is missing before the first bytes of a response.
fn missing(bytes: &[u8], boundary: &str) -> Option<String> {
    let begin = bytes.iter().position(|byte| !byte.is_ascii_whitespace())?;
    match &bytes[begin..] {
        [b'-', ..] => None,
        [0xFF, ..] => Some(format!("--{boundary}\r\n{HEADER}")),
        rest if begin == 0 && rest[0].eq_ignore_ascii_case(&b'c') => Some(format!("--{boundary}\r\n")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_that_of_the_header() {
        let of = |text: &str| boundary_of(text);
        assert_eq!(of("multipart/x-mixed-replace;boundary=m").as_deref(), Some("m"));
        assert_eq!(of("Multipart/X-Mixed-Replace; charset=x; Boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(of("multipart/x-mixed-replace; boundary=--m").as_deref(), Some("m"));
        for none in
            ["", "image/jpeg", "multipart/x-mixed-replace", "multipart/mixed; boundary=", "text/html; boundary=m"]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn only_what_is_missing_is_written() {
        let head = "Content-Type: image/jpeg\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(missing(head.as_bytes(), "m").as_deref(), Some("--m\r\n"));
        assert_eq!(missing(&[0xFF, 0xD8], "m").as_deref(), Some("--m\r\nContent-Type: image/jpeg\r\n\r\n"));
        for whole in ["--m\r\nContent-Type: image/jpeg", "\r\n--m\r\n", "", "\r\n", "preamble"] {
            assert_eq!(missing(whole.as_bytes(), "m"), None, "{whole}");
        }
    }
}
