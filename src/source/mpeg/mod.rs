//! What MPEG demuxers of `GStreamer` 1.22 do not find out themselves: the first bytes are held back until it is known, then
//! the demuxer is told, and gets them.
//!
//! - `tsdemux` knows times by the program clock (PCR) only. Where a transport stream has none ([`transport`]), it is told to
//!   take the times of the packets as they are, which it does where they come with a time. Some KLV it passes over, or shows too late
//!   ([`metadata`]).
//! - `mpegpsdemux` takes video for MPEG-2 where no program stream map says otherwise ([`program`]): one is put before it. Where
//!   it can read anywhere, it begins its segment at a frame that is shown later than the first ones, which are then cut off:
//!   it has to read from the beginning to the end.

mod head;
mod metadata;
mod packets;
mod program;
mod transport;

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::clock::Deadline;
use crate::image_file::open_regular;
use head::{Finding, Head};
use metadata::Rewriter;
use program::ProgramStream;
use transport::TransportStream;

/// Bytes that are held back at most, and for how long: of a live stream, more come.
const HELD: usize = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

/// Helps every MPEG demuxer that is plugged in `pipeline`, which reads the file `path` or something else and is not running
/// yet.
pub(super) fn help_demuxers(pipeline: &gst::Pipeline, path: Option<&Path>) {
    // Where it can read anywhere, what it reads cannot be held back.
    let in_order = path.is_some_and(takes_help);
    pipeline.connect_deep_element_added(move |_, _, element| {
        let (factory, sink) = (element.factory(), element.static_pad("sink"));
        let (Some(factory), Some(sink)) = (factory, sink) else { return };
        match factory.name().as_str() {
            "tsdemux" => {
                if in_order {
                    read_in_order(&sink);
                }
                let klv = Arc::default();
                hold(&sink, element, TransportStream::telling(&klv));
                rewrite(&sink, klv);
            }
            "mpegpsdemux" => {
                read_in_order(&sink);
                hold(&sink, element, ProgramStream::default());
            }
            _ => {}
        }
    });
}

/// Whether the file at `path` is a transport stream without a program clock, or with KLV that is changed on its way.
fn takes_help(path: &Path) -> bool {
    let Some(mut file) = open_regular(path) else { return false };
    let klv = Arc::default();
    let (mut stream, mut rewriter) = (TransportStream::telling(&klv), Rewriter::default());
    let (mut bytes, mut read, mut clock) = (vec![0; 1 << 16], 0, None);
    loop {
        let Ok(count @ 1..) = file.read(&mut bytes) else { return clock.unwrap_or(stream.end()) != Finding::Fine };
        read += count;
        clock = clock.or_else(|| stream.read(&bytes[..count]));
        let size = klv.load(Ordering::Acquire);
        if size > 0 {
            rewriter.pass(&bytes[..count], size);
        }
        match (&clock, rewriter.verdict()) {
            (Some(Finding::NoClock(_)), _) | (_, Some(true)) => return true,
            (Some(_), Some(false)) => return false,
            // Nothing but KLV would have to be changed.
            (Some(_), None) if size == 0 => return false,
            _ if read > HELD || !stream.is_one() => return false,
            _ => {}
        }
    }
}

/// Changes KLV in what arrives at `sink`, once it is known how far packets are apart.
fn rewrite(sink: &gst::Pad, size: Arc<AtomicUsize>) {
    let rewriter = Mutex::new(Rewriter::default());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST | gst::PadProbeType::PUSH;
    sink.add_probe(kinds, move |_, info| {
        let size = size.load(Ordering::Acquire);
        let mut rewriter = rewriter.lock().unwrap_or_else(PoisonError::into_inner);
        if size == 0 || rewriter.is_idle() {
            return gst::PadProbeReturn::Ok;
        }
        let mut changed = |buffer: &gst::BufferRef| {
            let bytes = buffer.map_readable().ok()?;
            let mut passed = gst::Buffer::from_mut_slice(rewriter.pass(&bytes, size));
            let flags = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
            buffer.copy_into(passed.make_mut(), flags, ..).ok().map(|()| passed)
        };
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                if let Some(passed) = changed(buffer) {
                    info.data = Some(gst::PadProbeData::Buffer(passed));
                }
            }
            Some(gst::PadProbeData::BufferList(list)) => {
                let passed: gst::BufferList = list.iter().filter_map(changed).collect();
                info.data = Some(gst::PadProbeData::BufferList(passed));
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Has an element read from the beginning to the end.
fn read_in_order(sink: &gst::Pad) {
    sink.add_probe(gst::PadProbeType::QUERY_UPSTREAM, |_, info| {
        if let Some(query) = info.query_mut()
            && let gst::QueryViewMut::Scheduling(scheduling) = query.view_mut()
        {
            scheduling.set(gst::SchedulingFlags::SEQUENTIAL, 1, -1, 0);
            scheduling.add_scheduling_modes([gst::PadMode::Push]);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

enum Held {
    Buffer(gst::Buffer),
    Event(gst::Event),
}

/// Whether what arrives is held back, and what is known then.
enum Taken {
    No,
    Held(Option<Finding>),
}

struct Holding<H> {
    head: H,
    held: Vec<Held>,
    bytes: usize,
    /// Since the first of them.
    deadline: Option<Deadline>,
}

/// Holds back what arrives at `sink` until `head` is found; the demuxer gets it then.
fn hold(sink: &gst::Pad, demuxer: &gst::Element, head: impl Head) {
    let holding = Mutex::new(Some(Holding { head, held: Vec::new(), bytes: 0, deadline: None }));
    let demuxer = demuxer.downgrade();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST | gst::PadProbeType::EVENT_DOWNSTREAM;
    sink.add_probe(kinds | gst::PadProbeType::PUSH, move |pad, info| {
        let mut state = holding.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(now) = state.as_mut() else { return gst::PadProbeReturn::Ok };
        let found = match now.take(info) {
            Taken::No => return gst::PadProbeReturn::Ok,
            Taken::Held(None) => return gst::PadProbeReturn::Handled,
            Taken::Held(Some(found)) => found,
        };
        let held = state.take().map(|holding| holding.held).unwrap_or_default();
        // What is given back passes here again.
        drop(state);
        if let Some(demuxer) = demuxer.upgrade() {
            give_back(pad, &demuxer, held, found);
        }
        gst::PadProbeReturn::Handled
    });
}

impl<H: Head> Holding<H> {
    fn take(&mut self, info: &gst::PadProbeInfo) -> Taken {
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => Taken::Held(self.read(buffer.clone())),
            Some(gst::PadProbeData::BufferList(list)) => {
                let mut found = None;
                for buffer in list.iter_owned() {
                    found = found.or(self.read(buffer));
                }
                Taken::Held(found)
            }
            Some(gst::PadProbeData::Event(event)) => {
                let early = [gst::EventType::StreamStart, gst::EventType::Caps, gst::EventType::Segment];
                if !event.is_serialized() || early.contains(&event.type_()) {
                    return Taken::No;
                }
                self.held.push(Held::Event(event.clone()));
                Taken::Held((event.type_() == gst::EventType::Eos).then(|| self.head.end()))
            }
            _ => Taken::No,
        }
    }

    fn read(&mut self, buffer: gst::Buffer) -> Option<Finding> {
        let found = buffer.map_readable().map_or(Some(Finding::Fine), |bytes| self.head.read(&bytes));
        self.bytes += buffer.size();
        self.held.push(Held::Buffer(buffer));
        let deadline = self.deadline.get_or_insert_with(|| Deadline::after(PATIENCE));
        let is_over = self.bytes > HELD || deadline.is_over();
        found.or_else(|| is_over.then_some(Finding::Fine))
    }
}

/// Tells the demuxer, whose sink pad is `pad`, what was found, and gives it what was held back.
fn give_back(pad: &gst::Pad, demuxer: &gst::Element, mut held: Vec<Held>, found: Finding) {
    match found {
        Finding::Fine => {}
        Finding::Missing(bytes) => held.insert(0, Held::Buffer(gst::Buffer::from_slice(bytes))),
        Finding::NoClock(later) => {
            demuxer.set_property("ignore-pcr", true);
            let segment = pad.sticky_event::<gst::event::Segment>(0);
            if segment.is_none_or(|segment| segment.segment().format() != gst::Format::Time) {
                // In a segment of bytes, times are what the clock makes of them.
                let time = gst::FormattedSegment::<gst::ClockTime>::new();
                pad.send_event(gst::event::Segment::new(&time));
                if let Some(Held::Buffer(first)) = held.iter_mut().find(|held| matches!(held, Held::Buffer(_))) {
                    first.make_mut().set_pts(later);
                }
            }
        }
    }
    for held in held {
        match held {
            Held::Event(event) => {
                pad.send_event(event);
            }
            // What comes after these meets the same failure, and reports it.
            Held::Buffer(buffer) => drop(pad.chain(buffer).ok()),
        }
    }
}
