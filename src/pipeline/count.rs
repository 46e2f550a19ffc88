//! Counting at lines and in zones, on a stream's sink thread.

use super::RunEvent;
use super::shared::Shared;
use super::sinks::DetectionSinks;
use crate::clock::StreamTime;
use crate::counting::{Counter, Counting, sightings};
use crate::detections::StreamEvent;
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::overlay::markings::Marking;
use crate::stream::StreamId;

/// What a stream counts, where that is asked for.
pub(super) struct StreamCounts<'a> {
    shared: &'a Shared,
    stream: StreamId,
    counting: &'a Counting,
    counter: Counter,
    size: Option<Size>,
    /// Objects in each zone, as told last.
    occupancy: Vec<u32>,
    /// Lines and zones with their counts, as they stand.
    markings: Vec<Marking>,
    /// Number and time of the newest frame.
    newest: (u64, StreamTime),
}

impl<'a> StreamCounts<'a> {
    pub fn new(shared: &'a Shared, stream: StreamId) -> Option<Self> {
        let counting = shared.settings.counting.as_ref()?;
        let counter = Counter::new(counting);
        let (size, occupancy, markings, newest) = (None, Vec::new(), Vec::new(), (0, StreamTime::default()));
        Some(Self { shared, stream, counting, counter, size, occupancy, markings, newest })
    }

    /// Counts the frame's objects; what happened is noted with it.
    pub fn frame(&mut self, frame: &mut DecodedFrame, size: Size) {
        let pts = frame.pts;
        self.newest = (frame.index, pts);
        let is_other = self.size.replace(size) != Some(size);
        if is_other {
            self.say_outside(size);
        }
        let found = sightings(&frame.detections, self.counting.anchor);
        self.counter.frame(pts, size, found, &mut frame.events);
        let is_moved = !self.counter.zones().map(|(.., now)| now).eq(self.occupancy.iter().copied());
        if is_other || is_moved || !frame.events.is_empty() {
            self.mark();
        }
        if is_moved {
            self.occupancy.clear();
            self.occupancy.extend(self.counter.zones().map(|(.., now)| now));
            let zones = &self.occupancy;
            self.shared.listener.on(&RunEvent::Occupancy { stream: self.stream, zones });
        }
    }

    fn say_outside(&self, Size { width, height }: Size) {
        for name in self.counting.shapes.outside(Size { width, height }) {
            let stream = self.shared.name_of(self.stream);
            self.shared.notice(&format!(
                "{stream}: `{name}` lies outside of its frames of {width}×{height} pixels and counts nothing\n  give \
                 coordinates inside, or from 0 to 1 for frames of every size"
            ));
        }
    }

    /// Lines and zones with their counts, to be drawn.
    pub fn markings(&self) -> &[Marking] {
        &self.markings
    }

    fn mark(&mut self) {
        let lines = self.counter.lines().map(|(name, ends, [inwards, outwards])| {
            Marking::line(ends.map(|end| (end.x, end.y)), format!("{name}: {inwards} in, {outwards} out"))
        });
        let zones = self.counter.zones().map(|(name, corners, now)| {
            Marking::zone(corners.iter().map(|corner| (corner.x, corner.y)).collect(), format!("{name}: {now}"))
        });
        self.markings = zones.chain(lines).collect();
    }

    /// Has what was counted go on record; visits that go on are said in `detections` as well.
    pub fn finish(&self, detections: &mut DetectionSinks<'_>) {
        let (frame, pts) = self.newest;
        let visits = self.counter.open_visits();
        if !visits.is_empty() {
            detections.event(StreamEvent::OpenVisits(frame, pts, &visits));
        }
        let figures = self.counter.figures(&self.shared.origin.classes);
        let mut own = self.shared.stream(self.stream).figures();
        (own.report.lines, own.report.zones) = (figures.lines, figures.zones);
    }
}
