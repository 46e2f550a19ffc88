//! Images one after the other, without a pipeline each: parser, decoder and filter that [`FileSource`](super::FileSource) would use are
//! called one after the other, on the calling thread; PNG has a decoder of its own ([`super::png`]).
//!
//! It takes what is plain: one image in a file, of a usual kind, undamaged. Whatever else is in a folder is for `FileSource`, which
//! knows what to say of it. Of a small JPEG's 5 ms with a pipeline, decoding takes 0.4 ms; the rest is pads, threads and states.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::chain::{Chain, Passed};
use super::error::SourceError;
use super::factories::Factories;
use super::filter::{direction, elements, passes};
use super::frames::described;
use super::heap::image_was_decoded;
use super::jpeg;
use super::options::Wanted;
use super::outlet::{Outlet, SourceEvent};
use super::png;
use super::probe::{bear_errors, offer_video_meta};
use super::rgb::to_yuv;
use crate::clock::{Clock, HostTime, StreamTime};
use crate::frame::hdr::Transfer;
use crate::frame::{DecodedFrame, Frame, Stamps, VideoBuffer};
use crate::image_file::{ImageFile, whole};
use crate::shutdown::Shutdown;
use crate::stream::StreamId;
use crate::thread::test_panic_point;

/// By which type finders tell what it is, bytes: as many as `typefind` looks at first.
const HEAD: usize = 4096;
/// Kinds that are taken, beside PNG.
const KINDS: [&str; 4] = ["image/jpeg", "image/webp", "image/bmp", "image/tiff"];

/// Decodes images on the calling thread.
#[derive(Default)]
pub struct ImageDecoder {
    /// By how they turn what passes. Parsers and decoders are not kept: `jpegdec` goes on with tables of the image before, and
    /// `gdkpixbufdec` is not as new once it is stopped.
    filters: BTreeMap<&'static str, Chain>,
    factories: Factories,
}

/// A decoded image.
struct Decoded {
    pixels: VideoBuffer,
    pts: StreamTime,
    duration: Option<Duration>,
    stamps: Stamps,
}

/// What a decoder made, as it lies in the file.
struct Unturned {
    image: Passed,
    /// Its orientation, as the parser says.
    tag: Option<String>,
    decode_in: Option<HostTime>,
    states_colours: bool,
}

impl ImageDecoder {
    /// Decodes the image at `path` into `outlet` and returns once it is there; `false` where it is none that this takes: it is for
    /// [`FileSource`](super::FileSource) then, and nothing of it was sent.
    pub fn decode(&mut self, path: &Path, wanted: &Wanted, outlet: &Outlet, shutdown: &Shutdown) -> bool {
        test_panic_point();
        let Some(decoded) = self.decoded(path, wanted, outlet) else { return false };
        if !shutdown.is_requested() {
            deliver(decoded, wanted, outlet, shutdown);
        }
        true
    }

    /// One that decodes what lies in memory, too.
    ///
    /// # Errors
    /// When `GStreamer` does not start.
    pub fn for_bytes() -> Result<Self, SourceError> {
        gst::init().map_err(|e| SourceError::Unusable {
            input: "images".into(),
            problem: format!("GStreamer does not start: {e}"),
            remedy: "run `make setup` to install it".into(),
        })?;
        jpeg::rank();
        Ok(Self::default())
    }

    /// The image in `bytes`, no animation, upright; `about` is what they say of themselves. `None` where it is of none of the kinds that are
    /// taken, or damaged.
    pub fn image(&mut self, bytes: Vec<u8>, about: &ImageFile, clock: &dyn Clock) -> Option<Box<DecodedFrame>> {
        if about.lacks_pixels {
            return None;
        }
        let decoded = self.of_bytes(bytes, about.turn, clock, Duration::ZERO);
        // Images of all sizes come for days.
        image_was_decoded();
        let Decoded { pixels, pts, stamps, .. } = decoded?;
        Some(Box::new(Frame::new((StreamId(0), 0), pts, pixels, stamps)))
    }

    fn decoded(&mut self, path: &Path, wanted: &Wanted, outlet: &Outlet) -> Option<Decoded> {
        let about = ImageFile::read(path);
        if about.images != 1 || about.undecodable.is_some() || about.too_large().is_some() {
            return None;
        }
        self.of_bytes(whole(path)?, about.turn, &*outlet.clock, wanted.delay)
    }

    /// The image in `bytes`, to be turned by `turn`.
    fn of_bytes(&mut self, bytes: Vec<u8>, turn: u8, clock: &dyn Clock, delay: Duration) -> Option<Decoded> {
        let Unturned { image, tag, decode_in, states_colours } =
            if png::is_png(&bytes) { of_png(&bytes, clock)? } else { self.by_elements(bytes, clock)? };
        if !delay.is_zero() {
            clock.sleep(delay);
        }
        let left = clock.now();
        let shown = self.turn(image, turn, tag.as_deref())?;
        if shown.buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            return None;
        }
        let segment = shown.segment.downcast_ref::<gst::ClockTime>();
        let pts = segment.zip(shown.buffer.pts()).and_then(|(segment, pts)| segment.to_running_time(pts));
        let duration = shown.buffer.duration();
        let (buffer, video) = to_yuv(shown.buffer, &described(&shown.caps)?)?;
        Some(Decoded {
            pixels: VideoBuffer::map(buffer, video, states_colours)?,
            pts: StreamTime { ns: pts.map_or(0, gst::ClockTime::nseconds) },
            duration: duration.map(Duration::from),
            stamps: Stamps { decode_in, decoded: left, ..Stamps::default() },
        })
    }

    /// Upright, by `turn` or by what the parser says, and in a layout that the pipeline works on; `None` for HDR.
    fn turn(&mut self, decoded: Passed, turn: u8, tag: Option<&str>) -> Option<Passed> {
        let video = described(&decoded.caps).filter(|video| Transfer::of(video).is_none())?;
        // By name: what `videoflip` chooses by itself it says too late for pads without a template.
        let turn = if turn == 1 { tag.map_or(1, orientation_number) } else { turn };
        let direction = direction(turn, None);
        if passes(direction, &video) {
            return Some(decoded);
        }
        let name = direction.unwrap_or("upright");
        // One that gives nothing is not used again.
        let filter = if let Some(filter) = self.filters.remove(name) {
            filter
        } else {
            let filter = elements(direction, Some(&video)).ok()?;
            offer_video_meta(&filter.static_pad("sink")?);
            Chain::new(filter.upcast(), false)?
        };
        let shown = filter.pass(&decoded)?;
        self.filters.insert(name, filter);
        Some(shown)
    }

    /// An image of another kind than PNG.
    fn by_elements(&mut self, bytes: Vec<u8>, clock: &dyn Clock) -> Option<Unturned> {
        let file = jpeg::File::of_image(&bytes);
        let parsed = jpeg::parsed(&bytes, file);
        let is_parsed = parsed.is_some();
        let mut encoded = read(bytes, parsed)?;
        if let Some(parser) = self.chosen(&encoded.caps, file, true).filter(|factory| !is_parsed && is_parser(factory))
        {
            encoded = element(&parser, file)?.pass(&encoded)?;
        }
        let states_colours = encoded.caps.structure(0).is_some_and(|encoded| encoded.has_field("colorimetry"));
        let tag = encoded.orientation.take();
        let decoder = self.chosen(&encoded.caps, file, false).filter(is_decoder)?;
        // As [`super::probe`] has it.
        let entered = (encoded.buffer.pts().or(encoded.buffer.dts()), clock.now());
        let image = element(&decoder, file)?.pass(&encoded)?;
        let decode_in = image.buffer.pts().filter(|pts| entered.0 == Some(*pts)).map(|_| entered.1);
        Some(Unturned { image, tag, decode_in, states_colours })
    }

    /// What `parsebin` or `decodebin` would choose for `caps`.
    fn chosen(&mut self, caps: &gst::Caps, file: jpeg::File, may_parse: bool) -> Option<gst::ElementFactory> {
        let mut factories = self.factories.for_caps(caps).iter().filter(|factory| may_parse || !is_parser(factory));
        factories.find(|factory| jpeg::is_used(&factory.name(), caps, file)).cloned()
    }
}

/// EXIF's number of an orientation as `GStreamer` names it.
fn orientation_number(tag: &str) -> u8 {
    match tag {
        "flip-rotate-0" => 2,
        "rotate-180" => 3,
        "flip-rotate-180" => 4,
        "flip-rotate-270" => 5,
        "rotate-90" => 6,
        "flip-rotate-90" => 7,
        "rotate-270" => 8,
        _ => 1,
    }
}

/// A PNG image.
fn of_png(bytes: &[u8], clock: &dyn Clock) -> Option<Unturned> {
    let entered = clock.now();
    let (mut buffer, video) = png::decode(bytes)?;
    buffer.get_mut()?.set_pts(gst::ClockTime::ZERO);
    let segment = gst::FormattedSegment::<gst::ClockTime>::new().upcast();
    let image = Passed { buffer, caps: video.to_caps().ok()?, segment, orientation: None };
    Some(Unturned { image, tag: None, decode_in: Some(entered), states_colours: false })
}

/// An image of a kind that is taken, as `filesrc` and `typefind` pass it on, where it is not known what it is.
fn read(bytes: Vec<u8>, known: Option<gst::Caps>) -> Option<Passed> {
    let find = || gst::SliceTypeFind::type_find(bytes.get(..HEAD).unwrap_or(&bytes)).1;
    let caps = known.or_else(find);
    let caps = caps.filter(|caps| caps.structure(0).is_some_and(|found| KINDS.contains(&found.name().as_str())))?;
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let times = buffer.get_mut()?;
    times.set_pts(gst::ClockTime::ZERO);
    times.set_dts(gst::ClockTime::ZERO);
    let segment = gst::FormattedSegment::<gst::format::Bytes>::new().upcast();
    Some(Passed { buffer, caps, segment, orientation: None })
}

fn is_parser(factory: &gst::ElementFactory) -> bool {
    factory.has_type(gst::ElementFactoryType::PARSER)
}

/// Whether it decodes images, in memory that everyone reads.
fn is_decoder(factory: &gst::ElementFactory) -> bool {
    let decodes = |media| factory.has_type(gst::ElementFactoryType::DECODER | media);
    (decodes(gst::ElementFactoryType::MEDIA_IMAGE) || decodes(gst::ElementFactoryType::MEDIA_VIDEO))
        && !factory.has_type(gst::ElementFactoryType::HARDWARE)
}

/// A parser or decoder.
fn element(factory: &gst::ElementFactory, file: jpeg::File) -> Option<Chain> {
    let element = factory.create().build().ok()?;
    jpeg::prepare(&element, file);
    bear_errors(&element);
    if element.has_property("direct-rendering") {
        // Into libav's own memory, which is zeroed: what it would ask for has no query.
        element.set_property("direct-rendering", false);
    }
    Chain::new(element, true)
}

/// Sends an image as [`super::frames`] sends a frame.
fn deliver(decoded: Decoded, wanted: &Wanted, outlet: &Outlet, shutdown: &Shutdown) {
    let Decoded { pixels, pts, duration, mut stamps } = decoded;
    if outlet.head == 0 && outlet.is_waiting() {
        outlet.wait_until_ready();
    }
    if outlet.controls.hold(shutdown) {
        // What stood still meanwhile was not late.
        stamps.not_before(outlet.clock.now());
    }
    let (file, index) = wanted.image.as_ref().map_or((None, 0), |(file, number)| (Some(file.clone()), *number));
    let pts = wanted.image_time().unwrap_or(pts);
    let frame = Frame { duration, file, ..Frame::new((outlet.stream, index), pts, pixels, stamps) };
    // Where the worker is gone, the next image is not asked for.
    outlet.send(SourceEvent::Frame(Box::new(frame)));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::channel::lanes;
    use crate::clock;
    use crate::controls::Controls;
    use crate::stream::StreamId;
    use crate::thread::Guard;

    fn made(folder: &Path, name: &str, description: &str) {
        made_by(&folder.join(name), &format!("videotestsrc num-buffers=1 ! {description} ! filesink name=file"));
    }

    fn made_by(path: &Path, pipeline: &str) {
        let pipeline = gst::parse::launch(pipeline).expect("elements").downcast::<gst::Pipeline>().expect("several");
        pipeline.by_name("file").expect("a sink").set_property("location", path);
        pipeline.set_state(gst::State::Playing).expect("it starts");
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = pipeline.bus().expect("a bus").timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds);
        assert_eq!(end.map(|end| end.type_()), Some(gst::MessageType::Eos), "{}", path.display());
        pipeline.set_state(gst::State::Null).expect("it stops");
    }

    /// The luma of an image, row by row, and its size.
    fn luma(decoder: &mut ImageDecoder, bytes: &[u8]) -> (Vec<Vec<u8>>, (usize, usize)) {
        let about = ImageFile::of(bytes);
        let frame = decoder.image(bytes.to_vec(), &about, &**clock::process()).expect("an image");
        let size = frame.pixels.info().size;
        let (width, height) = (size.width as usize, size.height as usize);
        let plane = frame.pixels.view().planes[0];
        (plane.data.chunks(plane.stride).take(height).map(|row| row[..width].to_vec()).collect(), (width, height))
    }

    /// A JPEG with this orientation of EXIF.
    fn oriented(jpeg: &[u8], orientation: u8) -> Vec<u8> {
        let exif = b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0";
        [&jpeg[..2], exif, &[orientation], &[0; 6], &jpeg[2..]].concat()
    }

    #[test]
    fn photographs_are_turned_as_exif_says_and_the_next_one_as_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        for (format, name) in [("I420", "a.jpg"), ("Y444", "b.jpg"), ("Y42B", "c.jpg"), ("GRAY8", "d.jpg")] {
            let mut decoder = ImageDecoder::for_bytes().expect("GStreamer");
            made(folder.path(), name, &format!("video/x-raw,format={format},width=64,height=32 ! jpegenc"));
            let jpeg = std::fs::read(folder.path().join(name)).expect("an image");
            let (plain, (w, h)) = luma(&mut decoder, &jpeg);
            for orientation in [6, 1, 8, 3, 2, 4, 5, 7, 1] {
                let (turned, size) = luma(&mut decoder, &oriented(&jpeg, orientation));
                assert_eq!(size, if orientation < 5 { (w, h) } else { (h, w) }, "{format}, {orientation}");
                for (y, row) in turned.iter().enumerate() {
                    for (x, value) in row.iter().enumerate() {
                        let (from_x, from_y) = match orientation {
                            2 => (w - 1 - x, y),
                            3 => (w - 1 - x, h - 1 - y),
                            4 => (x, h - 1 - y),
                            5 => (y, x),
                            6 => (y, h - 1 - x),
                            7 => (w - 1 - y, h - 1 - x),
                            8 => (w - 1 - y, x),
                            _ => (x, y),
                        };
                        assert_eq!(*value, plain[from_y][from_x], "{format}, {orientation}, at {x}, {y}");
                    }
                }
                assert_eq!(luma(&mut decoder, &jpeg).0, plain, "{format}, after {orientation}");
            }
        }
    }

    #[test]
    fn tables_of_one_image_are_not_used_for_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut decoder = ImageDecoder::for_bytes().expect("GStreamer");
        made(folder.path(), "a.jpg", "video/x-raw,format=I420,width=64,height=32 ! jpegenc");
        let jpeg = std::fs::read(folder.path().join("a.jpg")).expect("an image");
        for table in [0xDB, 0xC4] {
            // Its first one becomes something that nobody reads.
            let mut without = jpeg.clone();
            let at = without.windows(2).position(|pair| pair == [0xFF, table]).expect("a table");
            without[at + 1] = 0xEF;
            let mut decoded = |bytes: &[u8]| {
                let frame = decoder.image(bytes.to_vec(), &ImageFile::of(bytes), &**clock::process())?;
                Some(frame.pixels.view().planes.map(|plane| plane.data.to_vec()))
            };
            let alone = decoded(&without);
            assert!(decoded(&jpeg).is_some());
            assert!(decoded(&without) == alone, "{table:x}");
        }
    }

    #[test]
    fn what_a_damaged_image_lacks_is_not_of_the_one_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut decoder = ImageDecoder::for_bytes().expect("GStreamer");
        for format in ["I420", "Y42B", "Y444"] {
            let mut all = Vec::new();
            for pattern in ["snow", "white", "black"] {
                let raw = format!("video/x-raw,format={format},width=160,height=120");
                let path = folder.path().join("a.jpg");
                let source = format!("videotestsrc num-buffers=1 pattern={pattern}");
                made_by(&path, &format!("{source} ! {raw} ! jpegenc ! filesink name=file"));
                all.push(std::fs::read(&path).expect("an image"));
            }
            let [snow, white, black] = &all[..] else { panic!("three") };
            let damaged = [&snow[..snow.len() / 4], &[0xFF, 0xD9]].concat();
            let mut decoded = |bytes: &[u8]| {
                let frame = decoder.image(bytes.to_vec(), &ImageFile::of(bytes), &**clock::process())?;
                Some(frame.pixels.view().planes.map(|plane| plane.data.to_vec()))
            };
            let after = [(white, 0x11), (black, 0xEE), (white, 0x77)].map(|(before, byte)| {
                assert!(decoded(before).is_some());
                // Memory as it was left by others, of all sizes that a frame of this one may have.
                drop((0..400).map(|number| vec![byte; 16_000 + number * 200]).collect::<Vec<Vec<u8>>>());
                decoded(&damaged)
            });
            assert!(after[0].is_some() && after.iter().all(|other| *other == after[0]), "{format}");
        }
    }

    #[test]
    fn plain_images_need_no_pipeline_and_whatever_else_is_left_with_nothing_sent() {
        gst::init().expect("GStreamer");
        let folder = tempfile::tempdir().expect("a folder");
        let raw = |format: &str| format!("video/x-raw,format={format},width=50,height=30");
        for (name, description) in [
            ("a.jpg", raw("I420") + " ! jpegenc"),
            ("b.jpg", raw("Y444") + " ! jpegenc"),
            ("c.jpg", raw("Y42B") + " ! jpegenc"),
            ("d.jpg", raw("GRAY8") + " ! jpegenc"),
            ("e.png", raw("RGB") + " ! pngenc"),
            ("f.png", raw("GRAY16_BE") + " ! pngenc"),
            ("g.webp", raw("RGB") + " ! webpenc"),
            ("h.bmp", raw("BGR") + " ! avenc_bmp"),
            ("i.tiff", raw("RGB") + " ! avenc_tiff"),
            ("j.avi", raw("I420") + " ! jpegenc ! avimux"),
        ] {
            made(folder.path(), name, &description);
        }
        let whole = std::fs::read(folder.path().join("e.png")).expect("an image");
        std::fs::write(folder.path().join("k.png"), &whole[..whole.len() / 2]).expect("a file");
        std::fs::write(folder.path().join("l.jpg"), "no image").expect("a file");
        std::fs::write(folder.path().join("m.jpg"), "").expect("a file");
        let (mut events, frames) = lanes("decoded", 1, 16);
        let (_, ready) = bounded(0);
        let outlet = Outlet {
            stream: StreamId(0),
            events: events.remove(0),
            clock: clock::process().clone(),
            ready,
            head: 0,
            guard: Guard::new(|panicked| panic!("{panicked}")),
            counters: Arc::default(),
            controls: Arc::new(Controls::fixed(0.0, false)),
        };
        let mut decoder = ImageDecoder::default();
        let mut decode = |name: &str, number: u64| {
            let path = folder.path().join(name);
            let wanted = Wanted { image: Some((Arc::from(path.as_path()), number)), ..Wanted::default() };
            decoder.decode(&path, &wanted, &outlet, &Shutdown::new())
        };
        let plain = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.png", "f.png", "g.webp", "h.bmp", "i.tiff"];
        for (name, number) in plain.into_iter().zip(0..) {
            assert!(decode(name, number), "{name}");
        }
        for name in ["j.avi", "k.png", "l.jpg", "m.jpg", "none.jpg"] {
            assert!(!decode(name, 99), "{name}");
        }
        // After what went wrong, too.
        assert!(decode("a.jpg", 9));
        drop(outlet);
        let mut sent = Vec::new();
        while let Ok(received) = frames.take(None) {
            let SourceEvent::Frame(frame) = received.item else { panic!("a frame") };
            assert_eq!((frame.pixels.info().size.width, frame.pts.ns), (50, frame.index * 40_000_000));
            assert!(frame.stamps.decode_in.is_some_and(|entered| entered <= frame.stamps.decoded));
            sent.push(frame.index);
        }
        assert_eq!(sent, (0..10).collect::<Vec<_>>());
    }
}
