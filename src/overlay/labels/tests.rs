use proptest::collection::vec;
use proptest::prelude::*;

use super::super::candidates::Slot;
use super::*;

/// Sizes as text has them: a line is higher by step, and a label longer by form.
fn size(_: usize, form: Form, step: usize) -> [i32; 2] {
    let height = 14 + 4 * i32::try_from(step).expect("a step");
    [height * [5, 3, 2, 1][form as usize], height]
}

fn place(placer: &mut Placer, frame: [i32; 2], subjects: &[Subject]) -> Vec<Option<Label>> {
    placer.place(frame, subjects, &[], &mut size).to_vec()
}

fn boxed([x, y, width, height]: [i32; 4], confidence: f32) -> Subject {
    Subject { area: Area { x, y, width, height }, class: 0, track: None, confidence, step: 0.0 }
}

/// A frame and boxes in it, from a point to all of it; some are tracked, some lie on each other.
fn scenes(most: usize) -> impl Strategy<Value = ([i32; 2], Vec<Subject>)> {
    let edge = || prop_oneof![3 => 0.0..1.0f32, 1 => Just(0.0), 1 => Just(1.0)];
    let part = || prop_oneof![5 => 0.0..0.1f32, 1 => 0.0..=1.0f32];
    let subject = (edge(), edge(), part(), part(), 0..3u16, any::<bool>(), 0.0..1.0f32, 0.0..3.0f32);
    let frame = prop_oneof![(1..40i32, 1..40i32), (200..2000i32, 200..1200i32)];
    (frame, vec(subject, 0..most)).prop_map(|((width, height), subjects)| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a frame's size")]
        let at = |share: f32, of: i32| (share * of as f32) as i32;
        let subjects = (1..).zip(subjects).map(|(id, (x, y, w, h, class, tracked, confidence, step))| {
            let (x, y) = (at(x, width - 1), at(y, height - 1));
            let area = Area { x, y, width: at(w, width).min(width - x), height: at(h, height).min(height - y) };
            Subject { area, class, track: tracked.then_some(id), confidence, step }
        });
        ([width, height], subjects.collect())
    })
}

fn laws(frame: [i32; 2], subjects: &[Subject], placed: &[Option<Label>]) -> Result<(), TestCaseError> {
    prop_assert_eq!(placed.len(), subjects.len());
    let whole = Area { x: 0, y: 0, width: frame[0], height: frame[1] };
    for (index, label) in placed.iter().enumerate() {
        let Some(Label { form, area, step }) = *label else { continue };
        let own = subjects[index];
        prop_assert!(area.within(whole), "{area:?} in {frame:?}");
        prop_assert_eq!((area.x & 1, area.y & 1), (0, 0));
        prop_assert_eq!([area.width, area.height], size(index, form, step));
        prop_assert!(own.has(form));
        prop_assert!(area.shared(own.area.grown(2)) > 0, "{area:?} is apart from {:?}", own.area);
        for (other, label) in placed.iter().enumerate().filter(|(other, _)| *other != index) {
            prop_assert!(label.is_none_or(|label| label.area.shared(area) == 0), "labels {index} and {other}");
            let theirs = subjects[other].area;
            let holder = theirs.shared(own.area) * 10 >= own.area.pixels() * 9;
            let allowed = if holder { theirs.pixels() / 10 } else { 0 };
            prop_assert!(theirs.shared(area) <= allowed, "label {index} covers box {other}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn labels_cover_no_other_box_and_no_label_and_lie_in_the_frame(
        (frame, subjects) in scenes(80), moves in vec((-9..9i32, -9..9i32), 12)
    ) {
        let mut placer = Placer::default();
        let mut subjects = subjects;
        for (x, y) in moves {
            let placed = place(&mut placer, frame, &subjects);
            laws(frame, &subjects, &placed)?;
            for (number, Subject { area, .. }) in (0..).zip(&mut subjects) {
                area.x = (area.x + x * (number % 3 - 1)).clamp(0, frame[0] - area.width);
                area.y = (area.y + y * (number % 2)).clamp(0, frame[1] - area.height);
            }
        }
    }

    #[test]
    fn confidences_that_change_places_move_no_label(
        (frame, subjects) in scenes(60), jitter in vec(vec(-0.3..0.3f32, 60), 20)
    ) {
        let mut placer = Placer::default();
        let key = |subject: &Subject| (subject.area.x, subject.area.y, subject.area.width, subject.area.height);
        let mut seen: Option<Vec<_>> = None;
        // Boxes that are one and the same cannot be told apart without a track.
        let mut subjects = subjects;
        subjects.sort_by_key(|subject| (key(subject), subject.class));
        subjects.dedup_by_key(|subject| (key(subject), subject.class));
        for jitter in jitter {
            let mut now: Vec<_> = subjects.iter().zip(jitter).map(|(subject, by)| {
                Subject { confidence: subject.confidence + by, ..*subject }
            }).collect();
            // As a detector hands them over.
            now.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
            let placed = place(&mut placer, frame, &now);
            let mut labels: Vec<_> = now.iter().zip(placed).map(|(s, label)| ((key(s), s.class), label)).collect();
            labels.sort_by_key(|(key, _)| *key);
            if let Some(seen) = &seen {
                prop_assert_eq!(seen, &labels);
            }
            seen = Some(labels);
        }
    }
}

#[test]
fn the_more_certain_one_gets_the_room() {
    // Room for one whole label above, between walls.
    let walls =
        [[0, 0, 100, 400], [178, 0, 100, 400], [100, 0, 78, 40], [100, 82, 78, 318]].map(|area| boxed(area, 0.1));
    for (first, second) in [(0.8, 0.4), (0.4, 0.8)] {
        let mut subjects = walls.to_vec();
        subjects.extend([boxed([100, 60, 20, 20], first), boxed([150, 60, 20, 20], second)]);
        let placed = place(&mut Placer::default(), [278, 400], &subjects);
        let forms = [4, 5].map(|index: usize| placed[index].map(|label| label.form));
        let expected = if first > second { [Form::Full, Form::Initial] } else { [Form::Initial, Form::Full] };
        assert_eq!(forms, expected.map(Some));
    }
}

#[test]
fn a_label_moves_before_it_shrinks_and_class_and_id_come_before_an_initial() {
    let alone = boxed([300, 200, 40, 40], 0.5);
    let of = |subjects: &[Subject]| place(&mut Placer::default(), [640, 480], subjects)[0].expect("it has a label");
    assert_eq!(of(&[alone]).area, Area { x: 300, y: 186, width: 70, height: 14 }, "above");
    let above = boxed([200, 100, 300, 100], 0.4);
    assert_eq!(of(&[alone, above]).area, Area { x: 300, y: 240, width: 70, height: 14 }, "below");
    let below = boxed([200, 240, 300, 100], 0.4);
    let beside = of(&[alone, above, below]);
    assert_eq!((beside.form, beside.area), (Form::Full, Area { x: 340, y: 200, width: 70, height: 14 }));
    let left = boxed([200, 200, 80, 40], 0.4);
    let right = boxed([370, 200, 100, 40], 0.4);
    let walled = [alone, above, below, left, right];
    assert_eq!(of(&walled).form, Form::Initial);
    assert_eq!(of(&[alone, above, below, left, boxed([382, 200, 100, 40], 0.4)]).form, Form::Name);
    let tracked = Subject { track: Some(7), ..alone };
    assert_eq!(of(&[tracked, above, below, left, right]).form, Form::Id);
    let close = [alone, above, below, boxed([200, 200, 100, 40], 0.4), boxed([340, 200, 100, 40], 0.4)];
    let inside = of(&close);
    assert_eq!((inside.form, inside.area), (Form::Initial, Area { x: 300, y: 200, width: 14, height: 14 }));
    let small = boxed([300, 200, 18, 40], 0.5);
    let all = [small, close[1], close[2], close[3], boxed([318, 200, 100, 40], 0.4)];
    assert_eq!(place(&mut Placer::default(), [640, 480], &all)[0], None, "it would fill its own box");
}

#[test]
fn no_label_goes_right_above_another_box_than_its_own() {
    let above = boxed([200, 100, 300, 100], 0.4);
    let own = boxed([300, 200, 40, 40], 0.5);
    for (below, side) in [(259, Slot::RightTop), (261, Slot::BelowLeft)] {
        let subjects = [own, above, boxed([200, below, 300, 100], 0.3)];
        let expected = side.at(own.area, [70, 14], [640, 480]).map(|(area, _)| area);
        let placed = place(&mut Placer::default(), [640, 480], &subjects)[0];
        assert_eq!(placed.map(|label| label.area), expected, "{below}");
    }
}

#[test]
fn large_text_shrinks_before_the_label_does() {
    let subject = Subject { step: 3.0, ..boxed([300, 200, 200, 40], 0.5) };
    let mut walled = vec![subject];
    assert_eq!(place(&mut Placer::default(), [640, 480], &walled)[0].map(|label| label.step), Some(3));
    walled
        .extend([[0, 0, 640, 180], [0, 260, 640, 220], [0, 180, 290, 80], [510, 180, 130, 80]].map(|a| boxed(a, 0.4)));
    let label = place(&mut Placer::default(), [640, 480], &walled)[0];
    assert_eq!(label.map(|label| (label.form, label.step)), Some((Form::Full, 0)));
}

#[test]
fn a_cup_on_a_table_has_a_label() {
    let subjects = [boxed([0, 0, 640, 480], 0.9), boxed([300, 200, 40, 40], 0.5)];
    let placed = place(&mut Placer::default(), [640, 480], &subjects);
    assert_eq!(placed[1].map(|label| label.form), Some(Form::Full));
    assert_eq!(placed[0].map(|label| label.area), Some(Area { x: 0, y: 0, width: 70, height: 14 }), "inside");
}

#[test]
fn a_label_comes_back_after_a_while_and_only_where_there_is_room_to_spare() {
    let frame = [640, 480];
    let tracked = Subject { track: Some(7), ..boxed([300, 200, 18, 40], 0.5) };
    let walls = [[0, 0, 640, 200], [0, 240, 640, 240], [0, 200, 300, 40], [318, 200, 322, 40]].map(|a| boxed(a, 0.4));
    let mut placer = Placer::default();
    let mut walled = vec![tracked];
    walled.extend(walls);
    assert_eq!(place(&mut placer, frame, &walled)[0], None);
    // Room above that would just do: the wall trembles.
    let mut tight = walled.clone();
    tight[1].area.height = 186;
    for _ in 0..30 {
        assert_eq!(place(&mut placer, frame, &tight)[0], None);
        assert_eq!(place(&mut placer, frame, &walled)[0], None);
    }
    // Room for good.
    let mut moved = tracked;
    let forms: Vec<_> = (0..=HOLD)
        .map(|_| {
            moved.area.x += 3;
            place(&mut placer, frame, &[moved])[0].map(|label| label.form)
        })
        .collect();
    assert_eq!(forms.last(), Some(&Some(Form::Full)));
}

#[test]
fn a_label_stays_on_its_side_while_its_object_moves_and_changes_class() {
    let frame = [640, 480];
    let mut placer = Placer::default();
    let mut subjects = [
        Subject { track: Some(7), ..boxed([300, 200, 40, 40], 0.5) },
        boxed([300, 100, 40, 100], 0.4),
        Subject { class: 1, ..boxed([100, 400, 40, 40], 0.3) },
    ];
    let below = |placed: &[Option<Label>], subjects: &[Subject]| {
        placed[0].is_some_and(|label| label.form == Form::Full && label.area.y == subjects[0].area.bottom())
    };
    assert!(below(&place(&mut placer, frame, &subjects), &subjects));
    subjects[1].area.y = 0;
    subjects[0].class = 2;
    for _ in 0..40 {
        subjects[0].area.x += 4;
        subjects[2].area.x += 4;
        let placed = place(&mut placer, frame, &subjects);
        assert!(below(&placed, &subjects), "above would be free, but nothing is hidden below either");
        assert_eq!(placed[2].map(|label| label.area.y), Some(386));
    }
}

#[test]
fn text_between_two_sizes_does_not_tremble() {
    let mut placer = Placer::default();
    let sizes: Vec<_> = [1.4, 1.6, 1.3, 1.7, 1.4]
        .map(|step| place(&mut placer, [640, 480], &[Subject { step, ..boxed([300, 200, 40, 40], 0.5) }])[0])
        .map(|label| label.map(|label| label.step))
        .to_vec();
    assert_eq!(sizes, [Some(1); 5]);
}

#[test]
fn ten_thousand_boxes_and_equal_ones_take_bounded_work() {
    let frame = [1920, 1080];
    let spread = |n: i32| boxed([n * 37 % 1800, n * 91 % 1000, 10 + n % 90, 10 + n % 70], 0.5);
    let equal = |_| boxed([0, 0, 1920, 1080], 0.5);
    let nested = |n: i32| boxed([n % 500, n % 500, 1920 - 3 * (n % 500), 1080 - 2 * (n % 500)], 0.5);
    for kind in [&spread as &dyn Fn(i32) -> Subject, &equal, &nested] {
        let subjects: Vec<_> = (0..10_000).map(kind).collect();
        let mut placer = Placer::default();
        for _ in 0..3 {
            let mut measured = 0;
            let placed = placer.place(frame, &subjects, &[], &mut |index, form, step| {
                measured += 1;
                size(index, form, step)
            });
            assert!(placed.iter().any(Option::is_some));
            assert!(placed[MOST..].iter().all(Option::is_none));
            assert!(measured <= MOST * (FORMS.len() + 1), "{measured}");
        }
    }
}
