//! The default tracker: everything in it goes by time, nothing by frames.
//!
//! A detection is paired with the object that explains it best: the score of a pair is the logarithm of how likely the
//! object would be seen just there, as large, so sure and with these looks, against the detection being anything else (the
//! likelihood ratio of multiple hypothesis tracking, Blackman 2004). What maximises the sum of the scores is taken.
//!
//! The constants are round values on a plateau: a third larger or smaller, each changes HOTA by 0.04 at most, and leaves it above that of the
//! trackers that `docs/tracking.md` compares with. They were chosen on KITTI-13, KITTI-17, ETH-Sunnyday, TUD-Campus and
//! TUD-Stadtmitte (`MOTChallenge` 2015), with frames missing at random, in rows and regularly, and looked at on PETS09-S2L1.

use std::time::Duration;

use super::appearance::Appearance;
use super::confidence::{Levels, log_odds};
use super::kalman::{Coordinate, Side};
use super::motion::Motion;
use crate::assignment::assign;
use crate::detection::Detection;
use crate::geometry::FrameBox;

/// Detections of a frame that take part, at most: the surest. Of objects that are not seen the newest are kept up to that number.
pub const MOST: usize = 1000;
/// Speeds have this standard deviation, in mean sides of the box a second.
const SPEED: f64 = 0.7;
/// Nothing is known of a new object's speed: that of a car, three times its own length in a second, is as likely as any.
const NEW_SPEED: f64 = 3.0;
/// Seconds for which a speed is remembered.
const SPEED_MEMORY: f64 = 4.0;
/// A box's centre is off by this share of its mean side, and its sides by this share of themselves …
const CENTRE_NOISE: f64 = 0.08;
const SIDE_NOISE: f64 = 0.12;
/// … where the model is sure; where it is not at all, by so many times that more.
const DOUBT_NOISE: f64 = 2.0;
/// An object's sides change by this share in a second.
const SIDE_WALK: f64 = 0.15;
/// Degrees of freedom of the misses (Student's t): now and then a box is far off.
const TAILS: f64 = 4.0;
/// Standard deviations within which a pair is considered.
const GATE: f64 = 5.0;
/// Logarithm of the density of other explanations, per mean side squared.
const ELSE: f64 = -2.0;
/// What a detection's log-odds count for in a pair's score.
const CONFIDENCE_WEIGHT: f64 = 0.7;
/// Mean seconds for which an object that is not seen is still there.
const STAYS: f64 = 1.5;
/// What looks count for, and the distance at which they say nothing.
const LOOKS_WEIGHT: f64 = 20.0;
const LOOKS_NEUTRAL: f64 = 0.1;
/// Sightings after which looks count in full, and the share by which they follow new ones.
const LOOKS_KNOWN: f64 = 3.0;
const LOOKS_FOLLOW: f32 = 0.1;
/// What a pair of two classes costs: models waver between car and van.
const OTHER_CLASS: f64 = 2.0;
/// Detections from this confidence on are paired first (as `ByteTrack` does), and may be new objects.
const SURE: f32 = 0.25;
/// Log-odds at which a new object is confirmed, below which it is given up, and what they lose in a second unseen.
const CONFIRMED: f64 = 1.0;
const GIVEN_UP: f64 = -2.0;
const UNSEEN_A_SECOND: f64 = 4.0;
/// What was seen so often, with this confidence in the mean, and has gone this many mean sides of its box, is an object however
/// doubtful: clutter stands still.
const GONE: f64 = 1.0;
const GONE_SIGHTINGS: f64 = 4.0;
const GONE_CONFIDENCE: f64 = 0.4;
/// Doubt about a new object does not grow beyond that, while it is seen.
const DOUBT: f64 = -1.5;
/// Seconds for which an unconfirmed object may be unseen.
const UNCONFIRMED_UNSEEN: f64 = 0.3;
/// A detection that overlaps another one by this IoU is no new object.
const SAME: f32 = 0.6;
/// The box that goes out is so far between the detected one and the predicted and updated one.
const SMOOTH: f32 = 0.7;
/// Classes of an object that are voted for, at most.
const CLASSES: usize = 8;
/// Pairs of so many objects or detections that hang together are matched exactly; larger clusters, the best pair first.
const EXACT: usize = 200;

/// An object.
#[derive(Debug, Clone)]
pub struct Object {
    /// 0 until it is confirmed.
    pub id: u32,
    x: Coordinate,
    y: Coordinate,
    width: Side,
    height: Side,
    /// Where it was first, in pixels of the newest frame.
    from: [f64; 2],
    /// First and last seen, seconds.
    pub born: f64,
    pub seen: f64,
    /// Log-odds that there is an object.
    score: f64,
    /// Of the last detection.
    pub confidence: f32,
    looks: Option<Appearance>,
    sightings: f64,
    /// Of all sightings.
    confidences: f64,
    /// Confidence by class, of the classes seen most.
    votes: Vec<(u16, f32)>,
}

impl Object {
    fn new(d: &Detection, time: f64, score: f64, looks: Option<Appearance>) -> Self {
        let [cx, cy, width, height] = shape(&d.bbox);
        let side = (width * height).sqrt();
        let noise = noise(d.confidence);
        let coordinate = |at| Coordinate::new(at, CENTRE_NOISE * noise * side, NEW_SPEED * side);
        let length = |pixels| Side::new(pixels, SIDE_NOISE * noise);
        Self {
            id: 0,
            x: coordinate(cx),
            y: coordinate(cy),
            width: length(width),
            height: length(height),
            from: [cx, cy],
            born: time,
            seen: time,
            score,
            confidence: d.confidence,
            looks,
            sightings: 1.0,
            confidences: f64::from(d.confidence),
            votes: vec![(d.class_id, d.confidence)],
        }
    }

    /// Where it is predicted, or was just seen.
    #[must_use]
    pub fn bbox(&self) -> FrameBox {
        #[expect(clippy::cast_possible_truncation, reason = "pixels")]
        let [x, y, width, height] = [self.x.at, self.y.at, self.width.pixels(), self.height.pixels()].map(|v| v as f32);
        FrameBox::from_centre(x, y, width, height)
    }

    /// Speed of its centre, pixels a second.
    #[must_use]
    pub fn speed(&self) -> [f32; 2] {
        #[expect(clippy::cast_possible_truncation, reason = "pixels a second")]
        let speed = [self.x.speed as f32, self.y.speed as f32];
        speed
    }

    /// The class that it was seen as most.
    #[must_use]
    pub fn class_id(&self) -> u16 {
        let most = self.votes.iter().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        most.map_or(0, |(class_id, _)| *class_id)
    }

    fn side(&self) -> f64 {
        (self.width.pixels() * self.height.pixels()).sqrt()
    }

    fn predict(&mut self, dt: f64) {
        let speed = SPEED * self.side();
        self.x.predict(dt, speed, SPEED_MEMORY);
        self.y.predict(dt, speed, SPEED_MEMORY);
        self.width.predict(dt, SIDE_WALK);
        self.height.predict(dt, SIDE_WALK);
    }

    fn move_with(&mut self, camera: &Motion) {
        let [x, y] = camera.point([self.x.at, self.y.at]);
        let [across, down] = camera.vector([self.x.speed, self.y.speed]);
        let scale = camera.scale();
        self.x.move_to(x, across, scale);
        self.y.move_to(y, down, scale);
        self.from = camera.point(self.from);
        self.width.scale(scale);
        self.height.scale(scale);
    }

    /// Whether it is an object.
    fn is_confirmed(&self) -> bool {
        let [x, y] = self.from;
        let gone = (self.x.at - x).hypot(self.y.at - y) / self.side();
        self.score >= CONFIRMED
            || gone >= GONE && self.sightings >= GONE_SIGHTINGS && self.confidences >= GONE_CONFIDENCE * self.sightings
    }

    /// How far off across and down a detection may be, however unsure: beyond that, [`pair`](Self::pair) refuses it.
    fn reach(&self) -> [f64; 2] {
        let centre = CENTRE_NOISE * noise(0.0) * self.side();
        [&self.x, &self.y].map(|coordinate| GATE * coordinate.spread(centre).sqrt())
    }

    /// The score of a pair; negative infinity where it is out of the question.
    fn pair(&self, d: &Candidate, unseen: f64) -> f64 {
        let [cx, cy, width, height] = d.shape;
        let side = self.side();
        let noise = noise(d.confidence);
        let area = side * side;
        let centre = CENTRE_NOISE * noise * side;
        let (var_x, var_y) = (self.x.spread(centre) / area, self.y.spread(centre) / area);
        let (dx, dy) = ((cx - self.x.at) / side, (cy - self.y.at) / side);
        let off = dx * dx / var_x + dy * dy / var_y;
        if off.is_nan() || off > GATE * GATE {
            return f64::NEG_INFINITY;
        }
        let (dw, var_w) = self.width.miss(width, SIDE_NOISE * noise);
        let (dh, var_h) = self.height.miss(height, SIDE_NOISE * noise);
        let misfit = dw * dw / var_w + dh * dh / var_h;
        let tails = |square: f64| 0.5 * (TAILS + 2.0) * (1.0 + square / TAILS).ln();
        let mut score = ELSE + CONFIDENCE_WEIGHT * log_odds(d.confidence) - unseen / STAYS;
        score -= tails(off) + tails(misfit) + 0.5 * (var_x * var_y * var_w * var_h).ln();
        if let Some((mine, theirs)) = self.looks.as_ref().zip(d.looks.as_ref()) {
            score += LOOKS_WEIGHT * (LOOKS_NEUTRAL - mine.distance(theirs)) * (self.sightings / LOOKS_KNOWN).min(1.0);
        }
        if d.class_id == self.class_id() { score } else { score - OTHER_CLASS }
    }

    fn see(&mut self, d: &Candidate, time: f64, evidence: f64) {
        let [cx, cy, width, height] = d.shape;
        let noise = noise(d.confidence);
        let centre = CENTRE_NOISE * noise * self.side();
        self.x.update(cx, centre);
        self.y.update(cy, centre);
        self.width.update(width, SIDE_NOISE * noise);
        self.height.update(height, SIDE_NOISE * noise);
        self.score = (self.score + evidence).max(DOUBT);
        (self.seen, self.confidence) = (time, d.confidence);
        match (&mut self.looks, &d.looks) {
            (Some(mine), Some(theirs)) => mine.approach(theirs, LOOKS_FOLLOW),
            (mine @ None, theirs) => *mine = *theirs,
            (Some(_), None) => {}
        }
        self.sightings += 1.0;
        self.confidences += f64::from(d.confidence);
        if let Some((_, weight)) = self.votes.iter_mut().find(|(class_id, _)| *class_id == d.class_id) {
            *weight += d.confidence;
        } else if self.votes.len() < CLASSES {
            self.votes.push((d.class_id, d.confidence));
        }
    }
}

/// Times that a box's noise is larger than where the model is sure.
fn noise(confidence: f32) -> f64 {
    1.0 + DOUBT_NOISE * (1.0 - f64::from(confidence))
}

/// Centre, width and height.
fn shape(bbox: &FrameBox) -> [f64; 4] {
    let [x1, y1, x2, y2] = [bbox.x1, bbox.y1, bbox.x2, bbox.y2].map(f64::from);
    [f64::midpoint(x1, x2), f64::midpoint(y1, y2), x2 - x1, y2 - y1]
}

/// A detection, as it is paired.
struct Candidate {
    /// Its place among the frame's detections.
    place: usize,
    shape: [f64; 4],
    confidence: f32,
    class_id: u16,
    looks: Option<Appearance>,
}

/// Objects of one stream.
#[derive(Debug, Default)]
pub struct TimedTracker {
    /// In the order in which they were first seen.
    pub objects: Vec<Object>,
    last_id: u32,
    levels: Levels,
    /// Seconds after which an object that is not seen is given up.
    buffer: f64,
}

impl TimedTracker {
    /// Keeps objects that are not seen for so long.
    #[must_use]
    pub fn new(buffer: Duration) -> Self {
        Self { buffer: buffer.as_secs_f64(), ..Self::default() }
    }

    /// The camera moved, then `dt` seconds passed.
    pub fn predict(&mut self, camera: Option<&Motion>, dt: f64) {
        for object in &mut self.objects {
            if let Some(camera) = camera {
                object.move_with(camera);
            }
            object.predict(dt);
        }
    }

    /// What was detected at `time`, `dt` seconds after the frame before; `looks` says what something looks like. For every
    /// detection the object that it is, by its place among [`objects`](Self::objects). Boxes of confirmed objects become
    /// smoother, their classes those of most votes.
    pub fn detected(
        &mut self,
        time: f64,
        dt: f64,
        detections: &mut [Detection],
        looks: impl Fn(&FrameBox) -> Option<Appearance>,
    ) -> Vec<Option<usize>> {
        self.make_room();
        let candidates = self.candidates(detections, looks);
        let mut pairs = vec![None; candidates.len()];
        let mut taken = vec![false; self.objects.len()];
        // Confirmed objects choose first, sure detections are given first.
        for (confirmed, sure) in [(true, true), (true, false), (false, true), (false, false)] {
            let objects = (0..self.objects.len()).filter(|o| !taken[*o] && (self.objects[*o].id > 0) == confirmed);
            let free = |c: &usize| pairs[*c].is_none() && (candidates[*c].confidence >= SURE) == sure;
            let free: Vec<usize> = (0..candidates.len()).filter(free).collect();
            for (object, candidate) in self.best_pairs(&objects.collect::<Vec<_>>(), &free, &candidates, time - dt) {
                pairs[candidate] = Some(object);
                taken[object] = true;
            }
        }
        for (candidate, object) in candidates.iter().zip(&pairs) {
            if let Some(object) = *object {
                let evidence = self.levels.evidence(candidate.class_id, candidate.confidence);
                self.objects[object].see(candidate, time, evidence);
                self.confirm(object);
            }
        }
        self.add_new(time, &candidates, &mut pairs, detections);
        let kept = self.forget(time, dt);
        let mut of = vec![None; detections.len()];
        for (candidate, object) in candidates.iter().zip(pairs) {
            let Some(object) = object.and_then(|object| kept[object]) else { continue };
            let (d, object_is) = (&mut detections[candidate.place], &self.objects[object]);
            if object_is.id > 0 {
                d.bbox = between(&d.bbox, &object_is.bbox());
                d.class_id = object_is.class_id();
            }
            of[candidate.place] = Some(object);
        }
        of
    }

    /// The detections that can be paired, at most [`MOST`].
    fn candidates(
        &mut self,
        detections: &[Detection],
        looks: impl Fn(&FrameBox) -> Option<Appearance>,
    ) -> Vec<Candidate> {
        let usable = |d: &Detection| {
            d.bbox.is_finite() && d.bbox.width() > 0.0 && d.bbox.height() > 0.0 && d.confidence.is_finite()
        };
        let mut places: Vec<usize> = (0..detections.len()).filter(|place| usable(&detections[*place])).collect();
        if places.len() > MOST {
            places.sort_by(|a, b| detections[*b].confidence.total_cmp(&detections[*a].confidence));
            places.truncate(MOST);
            places.sort_unstable();
        }
        let candidate = |place: usize| {
            let d = &detections[place];
            self.levels.note(d.class_id, d.confidence);
            let (confidence, class_id) = (d.confidence.clamp(0.0, 1.0), d.class_id);
            let looks = if confidence >= SURE { looks(&d.bbox) } else { None };
            Candidate { place, shape: shape(&d.bbox), confidence, class_id, looks }
        };
        places.into_iter().map(candidate).collect()
    }

    /// The pairs whose scores have the largest sum; all of them are positive.
    fn best_pairs(
        &self,
        objects: &[usize],
        free: &[usize],
        candidates: &[Candidate],
        before: f64,
    ) -> Vec<(usize, usize)> {
        let mut edges = Vec::new();
        for object in objects {
            let is = &self.objects[*object];
            let unseen = (before - is.seen).max(0.0);
            let [across, down] = is.reach();
            for candidate in free {
                let [x, y, ..] = candidates[*candidate].shape;
                if (x - is.x.at).abs() > across || (y - is.y.at).abs() > down {
                    continue;
                }
                let score = is.pair(&candidates[*candidate], unseen);
                if score > 0.0 {
                    edges.push((*object, *candidate, score));
                }
            }
        }
        clusters(&edges, self.objects.len(), candidates.len()).iter().flat_map(|cluster| matched(cluster)).collect()
    }

    /// Gives up what was not seen for longest, where there are too many objects.
    fn make_room(&mut self) {
        if self.objects.len() <= MOST {
            return;
        }
        let mut seen: Vec<f64> = self.objects.iter().map(|object| object.seen).collect();
        let over = seen.len() - MOST;
        let (_, newest_to_go, _) = seen.select_nth_unstable_by(over - 1, f64::total_cmp);
        let (newest_to_go, mut over) = (*newest_to_go, over);
        self.objects.retain(|object| {
            let goes = over > 0 && object.seen <= newest_to_go;
            over -= usize::from(goes);
            !goes
        });
    }

    fn confirm(&mut self, object: usize) {
        let object = &mut self.objects[object];
        if object.id == 0 && object.is_confirmed() {
            self.last_id += 1;
            object.id = self.last_id;
        }
    }

    /// What no object explains may be a new one.
    fn add_new(&mut self, time: f64, candidates: &[Candidate], pairs: &mut [Option<usize>], detections: &[Detection]) {
        let known = pairs.to_vec();
        for (number, candidate) in candidates.iter().enumerate() {
            if known[number].is_some() || candidate.confidence < SURE {
                continue;
            }
            let d = &detections[candidate.place];
            let is_same = |(other, is_known): (&Candidate, &Option<usize>)| {
                other.place != candidate.place
                    && (is_known.is_some() || (other.confidence, candidate.place) > (candidate.confidence, other.place))
                    && detections[other.place].bbox.iou(&d.bbox) > SAME
            };
            if candidates.iter().zip(&known).any(is_same) {
                continue;
            }
            let evidence = self.levels.evidence(candidate.class_id, candidate.confidence);
            self.objects.push(Object::new(d, time, evidence, candidate.looks));
            pairs[number] = Some(self.objects.len() - 1);
            self.confirm(self.objects.len() - 1);
        }
    }

    /// Gives up what was not seen for too long; where each of the objects is now.
    fn forget(&mut self, time: f64, dt: f64) -> Vec<Option<usize>> {
        let mut kept = Vec::with_capacity(self.objects.len());
        let mut place = 0;
        let buffer = self.buffer;
        self.objects.retain_mut(|object| {
            let unseen = time - object.seen;
            let stays = if object.id > 0 {
                unseen <= buffer + 1e-9
            } else {
                if unseen > 0.0 {
                    object.score -= UNSEEN_A_SECOND * dt;
                }
                object.score > GIVEN_UP && (unseen <= UNCONFIRMED_UNSEEN || unseen <= 1.5 * dt)
            };
            kept.push(stays.then_some(place));
            place += usize::from(stays);
            stays
        });
        kept
    }
}

/// A box between the two.
fn between(detected: &FrameBox, updated: &FrameBox) -> FrameBox {
    let mix = |a: f32, b: f32| a + SMOOTH * (b - a);
    FrameBox::new(
        mix(detected.x1, updated.x1),
        mix(detected.y1, updated.y1),
        mix(detected.x2, updated.x2),
        mix(detected.y2, updated.y2),
    )
}

/// An object, a detection and their score.
type Edge = (usize, usize, f64);

/// The edges that hang together.
fn clusters(edges: &[Edge], objects: usize, candidates: usize) -> Vec<Vec<Edge>> {
    let mut parent: Vec<usize> = (0..objects + candidates).collect();
    let root = |parent: &mut Vec<usize>, mut node: usize| {
        while parent[node] != node {
            parent[node] = parent[parent[node]];
            node = parent[node];
        }
        node
    };
    for (object, candidate, _) in edges {
        let (a, b) = (root(&mut parent, *object), root(&mut parent, objects + candidate));
        parent[a.max(b)] = a.min(b);
    }
    let mut numbers = vec![usize::MAX; objects];
    let mut clusters: Vec<Vec<Edge>> = Vec::new();
    for edge in edges {
        // Every cluster has an object, and those come first.
        let number = &mut numbers[root(&mut parent, edge.0)];
        if *number == usize::MAX {
            *number = clusters.len();
            clusters.push(Vec::new());
        }
        clusters[*number].push(*edge);
    }
    clusters
}

/// The pairs of a cluster.
fn matched(edges: &[Edge]) -> Vec<(usize, usize)> {
    if let [(object, candidate, _)] = edges {
        return vec![(*object, *candidate)];
    }
    let unique = |mut all: Vec<usize>| {
        all.sort_unstable();
        all.dedup();
        all
    };
    let rows = unique(edges.iter().map(|edge| edge.0).collect());
    let columns = unique(edges.iter().map(|edge| edge.1).collect());
    if rows.len().max(columns.len()) > EXACT {
        return greedy(edges);
    }
    // Nothing is gained by what is no pair.
    let mut costs = vec![0.0; rows.len() * columns.len()];
    for (object, candidate, score) in edges {
        if let (Ok(row), Ok(column)) = (rows.binary_search(object), columns.binary_search(candidate)) {
            costs[row * columns.len() + column] = -score;
        }
    }
    let pairs = assign(&costs, rows.len(), columns.len()).into_iter().enumerate();
    let pairs = pairs.filter_map(|(row, column)| column.map(|column| (row, column)));
    let pairs = pairs.filter(|(row, column)| costs[row * columns.len() + column] < 0.0);
    pairs.map(|(row, column)| (rows[row], columns[column])).collect()
}

/// The best pair first.
fn greedy(edges: &[Edge]) -> Vec<(usize, usize)> {
    let mut edges = edges.to_vec();
    edges.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    let (mut objects, mut candidates) = (std::collections::HashSet::new(), std::collections::HashSet::new());
    edges.retain(|(object, candidate, _)| {
        !objects.contains(object)
            && !candidates.contains(candidate)
            && objects.insert(*object)
            && candidates.insert(*candidate)
    });
    edges.into_iter().map(|(object, candidate, _)| (object, candidate)).collect()
}
