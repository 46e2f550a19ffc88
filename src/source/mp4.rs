//! The header (`moov`) of MP4 and MOV files, corrected on its way into qtdemux.
//!
//! qtdemux of `GStreamer` 1.22 concludes too much from the length that the header states for the whole: a track shorter than a
//! fifth of it is taken for a preview and left out; and it is compared with times in a track where times in the presentation
//! are meant, so that a trimmed clip ends early. Where the header states none (0), both are right. So none is stated, and who
//! asks for the length is answered here.
//!
//! The end that an edit list states is mistaken in the same way: where the file is pushed, a track ends 2 s after it in any
//! track's own time; and decoding times are compared with it as if no frame were shown before it is decoded (negative
//! composition offsets, as phones write them). So qtdemux is told of a later end, and the true one is put into its segments.

mod moov;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use self::moov::{End, Head, Stated, correct};
use super::link::change_caps;
use super::probe::DecoderProbe;
use crate::thread::Guard;

/// A header that is larger goes on as it is: a day of video has half of it.
const LARGEST: usize = 64 << 20;
/// Times are rounded apart from each other.
const ROUNDING: gst::ClockTime = gst::ClockTime::from_useconds(1);

/// Corrects headers in whatever `pipeline` is made of; frames that an edit list hides are no loss to `probe`.
pub(super) fn correct_headers(pipeline: &gst::Pipeline, probe: &DecoderProbe, guard: &Guard) {
    let (probe, guard) = (probe.clone(), guard.clone());
    pipeline.connect_deep_element_added(move |_, _, element| {
        if element.factory().is_some_and(|factory| factory.name() == "qtdemux") {
            probe.expect_edit_lists();
            watch(element, &guard);
        }
    });
}

fn watch(demuxer: &gst::Element, guard: &Guard) {
    let Some(sink) = demuxer.static_pad("sink") else { return };
    let (stated, guard) = (Arc::new(OnceLock::new()), guard.clone());
    let header = Mutex::new(Header { stated: stated.clone(), next: 0, held: None });
    sink.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let mut header = header.lock().unwrap_or_else(PoisonError::into_inner);
        guard.run("header", || header.passes(info)).unwrap_or(gst::PadProbeReturn::Handled)
    });
    demuxer.connect_pad_added(move |_, pad| {
        answer(pad, &stated);
        change_caps(pad, without_range);
        let stated = stated.clone();
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
            if let Some(gst::EventView::Segment(segment)) = info.event().map(|event| event.view())
                && let Some(corrected) = stated.get().and_then(|stated| stated.with_end(pad, segment))
            {
                info.data = Some(gst::PadProbeData::Event(corrected));
            }
            gst::PadProbeReturn::Ok
        });
    });
}

/// The same caps without the sample range, which the encoded video states itself; `None` where it does not, or none is stated. A
/// container can hardly state the full one that many cameras record (`nclc` has no such field), and is believed all the same.
fn without_range(caps: &gst::CapsRef) -> Option<gst::Caps> {
    let structure = caps.structure(0)?;
    matches!(structure.name().as_str(), "video/x-h264" | "video/x-h265").then_some(())?;
    let stated: gst_video::VideoColorimetry = structure.get::<&str>("colorimetry").ok()?.parse().ok()?;
    let unknown = gst_video::VideoColorimetry::new(
        gst_video::VideoColorRange::Unknown,
        stated.matrix(),
        stated.transfer(),
        stated.primaries(),
    );
    let mut caps = caps.to_owned();
    caps.make_mut().set("colorimetry", unknown.to_string());
    Some(caps)
}

/// Answers at a demuxer's pad who asks for the length.
fn answer(pad: &gst::Pad, stated: &Arc<OnceLock<Stated>>) {
    let stated = stated.clone();
    pad.add_probe(gst::PadProbeType::QUERY_UPSTREAM | gst::PadProbeType::PUSH, move |_, info| {
        if let Some(query) = info.query_mut()
            && let gst::QueryViewMut::Duration(duration) = query.view_mut()
            && duration.format() == gst::Format::Time
            && let Some(length) = stated.get().and_then(|stated| stated.length)
        {
            duration.set(length);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

impl Stated {
    /// The segment of an edit list with the end that the list states.
    fn with_end(&self, pad: &gst::Pad, event: &gst::event::Segment) -> Option<gst::Event> {
        // As qtdemux ends the ids of its streams.
        let track: u64 = pad.stream_id()?.rsplit('/').next()?.parse().ok()?;
        let mut segment = event.segment().downcast_ref::<gst::ClockTime>()?.clone();
        let start = segment.start()?;
        let edit = self.edits.iter().find(|edit| edit.track == track && edit.start.absdiff(start) <= ROUNDING)?;
        segment.set_stop(start.saturating_add(edit.length));
        Some(gst::event::Segment::builder(&segment).seqnum(event.seqnum()).build())
    }
}

/// The header, looked for in what passes: whole in one buffer where qtdemux reads as it likes, in pieces where it is pushed.
struct Header {
    /// What it states, once it is corrected.
    stated: Arc<OnceLock<Stated>>,
    /// Bytes until the next box, of those that are held and those that come.
    next: u64,
    held: Option<Held>,
}

/// Pushed bytes that do not go on before the header in them is there.
struct Held {
    first: gst::Buffer,
    bytes: Vec<u8>,
}

impl Header {
    fn passes(&mut self, info: &mut gst::PadProbeInfo) -> gst::PadProbeReturn {
        if let Some(gst::EventView::Segment(segment)) = info.event().map(|event| event.view()) {
            // After a seek, which goes to the beginning of a box.
            (self.next, self.held) = (0, None);
            let in_bytes = segment.segment().format() == gst::Format::Bytes;
            return if in_bytes { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Remove };
        }
        let is_pushed = !info.mask.contains(gst::PadProbeType::PULL);
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        if is_pushed { self.push(buffer) } else { self.pull(buffer) }
    }

    fn pull(&mut self, buffer: &mut gst::Buffer) -> gst::PadProbeReturn {
        let is_header = buffer.map_readable().is_ok_and(|bytes| {
            Head::at(&bytes, 0).is_some_and(|head| head.kind == *b"moov" && head.size == bytes.len() as u64)
        });
        if !is_header {
            return gst::PadProbeReturn::Ok;
        }
        self.correct(buffer, 0, End::Later);
        gst::PadProbeReturn::Remove
    }

    fn push(&mut self, buffer: &mut gst::Buffer) -> gst::PadProbeReturn {
        if let Some(left) = self.next.checked_sub(buffer.size() as u64).filter(|_| self.held.is_none()) {
            self.next = left;
            return gst::PadProbeReturn::Ok;
        }
        let Ok(bytes) = buffer.map_readable() else { return gst::PadProbeReturn::Ok };
        let found = match &mut self.held {
            Some(held) => {
                held.bytes.extend_from_slice(&bytes);
                Found::in_bytes(&held.bytes, self.next)
            }
            None => Found::in_bytes(&bytes, self.next),
        };
        if let Found::Part(at) = found {
            self.next = at;
            let first = || Held { first: buffer.copy(), bytes: bytes.to_vec() };
            self.held.get_or_insert_with(first);
            return gst::PadProbeReturn::Handled;
        }
        drop(bytes);
        if let Some(Held { first, bytes }) = self.held.take() {
            let mut whole = gst::Buffer::from_mut_slice(bytes);
            let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
            // It is a new buffer: nothing keeps it from being written.
            first.copy_into(whole.make_mut(), what, ..).ok();
            *buffer = whole;
        }
        match found {
            Found::Later(next) => {
                self.next = next;
                return gst::PadProbeReturn::Ok;
            }
            Found::Header(at) => self.correct(buffer, at, End::Open),
            Found::Part(_) | Found::Never => {}
        }
        gst::PadProbeReturn::Remove
    }

    /// Corrects the header that begins at `at` in the buffer.
    fn correct(&self, buffer: &mut gst::Buffer, at: usize, end: End) {
        if let Ok(mut bytes) = buffer.make_mut().map_writable()
            && let Some(stated) = correct(&mut bytes[at..], end)
        {
            self.stated.get_or_init(|| stated);
        }
    }
}

/// What is found of the header in bytes of a file.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The next box begins so far after their end.
    Later(u64),
    /// A box begins there that is the header or may be, and is not there as a whole.
    Part(u64),
    /// The header, whole, begins there.
    Header(usize),
    /// It will not come, or is too large.
    Never,
}

impl Found {
    /// In `bytes`, where a box begins at `next`.
    fn in_bytes(bytes: &[u8], next: u64) -> Self {
        let (mut at, end) = (next, bytes.len() as u64);
        loop {
            let Some(start) = usize::try_from(at).ok().filter(|_| at < end) else { return Self::Later(at - end) };
            let Some(head) = Head::at(bytes, start) else { return Self::Part(at) };
            let Some(after) = at.checked_add(head.size).filter(|_| head.size >= head.length as u64) else {
                return Self::Never;
            };
            match (head.kind == *b"moov", after <= end) {
                (true, true) => return Self::Header(start),
                (true, false) if head.size > LARGEST as u64 => return Self::Never,
                (true, false) => return Self::Part(at),
                (false, _) => at = after,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::moov::tests::{header, of, video};
    use super::*;
    use proptest::prelude::*;

    /// What comes out where a file is pushed in pieces of this size.
    fn pushed(file: &[u8], piece: usize) -> Vec<u8> {
        let mut header = Header { stated: Arc::default(), next: 0, held: None };
        let mut out = Vec::new();
        let mut removed = false;
        for piece in file.chunks(piece) {
            let mut buffer = gst::Buffer::from_mut_slice(piece.to_vec());
            let passed = if removed { gst::PadProbeReturn::Ok } else { header.push(&mut buffer) };
            if passed != gst::PadProbeReturn::Handled {
                out.extend_from_slice(&buffer.map_readable().expect("bytes"));
            }
            removed |= passed == gst::PadProbeReturn::Remove;
        }
        out
    }

    #[test]
    fn a_header_is_found_in_pieces_of_any_size() {
        gst::init().expect("GStreamer");
        let large = [&1u32.to_be_bytes(), b"mdat".as_slice(), &24u64.to_be_bytes(), b"12345678"].concat();
        let parts =
            |moov: Vec<u8>| [of(*b"ftyp", b"isom"), large.clone(), of(*b"free", b""), moov, of(*b"free", b"xx")];
        let file = parts(header(false, 520, &[video(100)])).concat();
        let expected = parts(header(false, 0, &[video(100)])).concat();
        for piece in (1..=file.len()).chain([file.len() + 1]) {
            assert!(pushed(&file, piece) == expected, "in pieces of {piece} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_pass(
            bytes in proptest::collection::vec(prop_oneof![Just(0), Just(8), Just(b'm'), any::<u8>()], 0..80),
            piece in 1usize..30,
        ) {
            gst::init().expect("GStreamer");
            prop_assert!(bytes.starts_with(&pushed(&bytes, piece)), "what is cut short may stay held");
        }
    }
}
