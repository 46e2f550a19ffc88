//! What was counted, as the report has it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::detection::Direction;

/// What was counted at all lines and zones of a stream, by their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Lines.
    pub lines: BTreeMap<String, LineFigures>,
    /// Zones.
    pub zones: BTreeMap<String, ZoneFigures>,
}

/// A line in the report.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct LineFigures {
    /// From the left to the right of somebody who walks from A to B.
    #[serde(rename = "in")]
    pub inwards: Crossings,
    /// From the right to the left.
    #[serde(rename = "out")]
    pub outwards: Crossings,
}

/// Crossings in one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Crossings {
    /// All.
    pub total: u64,
    /// By the name of the class.
    pub by_class: BTreeMap<String, u64>,
}

/// A zone in the report.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct ZoneFigures {
    /// Visits that began after a time outside.
    pub entered: u64,
    /// Visits that ended before a time outside.
    pub left: u64,
    /// Objects in it, in the newest frame.
    pub now: u32,
    /// Length of all visits, s.
    pub dwell_s: f64,
    /// Length of the longest, s.
    pub dwell_max_s: f64,
    /// All visits: those of objects that appeared or vanished inside as well.
    pub visits: u64,
    /// Visits by the name of the class.
    pub visits_by_class: BTreeMap<String, u64>,
    /// Objects in it, mean over all frames.
    pub occupancy_mean: f64,
    /// Objects in it, at most.
    pub occupancy_max: u32,
}

/// What is counted at a line.
#[derive(Debug, Clone, Default)]
pub(super) struct LineTally {
    inwards: BTreeMap<u16, u64>,
    outwards: BTreeMap<u16, u64>,
}

impl LineTally {
    pub fn add(&mut self, direction: Direction, class_id: u16) {
        let counts = match direction {
            Direction::In => &mut self.inwards,
            Direction::Out => &mut self.outwards,
        };
        *counts.entry(class_id).or_default() += 1;
    }

    /// In, out.
    pub fn totals(&self) -> [u64; 2] {
        [&self.inwards, &self.outwards].map(|counts| counts.values().sum())
    }

    pub fn figures(&self, classes: &[String]) -> LineFigures {
        let crossings = |counts: &BTreeMap<u16, u64>| Crossings {
            total: counts.values().sum(),
            by_class: by_name(counts, classes),
        };
        LineFigures { inwards: crossings(&self.inwards), outwards: crossings(&self.outwards) }
    }
}

/// What is counted in a zone.
#[derive(Debug, Clone, Default)]
pub(super) struct ZoneTally {
    visits: BTreeMap<u16, u64>,
    entered: u64,
    left: u64,
    dwell: Duration,
    longest: Duration,
    /// Objects in it, frame by frame.
    pub now: u32,
    most: u32,
    /// Sum of them over all frames.
    occupied: u64,
}

impl ZoneTally {
    pub fn begin_frame(&mut self) {
        self.now = 0;
    }

    pub fn end_frame(&mut self) {
        self.most = self.most.max(self.now);
        self.occupied += u64::from(self.now);
    }

    /// A visit begins.
    pub fn begin(&mut self, entered: bool, class_id: u16) {
        *self.visits.entry(class_id).or_default() += 1;
        self.entered += u64::from(entered);
    }

    /// A visit ends outside.
    pub fn leave(&mut self, dwell: Duration) {
        self.left += 1;
        self.end(dwell);
    }

    /// A visit ends.
    pub fn end(&mut self, dwell: Duration) {
        self.dwell += dwell;
        self.longest = self.longest.max(dwell);
    }

    /// Of `frames` frames.
    pub fn figures(&self, frames: u64, classes: &[String]) -> ZoneFigures {
        #[expect(clippy::cast_precision_loss, reason = "counts of frames and objects")]
        let occupancy_mean = if frames > 0 { self.occupied as f64 / frames as f64 } else { 0.0 };
        ZoneFigures {
            entered: self.entered,
            left: self.left,
            now: self.now,
            dwell_s: self.dwell.as_secs_f64(),
            dwell_max_s: self.longest.as_secs_f64(),
            visits: self.visits.values().sum(),
            visits_by_class: by_name(&self.visits, classes),
            occupancy_mean,
            occupancy_max: self.most,
        }
    }
}

/// Classes that share a name are added up; an id that has none stands for itself.
fn by_name(counts: &BTreeMap<u16, u64>, classes: &[String]) -> BTreeMap<String, u64> {
    let mut named = BTreeMap::new();
    for (id, count) in counts {
        let name = classes.get(usize::from(*id)).cloned().unwrap_or_else(|| id.to_string());
        *named.entry(name).or_default() += count;
    }
    named
}
