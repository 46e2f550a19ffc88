//! Y, Cb and Cr of a 4:4:4 image out of `jpegdec`, each at full size and exactly as libjpeg has them.
//!
//! `jpegdec` (`GStreamer` 1.22) halves the chroma of 4:4:4, but gives the three components of an RGB image as they are.
//! Which of the two it has before it, libjpeg tells by two markers (its `default_decompress_parms`): JFIF means YCbCr,
//! Adobe with transform 0 means RGB. So the decoder is shown the same image with its markers changed, and the
//! interleaved "RGB" it makes of it is taken apart into the planes that it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::segments::{APP0, APP14, SOF0, SOF2, SOI, SOS, Segments};

/// A marker without a meaning here.
const APP15: u8 = 0xEF;
/// An Adobe marker: version 100, no flags, transform 0.
const ADOBE_RGB: [u8; 16] = [0xFF, APP14, 0, 14, b'A', b'd', b'o', b'b', b'e', 0, 100, 0, 0, 0, 0, 0];

/// Makes `jpegdec` keep the chroma of 4:4:4 images.
pub(super) fn keep(jpegdec: &gst::Element) {
    let (Some(sink), Some(src)) = (jpegdec.static_pad("sink"), jpegdec.static_pad("src")) else { return };
    // Whether the image being decoded has had its markers changed. Decoding happens on the thread that brings it.
    let changed = Arc::new(AtomicBool::new(false));
    let after = changed.clone();
    sink.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        // Only a parser delivers whole images.
        let parsed = pad
            .current_caps()
            .is_some_and(|caps| caps.structure(0).is_some_and(|jpeg| jpeg.get("parsed").unwrap_or(false)));
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        let shown = if parsed { show_as_rgb(buffer) } else { None };
        changed.store(shown.is_some(), Ordering::SeqCst);
        if let Some(shown) = shown {
            *buffer = shown;
        }
        gst::PadProbeReturn::Ok
    });
    src.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        if !after.load(Ordering::SeqCst) {
            return gst::PadProbeReturn::Ok;
        }
        if let Some(event) = info.event() {
            if let gst::EventView::Caps(caps) = event.view()
                && let Some(caps) = planar_caps(caps.caps())
            {
                info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
            }
        } else if let Some(buffer) = info.buffer_mut()
            && let Some(planar) = pad.current_caps().and_then(|caps| take_apart(buffer, &caps))
        {
            *buffer = planar;
        }
        gst::PadProbeReturn::Ok
    });
}

/// The image with markers that call it RGB; `None` when it is not YCbCr with three components of one size.
fn show_as_rgb(buffer: &gst::Buffer) -> Option<gst::Buffer> {
    let bytes = buffer.map_readable().ok()?;
    let mut shown = gst::Buffer::from_slice(changed_markers(&bytes)?);
    buffer.copy_into(shown.get_mut()?, gst::BUFFER_COPY_METADATA, ..).ok()?;
    Some(shown)
}

fn changed_markers(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut changed = [&[0xFF, SOI], ADOBE_RGB.as_slice()].concat();
    let (mut at, mut full_size) = (2, false);
    for segment in Segments::of(bytes) {
        let payload = &bytes[segment.payload.clone()];
        changed.extend_from_slice(&bytes[at..segment.payload.start]);
        let marker = changed.len() - 3;
        at = segment.payload.start;
        match segment.marker {
            // Adobe's marker of an RGB image: nothing to change.
            APP14 if payload.starts_with(b"Adobe") && payload.get(11) == Some(&0) => return None,
            APP0 | APP14 => changed[marker] = APP15,
            // Baseline, extended, progressive: precision, height, width, then each component's number and factors.
            SOF0..=SOF2 => {
                full_size = matches!(payload, [8, _, _, _, _, 3, rest @ ..]
                    if rest.len() == 9 && rest.chunks(3).all(|component| component[1] == 0x11));
            }
            SOS => break,
            _ => {}
        }
    }
    changed.extend_from_slice(bytes.get(at..)?);
    full_size.then_some(changed)
}

fn planar_caps(caps: &gst::CapsRef) -> Option<gst::Caps> {
    let mut caps = caps.to_owned();
    let video = caps.make_mut().structure_mut(0)?;
    video.set("format", gst_video::VideoFormat::Y444.to_str().as_str());
    // Full range, BT.601.
    video.set("colorimetry", "1:4:0:0");
    Some(caps)
}

fn take_apart(buffer: &gst::Buffer, caps: &gst::CapsRef) -> Option<gst::Buffer> {
    let interleaved = gst_video::VideoInfo::from_caps(caps).ok()?;
    let caps = planar_caps(caps)?;
    let planar = gst_video::VideoInfo::from_caps(&caps).ok()?;
    let source = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &interleaved).ok()?;
    let target = gst::Buffer::with_size(planar.size()).ok()?;
    let mut target = gst_video::VideoFrame::from_buffer_writable(target, &planar).ok()?;
    let width = interleaved.width() as usize;
    let row = usize::try_from(source.plane_stride()[0]).ok()?;
    let stride = usize::try_from(target.plane_stride()[0]).ok()?;
    let [y, u, v, _] = target.planes_data_mut();
    let planes = y.chunks_mut(stride).zip(u.chunks_mut(stride)).zip(v.chunks_mut(stride));
    for (((y, u), v), row) in planes.zip(source.plane_data(0).ok()?.chunks(row)) {
        let pixels = &row.as_chunks::<3>().0[..width];
        for (((y, u), v), pixel) in y.iter_mut().zip(u).zip(v).zip(pixels) {
            [*y, *u, *v] = *pixel;
        }
    }
    let mut apart = target.into_buffer();
    buffer.copy_into(apart.get_mut()?, gst::BUFFER_COPY_METADATA, ..).ok()?;
    Some(apart)
}

#[cfg(test)]
mod tests {
    use super::super::tests::segment;
    use super::*;

    fn frame(factors: [u8; 3]) -> Vec<u8> {
        let components = factors.iter().zip(1..).flat_map(|(factors, number)| [number, *factors, 0]);
        segment(0xC0, &[8, 0, 16, 0, 16, 3].into_iter().chain(components).collect::<Vec<_>>())
    }

    fn image(segments: &[Vec<u8>]) -> Vec<u8> {
        [&[0xFF, SOI], segments.concat().as_slice(), &segment(SOS, &[0; 10]), &[1, 2, 3, 0xFF, 0xD9]].concat()
    }

    #[test]
    fn only_the_markers_change() {
        let jfif = segment(APP0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
        let unread = [&[0xFF, APP15], &jfif[2..]].concat();
        let tables = segment(0xDB, &[7; 65]);
        let changed = changed_markers(&image(&[jfif, tables.clone(), frame([0x11; 3])])).expect("4:4:4");
        assert_eq!(changed, image(&[ADOBE_RGB.to_vec(), unread, tables, frame([0x11; 3])]));
    }

    #[test]
    fn what_is_not_full_size_ycbcr_stays() {
        assert_eq!(changed_markers(&image(&[frame([0x22, 0x11, 0x11])])), None, "4:2:0");
        assert_eq!(changed_markers(&image(&[frame([0x22; 3])])), None, "one size, but not libjpeg's rows");
        assert_eq!(changed_markers(&image(&[ADOBE_RGB.to_vec(), frame([0x11; 3])])), None, "RGB already");
        assert_eq!(changed_markers(&image(&[segment(0xC0, &[8, 0, 16, 0, 16, 1, 1, 0x11, 0])])), None, "grey");
        assert_eq!(changed_markers(&[0xFF, SOI, 0xFF]), None);
        assert_eq!(changed_markers(&[]), None);
    }
}
