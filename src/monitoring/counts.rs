//! What is counted at lines and in zones, as metrics. Names are those of the settings, so that labels are few.

use std::sync::atomic::{AtomicU64, Ordering};

use super::exposition::Exposition;
use crate::counting::Shapes;
use crate::detection::{Direction, FrameEvent, ZoneEvent};

const DIRECTIONS: [Direction; 2] = [Direction::In, Direction::Out];

/// Counts of all streams.
#[derive(Default)]
pub(super) struct Counts {
    lines: Vec<String>,
    zones: Vec<String>,
    /// By the streams' labels.
    streams: Vec<Counted>,
    /// Objects in each zone, by stream, those without a label of their own too.
    occupancy: Vec<Vec<AtomicU64>>,
}

/// Those of one label.
struct Counted {
    /// By line, direction and class label.
    crossings: Vec<[Vec<AtomicU64>; 2]>,
    zones: Vec<ZoneCounts>,
}

#[derive(Default)]
struct ZoneCounts {
    entries: AtomicU64,
    exits: AtomicU64,
    visits: AtomicU64,
    dwell_ms: AtomicU64,
}

fn zeros(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::default()).collect()
}

impl Counts {
    /// At `shapes`, of `streams` streams with `stream_labels` labels, and of classes with `class_labels`.
    pub fn new(shapes: &Shapes, streams: usize, stream_labels: usize, class_labels: usize) -> Self {
        let lines: Vec<String> = shapes.lines.iter().map(|line| line.name().to_string()).collect();
        let zones: Vec<String> = shapes.zones.iter().map(|zone| zone.name().to_string()).collect();
        let counted = || Counted {
            crossings: lines.iter().map(|_| [zeros(class_labels), zeros(class_labels)]).collect(),
            zones: zones.iter().map(|_| ZoneCounts::default()).collect(),
        };
        Self {
            streams: (0..stream_labels).map(|_| counted()).collect(),
            occupancy: (0..streams).map(|_| zeros(zones.len())).collect(),
            lines,
            zones,
        }
    }

    /// What happened with a frame of the stream with this label; `class_label` gives a class's.
    pub fn add(&self, stream_label: usize, events: &[FrameEvent], class_label: impl Fn(u16) -> Option<usize>) {
        let Some(counted) = self.streams.get(stream_label) else { return };
        let place = |names: &[String], name: &str| names.iter().position(|other| other == name);
        for event in events {
            match event {
                FrameEvent::Line { name, direction, class_id, .. } => {
                    let line = place(&self.lines, name).and_then(|line| counted.crossings.get(line));
                    let classes = line.zip(DIRECTIONS.iter().position(|d| d == direction)).map(|(line, at)| &line[at]);
                    if let Some(count) = classes.zip(class_label(*class_id)).and_then(|(all, at)| all.get(at)) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
                FrameEvent::Zone { name, what, .. } => {
                    if let Some(zone) = place(&self.zones, name).and_then(|zone| counted.zones.get(zone)) {
                        zone.add(*what);
                    }
                }
            }
        }
    }

    /// So many objects are in the zones of a stream now.
    pub fn occupy(&self, stream: usize, zones: &[u32]) {
        for (gauge, now) in self.occupancy.get(stream).into_iter().flatten().zip(zones) {
            gauge.store(u64::from(*now), Ordering::Relaxed);
        }
    }

    /// Appends everything; `names` are the labels of streams, `classes` those of classes.
    pub fn write(&self, out: &mut Exposition, names: &[String], classes: &[String]) {
        if !self.lines.is_empty() {
            out.family(
                "streamdet_line_crossings_total",
                "counter",
                "Objects that crossed a line; a class appears with its first crossing in that direction.",
            );
            for (stream, counted) in names.iter().zip(&self.streams) {
                for (line, directions) in self.lines.iter().zip(&counted.crossings) {
                    for (direction, counts) in DIRECTIONS.iter().zip(directions) {
                        let crossed = classes.iter().zip(counts).map(|(class, n)| (class, get(n)));
                        for (class, count) in crossed.filter(|(_, count)| *count > 0) {
                            let way = ("direction", direction.name());
                            out.sample(&[("stream", stream), ("line", line), way, ("class", class)], count);
                        }
                    }
                }
            }
        }
        if self.zones.is_empty() {
            return;
        }
        out.family("streamdet_zone_occupancy", "gauge", "Objects in a zone, in the newest frame.");
        for (label, stream) in names.iter().enumerate() {
            for (number, zone) in self.zones.iter().enumerate() {
                let last = names.len() - 1;
                let own = self.occupancy.iter().enumerate().filter(|(index, _)| (*index).min(last) == label);
                let now: u64 = own.filter_map(|(_, zones)| zones.get(number)).map(get).sum();
                out.sample(&[("stream", stream), ("zone", zone)], now);
            }
        }
        let mut counter = |name, help, value: fn(&ZoneCounts) -> f64| {
            out.family(name, "counter", help);
            for (stream, counted) in names.iter().zip(&self.streams) {
                for (zone, counts) in self.zones.iter().zip(&counted.zones) {
                    out.sample(&[("stream", stream), ("zone", zone)], value(counts));
                }
            }
        };
        let entries = "Objects that came into a zone from outside.";
        counter("streamdet_zone_entries_total", entries, |zone| whole(&zone.entries));
        counter("streamdet_zone_exits_total", "Objects that went out of a zone.", |zone| whole(&zone.exits));
        counter("streamdet_zone_visits_total", "Visits to a zone that are over.", |zone| whole(&zone.visits));
        let dwell = "Time that visits to a zone took which are over.";
        counter("streamdet_zone_dwell_seconds_total", dwell, |zone| whole(&zone.dwell_ms) / 1000.0);
    }
}

impl ZoneCounts {
    fn add(&self, what: ZoneEvent) {
        match what {
            ZoneEvent::Enter => &self.entries,
            ZoneEvent::Leave { .. } => &self.exits,
            ZoneEvent::Dwell { .. } => &self.visits,
        }
        .fetch_add(1, Ordering::Relaxed);
        if let ZoneEvent::Leave { .. } = what {
            self.visits.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(dwell) = what.dwell() {
            self.dwell_ms.fetch_add(u64::try_from(dwell.as_millis()).unwrap_or(0), Ordering::Relaxed);
        }
    }
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[expect(clippy::cast_precision_loss, reason = "a count for people")]
fn whole(counter: &AtomicU64) -> f64 {
    get(counter) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::StreamTime;
    use crate::counting::{Line, Zone};

    #[test]
    fn crossings_and_visits_are_samples_with_few_labels() {
        let line = Line::new("gate", [0.5, 0.0], [0.5, 1.0]).expect("a line");
        let zone = Zone::new("yard", &[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]).expect("a zone");
        let shapes = Shapes::new(vec![line], vec![zone]).expect("shapes");
        // Three streams, of which the second and the third share a label.
        let counts = Counts::new(&shapes, 3, 2, 2);
        let (at, name) = (StreamTime::default(), std::sync::Arc::<str>::from);
        let crossed =
            |class_id| FrameEvent::Line { name: name("gate"), direction: Direction::Out, track_id: 1, class_id, at };
        let visited = |what| FrameEvent::Zone { name: name("yard"), what, track_id: 1, class_id: 0, at };
        let dwell = Duration::from_millis(1500);
        let events = [crossed(0), crossed(7), visited(ZoneEvent::Enter), visited(ZoneEvent::Leave { dwell })];
        counts.add(0, &events, |class| Some(usize::from(class.min(1))));
        counts.add(1, &[visited(ZoneEvent::Dwell { dwell })], |_| None);
        for (stream, now) in [(0, 4), (1, 2), (2, 3)] {
            counts.occupy(stream, &[now]);
        }
        let mut text = String::new();
        let names = ["0".to_owned(), "other".to_owned()];
        counts.write(&mut Exposition::new(&mut text), &names, &["car".to_owned(), "bus".to_owned()]);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                r#"streamdet_line_crossings_total{stream="0",line="gate",direction="out",class="car"} 1"#,
                r#"streamdet_line_crossings_total{stream="0",line="gate",direction="out",class="bus"} 1"#,
                r#"streamdet_zone_occupancy{stream="0",zone="yard"} 4"#,
                r#"streamdet_zone_occupancy{stream="other",zone="yard"} 5"#,
                r#"streamdet_zone_entries_total{stream="0",zone="yard"} 1"#,
                r#"streamdet_zone_entries_total{stream="other",zone="yard"} 0"#,
                r#"streamdet_zone_exits_total{stream="0",zone="yard"} 1"#,
                r#"streamdet_zone_exits_total{stream="other",zone="yard"} 0"#,
                r#"streamdet_zone_visits_total{stream="0",zone="yard"} 1"#,
                r#"streamdet_zone_visits_total{stream="other",zone="yard"} 1"#,
                r#"streamdet_zone_dwell_seconds_total{stream="0",zone="yard"} 1.5"#,
                r#"streamdet_zone_dwell_seconds_total{stream="other",zone="yard"} 1.5"#,
            ]
        );
    }

    #[test]
    fn without_lines_and_zones_there_are_no_families() {
        let mut text = String::new();
        Counts::default().write(&mut Exposition::new(&mut text), &["0".to_owned()], &[]);
        assert!(text.is_empty(), "{text}");
    }
}
