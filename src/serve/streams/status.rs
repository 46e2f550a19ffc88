//! What is known of a stream while it runs and afterwards: state, figures, outages.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::{Clock, HostTime};
use crate::detection::FrameEvent;
use crate::geometry::Size;
use crate::latency::{FrameRecord, Stage};
use crate::monitoring::Pace;
use crate::pipeline::{Listener, RunEvent};
use crate::secrets::redact;
use crate::stream::{Dropped, StreamInfo};

/// Frames whose latencies are summed up: the newest.
const RECENT: usize = 1000;
/// Outages that are kept, the newest.
const OUTAGES: usize = 100;

/// How a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No frame came yet.
    Starting,
    /// Frames come.
    Up,
    /// It is disconnected; reconnecting.
    Outage,
    /// It came to its end, or was stopped.
    Ended,
    /// It failed.
    Failed,
}

impl State {
    /// Whether it has ended, one way or the other.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Failed)
    }
}

/// Listens to a stream's run.
pub struct Status {
    name: String,
    source: String,
    classes: Arc<[String]>,
    /// Names of its zones, in the order of its settings.
    zones: Vec<String>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

struct Known {
    state: State,
    since: HostTime,
    began: HostTime,
    /// Why it is disconnected.
    away: Option<String>,
    /// What failed, for good.
    failed: Option<String>,
    /// Why one of its outputs does not work, for now.
    output: Option<String>,
    info: Option<StreamInfo>,
    size: Option<Size>,
    processed: u64,
    inferred: u64,
    dropped: Dropped,
    reconnects: u64,
    outages: VecDeque<Outage>,
    objects: Vec<u64>,
    now: Vec<u32>,
    lines: BTreeMap<Arc<str>, Crossings>,
    zones: Vec<Zone>,
    end_to_end: VecDeque<Duration>,
    behind_live: VecDeque<Duration>,
    pace: Pace,
    serving: Vec<String>,
}

/// An outage that is over.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Outage {
    /// When it began, seconds of the stream.
    pub from_s: f64,
    /// How long it was, seconds.
    pub length_s: f64,
    /// Why it was disconnected, without secrets.
    pub reason: String,
}

/// Crossings of a line.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub struct Crossings {
    /// From left to right, as seen along the line.
    #[serde(rename = "in")]
    pub inward: u64,
    /// The other way.
    pub out: u64,
}

/// Visits of a zone.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Zone {
    /// Objects that came in so far.
    pub entered: u64,
    /// Objects in it now.
    pub now: u32,
}

/// What is known of a stream
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stream)]
pub struct Report {
    /// The stream's name.
    pub name: String,
    /// Its source, without secrets.
    pub source: String,
    /// How it is.
    pub state: State,
    /// For how long it has been so, seconds.
    pub since_s: f64,
    /// For how long it has run, seconds.
    pub up_s: f64,
    /// What failed, why an output does not work, or why it is disconnected.
    pub error: Option<String>,
    /// Video codec, for people.
    pub codec: Option<String>,
    /// Frame rate as a fraction.
    pub frame_rate: Option<String>,
    /// Width of a frame as displayed, pixels.
    pub width: Option<u32>,
    /// Height, pixels.
    pub height: Option<u32>,
    /// Frames: `received = processed + Σ dropped`.
    pub frames: Frames,
    /// Frames processed in the last full second.
    pub fps: u64,
    /// Latencies of the newest thousand frames, ms.
    #[schema(value_type = BTreeMap<String, Percentiles>)]
    pub latency_ms: BTreeMap<&'static str, Percentiles>,
    /// Detections so far, by class.
    pub objects: BTreeMap<String, u64>,
    /// Objects in the newest frame, by class.
    pub now: BTreeMap<String, u32>,
    /// Outages that are over, the newest hundred.
    pub outages: Vec<Outage>,
    /// Times it was re-established.
    pub reconnects: u64,
    /// Crossings, by line.
    pub lines: BTreeMap<String, Crossings>,
    /// Visits, by zone.
    pub zones: BTreeMap<String, Zone>,
    /// Addresses at which it is served.
    pub serving: Vec<String>,
}

/// Frames of a stream
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StreamFrames)]
pub struct Frames {
    /// Left the decoder, or should have.
    pub received: u64,
    /// Handed to the outputs.
    pub processed: u64,
    /// Run through the model.
    pub inferred: u64,
    /// Not handed on, by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub dropped: Dropped,
}

/// Of latencies, ms.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

impl Status {
    /// Of a stream that starts now, with the names of its lines and, in the order of its settings, of its zones.
    #[must_use]
    pub fn new(
        name: &str,
        source: &str,
        classes: Arc<[String]>,
        (lines, zones): (Vec<Arc<str>>, Vec<String>),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let began = clock.now();
        let known = Known {
            state: State::Starting,
            since: began,
            began,
            away: None,
            failed: None,
            output: None,
            info: None,
            size: None,
            processed: 0,
            inferred: 0,
            dropped: Dropped::default(),
            reconnects: 0,
            outages: VecDeque::new(),
            objects: vec![0; classes.len()],
            now: vec![0; classes.len()],
            lines: lines.into_iter().map(|name| (name, Crossings::default())).collect(),
            zones: vec![Zone::default(); zones.len()],
            end_to_end: VecDeque::with_capacity(RECENT),
            behind_live: VecDeque::with_capacity(RECENT),
            pace: Pace::default(),
            serving: Vec::new(),
        };
        Self { name: name.to_owned(), source: redact(source), classes, zones, clock, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.known().state
    }

    /// What it failed for, for good.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let known = self.known();
        known.failed.clone().filter(|_| known.state == State::Failed)
    }

    /// Its run is over, with this error where there was one.
    pub fn ended(&self, error: Option<String>) {
        let now = self.clock.now();
        let mut known = self.known();
        let state = if error.is_some() { State::Failed } else { State::Ended };
        // What failed before it ended is a part of it.
        known.failed = error;
        known.turn(state, now);
    }

    /// Everything that is known.
    #[must_use]
    pub fn report(&self) -> Report {
        let now = self.clock.now();
        let mut known = self.known();
        let fps = known.pace.before(now);
        let named = |(class, count): (&String, u64)| (count > 0).then(|| (class.clone(), count));
        let latencies = [("end_to_end", &known.end_to_end), ("behind_live", &known.behind_live)];
        let processed = known.processed;
        Report {
            name: self.name.clone(),
            source: self.source.clone(),
            state: known.state,
            since_s: now.since(known.since).as_secs_f64(),
            up_s: now.since(known.began).as_secs_f64(),
            error: known.failed.as_ref().or(known.output.as_ref()).or(known.away.as_ref()).cloned(),
            codec: known.info.as_ref().map(|info| info.codec.clone()),
            frame_rate: known.info.as_ref().and_then(|info| info.frame_rate).map(|(n, d)| format!("{n}/{d}")),
            width: known.size.map(|size| size.width),
            height: known.size.map(|size| size.height),
            frames: Frames {
                received: processed + known.dropped.total(),
                processed,
                inferred: known.inferred,
                dropped: known.dropped,
            },
            fps,
            latency_ms: latencies
                .into_iter()
                .filter_map(|(stage, recent)| Some((stage, Percentiles::of(recent)?)))
                .collect(),
            objects: self.classes.iter().zip(known.objects.iter().copied()).filter_map(named).collect(),
            now: (self.classes.iter().zip(&known.now))
                .filter(|(_, count)| **count > 0)
                .map(|(class, count)| (class.clone(), *count))
                .collect(),
            outages: known.outages.iter().cloned().collect(),
            reconnects: known.reconnects,
            lines: known.lines.iter().map(|(name, crossings)| (name.to_string(), *crossings)).collect(),
            zones: self.zones.iter().cloned().zip(known.zones.iter().cloned()).collect(),
            serving: known.serving.clone(),
        }
    }
}

impl Known {
    fn turn(&mut self, state: State, now: HostTime) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }

    fn record(&mut self, record: &FrameRecord) {
        let times = record.times();
        for (stage, recent) in [(Stage::EndToEnd, &mut self.end_to_end), (Stage::BehindLive, &mut self.behind_live)] {
            if let Some(time) = times.get(stage) {
                if recent.len() == RECENT {
                    recent.pop_front();
                }
                recent.push_back(time);
            }
        }
    }

    fn event(&mut self, event: &FrameEvent, zones: &[String]) {
        match event {
            FrameEvent::Line { name, direction, .. } => {
                let crossings = self.lines.entry(name.clone()).or_default();
                *(if direction.name() == "in" { &mut crossings.inward } else { &mut crossings.out }) += 1;
            }
            FrameEvent::Zone { name, what, .. } => {
                let zone = zones.iter().position(|zone| **zone == **name);
                if let Some(zone) = zone.and_then(|zone| self.zones.get_mut(zone)).filter(|_| what.dwell().is_none()) {
                    zone.entered += 1;
                }
            }
        }
    }
}

impl Percentiles {
    fn of(recent: &VecDeque<Duration>) -> Option<Self> {
        let mut sorted: Vec<Duration> = recent.iter().copied().collect();
        sorted.sort_unstable();
        let at =
            |percent: usize| sorted.get((sorted.len().max(1) - 1) * percent / 100).map(|time| time.as_secs_f64() * 1e3);
        Some(Self { p50: at(50)?, p99: at(99)? })
    }
}

impl Listener for Status {
    fn on(&self, event: &RunEvent<'_>) {
        let now = self.clock.now();
        let mut known = self.known();
        match event {
            RunEvent::StreamUp { info, .. } => {
                (known.info, known.size, known.away) = (Some((*info).clone()), Some(info.size), None);
                known.turn(State::Up, now);
            }
            RunEvent::Disconnected { reason, .. } => {
                known.away = Some((*reason).to_owned());
                // One that never came is still waited for.
                if known.state == State::Up {
                    known.turn(State::Outage, now);
                }
            }
            RunEvent::Reconnected { .. } => {
                known.reconnects += 1;
                known.away = None;
                known.turn(State::Up, now);
            }
            RunEvent::Outage { gap, .. } => {
                let [from_s, to_s] = [gap.from, gap.to].map(|time| Duration::from_nanos(time.ns).as_secs_f64());
                if known.outages.len() == OUTAGES {
                    known.outages.pop_front();
                }
                known.outages.push_back(Outage { from_s, length_s: to_s - from_s, reason: gap.reason.clone() });
            }
            RunEvent::FrameDone { frame, size } => {
                known.size = Some(*size);
                known.processed += 1;
                known.inferred += u64::from(frame.letterbox.is_some());
                known.pace.frame(now);
                known.now.fill(0);
                for d in &frame.detections {
                    let Known { objects, now, .. } = &mut *known;
                    let class = usize::from(d.class_id);
                    if let Some((total, now)) = objects.get_mut(class).zip(now.get_mut(class)) {
                        *total += 1;
                        *now += 1;
                    }
                }
                for event in &frame.events {
                    known.event(event, &self.zones);
                }
            }
            RunEvent::FrameRecorded(record) => known.record(record),
            RunEvent::Dropped { dropped, .. } => known.dropped.add(*dropped),
            RunEvent::Occupancy { zones, .. } => {
                for (zone, now) in known.zones.iter_mut().zip(*zones) {
                    zone.now = *now;
                }
            }
            RunEvent::Output { failing, .. } => known.output = failing.map(redact),
            RunEvent::Serving { address, .. } => known.serving.push((*address).to_owned()),
            RunEvent::Failed { error, .. } => known.failed = Some(redact(&error.to_string())),
            // How the run ended is known when it has.
            RunEvent::StreamEnded { .. } | RunEvent::Queue { .. } | RunEvent::Notice(_) | RunEvent::Occurrence(_) => {}
        }
    }
}
