use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::counting::{Anchor, Line, Zone, sightings};
use crate::detection::{Detection, Track, TrackState};
use crate::geometry::FrameBox;
use crate::text::skipped;

const SIZE: Size = Size { width: 200, height: 100 };

fn at(s: f64) -> StreamTime {
    StreamTime { ns: Duration::from_secs_f64(s).as_nanos().try_into().expect("a short time") }
}

fn seen(id: u32, x: f64, y: f64) -> Sighting {
    Sighting { id, class_id: 0, at: Point { x, y }, seen: true }
}

/// A line across the middle of the frame from the top to the bottom: its right-hand side is the left half.
fn gate() -> Line {
    Line::new("gate", [0.5, 0.0], [0.5, 1.0]).expect("a line")
}

fn counting(lines: Vec<Line>, zones: Vec<Zone>) -> Counting {
    let shapes = Arc::new(Shapes::new(lines, zones).expect("shapes"));
    Counting { shapes, anchor: Anchor::default(), kept: Duration::from_mins(1) }
}

/// Object 1, seen at these places ten times a second: what happened.
fn walk(counter: &mut Counter, from_s: f64, places: &[(f64, f64)]) -> Vec<FrameEvent> {
    let mut events = Vec::new();
    let mut s = from_s;
    for (x, y) in places {
        counter.frame(at(s), SIZE, [seen(1, *x, *y)], &mut events);
        s += 0.1;
    }
    events
}

fn totals(counter: &Counter) -> [u64; 2] {
    counter.lines().next().expect("a line").2
}

/// The places `x`, all in the middle of the frame's height.
fn along(x: &[f64]) -> Vec<(f64, f64)> {
    x.iter().map(|x| (*x, 50.0)).collect()
}

#[test]
fn a_crossing_counts_once_the_point_has_stood_on_either_side() {
    let mut counter = Counter::new(&counting(vec![gate()], Vec::new()));
    // From the right half, which is the left-hand side of who walks down, to the other: in.
    let events = walk(&mut counter, 0.0, &along(&[180.0, 160.0, 140.0, 120.0, 90.0, 80.0, 70.0]));
    assert!(events.is_empty(), "0.2 s on the other side are too short: {events:?}");
    let events = walk(&mut counter, 0.7, &along(&[60.0]));
    let line =
        FrameEvent::Line { name: "gate".into(), direction: Direction::In, track_id: 1, class_id: 0, at: at(0.4) };
    assert_eq!(events, [line], "it crossed with the first frame there");
    // It comes back for too short a time, then for long enough.
    walk(&mut counter, 0.8, &along(&[110.0, 110.0, 110.0, 90.0, 90.0, 90.0, 90.0]));
    assert_eq!(totals(&counter), [1, 0], "a flicker is no crossing");
    walk(&mut counter, 1.5, &along(&[110.0; 4]));
    walk(&mut counter, 1.9, &along(&[90.0; 4]));
    assert_eq!(totals(&counter), [2, 1], "it counts again after a full return");
}

#[test]
fn an_object_that_was_not_on_the_first_side_for_long_enough_has_not_crossed() {
    let mut counter = Counter::new(&counting(vec![gate()], Vec::new()));
    walk(&mut counter, 0.0, &along(&[120.0, 110.0, 105.0, 90.0, 80.0, 70.0, 60.0, 50.0]));
    assert_eq!(totals(&counter), [0, 0]);
}

#[test]
fn who_passes_beyond_the_end_of_a_line_does_not_cross_it() {
    let short = Line::new("short", [0.5, 0.4], [0.5, 0.6]).expect("a line");
    let mut counter = Counter::new(&counting(vec![short], Vec::new()));
    let path: Vec<(f64, f64)> = [80.0, 80.0, 80.0, 80.0, 120.0, 120.0, 120.0, 120.0].map(|x| (x, 30.0)).to_vec();
    walk(&mut counter, 0.0, &path);
    assert_eq!(totals(&counter), [0, 0]);
    // Back through it: a crossing, since it has been on the other side meanwhile.
    walk(&mut counter, 0.8, &[(120.0, 50.0), (80.0, 50.0), (80.0, 50.0), (80.0, 50.0), (80.0, 50.0)]);
    assert_eq!(totals(&counter), [1, 0]);
    // The end itself belongs to it.
    walk(&mut counter, 1.3, &[(80.0, 60.0), (120.0, 60.0), (120.0, 60.0), (120.0, 60.0), (120.0, 60.0)]);
    assert_eq!(totals(&counter), [1, 1]);
}

#[test]
fn on_the_line_is_where_the_point_was_before() {
    let mut counter = Counter::new(&counting(vec![gate()], Vec::new()));
    walk(&mut counter, 0.0, &along(&[100.0, 120.0, 100.0, 120.0, 100.0, 100.0, 100.0, 100.0, 100.0]));
    assert_eq!(totals(&counter), [0, 0]);
    walk(&mut counter, 0.9, &along(&[90.0, 100.0, 100.0, 100.0]));
    assert_eq!(totals(&counter), [1, 0], "the time on the line counts for the side it came to");
}

#[test]
fn an_object_that_is_lost_for_a_while_goes_on_by_time() {
    let mut counter = Counter::new(&counting(vec![gate()], Vec::new()));
    walk(&mut counter, 0.0, &along(&[120.0]));
    // Seen again 5 s later, at the same side: it stood there.
    walk(&mut counter, 5.0, &along(&[110.0]));
    // Meanwhile it is thought to be on the other side: that counts nothing.
    let mut events = Vec::new();
    for n in 0..8 {
        let guessed = Sighting { seen: false, ..seen(1, 50.0, 50.0) };
        counter.frame(at(5.1 + f64::from(n) * 0.1), SIZE, [guessed], &mut events);
    }
    assert_eq!(totals(&counter), [0, 0]);
    walk(&mut counter, 6.0, &along(&[90.0]));
    let events = walk(&mut counter, 8.0, &along(&[80.0]));
    assert!(matches!(events[..], [FrameEvent::Line { at: when, .. }] if when == at(6.0)), "{events:?}");
}

#[test]
fn a_zone_knows_who_entered_left_and_stayed() {
    let yard = Zone::new("yard", &[[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]).expect("a zone");
    let mut counter = Counter::new(&counting(Vec::new(), vec![yard]));
    let events = walk(&mut counter, 0.0, &along(&[90.0; 4]));
    assert!(events.is_empty());
    let inside = [110.0, 110.0, 110.0, 110.0, 90.0, 110.0, 110.0, 110.0, 110.0, 110.0];
    let events = walk(&mut counter, 0.4, &along(&inside));
    let zone = |what, at| FrameEvent::Zone { name: "yard".into(), what, track_id: 1, class_id: 0, at };
    assert_eq!(events, [zone(ZoneEvent::Enter, at(0.4))]);
    assert_eq!(counter.zones().next().expect("a zone").2, 1);
    let events = walk(&mut counter, 1.4, &along(&[90.0; 4]));
    let dwell = Duration::from_millis(900);
    assert_eq!(events, [zone(ZoneEvent::Leave { dwell }, at(1.3))], "the flicker at 0.8 s is part of the visit");
    walk(&mut counter, 1.8, &along(&[110.0; 6]));
    let figures = &counter.figures(&["car".into()]).zones["yard"];
    assert_eq!((figures.visits, figures.entered, figures.left, figures.now), (2, 2, 1, 1));
    assert!((figures.dwell_s - 1.4).abs() < 1e-9 && (figures.dwell_max_s - 0.9).abs() < 1e-9, "{figures:?}");
    assert_eq!(figures.visits_by_class["car"], 2);
    let open = [zone(ZoneEvent::Dwell { dwell: Duration::from_millis(500) }, at(2.3))];
    assert_eq!(counter.open_visits(), open, "what would be said if the run ended now");
    // Its track ends inside: the visit ends with it, and nobody left.
    let mut events = Vec::new();
    counter.frame(at(120.0), SIZE, [], &mut events);
    assert_eq!(events, [zone(ZoneEvent::Dwell { dwell: Duration::from_millis(500) }, at(2.3))]);
    let after = &counter.figures(&["car".into()]).zones["yard"];
    assert!((after.visits, after.left, after.now) == (2, 1, 0) && (after.dwell_s - 1.4).abs() < 1e-9, "{after:?}");
    assert!(counter.known.is_empty() && counter.open_visits().is_empty(), "it is forgotten");
}

#[test]
fn a_visit_that_another_frame_size_ends_is_an_event_as_well() {
    let pixels = Zone::new("yard", &[[50.0, 0.0], [150.0, 0.0], [150.0, 99.0], [50.0, 99.0]]).expect("a zone");
    let mut counter = Counter::new(&counting(Vec::new(), vec![pixels]));
    walk(&mut counter, 0.0, &along(&[100.0; 6]));
    let mut events = Vec::new();
    counter.frame(at(0.6), Size { width: 400, height: 200 }, [seen(1, 200.0, 100.0)], &mut events);
    let what = ZoneEvent::Dwell { dwell: Duration::from_millis(500) };
    assert_eq!(events, [FrameEvent::Zone { name: "yard".into(), what, track_id: 1, class_id: 0, at: at(0.5) }]);
    let figures = &counter.figures(&[]).zones["yard"];
    assert!(figures.visits == 1 && (figures.dwell_s - 0.5).abs() < 1e-9, "{figures:?}");
}

#[test]
fn one_who_appears_inside_visits_but_did_not_enter() {
    let whole = Zone::new("all", &[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]).expect("a zone");
    let mut counter = Counter::new(&counting(Vec::new(), vec![whole]));
    // At the frame's lower edge, where boxes are clipped.
    let events = walk(&mut counter, 0.0, &[(50.0, 100.0); 5]);
    assert!(events.is_empty());
    let figures = &counter.figures(&[]).zones["all"];
    assert_eq!((figures.visits, figures.entered, figures.now), (1, 0, 1));
    assert_eq!(figures.visits_by_class["0"], 1, "a class without a name is its id");
}

#[test]
fn a_frame_of_another_size_moves_lines_in_pixels_only() {
    let pixels = Line::new("pixels", [100.0, 0.0], [100.0, 100.0]).expect("a line");
    let mut counter = Counter::new(&counting(vec![gate(), pixels], Vec::new()));
    walk(&mut counter, 0.0, &along(&[120.0; 5]));
    let double = Size { width: 400, height: 200 };
    let mut events = Vec::new();
    for n in 0..5 {
        counter.frame(at(0.5 + f64::from(n) * 0.1), double, [seen(1, 90.0, 100.0)], &mut events);
    }
    let crossed: Vec<[u64; 2]> = counter.lines().map(|(_, _, totals)| totals).collect();
    assert_eq!(crossed, [[1, 0], [0, 0]], "what was known of the line in pixels is void");
    assert_eq!(counter.lines().next().expect("a line").1[0], Point { x: 200.0, y: 0.0 });
}

#[test]
fn points_that_are_no_numbers_and_ids_that_stand_twice_are_passed_over() {
    let mut counter = Counter::new(&counting(vec![gate()], Vec::new()));
    let mut events = Vec::new();
    for n in 0..12 {
        let place = if n < 6 { 120.0 } else { 80.0 };
        let twice =
            [seen(1, place, 50.0), seen(1, 200.0 - place, 50.0), seen(2, f64::NAN, 50.0), seen(2, 5.0, f64::INFINITY)];
        counter.frame(at(f64::from(n) * 0.1), SIZE, twice, &mut events);
    }
    assert_eq!((totals(&counter), events.len()), ([1, 0], 1));
}

#[test]
fn ten_thousand_points_a_frame_are_counted_and_memory_stays_bounded() {
    let yard = Zone::new("yard", &[[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]).expect("a zone");
    let mut counter = Counter::new(&counting(vec![gate()], vec![yard]));
    let mut events = Vec::new();
    for n in 0..10 {
        let x = if n < 5 { 120.0 } else { 80.0 };
        counter.frame(
            at(f64::from(n) * 0.1),
            SIZE,
            (0..10_000).map(|id| seen(id, x, f64::from(id % 100))),
            &mut events,
        );
    }
    assert_eq!(totals(&counter), [10_000, 0]);
    assert_eq!(events.len(), 20_000, "each crossed and left");
    // New ones with every frame, as of a tracker that keeps none: the oldest go first.
    for n in 0..20 {
        let ids = (0..10_000).map(|id| seen(20_000 + n * 10_000 + id, 10.0, 10.0));
        counter.frame(at(1.0 + f64::from(n) * 0.01), SIZE, ids, &mut events);
        assert!(counter.known.len() <= MOST_IDS);
    }
    assert!(counter.known.contains_key(&(20_000 + 19 * 10_000)), "the newest are known");
    // More than can be remembered, in one frame.
    counter.frame(at(3.0), SIZE, (0..50_000).map(|id| seen(1_000_000 + id, 10.0, 10.0)), &mut events);
    assert!(counter.known.len() <= MOST_IDS);
}

/// Samples of up to three objects that walk about in whole pixels, ten times a second.
fn walks() -> impl Strategy<Value = Vec<Vec<(u32, i32, i32)>>> {
    prop::collection::vec(prop::collection::vec((1u32..4, 0i32..=200, 0i32..=100), 0..4), 0..60)
}

/// Each place stands for three frames, so that some of them hold.
fn run(
    counting: &Counting,
    shift_ns: u64,
    walks: &[Vec<(u32, i32, i32)>],
    place: impl Fn(i32, i32) -> Point,
) -> Vec<FrameEvent> {
    let mut counter = Counter::new(counting);
    let mut events = Vec::new();
    for (n, sightings) in (0u64..).zip(walks.iter().flat_map(|frame| std::iter::repeat_n(frame, 3))) {
        let found = sightings.iter().map(|(id, x, y)| Sighting { id: *id, class_id: 0, at: place(*x, *y), seen: true });
        counter.frame(StreamTime { ns: shift_ns + n * 100_000_000 }, SIZE, found, &mut events);
    }
    events
}

fn as_it_is(x: i32, y: i32) -> Point {
    Point { x: f64::from(x), y: f64::from(y) }
}

fn slanted(mirrored: bool) -> Counting {
    let x = |x: f64| if mirrored { 200.0 - x } else { x };
    let line = Line::new("slanted", [x(60.0), 10.0], [x(140.0), 90.0]).expect("a line");
    let zone = Zone::new("yard", &[[x(20.0), 20.0], [x(150.0), 20.0], [x(150.0), 90.0]]).expect("a zone");
    counting(vec![line], vec![zone])
}

fn swapped(event: FrameEvent) -> FrameEvent {
    let other = |direction| if direction == Direction::In { Direction::Out } else { Direction::In };
    match event {
        FrameEvent::Line { name, direction, track_id, class_id, at } => {
            FrameEvent::Line { name, direction: other(direction), track_id, class_id, at }
        }
        zone @ FrameEvent::Zone { .. } => zone,
    }
}

proptest! {
    #[test]
    fn a_mirrored_frame_swaps_the_directions(walks in walks()) {
        let plain = run(&slanted(false), 0, &walks, as_it_is);
        let mirrored = run(&slanted(true), 0, &walks, |x, y| as_it_is(200 - x, y));
        prop_assert_eq!(plain.into_iter().map(swapped).collect::<Vec<_>>(), mirrored);
    }

    #[test]
    fn a_line_walked_the_other_way_swaps_the_directions(walks in walks()) {
        let there = counting(vec![Line::new("l", [60.0, 10.0], [140.0, 90.0]).expect("a line")], Vec::new());
        let back = counting(vec![Line::new("l", [140.0, 90.0], [60.0, 10.0]).expect("a line")], Vec::new());
        let events = run(&there, 0, &walks, as_it_is);
        prop_assert_eq!(events.into_iter().map(swapped).collect::<Vec<_>>(), run(&back, 0, &walks, as_it_is));
    }

    #[test]
    fn a_shift_in_time_changes_nothing(walks in walks(), shift in 0u64..1 << 60) {
        let plain = run(&slanted(false), 0, &walks, as_it_is);
        let later = |at: StreamTime| StreamTime { ns: at.ns + shift };
        let moved = |event| match event {
            FrameEvent::Line { name, direction, track_id, class_id, at } => {
                FrameEvent::Line { name, direction, track_id, class_id, at: later(at) }
            }
            FrameEvent::Zone { name, what, track_id, class_id, at } => {
                FrameEvent::Zone { name, what, track_id, class_id, at: later(at) }
            }
        };
        let plain: Vec<FrameEvent> = plain.into_iter().map(moved).collect();
        prop_assert_eq!(plain, run(&slanted(false), shift, &walks, as_it_is));
    }

    #[test]
    fn the_order_of_a_frame_s_objects_changes_nothing(walks in walks()) {
        let walks: Vec<Vec<_>> = walks.into_iter().map(|mut frame| {
            frame.sort_unstable_by_key(|(id, ..)| *id);
            frame.dedup_by_key(|(id, ..)| *id);
            frame
        }).collect();
        let turned: Vec<Vec<_>> = walks.iter().map(|frame| frame.iter().rev().copied().collect()).collect();
        prop_assert_eq!(run(&slanted(false), 0, &walks, as_it_is), run(&slanted(false), 0, &turned, as_it_is));
    }

    #[test]
    fn who_goes_in_comes_out_before_going_in_again(walks in walks()) {
        // The gate has no ends to pass beyond: points are inside of the frame.
        let events = run(&counting(vec![gate()], Vec::new()), 0, &walks, as_it_is);
        for id in 1..4 {
            let mut last = None;
            for event in events.iter().filter(|event| event.track_id() == id) {
                let FrameEvent::Line { direction, .. } = event else { continue };
                prop_assert!(last != Some(*direction), "{:?}", events);
                last = Some(*direction);
            }
        }
    }
}

/// PETS09-S2L1: people on a junction, with the true counts.
struct Recorded {
    truth: Value,
    /// By frame.
    boxes: Vec<Vec<Detection>>,
}

impl Recorded {
    fn read() -> Option<Self> {
        let root = std::env::var("STREAMDET_TEST_DATA")
            .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), std::path::PathBuf::from);
        let folder = root.join("data/mot");
        let Ok(truth) = std::fs::read_to_string(folder.join("crossings.json")) else {
            skipped(&format!("no recorded crossings in {} (STREAMDET_TEST_DATA)", folder.display()));
            return None;
        };
        let mut boxes = vec![Vec::new(); 795];
        let rows = std::fs::read_to_string(folder.join("PETS09-S2L1/gt.txt")).expect("the ground truth");
        for row in rows.lines() {
            let values: Vec<f32> = row.split(',').map(|value| value.trim().parse().expect("a number")).collect();
            let [frame, id, left, top, width, height, ..] = values[..] else { panic!("{row}") };
            let (age, state, speed) = (Duration::ZERO, TrackState::Confirmed, [0.0; 2]);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small whole numbers")]
            let (frame, id) = (frame as usize, id as u32);
            let bbox = FrameBox::new(left, top, left + width, top + height);
            let track = Some(Track { id, age, state, speed });
            boxes[frame - 1].push(Detection { class_id: 0, confidence: 1.0, bbox, track });
        }
        Some(Self { truth: serde_json::from_str(&truth).expect("JSON"), boxes })
    }

    fn counting(&self) -> Counting {
        let point = |value: &Value| [value[0].as_f64().expect("x"), value[1].as_f64().expect("y")];
        let lines = self.truth["lines"].as_object().expect("lines").iter();
        let lines = lines.map(|(name, line)| Line::new(name, point(&line["a"]), point(&line["b"])).expect("a line"));
        let zones = self.truth["polygons"].as_object().expect("polygons").iter().map(|(name, zone)| {
            let corners: Vec<[f64; 2]> = zone["corners"].as_array().expect("corners").iter().map(point).collect();
            Zone::new(name, &corners).expect("a zone")
        });
        Counting { kept: Duration::MAX, ..counting(lines.collect(), zones.collect()) }
    }

    /// Counts; also who is in each zone, frame by frame.
    fn count(&self, hold: Duration) -> (Counter, Vec<FrameEvent>, Vec<Vec<u32>>) {
        let mut counter = Counter::holding(&self.counting(), hold);
        let (mut events, mut occupied) = (Vec::new(), Vec::new());
        for (n, found) in (0u64..).zip(&self.boxes) {
            let (pts, size) = (StreamTime { ns: n * 100_000_000 }, Size { width: 768, height: 576 });
            counter.frame(pts, size, sightings(found, Anchor::BottomCenter), &mut events);
            occupied.push(counter.zones().map(|(.., now)| now).collect());
        }
        (counter, events, occupied)
    }
}

fn tenths(time: StreamTime) -> u64 {
    time.ns / 100_000_000
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tenths of a second")]
fn in_tenths(value: &Value) -> u64 {
    (value.as_f64().expect("seconds") * 10.0).round() as u64
}

#[test]
fn recorded_people_cross_lines_exactly_as_often_as_they_did() {
    let Some(recorded) = Recorded::read() else { return };
    let (counter, events, _) = recorded.count(HOLD);
    let (hasty, ..) = recorded.count(Duration::ZERO);
    for (name, truth) in recorded.truth["lines"].as_object().expect("lines") {
        let mut counted: Vec<(u64, u64, &str)> = Vec::new();
        for event in &events {
            if let FrameEvent::Line { name: line, direction, track_id, at, .. } = event
                && **line == **name
            {
                counted.push((tenths(*at), u64::from(*track_id), direction.name()));
            }
        }
        counted.sort_unstable();
        let true_events = truth["events_time_id_direction"].as_array().expect("events").iter();
        let mut expected: Vec<(u64, u64, &str)> = true_events
            .map(|event| {
                let direction = if event[2] == "left_to_right" { "in" } else { "out" };
                (in_tenths(&event[0]), event[1].as_u64().expect("an id"), direction)
            })
            .collect();
        expected.sort_unstable();
        assert_eq!(counted, expected, "{name}");
        let totals = |counter: &Counter| counter.lines().find(|(line, ..)| line == name).expect("the line").2;
        assert_eq!(
            serde_json::json!(totals(&counter)),
            serde_json::json!([truth["left_to_right"], truth["right_to_left"]])
        );
        assert_eq!(serde_json::json!(totals(&hasty)), truth["if_hold_were_0"], "{name} without a hold");
        let figures = &counter.figures(&["person".into()]).lines[name];
        assert_eq!(figures.inwards.by_class["person"], figures.inwards.total);
        assert_eq!(truth["left_to_right"], figures.inwards.total);
    }
}

#[test]
fn recorded_people_visit_zones_exactly_as_they_did() {
    let Some(recorded) = Recorded::read() else { return };
    let (mut counter, mut events, occupied) = recorded.count(HOLD);
    let figures = counter.figures(&["person".into()]);
    let hasty = recorded.count(Duration::ZERO).0.figures(&[]);
    counter.forget(|_| true, &mut events);
    assert_eq!(counter.figures(&["person".into()]).zones["road"].visits, figures.zones["road"].visits);
    for (number, (name, truth)) in recorded.truth["polygons"].as_object().expect("polygons").iter().enumerate() {
        let mut visits: Vec<(u64, u64, u64)> = Vec::new();
        for event in &events {
            if let FrameEvent::Zone { name: zone, what, track_id, at, .. } = event
                && **zone == **name
                && let Some(dwell) = what.dwell()
            {
                let length = StreamTime { ns: u64::try_from(dwell.as_nanos()).expect("a short time") };
                visits.push((u64::from(*track_id), tenths(*at) - tenths(length), tenths(*at)));
            }
        }
        visits.sort_unstable();
        let expected: Vec<(u64, u64, u64)> = truth["visits_id_from_to"]
            .as_array()
            .expect("visits")
            .iter()
            .map(|visit| (visit[0].as_u64().expect("an id"), in_tenths(&visit[1]), in_tenths(&visit[2])))
            .collect();
        assert_eq!(visits, expected, "{name}");
        let counted = &figures.zones[name];
        let whole = |key: &str| truth[key].as_u64().expect("a count");
        assert_eq!(
            [counted.visits, counted.entered, counted.left],
            ["visits", "entries", "exits"].map(whole),
            "{name}"
        );
        let near = |value: f64, truth: &Value| (value - truth.as_f64().expect("a figure")).abs() < 1e-6;
        assert!(near(counted.dwell_s, &truth["dwell_s"]) && near(counted.dwell_max_s, &truth["dwell_max_s"]), "{name}");
        let occupancy = &truth["occupancy"];
        assert!(near(counted.occupancy_mean, &occupancy["mean"]), "{name}: {}", counted.occupancy_mean);
        assert_eq!(occupancy["max"], counted.occupancy_max);
        for (frame, now) in occupancy["at_frame"].as_object().expect("frames") {
            let frame: usize = frame.parse().expect("a frame");
            assert_eq!(
                occupied[frame - 1][number],
                u32::try_from(now.as_u64().expect("a count")).expect("few"),
                "{name} {frame}"
            );
        }
        let without = &hasty.zones[name];
        let hold = |key: &str| truth["if_hold_were_0"][key].as_u64().expect("a count");
        assert_eq!(
            [without.visits, without.entered, without.left],
            ["visits", "entries", "exits"].map(hold),
            "{name} without a hold"
        );
    }
}
