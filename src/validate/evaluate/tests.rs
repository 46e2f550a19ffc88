//! Laws that any evaluator of boxes must keep. That the figures are the official ones is tested in `tests/val.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::validate::LabelBox;
use crate::validate::curves::curves;
use crate::validate::dataset::{Class, Findings, Image, ImageId, Kind};

const CLASSES: usize = 3;

fn image(number: i64, truths: Vec<Truth>) -> Image {
    Image {
        id: ImageId::Number(number),
        name: String::new(),
        path: PathBuf::new(),
        size: None,
        header: None,
        labels: Arc::from(Path::new("labels")),
        line: None,
        truths,
        ignored: Vec::new(),
    }
}

fn dataset(images: Vec<Image>) -> Dataset {
    let class = |category| Class { name: String::new(), category };
    let classes = (0..).take(CLASSES).map(class).collect();
    Dataset { name: String::new(), kind: Kind::Coco, classes, images, findings: Findings::default() }
}

fn score(dataset: &Dataset, found: &Found) -> Evaluation {
    evaluate(dataset, found, COCO_MAX_DETS, &|_| true, &|_| true)
}

fn region() -> impl Strategy<Value = LabelBox> {
    let sides = (0u8..40, 0u8..40, 4u8..60, 4u8..60);
    sides.prop_map(|(x, y, w, h)| LabelBox { x: x.into(), y: y.into(), width: w.into(), height: h.into() })
}

fn truth() -> impl Strategy<Value = Truth> {
    (0..CLASSES, region(), prop::bool::weighted(0.1)).prop_map(|(class, bbox, crowd)| Truth {
        class,
        bbox,
        area: bbox.area(),
        crowd,
        line: 1,
    })
}

/// An image's truths and boxes.
type Both = (Vec<Truth>, Vec<(usize, LabelBox)>);

fn images() -> impl Strategy<Value = Vec<Both>> {
    let boxes = prop::collection::vec((0..CLASSES, region()), 0..10);
    prop::collection::vec((prop::collection::vec(truth(), 0..8), boxes), 1..6)
}

/// A dataset and boxes, no two of them with one score.
fn scene() -> impl Strategy<Value = (Dataset, Found)> {
    (images(), any::<u64>()).prop_map(|(images, seed)| {
        let mut number = seed;
        let mut found = Found::new();
        for (_, boxes) in &images {
            let scored = boxes.iter().map(|(class, bbox)| {
                // Weyl's sequence: never the same twice.
                number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
                Scored { class: *class, score: real((number >> 12) as usize) / real(1 << 52), bbox: *bbox }
            });
            found.push(scored.collect());
        }
        (dataset((1..).zip(images).map(|(n, (truths, _))| image(n, truths)).collect()), found)
    })
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-9,
        (a, b) => a == b,
    }
}

proptest! {
    #[test]
    fn whoever_finds_everything_has_everything((dataset, _) in scene()) {
        let perfect = |p: &Image| {
            let truths = p.truths.iter().filter(|t| !t.crowd);
            truths.map(|t| Scored { class: t.class, score: 0.9, bbox: t.bbox }).collect()
        };
        let found: Found = dataset.images.iter().map(perfect).collect();
        let evaluation = score(&dataset, &found);
        let something = dataset.images.iter().any(|p| p.truths.iter().any(|t| !t.crowd));
        prop_assert_eq!(evaluation.overall.map50_95.is_some(), something);
        for figure in [evaluation.overall.map50_95, evaluation.overall.map50, evaluation.overall.ar_max].into_iter().flatten() {
            prop_assert!((figure - 1.0).abs() < 1e-9, "{:?}", evaluation.overall);
        }
        let best = curves(&evaluation).best;
        prop_assert!(!something || (best.f1 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_order_of_images_does_not_matter((dataset, found) in scene(), turn in 0usize..6) {
        let before = score(&dataset, &found);
        let turn = turn % found.len();
        let (mut turned, mut boxes) = (dataset.images.clone(), found.clone());
        turned.rotate_left(turn);
        boxes.rotate_left(turn);
        let after = score(&self::dataset(turned), &boxes);
        prop_assert!(close(before.overall.map50_95, after.overall.map50_95));
        prop_assert!(close(before.overall.ar_10, after.overall.ar_10));
    }

    #[test]
    fn only_the_order_of_scores_matters((dataset, found) in scene()) {
        let squeezed: Found =
            found.iter().map(|boxes| boxes.iter().map(|b| Scored { score: b.score.sqrt() / 2.0, ..*b }).collect()).collect();
        prop_assert!(close(score(&dataset, &found).overall.map50_95, score(&dataset, &squeezed).overall.map50_95));
    }

    #[test]
    fn a_wrong_box_never_helps((dataset, mut found) in scene(), class in 0..CLASSES, certain in any::<bool>()) {
        let before = score(&dataset, &found).overall;
        let nowhere = LabelBox { x: 1e4, y: 1e4, width: 50.0, height: 50.0 };
        found[0].push(Scored { class, score: if certain { 2.0 } else { -1.0 }, bbox: nowhere });
        let after = score(&dataset, &found).overall;
        let (b, a) = (before.map50_95.unwrap_or(0.0), after.map50_95.unwrap_or(0.0));
        prop_assert!(a <= b + 1e-12, "{a} after {b}");
        // Behind everything else it costs nothing either.
        prop_assert!(certain || (a - b).abs() < 1e-12, "{a} after {b}");
    }

    #[test]
    fn figures_are_shares_and_agree((dataset, found) in scene()) {
        let evaluation = score(&dataset, &found);
        let mut overall = evaluation.overall;
        for figure in overall.fields().into_iter().filter_map(|f| *f) {
            prop_assert!((0.0..=1.0 + 1e-12).contains(&figure));
        }
        prop_assert!(evaluation.overall.map50_95 <= evaluation.overall.map50);
        prop_assert!(evaluation.overall.ar_1 <= evaluation.overall.ar_10);
        let curves = curves(&evaluation);
        prop_assert!(curves.mean.windows(2).all(|p| p[1].recall <= p[0].recall + 1e-12));
        prop_assert!(curves.mean.iter().all(|p| p.f1 <= curves.best.f1));
    }

    /// A box in a crowd is neither right nor wrong.
    #[test]
    fn crowds_swallow_what_is_in_them((dataset, found) in scene(), class in 0..CLASSES) {
        let (mut images, mut boxes) = (dataset.images.clone(), found.clone());
        let crowd = LabelBox { x: 1e4, y: 1e4, width: 500.0, height: 500.0 };
        images[0].truths.push(Truth { class, bbox: crowd, area: crowd.area(), crowd: true, line: 1 });
        boxes[0].extend((0..3).map(|n| Scored {
            class, score: 2.0, bbox: LabelBox { x: 1e4 + 50.0 * f64::from(n), y: 1e4, width: 40.0, height: 40.0 }
        }));
        let (before, after) = (score(&dataset, &found).overall, score(&self::dataset(images), &boxes).overall);
        prop_assert!(close(before.map50_95, after.map50_95));
    }
}
