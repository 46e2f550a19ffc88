//! Laws that figures of tracks must keep. That they are TrackEval's is tested in `tests/val_mot.rs`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::figures::Counts;
use super::prepare::{drone, mot15, mot16};
use super::scene::Scene;
use super::sequences::find;
use super::*;
use crate::mot::{MotBox, Row};
use crate::shutdown::Shutdown;

fn row(frame: u32, id: i64, bbox: MotBox) -> Row {
    Row { frame, id, bbox, confidence: 1.0, extra: [-1.0; 3], columns: 10, line: 1 }
}

/// Boxes near enough to one another to overlap; no two overlaps are equal.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let bbox = (0.0..60.0, 0.0..60.0, 10.0..50.0, 10.0..50.0);
    let bbox = bbox.prop_map(|(left, top, width, height)| MotBox { left, top, width, height });
    prop::collection::btree_map((1u32..9, 0i64..6), bbox, 0..40)
        .prop_map(|boxes: BTreeMap<_, _>| boxes.into_iter().map(|((frame, id), bbox)| row(frame, id, bbox)).collect())
}

fn of(scene: &Scene) -> Figures {
    Counts::of(scene, 8, &Shutdown::new()).expect("nobody stops it").alone()
}

fn figures(gt: &[Row], result: &[Row]) -> Figures {
    of(&mot15(gt, result))
}

/// All but for the last digits of a sum in another order.
fn close(a: &Figures, b: &Figures) -> bool {
    let shares = |f: &Figures| {
        [
            f.hota, f.det_a, f.ass_a, f.ass_re, f.ass_pr, f.loc_a, f.mota, f.motp, f.idf1, f.idp, f.idr, f.det_re,
            f.det_pr,
        ]
    };
    let counts = |f: &Figures| [f.idsw, f.tp, f.fp, f.fn_, f.frag, f.mt, f.pt, f.ml, f.idtp, f.idfp, f.idfn];
    shares(a).iter().zip(shares(b)).all(|(a, b)| (a - b).abs() < 1e-9) && counts(a) == counts(b)
}

/// The rows of every frame in another order, the ids under other names.
fn renamed(rows: &[Row], turn: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.iter().map(|row| Row { id: 1_000 - row.id * 7, ..*row }).collect();
    let len = rows.len().max(1);
    rows.rotate_left(turn % len);
    rows.reverse();
    rows.sort_by_key(|row| row.frame);
    rows
}

proptest! {
    #[test]
    fn the_order_of_rows_and_the_names_of_ids_do_not_matter(gt in rows(), result in rows(), turn in 0usize..40) {
        let (before, after) = (figures(&gt, &result), figures(&renamed(&gt, turn), &renamed(&result, turn / 2)));
        prop_assert!(close(&before, &after), "{before:?}\n{after:?}");
    }

    #[test]
    fn who_says_what_is_true_has_everything(gt in rows()) {
        let figures = figures(&gt, &gt);
        let whole = if gt.is_empty() { 0.0 } else { 1.0 };
        for share in [figures.hota, figures.det_a, figures.ass_a, figures.mota, figures.motp, figures.idf1] {
            prop_assert!((share - whole).abs() < 1e-12, "{figures:?}");
        }
        prop_assert_eq!((figures.fp, figures.fn_, figures.idsw), (0, 0, 0));
        prop_assert_eq!(figures.mt, figures.gt_tracks);
    }

    #[test]
    fn hota_and_idf1_are_the_same_the_other_way_round(gt in rows(), result in rows()) {
        let (there, back) = (figures(&gt, &result), figures(&result, &gt));
        prop_assert!((there.hota - back.hota).abs() < 1e-9 && (there.det_re - back.det_pr).abs() < 1e-9);
        prop_assert_eq!((there.idtp, there.idfp, there.idfn), (back.idtp, back.idfn, back.idfp));
    }

    #[test]
    fn counts_add_up(gt in rows(), result in rows()) {
        let f = figures(&gt, &result);
        prop_assert_eq!((f.tp + f.fn_, f.tp + f.fp), (gt.len(), result.len()));
        prop_assert_eq!((f.idtp + f.idfn, f.idtp + f.idfp), (gt.len(), result.len()));
        prop_assert_eq!(f.mt + f.pt + f.ml, f.gt_tracks);
        prop_assert!([f.hota, f.det_a, f.ass_a, f.loc_a, f.motp, f.idf1].iter().all(|v| (0.0..=1.0 + 1e-12).contains(v)));
    }

    /// Two files of anything are scored or refused.
    #[test]
    fn no_files_panic(gt in hostile(), result in hostile(), frames in "([0-9]{1,3}\n){0,4}") {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = ["gt.txt", "result.txt", "frames.txt"].map(|name| folder.path().join(name));
        for (path, text) in paths.iter().zip([&gt, &result, &frames]) {
            std::fs::write(path, text).expect("a file");
        }
        let found = find(&paths[0], &paths[1]).expect("both are there");
        for format in [None, Some(Format::Mot15), Some(Format::Mot16), Some(Format::Mot20), Some(Format::VisDrone)] {
            for frames in [None, Some(paths[2].clone())] {
                if let Ok(scored) = score(&found, &Options { format, frames }, &Shutdown::new()) {
                    let figures = scored.expect("nobody stops it").combined;
                    prop_assert!([figures.hota, figures.mota, figures.idf1].iter().all(|v| v.is_finite()), "{figures:?}");
                }
            }
        }
    }
}

/// Lines that are nearly right.
fn hostile() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        12 => (-2i32..12).prop_map(|n| n.to_string()),
        1 => any::<f64>().prop_map(|n| n.to_string()),
        1 => "[0-9a-z.-]{0,4}",
    ];
    let line = prop::collection::vec(number, 6..11).prop_map(|fields| fields.join(","));
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

#[test]
fn huge_frame_numbers_cost_nothing() {
    let bbox = MotBox { left: 0.0, top: 0.0, width: 10.0, height: 10.0 };
    let rows = [row(1, 1, bbox), row(u32::MAX, 1, bbox)];
    let figures = figures(&rows, &rows);
    assert_eq!((figures.tp, figures.idsw), (2, 0));
}

fn drone_row(frame: u32, id: i64, left: f64, category: i8) -> Row {
    let bbox = MotBox { left, top: 0.0, width: 10.0, height: 10.0 };
    Row { extra: [category.into(), 0.0, 0.0], ..row(frame, id, bbox) }
}

#[test]
fn what_lies_in_ignored_regions_by_half_is_left_out() {
    let region = Row { bbox: MotBox { left: 100.0, top: 0.0, width: 50.0, height: 50.0 }, ..drone_row(1, 0, 0.0, 0) };
    let gt = [drone_row(1, 1, 0.0, 4), drone_row(1, 2, 120.0, 4), region];
    let inside = [drone_row(1, 1, 0.0, 4), drone_row(1, 2, 95.0, 4), drone_row(1, 3, 94.0, 4)];
    let figures = of(&drone(&gt, &inside, &[4], false));
    assert_eq!((figures.gt_boxes, figures.boxes, figures.tp, figures.fp), (1, 2, 1, 1));
    // "Others" are as regions are; in the next frame they forgive nothing.
    let gt = [drone_row(1, 1, 0.0, 4), drone_row(1, 2, 60.0, 11), drone_row(2, 1, 0.0, 4)];
    let on_others =
        [drone_row(1, 1, 0.0, 4), drone_row(1, 5, 62.0, 4), drone_row(2, 1, 0.0, 4), drone_row(2, 5, 62.0, 4)];
    let figures = of(&drone(&gt, &on_others, &[4], false));
    assert_eq!((figures.tp, figures.fp, figures.fn_), (2, 1, 0));
}

#[test]
fn who_finds_a_distractor_is_neither_right_nor_wrong() {
    let of_class = |id, left, class: i8| Row { columns: 9, ..drone_row(1, id, left, class) };
    let gt = [of_class(1, 0.0, 1), of_class(2, 50.0, 8), of_class(3, 90.0, 6)];
    let result = [of_class(1, 0.0, 1), of_class(2, 51.0, 1), of_class(3, 91.0, 1)];
    let seen = |vehicles| {
        let figures = of(&mot16(&gt, &result, vehicles));
        (figures.gt_boxes, figures.boxes, figures.fp)
    };
    // Class 6, another vehicle, distracts in MOT20 only.
    assert_eq!((seen(false), seen(true)), ((1, 2, 1), (1, 1, 0)));
}

#[test]
fn the_format_is_guessed_by_the_columns() {
    let world = Row { extra: [3.2, 7.1, 0.0], ..drone_row(1, 1, 0.0, 1) };
    let nine = Row { columns: 9, ..drone_row(1, 1, 0.0, 1) };
    let bare = row(1, 1, world.bbox);
    for (name, rows, format) in [
        ("PETS09-S2L1", vec![bare], Format::Mot15),
        ("PETS09-S2L1", vec![world, drone_row(2, 1, 0.0, 1)], Format::Mot15),
        ("MOT17-02-SDP", vec![nine], Format::Mot16),
        ("MOT20-01", vec![nine], Format::Mot20),
        ("uav0000086_00000_v", vec![drone_row(1, 1, 0.0, 0), drone_row(1, 2, 0.0, 4)], Format::VisDrone),
        ("empty", vec![], Format::Mot15),
    ] {
        assert_eq!(Format::guess(name, &rows), format, "{name}");
    }
}
