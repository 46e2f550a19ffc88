//! Room for UDP packets that wait to be read: what is asked of the system, and whether it gives that.

use std::sync::atomic::{AtomicBool, Ordering};

use gio::prelude::SocketExt;
use gstreamer as gst;
use gstreamer::prelude::*;

/// What is asked for where an element asks for nothing by itself, as in `pipelines/source.toml`: 1.7 s of 12 Mbit/s, where the
/// kernel's 208 KiB are 0.1 s, counted with its own overhead.
const ASKED: i32 = 4 << 20;

/// Has every UDP socket of `pipeline` ask for so much.
pub(super) fn ask(pipeline: &gst::Pipeline) {
    pipeline.connect_deep_element_added(|_, _, element| {
        // A socket that is there already is not asked again.
        let is_open = || element.property::<Option<gio::Socket>>("used-socket").is_some();
        if is_udpsrc(element) && element.property::<i32>("buffer-size") == 0 && !is_open() {
            element.set_property("buffer-size", ASKED);
        }
    });
}

/// What is to be said where the sockets of `pipeline`, which runs, got less than they asked for; once a run, since it is the
/// machine's limit.
pub(super) fn too_little(pipeline: &gst::Pipeline) -> Option<String> {
    static SAID: AtomicBool = AtomicBool::new(false);
    let sources = pipeline.iterate_recurse().into_iter().flatten();
    let (got, asked) =
        sources.filter(is_udpsrc).filter_map(|source| got_and_asked(&source)).find(|(got, asked)| got < asked)?;
    if SAID.swap(true, Ordering::SeqCst) {
        return None;
    }
    let kib = |bytes: i32| bytes / 1024;
    Some(format!(
        "UDP packets wait in {} KiB, not the {} KiB asked for: on a busy machine some are lost\n  \
         sysctl -w net.core.rmem_max={asked}, or --rtsp-transport tcp",
        kib(got),
        kib(asked)
    ))
}

fn is_udpsrc(element: &gst::Element) -> bool {
    element.factory().is_some_and(|factory| factory.name() == "udpsrc")
}

/// What a UDP source's socket got, and what it asked for.
fn got_and_asked(source: &gst::Element) -> Option<(i32, i32)> {
    let asked = source.property::<i32>("buffer-size");
    let socket = source.property::<Option<gio::Socket>>("used-socket")?;
    let doubled = socket.option(libc::SOL_SOCKET, libc::SO_RCVBUF).ok()?;
    // socket(7): the kernel doubles what is asked for, for its own overhead.
    (asked > 0).then_some((doubled / 2, asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_tells_what_it_got() {
        gst::init().expect("GStreamer");
        let pipeline = gst::Pipeline::new();
        ask(&pipeline);
        let source = gst::ElementFactory::make("udpsrc").property("port", 0i32).build().expect("udpsrc");
        pipeline.add(&source).expect("an empty pipeline");
        let own = gst::ElementFactory::make("udpsrc").property("port", 0i32).property("buffer-size", 65_536i32);
        let own = own.build().expect("udpsrc");
        pipeline.add(&own).expect("a pipeline");
        assert_eq!(got_and_asked(&source), None, "it has none yet");
        for element in [&source, &own] {
            element.set_state(gst::State::Ready).expect("a port");
        }
        assert!(got_and_asked(&source).is_some_and(|(got, asked)| asked == ASKED && got > 65_536), "{source:?}");
        assert_eq!(got_and_asked(&own), Some((65_536, 65_536)), "what was given stays");
        for element in [&source, &own] {
            element.set_state(gst::State::Null).expect("a socket");
        }
    }
}
