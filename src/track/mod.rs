//! Objects over time: which detection is which object, where an object is on frames that were not inferred, and how the
//! camera moved.
//!
//! One [`Tracker`] a stream, fed with its frames in order. Time is the stream's ([`StreamTime`]): dropped frames, a stride, a
//! varying frame rate and outages need no setting.

mod appearance;
mod by_frames;
mod confidence;
mod kalman;
mod kind;
mod motion;
mod still;
mod numbers;
mod timed;

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::StreamTime;
use crate::detection::{Detection, Track, TrackState, Trail};
use crate::frame::FrameView;
use crate::geometry::{FrameBox, Size, px};
use appearance::Appearance;
use by_frames::ByFrames;
pub use kind::Kind;
use motion::CameraMotion;
pub use motion::Motion;
pub use numbers::Given;
use numbers::Numbers;
pub use timed::MOST;
use timed::{Object, TimedTracker};

/// Objects that are not seen are kept so long, unless it is said otherwise.
pub const BUFFER: Duration = Duration::from_secs(3);
/// An object that is not detected is shown where it is predicted for so long, as lost.
const LOST_SHOWN_S: f64 = 0.3;
/// Points of a trail, at most.
const TRAIL_POINTS: usize = 64;

/// How objects are tracked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Which tracker.
    pub kind: Kind,
    /// How long an object that is not seen is kept ([`Kind::Timed`]).
    pub buffer: Duration,
    /// Whether the camera may move.
    pub camera_motion: bool,
    /// How long a trail is, in time; zero: none are kept.
    pub trails: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { kind: Kind::default(), buffer: BUFFER, camera_motion: true, trails: Duration::ZERO }
    }
}

/// A frame, as a tracker sees it.
#[derive(Debug, Clone, Copy)]
pub struct FrameToTrack<'a> {
    /// The planes; `None` where there are only detections: then the camera stands still, and nothing is known of looks.
    pub view: Option<FrameView<'a>>,
    /// When it is shown.
    pub pts: StreamTime,
    /// Its size as displayed, pixels.
    pub size: Size,
    /// Whether its detections are its own, not those of a frame before.
    pub inferred: bool,
}

/// Tracks the objects of one stream.
pub struct Tracker {
    options: Options,
    method: Method,
    camera: CameraMotion,
    /// The first frame, and the one before.
    first: Option<StreamTime>,
    last: Option<StreamTime>,
    /// What the last inferred frame showed: a detection, and the id of its object.
    shown: Vec<(Detection, Option<u32>)>,
    trails: Vec<Trail>,
}

enum Method {
    Timed(TimedTracker),
    ByFrames(Box<ByFrames>, Numbers),
}

impl Tracker {
    /// A tracker of one stream.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let method = ByFrames::new(options.kind).map_or_else(
            || Method::Timed(TimedTracker::new(options.buffer)),
            |tracker| Method::ByFrames(Box::new(tracker), Numbers::default()),
        );
        let camera = CameraMotion::default();
        Self { options, method, camera, first: None, last: None, shown: Vec::new(), trails: Vec::new() }
    }

    /// The next frame. Gives its detections their tracks, and smoother boxes; those of a frame that was not inferred are replaced
    /// by predicted ones. Objects that are not detected are added where they are predicted, as lost, for a moment.
    pub fn frame(&mut self, frame: &FrameToTrack<'_>, detections: &mut Vec<Detection>) {
        let before = self.last.unwrap_or(frame.pts);
        let now = StreamTime { ns: frame.pts.ns.max(before.ns) };
        let dt = seconds(before, now);
        self.last = Some(now);
        // From the first frame on: an object's seconds are as exact after months as after a minute.
        let time = seconds(*self.first.get_or_insert(now), now);
        let camera = self.follow_camera(frame);
        if let Some(camera) = &camera {
            self.move_trails(camera);
        }
        match &mut self.method {
            Method::Timed(tracker) => {
                tracker.predict(camera.as_ref(), dt);
                if frame.inferred {
                    let looks = |bbox: &FrameBox| frame.view.as_ref().and_then(|view| Appearance::of(view, bbox));
                    let of = tracker.detected(time, dt, detections, looks);
                    self.shown.clear();
                    for (d, object) in detections.iter_mut().zip(of) {
                        let object = object.map(|place| &tracker.objects[place]).filter(|object| object.id > 0);
                        d.track = object.map(|object| track_of(object, time, TrackState::Confirmed));
                        d.bbox = d.bbox.clipped(px(frame.size.width), px(frame.size.height));
                        self.shown.push((*d, object.map(|object| object.id)));
                    }
                } else {
                    predicted(tracker, &self.shown, time, frame.size, detections);
                }
                add_lost(tracker, &self.shown, time, frame.size, detections);
            }
            Method::ByFrames(tracker, numbers) => {
                if frame.inferred {
                    let of = tracker.frame(camera.as_ref(), detections);
                    for (d, number) in detections.iter_mut().zip(of) {
                        d.track = number.map(|number| numbers.track(number, now, &d.bbox));
                    }
                    numbers.forget(now);
                    self.shown.clear();
                    self.shown.extend(detections.iter().map(|d| (*d, None)));
                } else {
                    detections.clear();
                    detections.extend(self.shown.iter().map(|(d, _)| *d));
                }
            }
        }
        self.extend_trails(now, detections);
    }

    /// The stream was away for so long. Returns how many objects were given up for it.
    pub fn gap(&mut self, length: Duration) -> usize {
        self.camera.forget();
        match &self.method {
            Method::Timed(tracker) if length > self.options.buffer => {
                tracker.objects.iter().filter(|object| object.id > 0).count()
            }
            _ => 0,
        }
    }

    /// Where the objects that are there were.
    #[must_use]
    pub fn trails(&self) -> &[Trail] {
        &self.trails
    }

    fn follow_camera(&mut self, frame: &FrameToTrack<'_>) -> Option<Motion> {
        let view =
            frame.view.as_ref().filter(|_| self.options.camera_motion && self.options.kind.knows_the_camera())?;
        let Self { camera, method, shown, .. } = self;
        match method {
            Method::Timed(tracker) => camera.frame(view, tracker.objects.iter().map(Object::bbox)),
            Method::ByFrames(..) => camera.frame(view, shown.iter().map(|(d, _)| d.bbox)),
        }
    }

    fn move_trails(&mut self, camera: &Motion) {
        for (_, point) in self.trails.iter_mut().flat_map(|trail| &mut trail.points) {
            let [x, y] = camera.point(point.map(f64::from));
            #[expect(clippy::cast_possible_truncation, reason = "pixels")]
            let moved = [x as f32, y as f32];
            *point = moved;
        }
    }

    fn extend_trails(&mut self, now: StreamTime, detections: &[Detection]) {
        if self.options.trails.is_zero() {
            return;
        }
        let length_s = self.options.trails.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a few points")]
        let spacing_s = length_s / TRAIL_POINTS as f64;
        for d in detections {
            let Some(track) = &d.track else { continue };
            let place = self.trails.iter().position(|trail| trail.id == track.id).unwrap_or_else(|| {
                let points = VecDeque::with_capacity(TRAIL_POINTS + 1);
                self.trails.push(Trail { id: track.id, class_id: d.class_id, points });
                self.trails.len() - 1
            });
            let trail = &mut self.trails[place];
            trail.class_id = d.class_id;
            let point = d.bbox.centre();
            // The newest point is where the object is; the one before it stays once it is far enough back.
            let points = &mut trail.points;
            let is_close = points.len() > 1 && seconds(points[points.len() - 2].0, now) < spacing_s;
            if is_close {
                points.pop_back();
            }
            points.push_back((now, point));
            if points.len() > TRAIL_POINTS {
                points.pop_front();
            }
        }
        for trail in &mut self.trails {
            while trail.points.front().is_some_and(|(time, _)| seconds(*time, now) > length_s) {
                trail.points.pop_front();
            }
        }
        self.trails.retain(|trail| !trail.points.is_empty());
    }
}

/// Replaces the detections of another frame.
fn predicted(
    tracker: &TimedTracker,
    shown: &[(Detection, Option<u32>)],
    time: f64,
    size: Size,
    detections: &mut Vec<Detection>,
) {
    detections.clear();
    for (d, id) in shown {
        let object = id.and_then(|id| tracker.objects.iter().find(|object| object.id == id));
        let Some(object) = object else {
            detections.push(*d);
            continue;
        };
        let bbox = object.bbox().clipped(px(size.width), px(size.height));
        if bbox.area() > 0.0 {
            detections.push(Detection { bbox, track: Some(track_of(object, time, TrackState::Confirmed)), ..*d });
        }
    }
}

/// Adds confirmed objects that the last inferred frame did not show.
fn add_lost(
    tracker: &TimedTracker,
    shown: &[(Detection, Option<u32>)],
    time: f64,
    size: Size,
    detections: &mut Vec<Detection>,
) {
    for object in &tracker.objects {
        let is_lost = object.id > 0 && !shown.iter().any(|(_, id)| *id == Some(object.id));
        if !is_lost || time - object.seen > LOST_SHOWN_S {
            continue;
        }
        let whole = object.bbox();
        let bbox = whole.clipped(px(size.width), px(size.height));
        if bbox.area() * 2.0 > whole.area() {
            let track = Some(track_of(object, time, TrackState::Lost));
            detections.push(Detection { class_id: object.class_id(), confidence: object.confidence, bbox, track });
        }
    }
}

fn track_of(object: &Object, time: f64, state: TrackState) -> Track {
    let age = Duration::from_secs_f64((time - object.born).max(0.0));
    Track { id: object.id, age, state, speed: object.speed() }
}

fn seconds(from: StreamTime, to: StreamTime) -> f64 {
    Duration::from_nanos(to.ns.saturating_sub(from.ns)).as_secs_f64()
}

#[cfg(test)]
mod tests;
