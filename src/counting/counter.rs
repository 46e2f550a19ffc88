//! The counting itself: frame by frame, in stream time, with bounded memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Counting;
use super::figures::{Figures, LineTally, ZoneTally};
use super::shape::{Point, Shapes, contains, meets, turn};
use crate::clock::StreamTime;
use crate::detection::{Direction, FrameEvent, ZoneEvent};
use crate::geometry::Size;

/// How long the point has to stand on one side before that counts, from the first frame there to the last. The figure is issue 14's:
/// long enough for a box that trembles, short enough for someone who runs.
pub const HOLD: Duration = Duration::from_millis(300);
/// PTS are rounded, in MKV to milliseconds: nine frames of 30 a second may seem to be shorter than 0.3 s.
const ROUNDING: Duration = Duration::from_millis(1);
/// How often objects that are gone are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Objects that are remembered, at most: twice those of the fullest frame that is thought of. With as many lines and zones as can
/// be given that is 60 MB.
const MOST_IDS: usize = 20_000;

/// Where one object is in a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting {
    /// Its number, never used again.
    pub id: u32,
    /// Its class.
    pub class_id: u16,
    /// The point that decides.
    pub at: Point,
    /// Whether it is seen; else it is only thought to be there, and goes on standing where it was seen last.
    pub seen: bool,
}

/// Frames in a row in which an object was on one side.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    side: Option<bool>,
    since: StreamTime,
    holds: bool,
    /// The side of the last run that held.
    settled: Option<bool>,
}

/// What a frame made of a run.
struct Step {
    /// It is the first frame of a new one.
    begins: bool,
    /// Whether it holds from now on.
    holds: Holds,
}

/// Whether a run holds from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// It does not, or did before.
    No,
    /// It is the object's first.
    First,
    /// The one before it that held was on this side.
    After(bool),
}

impl Run {
    fn step(&mut self, side: bool, pts: StreamTime, hold: Duration) -> Step {
        let begins = self.side != Some(side);
        if begins {
            *self = Self { side: Some(side), since: pts, holds: false, settled: self.settled };
        }
        let mut holds = Holds::No;
        if !self.holds && between(self.since, pts) >= hold {
            self.holds = true;
            holds = self.settled.replace(side).map_or(Holds::First, Holds::After);
        }
        Step { begins, holds }
    }
}

/// An object at a line; its side is whether it is on the right.
#[derive(Debug, Clone, Copy, Default)]
struct AtLine {
    run: Run,
    /// The step into the run met the line between its ends.
    met: bool,
}

/// An object at a zone; its side is whether it is inside.
#[derive(Debug, Clone, Copy, Default)]
struct AtZone {
    run: Run,
    visit: Option<Visit>,
}

/// From the first frame inside to the last one so far.
#[derive(Debug, Clone, Copy)]
struct Visit {
    from: StreamTime,
    until: StreamTime,
}

impl Visit {
    fn length(self) -> Duration {
        between(self.from, self.until)
    }
}

/// What is known of an object.
struct Known {
    /// When it was tracked last.
    tracked: StreamTime,
    /// The frame in which it was, counted here.
    frame: u64,
    class_id: u16,
    /// Where it was seen last.
    at: Option<Point>,
    lines: Box<[AtLine]>,
    zones: Box<[AtZone]>,
}

impl Known {
    /// Visits that go on, each with the number of its zone.
    fn visits(&self) -> impl Iterator<Item = (usize, Visit)> {
        self.zones.iter().enumerate().filter_map(|(number, at)| Some((number, at.visit?)))
    }
}

/// A visit of which it is not known how it goes on.
fn stayed(shapes: &Shapes, number: usize, visit: Visit, (track_id, class_id): (u32, u16)) -> FrameEvent {
    let (name, what) = (shapes.zones[number].name().clone(), ZoneEvent::Dwell { dwell: visit.length() });
    FrameEvent::Zone { name, what, track_id, class_id, at: visit.until }
}

/// Counts one stream's objects at lines and in zones.
pub struct Counter {
    shapes: Arc<Shapes>,
    hold: Duration,
    kept: Duration,
    size: Option<Size>,
    /// In pixels of that size.
    lines: Vec<[Point; 2]>,
    zones: Vec<Vec<Point>>,
    known: BTreeMap<u32, Known>,
    of_lines: Vec<LineTally>,
    of_zones: Vec<ZoneTally>,
    frames: u64,
    swept: StreamTime,
}

impl Counter {
    /// Counts as `counting` says.
    #[must_use]
    pub fn new(counting: &Counting) -> Self {
        Self::holding(counting, HOLD)
    }

    fn holding(counting: &Counting, hold: Duration) -> Self {
        let shapes = counting.shapes.clone();
        Self {
            hold: hold.saturating_sub(ROUNDING),
            kept: counting.kept,
            size: None,
            lines: Vec::new(),
            zones: Vec::new(),
            known: BTreeMap::new(),
            of_lines: shapes.lines.iter().map(|_| LineTally::default()).collect(),
            of_zones: shapes.zones.iter().map(|_| ZoneTally::default()).collect(),
            frames: 0,
            swept: StreamTime::default(),
            shapes,
        }
    }

    /// Takes the objects of a frame of `size` pixels, shown at `pts`; appends what is known to have happened with it, by object. The
    /// second of two objects of one number, and a point that is no number, are passed over.
    pub fn frame(
        &mut self,
        pts: StreamTime,
        size: Size,
        sightings: impl IntoIterator<Item = Sighting>,
        events: &mut Vec<FrameEvent>,
    ) {
        let begin = events.len();
        self.resize(size, events);
        self.frames += 1;
        self.of_zones.iter_mut().for_each(ZoneTally::begin_frame);
        let mut full = false;
        for sighting in sightings {
            if !self.known.contains_key(&sighting.id) {
                if self.known.len() >= MOST_IDS && !full {
                    self.make_room(events);
                    full = self.known.len() >= MOST_IDS;
                }
                if full {
                    continue;
                }
            }
            self.take(pts, &sighting, events);
        }
        self.of_zones.iter_mut().for_each(ZoneTally::end_frame);
        if between(self.swept, pts) >= SWEEP {
            self.swept = pts;
            let kept = self.kept;
            self.forget(|known| between(known.tracked, pts) > kept, events);
        }
        events[begin..].sort_by_key(FrameEvent::track_id);
    }

    fn take(&mut self, pts: StreamTime, sighting: &Sighting, events: &mut Vec<FrameEvent>) {
        let Self { known, lines, zones, of_lines, of_zones, shapes, hold, frames, .. } = self;
        let Sighting { id, class_id, at, seen } = *sighting;
        let known = known.entry(id).or_insert_with(|| Known {
            tracked: pts,
            frame: 0,
            class_id,
            at: None,
            lines: vec![AtLine::default(); lines.len()].into(),
            zones: vec![AtZone::default(); zones.len()].into(),
        });
        if known.frame == *frames {
            return;
        }
        (known.frame, known.tracked, known.class_id) = (*frames, pts, class_id);
        let seen = seen && at.x.is_finite() && at.y.is_finite();
        if seen {
            for (number, (known_at, line)) in known.lines.iter_mut().zip(lines.iter()).enumerate() {
                let side = turn(line[0], line[1], at);
                // On the line is where it was before.
                let right = if side == 0.0 { known_at.run.side } else { Some(side > 0.0) };
                let Some(right) = right else { continue };
                let step = known_at.run.step(right, pts, *hold);
                if step.begins {
                    known_at.met = known.at.is_some_and(|from| meets(from, at, *line));
                }
                if step.holds == Holds::After(!right) && known_at.met {
                    let direction = if right { Direction::In } else { Direction::Out };
                    of_lines[number].add(direction, class_id);
                    let name = shapes.lines[number].name().clone();
                    let at = known_at.run.since;
                    events.push(FrameEvent::Line { name, direction, track_id: id, class_id, at });
                }
            }
            known.at = Some(at);
        }
        for (number, (known_at, zone)) in known.zones.iter_mut().zip(zones.iter()).enumerate() {
            let tally = &mut of_zones[number];
            if seen && let Some((at, what)) = known_at.step(contains(zone, at), pts, *hold, class_id, tally) {
                let name = shapes.zones[number].name().clone();
                events.push(FrameEvent::Zone { name, what, track_id: id, class_id, at });
            }
            tally.now += u32::from(known_at.run.side == Some(true));
        }
    }

    /// Another size: lines and zones in pixels lie elsewhere on the scene, and what was known of sides is void.
    fn resize(&mut self, size: Size, events: &mut Vec<FrameEvent>) {
        let Some(before) = self.size.replace(size) else { return self.lay_out(size) };
        if before == size {
            return;
        }
        self.lay_out(size);
        let (lines, zones) = self.shapes.in_pixels();
        for (id, known) in &mut self.known {
            known.at = known.at.map(|at| at.rescaled(before, size));
            known.lines.iter_mut().zip(&lines).filter(|(_, void)| **void).for_each(|(at, _)| *at = AtLine::default());
            for (number, at) in known.zones.iter_mut().enumerate().filter(|(number, _)| zones[*number]) {
                if let Some(visit) = std::mem::take(at).visit {
                    self.of_zones[number].end(visit.length());
                    events.push(stayed(&self.shapes, number, visit, (*id, known.class_id)));
                }
            }
        }
    }

    fn lay_out(&mut self, size: Size) {
        self.lines = self.shapes.lines.iter().map(|line| line.on(size)).collect();
        self.zones = self.shapes.zones.iter().map(|zone| zone.on(size)).collect();
    }

    /// Forgets the half of the objects that were not tracked for the longest time, none of this frame.
    fn make_room(&mut self, events: &mut Vec<FrameEvent>) {
        let mut frames: Vec<u64> = self.known.values().map(|known| known.frame).collect();
        let middle = frames.len() / 2;
        let (_, half, _) = frames.select_nth_unstable(middle);
        let until = (*half).min(self.frames - 1);
        self.forget(|known| known.frame <= until, events);
    }

    fn forget(&mut self, is_gone: impl Fn(&Known) -> bool, events: &mut Vec<FrameEvent>) {
        let Self { known, of_zones, shapes, .. } = self;
        known.retain(|id, known| {
            if !is_gone(known) {
                return true;
            }
            for (number, visit) in known.visits() {
                of_zones[number].end(visit.length());
                events.push(stayed(shapes, number, visit, (*id, known.class_id)));
            }
            false
        });
    }

    /// The lines with their ends in the frame, and how often they were crossed: in, out.
    pub fn lines(&self) -> impl Iterator<Item = (&str, [Point; 2], [u64; 2])> {
        let named = self.shapes.lines.iter().zip(&self.lines).zip(&self.of_lines);
        named.map(|((line, ends), tally)| (line.name().as_ref(), *ends, tally.totals()))
    }

    /// The zones with their corners in the frame, and how many objects are in them.
    pub fn zones(&self) -> impl Iterator<Item = (&str, &[Point], u32)> {
        let named = self.shapes.zones.iter().zip(&self.zones).zip(&self.of_zones);
        named.map(|((zone, corners), tally)| (zone.name().as_ref(), corners.as_slice(), tally.now))
    }

    /// Visits that go on, as long as they are so far.
    #[must_use]
    pub fn open_visits(&self) -> Vec<FrameEvent> {
        let of = |(id, known): (&u32, &Known)| {
            let object = (*id, known.class_id);
            known.visits().map(|(number, visit)| stayed(&self.shapes, number, visit, object)).collect::<Vec<_>>()
        };
        self.known.iter().flat_map(of).collect()
    }

    /// What was counted so far; visits that go on are in it.
    #[must_use]
    pub fn figures(&self, classes: &[String]) -> Figures {
        let mut zones = self.of_zones.clone();
        for (number, visit) in self.known.values().flat_map(Known::visits) {
            zones[number].end(visit.length());
        }
        let lines = self.shapes.lines.iter().zip(&self.of_lines);
        let zones = self.shapes.zones.iter().zip(&zones);
        Figures {
            lines: lines.map(|(line, tally)| (line.name().to_string(), tally.figures(classes))).collect(),
            zones: zones.map(|(zone, tally)| (zone.name().to_string(), tally.figures(self.frames, classes))).collect(),
        }
    }
}

impl AtZone {
    /// Takes a frame; what is known to have happened with it, and when that was.
    fn step(
        &mut self,
        inside: bool,
        pts: StreamTime,
        hold: Duration,
        class_id: u16,
        tally: &mut ZoneTally,
    ) -> Option<(StreamTime, ZoneEvent)> {
        let step = self.run.step(inside, pts, hold);
        let mut happened = None;
        match step.holds {
            Holds::First | Holds::After(false) if inside => {
                self.visit = Some(Visit { from: self.run.since, until: pts });
                // Who was first seen inside did not enter.
                let entered = step.holds != Holds::First;
                tally.begin(entered, class_id);
                happened = entered.then_some((self.run.since, ZoneEvent::Enter));
            }
            Holds::After(true) if !inside => {
                happened = self.visit.take().map(|visit| {
                    let dwell = visit.length();
                    tally.leave(dwell);
                    (visit.until, ZoneEvent::Leave { dwell })
                });
            }
            _ => {}
        }
        if let Some(visit) = self.visit.as_mut().filter(|_| inside && self.run.holds) {
            visit.until = pts;
        }
        happened
    }
}

fn between(from: StreamTime, to: StreamTime) -> Duration {
    Duration::from_nanos(to.ns.saturating_sub(from.ns))
}

#[cfg(test)]
mod tests;
