//! JPEG, in images and in clips, decoded so that it comes out as libjpeg has it: that is what models are trained on and
//! compared with.
//!
//! `jpegdec` is libjpeg itself; with its exact transform, and made to keep the chroma of 4:4:4 ([`components`]), it takes
//! most. 4:2:2 it would reduce to 4:2:0 and CMYK it refuses: there `avdec_mjpeg` is plugged, whose transform is off by one
//! in some values, and which in turn does not decode 4:4:0 and 4:1:1. Measured against `cv2.imread`, mean difference of
//! the decoded colours in steps of 8 bits: `jpegdec` 0.32 for 4:2:0 (1.09 with its fast transform, the default), 0.00 for
//! 4:4:4; `avdec_mjpeg` 0.40 and 0.28. The crate `zune-jpeg` 0.5 does not give the same bits either: 0.5 to 0.6 % of its
//! luma samples differ from libjpeg's by one (four photographs), and it upsamples the chroma.
//!
//! What is in a JPEG only `jpegparse` says, which also reads how a photograph is to be turned. It needs the marker at
//! the end, so a file that was cut short goes to `jpegdec` unparsed.

mod components;
mod segments;

use std::path::Path;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::image_file::open_regular;
use segments::{APP0, APP1, APP14, EOI, SOF0, SOF2, SOI, SOS, Segment, Segments};

/// Has `pipeline`, which reads the file `path` (or something else) and is not running yet, decode JPEG as described above.
pub(super) fn choose_decoders(pipeline: &gst::Pipeline, path: Option<&Path>) {
    rank();
    let file = File { is_one: path.is_some(), is_cut_short: path.is_some_and(is_cut_short) };
    for element in pipeline.iterate_elements().into_iter().flatten() {
        prepare(&element, file);
    }
    pipeline.connect_deep_element_added(move |_, _, element| prepare(element, file));
}

/// Has what is described above be considered at all.
pub(super) fn rank() {
    // They are ranked below `jpegdec` or not at all, which keeps them from ever being considered. `gdkpixbufdec` is for PNG, of which
    // `pngdec` leaks the image with its buffer pool (two descriptors) each time that one is damaged, and for BMP and TIFF, of which libav's
    // decoders want the whole file at once; `openjpegdec` refuses 4:2:0 (GStreamer 1.22).
    let ranks = [
        ("jpegparse", gst::Rank::PRIMARY),
        ("avdec_mjpeg", gst::Rank::PRIMARY + 64),
        ("gdkpixbufdec", gst::Rank::SECONDARY),
        ("avdec_jpeg2000", gst::Rank::PRIMARY),
    ];
    for (name, rank) in ranks {
        if let Some(factory) = gst::ElementFactory::find(name) {
            factory.set_rank(rank);
        }
    }
}

fn is(element: &gst::Element, factory: &str) -> bool {
    element.factory().is_some_and(|f| f.name() == factory)
}

/// Makes ready what decodes `file`, or a part of it.
pub(super) fn prepare(element: &gst::Element, file: File) {
    if is(element, "parsebin") || is(element, "decodebin") {
        element.connect("autoplug-select", false, move |values| {
            let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
            let factory = values.get(3).and_then(|value| value.get::<gst::ElementFactory>().ok());
            let used = caps.zip(factory).is_none_or(|(caps, factory)| is_used(&factory.name(), &caps, file));
            // The enumeration is GStreamer's own, without a Rust type.
            let class = glib::EnumClass::with_type(glib::Type::from_name("GstAutoplugSelectResult")?)?;
            class.to_value_by_nick(if used { "try" } else { "skip" })
        });
    } else if is(element, "multipartdemux") {
        element.connect_pad_added(|_, pad| name_type(pad));
    } else if is(element, "jpegdec") {
        element.set_property_from_str("idct-method", "islow");
        components::keep(element);
    }
}

/// Some cameras write no space before a part's type (`Content-Type:image/jpeg`), and multipartdemux of `GStreamer` 1.22 skips one
/// character all the same.
fn name_type(pad: &gst::Pad) {
    if pad.current_caps().and_then(|caps| Some(caps.structure(0)?.name() == "mage/jpeg")) == Some(true) {
        // Nothing is linked yet: the pad keeps it.
        pad.push_event(gst::event::Caps::new(&gst::Caps::new_empty_simple("image/jpeg")));
    }
}

/// What is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct File {
    is_one: bool,
    /// It is a JPEG image whose end is missing.
    is_cut_short: bool,
}

impl File {
    /// An image of these bytes.
    pub fn of_image(bytes: &[u8]) -> Self {
        Self { is_one: true, is_cut_short: bytes.starts_with(&[0xFF, SOI]) && !has_end(bytes) }
    }
}

/// What `typefind` and `jpegparse` would say of the image in `bytes`, where it is of the usual kind: a whole one, with 8 bits, in YCbCr, its
/// chroma halved or not. For the others, ask them: that takes half as long as decoding.
pub(super) fn parsed(bytes: &[u8], file: File) -> Option<gst::Caps> {
    if file.is_cut_short || !bytes.starts_with(&[0xFF, SOI]) {
        return None;
    }
    let (mut caps, mut square) = (None, false);
    for Segment { marker, payload } in Segments::of(bytes) {
        let payload = &bytes[payload];
        match marker {
            SOS => return caps,
            // How it is turned (EXIF, XMP), and in what colours it is, says the parser.
            APP1 | APP14 => return None,
            // The shape of pixels, or how many there are to an inch or centimetre.
            APP0 => match payload {
                [b'J', b'F', b'I', b'F', 0, _, _, 0, 0, 1, 0, 1, ..] => square = true,
                [b'J', b'F', b'I', b'F', 0, _, _, 1 | 2, ..] => {}
                _ => return None,
            },
            SOF0..=SOF2 => {
                let &[8, top, high, left, wide, 3, 1, luma, _, 2, 0x11, _, 3, 0x11, _] = payload else { return None };
                let sampling = match luma {
                    0x22 => "YCbCr-4:2:0",
                    0x11 => "YCbCr-4:4:4",
                    _ => return None,
                };
                let [width, height] = [[left, wide], [top, high]].map(|side| i32::from(u16::from_be_bytes(side)));
                if caps.is_some() || width == 0 || height == 0 {
                    return None;
                }
                let jpeg = gst::Structure::builder("image/jpeg")
                    .field("parsed", true)
                    .field("width", width)
                    .field("height", height)
                    .field("sof-marker", i32::from(marker - SOF0))
                    .field("colorspace", "sYUV")
                    .field("sampling", sampling)
                    .field("framerate", gst::Fraction::new(0, 1))
                    .field_if_some("pixel-aspect-ratio", square.then(|| gst::Fraction::new(1, 1)));
                caps = Some(gst::Caps::builder_full().structure(jpeg.build()).build());
            }
            // Other codings.
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => return None,
            _ => {}
        }
    }
    None
}

/// Whether the element `factory` should be plugged for `caps`.
pub(super) fn is_used(factory: &str, caps: &gst::CapsRef, file: File) -> bool {
    match factory {
        // It reads by HTTP only, and waits forever for segments that are files; `hlsdemux` reads those.
        "hlsdemux2" => !file.is_one,
        "jpegparse" => !file.is_cut_short,
        "openjpegdec" => false,
        "pngdec" => gst::ElementFactory::find("gdkpixbufdec").is_none(),
        "avdec_mjpeg" => caps.structure(0).is_some_and(|jpeg| {
            let says =
                |field: &str, values: &[&str]| jpeg.get::<&str>(field).is_ok_and(|value| values.contains(&value));
            says("sampling", &["YCbCr-4:2:2"]) || says("colorspace", &["CMYK", "YCCK"])
        }),
        _ => true,
    }
}

/// Bytes of an image that are looked at, piece by piece.
const PIECES: [u64; 5] = [1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20];

/// Whether `path` is a JPEG image whose end is missing.
fn is_cut_short(path: &Path) -> bool {
    use std::io::Read;
    let Some(mut file) = open_regular(path) else { return false };
    let mut bytes = vec![0; 2];
    if file.read_exact(&mut bytes).is_err() || bytes != [0xFF, SOI] {
        return false;
    }
    // Most end in the first piece; of many images one after the other, the first counts.
    for piece in PIECES {
        match file.by_ref().take(piece).read_to_end(&mut bytes) {
            Ok(_) if has_end(&bytes) => return false,
            Ok(read) if (read as u64) < piece => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// Whether the JPEG image that `bytes` begin with reaches its end marker.
///
/// A thumbnail inside a segment has one too, so it counts after the first scan's header only: from there on, encoded data
/// and the segments of further scans follow, in which its code does not occur.
fn has_end(bytes: &[u8]) -> bool {
    let scan = Segments::of(bytes).find(|segment| segment.marker == SOS);
    scan.is_some_and(|scan| bytes[scan.payload.end..].windows(2).any(|pair| pair == [0xFF, EOI]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) fn segment(marker: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len() + 2).expect("a short segment");
        [&[0xFF, marker], length.to_be_bytes().as_slice(), payload].concat()
    }

    #[test]
    fn an_end_counts_only_after_the_header() {
        let thumbnail = segment(0xE1, &[0xFF, SOI, 1, 2, 3, 0xFF, EOI]);
        let header = [&[0xFF, SOI], thumbnail.as_slice(), &[0xFF, 0xFF], &segment(SOS, &[0; 10])].concat();
        let data = [header.as_slice(), &[1, 2, 0xFF, 0, 3]].concat();
        assert!(!has_end(&data), "the thumbnail's end is not the image's");
        assert!(has_end(&[data.as_slice(), &[0xFF, EOI]].concat()));
        assert!(has_end(&[data.as_slice(), &[0xFF, EOI, 0, 0, 0]].concat()), "what follows does not matter");
        for length in 0..header.len() {
            assert!(!has_end(&data[..length]), "{length} bytes");
        }
    }

    #[test]
    fn each_kind_goes_to_the_decoder_that_keeps_it() {
        gst::init().expect("GStreamer starts");
        let caps = |fields: &[(&str, &str)]| {
            let mut jpeg = gst::Structure::new_empty("image/jpeg");
            for (name, value) in fields {
                jpeg.set(*name, *value);
            }
            gst::Caps::builder_full().structure(jpeg).build()
        };
        for (fields, libav) in [
            (vec![("sampling", "YCbCr-4:2:2"), ("colorspace", "sYUV")], true),
            (vec![("colorspace", "CMYK")], true),
            (vec![("sampling", "YCbCr-4:4:4"), ("colorspace", "sYUV")], false),
            (vec![("sampling", "YCbCr-4:2:0"), ("colorspace", "sYUV")], false),
            (vec![("sampling", "YCbCr-4:4:0"), ("colorspace", "sYUV")], false),
            (vec![("sampling", "GRAYSCALE"), ("colorspace", "GRAY")], false),
            (vec![], false),
        ] {
            assert_eq!(is_used("avdec_mjpeg", &caps(&fields), File::default()), libav, "{fields:?}");
            assert!(is_used("jpegdec", &caps(&fields), File::default()));
        }
        let cut_short = File { is_one: true, is_cut_short: true };
        assert!(is_used("jpegparse", &caps(&[]), File::default()));
        assert!(!is_used("jpegparse", &caps(&[]), cut_short));
        assert!(!is_used("hlsdemux2", &caps(&[]), cut_short) && is_used("hlsdemux2", &caps(&[]), File::default()));
    }

    /// An image of one colour as a JPEG file's bytes, its chroma sampled as in `format`.
    fn red(format: &str) -> Vec<u8> {
        let raw = format!("video/x-raw,format={format},width=50,height=30,colorimetry=(string)bt601");
        let pipeline = format!(
            "videotestsrc num-buffers=1 pattern=red ! {raw} ! jpegenc quality=100 ! appsink name=end sync=false"
        );
        let (buffer, _) = first(&gst::parse::launch(&pipeline).expect("elements"));
        buffer.map_readable().expect("bytes").to_vec()
    }

    /// What a file with these bytes is decoded to.
    fn decoded(bytes: &[u8]) -> (gst::Buffer, gst::Caps) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("red.jpg");
        std::fs::write(&path, bytes).expect("a file");
        let pipeline = gst::parse::launch("filesrc name=file ! decodebin ! appsink name=end sync=false");
        let pipeline = pipeline.expect("elements").downcast::<gst::Pipeline>().expect("several elements");
        pipeline.by_name("file").expect("a source").set_property("location", &path);
        choose_decoders(&pipeline, Some(&path));
        first(pipeline.upcast_ref())
    }

    fn first(pipeline: &gst::Element) -> (gst::Buffer, gst::Caps) {
        let end = pipeline.downcast_ref::<gst::Bin>().and_then(|bin| bin.by_name("end")).expect("an end");
        let end = end.downcast::<gstreamer_app::AppSink>().expect("an appsink");
        pipeline.set_state(gst::State::Playing).expect("it starts");
        let sample = end.try_pull_sample(gst::ClockTime::from_seconds(20));
        let sample = sample.unwrap_or_else(|| panic!("{:?}", pipeline.bus().and_then(|bus| bus.pop())));
        pipeline.set_state(gst::State::Null).expect("it stops");
        (sample.buffer_owned().expect("a buffer"), sample.caps_owned().expect("a format"))
    }

    #[test]
    fn a_usual_image_is_described_as_its_parser_has_it() {
        gst::init().expect("GStreamer starts");
        let by_parser = |bytes: &[u8]| {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("red.jpg");
            std::fs::write(&path, bytes).expect("a file");
            let pipeline = format!("filesrc location=\"{}\" ! typefind ! jpegparse ! appsink name=end", path.display());
            first(&gst::parse::launch(&pipeline).expect("elements")).1
        };
        let file = File { is_one: true, is_cut_short: false };
        for format in ["I420", "Y444"] {
            let mut bytes = red(format);
            // In pixels, and in inches.
            for unit in [0, 1] {
                bytes[13] = unit;
                let described = parsed(&bytes, file).expect("a usual one");
                assert_eq!(described.to_string(), by_parser(&bytes).to_string());
            }
            let described = parsed(&bytes, file).expect("a usual one");
            assert_eq!(parsed(&bytes, File { is_cut_short: true, ..file }), None);
            for length in 0..bytes.len().min(700) {
                assert!(parsed(&bytes[..length], file).is_none_or(|caps| caps == described), "{length} bytes");
            }
        }
        for format in ["Y42B", "GRAY8"] {
            assert_eq!(parsed(&red(format), file), None, "{format}");
        }
        let adobe = [&[0xFF, SOI], segment(APP14, b"Adobe\0\x64\0\0\0\0\0").as_slice(), &red("Y444")[2..]].concat();
        assert_eq!(parsed(&adobe, file), None, "RGB, perhaps");
        let turned = [&[0xFF, SOI], segment(APP1, b"Exif\0\0").as_slice(), &red("Y444")[2..]].concat();
        assert_eq!(parsed(&turned, file), None, "turned, perhaps");
    }

    #[test]
    fn chroma_is_kept_as_it_was_sampled() {
        gst::init().expect("GStreamer starts");
        for format in ["I420", "Y42B", "Y444", "GRAY8"] {
            let (buffer, caps) = decoded(&red(format));
            let video = gstreamer_video::VideoInfo::from_caps(&caps).expect("an image");
            assert_eq!((video.format().to_str().as_str(), video.width(), video.height()), (format, 50, 30));
            let frame = gstreamer_video::VideoFrame::from_buffer_readable(buffer, &video).expect("an image");
            // The samples go through as they are, whatever they mean.
            let expected: &[u8] = if format == "GRAY8" { &[81] } else { &[81, 90, 240] };
            for (plane, value) in (0..).zip(expected) {
                let is = frame.plane_data(plane).expect("a plane")[0];
                assert!(is.abs_diff(*value) <= 2, "{format}, plane {plane}: {is}, should be {value}");
            }
        }
    }

    #[test]
    fn an_image_that_is_cut_short_is_decoded() {
        gst::init().expect("GStreamer starts");
        let bytes = red("I420");
        let (_, caps) = decoded(&bytes[..bytes.len() - 2]);
        assert_eq!(caps.structure(0).expect("a format").get("width"), Ok(50));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(prop_oneof![Just(0xFF), any::<u8>()], 0..60)) {
            let segments = Segments::of(&bytes).count();
            gst::init().expect("GStreamer starts");
            let _ = parsed(&bytes, File::default());
            prop_assert!(segments <= bytes.len() && (segments > 0 || !has_end(&bytes)));
        }
    }
}
