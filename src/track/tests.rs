use super::*;
use proptest::prelude::*;

const SIZE: Size = Size { width: 960, height: 540 };
const FRAME_NS: u64 = 40_000_000;

fn detection(x: f32, y: f32) -> Detection {
    Detection { class_id: 0, confidence: 0.9, bbox: FrameBox::new(x, y, x + 30.0, y + 70.0), track: None }
}

fn tracked(tracker: &mut Tracker, ns: u64, inferred: bool, detections: &[Detection]) -> Vec<Detection> {
    let mut detections = detections.to_vec();
    tracker.frame(&FrameToTrack { view: None, pts: StreamTime { ns }, size: SIZE, inferred }, &mut detections);
    detections
}

fn id(d: &Detection) -> Option<u32> {
    d.track.filter(|track| track.state == TrackState::Confirmed).map(|track| track.id)
}

#[test]
fn an_object_keeps_its_id_over_dropped_frames_and_short_outages_and_none_is_used_twice() {
    let mut tracker = Tracker::new(Options::default());
    let mut seen = Vec::new();
    // 100 pixels a second; frames come when they come.
    for ms in [0u64, 40, 80, 200, 240, 600, 640, 2600, 2640, 2680] {
        #[expect(clippy::cast_precision_loss, reason = "a place in the frame")]
        let x = 100.0 + ms as f32 * 0.1;
        let out = tracked(&mut tracker, ms * 1_000_000, true, &[detection(x, 200.0), detection(700.0, 100.0)]);
        seen.push([id(&out[0]), id(&out[1])]);
    }
    assert_eq!(seen[0], [Some(1), Some(2)], "two sure objects are confirmed at once");
    assert!(seen.iter().all(|ids| *ids == seen[0]), "{seen:?}");
    assert_eq!(tracker.gap(Duration::from_secs(2)), 0, "an outage shorter than the buffer");
    assert_eq!(tracker.gap(Duration::from_secs(20)), 2, "a longer one");
    let out = tracked(&mut tracker, 23_000_000_000, true, &[detection(368.0, 200.0), detection(700.0, 100.0)]);
    assert_eq!([id(&out[0]), id(&out[1])], [Some(3), Some(4)]);
}

#[test]
fn a_frame_that_was_not_inferred_shows_objects_where_they_are_predicted() {
    let mut tracker = Tracker::new(Options::default());
    let mut last = Vec::new();
    for n in 0..20u8 {
        let x = 100.0 + f32::from(n) * 8.0;
        last = tracked(&mut tracker, u64::from(n) * FRAME_NS, true, &[detection(x, 200.0)]);
    }
    let carried = last.clone();
    let out = tracked(&mut tracker, 20 * FRAME_NS, false, &carried);
    assert_eq!((out.len(), id(&out[0])), (1, id(&last[0])));
    let moved = out[0].bbox.x1 - last[0].bbox.x1;
    assert!((moved - 8.0).abs() < 2.0, "8 pixels a frame: {moved}");
    let track = out[0].track.expect("tracked");
    assert!((track.speed[0] - 200.0).abs() < 30.0 && track.speed[1].abs() < 10.0, "{track:?}");
    assert_eq!(track.age, Duration::from_millis(800));
}

#[test]
fn an_object_that_is_not_detected_is_lost_for_a_moment_and_found_again() {
    let mut tracker = Tracker::new(Options::default());
    for n in 0..10 {
        tracked(&mut tracker, n * FRAME_NS, true, &[detection(300.0, 200.0)]);
    }
    let out = tracked(&mut tracker, 10 * FRAME_NS, true, &[]);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].track.map(|track| (track.id, track.state)), Some((1, TrackState::Lost)));
    let out = tracked(&mut tracker, 30 * FRAME_NS, true, &[]);
    assert!(out.is_empty(), "{out:?}");
    let out = tracked(&mut tracker, 40 * FRAME_NS, true, &[detection(300.0, 200.0)]);
    assert_eq!(id(&out[0]), Some(1));
}

#[test]
fn what_is_seen_once_and_doubtful_is_no_object() {
    let mut tracker = Tracker::new(Options::default());
    let doubtful = Detection { confidence: 0.3, ..detection(300.0, 200.0) };
    assert_eq!(tracked(&mut tracker, 0, true, &[doubtful])[0].track, None);
    assert!(tracked(&mut tracker, FRAME_NS, true, &[]).is_empty());
}

#[test]
fn a_class_that_is_never_sure_is_tracked_as_well() {
    let mut tracker = Tracker::new(Options::default());
    let mut first = None;
    for n in 0..200u8 {
        let mut faint = detection(300.0 + f32::from(n), 200.0);
        faint.confidence = 0.33 + f32::from(n % 3) * 0.04;
        let out = tracked(&mut tracker, u64::from(n) * FRAME_NS, true, &[faint]);
        first = first.or(id(&out[0]).map(|_| n));
    }
    assert!(first.is_some_and(|n| n < 100), "confirmed in frame {first:?}");
}

#[test]
fn the_class_is_that_of_most_votes() {
    let mut tracker = Tracker::new(Options::default());
    let mut out = Vec::new();
    for n in 0..9u8 {
        let class_id = u16::from(n % 3 == 2);
        out =
            tracked(&mut tracker, u64::from(n) * FRAME_NS, true, &[Detection { class_id, ..detection(300.0, 200.0) }]);
    }
    assert_eq!((out.len(), out[0].class_id, id(&out[0])), (1, 0, Some(1)));
}

#[test]
fn ten_thousand_boxes_a_frame_and_numbers_that_are_none_do_not_hang() {
    for (kind, frames) in [(Kind::Timed, 3), (Kind::Byte, 2), (Kind::BotSort, 2), (Kind::OcSort, 2), (Kind::Sort, 2)] {
        for everywhere in [true, false] {
            let mut tracker = Tracker::new(Options { kind, ..Options::default() });
            for n in 0..frames {
                let boxes: Vec<Detection> = (0..10_000u16)
                    .map(|k| {
                        if everywhere {
                            detection(f32::from(k % 100) * 9.0, f32::from(k / 100) * 5.0)
                        } else {
                            detection(300.0, 200.0)
                        }
                    })
                    .collect();
                let out = tracked(&mut tracker, n * FRAME_NS, true, &boxes);
                assert!(out.len() >= boxes.len(), "{kind:?}");
            }
        }
        let mut tracker = Tracker::new(Options { kind, ..Options::default() });
        for n in 0..5u8 {
            let bad = [f32::NAN, f32::INFINITY, -1e30, 0.0]
                .map(|v| Detection { bbox: FrameBox::new(v, v, v, 5.0), ..detection(0.0, 0.0) });
            let unsure = Detection { confidence: f32::NAN, ..detection(10.0, 10.0) };
            tracked(&mut tracker, u64::from(n) * FRAME_NS, n % 2 == 0, &[&bad[..], &[unsure]].concat());
            tracked(&mut tracker, u64::from(n) * FRAME_NS, true, &[]);
        }
    }
}

#[test]
fn a_long_buffer_fills_and_what_is_new_is_tracked_all_the_same() {
    let mut tracker = Tracker::new(Options { buffer: Duration::from_hours(1), ..Options::default() });
    for n in 0..300u16 {
        let ns = u64::from(n) * FRAME_NS;
        // Ten new objects in every frame, none of which is seen again.
        let x = f32::from(n % 60) * 15.0;
        let new: Vec<Detection> =
            (0..10u8).map(|k| detection(x, f32::from(k) * 3000.0 + f32::from(n / 60) * 500.0)).collect();
        let mut detections = new.clone();
        let size = Size { width: 100_000, height: 100_000 };
        tracker.frame(&FrameToTrack { view: None, pts: StreamTime { ns }, size, inferred: true }, &mut detections);
        assert!(detections[..10].iter().all(|d| id(d).is_some()), "frame {n}");
    }
}

#[test]
fn the_fields_trackers_follow_an_object() {
    for (name, kind) in Kind::NAMES {
        let mut tracker = Tracker::new(Options { kind, ..Options::default() });
        let mut out = Vec::new();
        for n in 0..10u8 {
            let x = f32::from(n) * 4.0;
            let two = [detection(100.0 + x, 200.0), detection(600.0 - x, 300.0)];
            out = tracked(&mut tracker, u64::from(n) * FRAME_NS, true, &two);
        }
        let ids: Vec<_> = out.iter().map(id).collect();
        assert!(ids[0].is_some() && ids[1].is_some() && ids[0] != ids[1], "{name}: {ids:?}");
        let speed = out[0].track.expect("tracked").speed[0];
        assert!((speed - 100.0).abs() < 30.0, "{name}: {speed} pixels a second");
        assert_eq!(kind.name(), name);
    }
}

#[test]
fn trails_are_as_long_as_asked_for_and_end_with_the_object() {
    let mut tracker = Tracker::new(Options { trails: Duration::from_secs(1), ..Options::default() });
    for n in 0..100u8 {
        tracked(&mut tracker, u64::from(n) * FRAME_NS, true, &[detection(100.0 + f32::from(n) * 4.0, 200.0)]);
    }
    let [trail] = tracker.trails() else { panic!("one object") };
    let (oldest, newest) = (trail.points[0], trail.points[trail.points.len() - 1]);
    assert!((0.9..=1.0).contains(&seconds(oldest.0, newest.0)), "a second");
    assert!((newest.1[0] - oldest.1[0] - 100.0).abs() < 10.0 && trail.points.len() <= TRAIL_POINTS);
    tracked(&mut tracker, 200 * FRAME_NS, true, &[]);
    assert!(tracker.trails().is_empty());
}

/// Objects that walk to and fro, some missing now and then, as frames of detections with their times.
fn scene() -> impl Strategy<Value = Vec<(u64, Vec<Detection>)>> {
    let object = (50.0f32..850.0, 50.0f32..400.0, -150.0f32..150.0, -80.0f32..80.0, 15.0f32..60.0, 0u16..3);
    let frames = proptest::collection::vec((1u64..400, proptest::collection::vec(0.15f32..1.0, 6)), 5..40);
    (proptest::collection::vec(object, 1..6), frames).prop_map(|(objects, frames)| {
        let mut ms = 0;
        let mut scene = Vec::new();
        for (passed, confidences) in frames {
            ms += passed;
            #[expect(clippy::cast_precision_loss, reason = "seconds")]
            let t = ms as f32 / 1000.0;
            let detections = objects.iter().zip(confidences).filter(|(_, confidence)| *confidence > 0.25);
            let detections = detections.map(|((x, y, vx, vy, w, class_id), confidence)| {
                let (x, y) = (x + vx * t, y + vy * t);
                Detection {
                    class_id: *class_id,
                    confidence,
                    bbox: FrameBox::new(x, y, x + w, y + w * 2.0),
                    track: None,
                }
            });
            scene.push((ms * 1_000_000, detections.collect()));
        }
        scene
    })
}

fn ids(scene: &[(u64, Vec<Detection>)]) -> Vec<Vec<Option<u32>>> {
    let mut tracker = Tracker::new(Options::default());
    let frames = scene.iter().map(|(ns, detections)| tracked(&mut tracker, *ns, true, detections));
    frames.zip(scene).map(|(out, (_, given))| out[..given.len()].iter().map(id).collect()).collect()
}

proptest! {
    #[test]
    fn no_two_objects_of_a_frame_share_an_id_and_ids_count_up(scene in scene()) {
        let mut highest = 0;
        for frame in ids(&scene) {
            let mut given: Vec<u32> = frame.into_iter().flatten().collect();
            given.sort_unstable();
            prop_assert!(given.windows(2).all(|pair| pair[0] < pair[1]), "{given:?}");
            let most = given.last().copied().unwrap_or(0);
            let new = given.iter().filter(|id| **id > highest).count();
            prop_assert!(most <= highest + u32::try_from(new).expect("a few"), "no number is left out");
            highest = highest.max(most);
        }
    }

    #[test]
    fn another_origin_of_time_changes_nothing(scene in scene(), hours in 1u64..100_000) {
        let later: Vec<_> = scene.iter().map(|(ns, d)| (ns + hours * 3_600_000_000_000 + 1, d.clone())).collect();
        prop_assert_eq!(ids(&scene), ids(&later));
    }

    #[test]
    fn a_mirrored_scene_has_mirrored_tracks(scene in scene()) {
        let mirror = |d: &Detection| {
            let b = d.bbox;
            Detection { bbox: FrameBox::new(4096.0 - b.x2, b.y1, 4096.0 - b.x1, b.y2), ..*d }
        };
        let mirrored: Vec<_> = scene.iter().map(|(ns, d)| (*ns, d.iter().map(mirror).collect())).collect();
        prop_assert_eq!(ids(&scene), ids(&mirrored));
    }
}
