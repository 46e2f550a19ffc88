//! Hostile labels: whatever stands in a file, the loaders keep their bounds. `PROPTEST_CASES` says how many are tried.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::labelled::{MOST_IGNORED, MOST_TRUTHS, covered};
use super::*;
use crate::geometry::Size;
use crate::validate::{LabelBox, predictions};

const COCO: &str = r#"{"images":[{"id":1,"file_name":"a.jpg","width":64,"height":48},{"id":2,"file_name":"b.jpg"}],
"annotations":[{"image_id":1,"category_id":7,"bbox":[1,2,30,20],"area":500.5,"iscrowd":0},
{"image_id":2,"category_id":7,"bbox":[1.5,2e0,3,4],"iscrowd":true}],"categories":[{"id":7,"name":"car"}]}"#;
const RESULTS: &str = r#"[{"image_id":1,"category_id":7,"bbox":[1,2,30,20],"score":0.5},
{"image_id":"b","category_id":7,"bbox":[1,2,3,4],"score":1e-3}]"#;
const YOLO: &str = "0 0.5 0.5 0.1 0.2\n2 0.1 0.2 0.3 0.2 0.3 0.4 0.1 0.4\n1.0 1e-1 .5 .1 .1\n";
const VISDRONE: &str = "10,20,30,40,1,4,0,0\n0,0,25,60,0,0,0,0,\n5,5,8,8,0,11,0,0\n50,50,9,9,1,10,0,1\n";

fn blank() -> Image {
    Image {
        id: ImageId::Text("a".into()),
        name: "a.jpg".into(),
        path: PathBuf::new(),
        size: Some(Size { width: 64, height: 48 }),
        header: None,
        labels: Arc::from(Path::new("a.txt")),
        line: None,
        truths: Vec::new(),
        ignored: Vec::new(),
    }
}

/// `text` with pieces of it replaced: what a fuzzer would try.
fn spoilt(text: &'static str) -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "",
        "-",
        "1e999",
        "-1",
        "NaN",
        "inf",
        "\"",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "null",
        " ",
        "\n",
        "\0",
        "1e308",
        "é",
        "99999999999999999999",
        "0x1",
        "true",
        "[[[[",
        "\\u0000",
        "4294967296",
        "0.0000001",
        "-0",
    ]);
    let at = 0..=text.len();
    prop::collection::vec((at, 0usize..6, pieces), 0..6).prop_map(move |changes| {
        let mut text = text.to_owned();
        for (at, length, piece) in changes {
            let mut from = at.min(text.len());
            while !text.is_char_boundary(from) {
                from -= 1;
            }
            let mut to = (from + length).min(text.len());
            while !text.is_char_boundary(to) {
                to += 1;
            }
            text.replace_range(from..to, piece);
        }
        text
    })
}

fn keeps_bounds(image: &Image, classes: usize) -> Result<(), TestCaseError> {
    prop_assert!(image.truths.len() <= MOST_TRUTHS && image.ignored.len() <= MOST_IGNORED);
    for truth in &image.truths {
        prop_assert!(truth.class < classes && truth.bbox.is_sound() && truth.line >= 1, "{truth:?}");
    }
    prop_assert!(image.ignored.iter().all(LabelBox::is_sound));
    Ok(())
}

proptest! {
    #[test]
    fn coco_and_results(truth in spoilt(COCO), found in spoilt(RESULTS)) {
        let path = Path::new("truth.json");
        let Ok(mut dataset) = coco::parse(&truth, path) else { return Ok(()) };
        for image in &dataset.images {
            keeps_bounds(image, dataset.classes.len())?;
        }
        checks::check(&mut dataset, false);
        let _ = dataset.remarks();
        if let Ok(found) = predictions::parse(&found, path, &mut dataset) {
            prop_assert_eq!(found.len(), dataset.images.len());
            let sound = |b: &super::super::Scored| b.score.is_finite() && b.bbox.is_sound() && b.class < dataset.classes.len();
            prop_assert!(found.iter().flatten().all(sound));
        }
    }

    #[test]
    fn yolo_labels(text in spoilt(YOLO), other in ".{0,80}", keypoints in any::<bool>()) {
        for text in [text, other] {
            let (mut image, mut findings) = (blank(), Findings::default());
            yolo::parse(&text, &mut image, 3, keypoints, &mut findings);
            keeps_bounds(&image, 3)?;
            prop_assert!(image.truths.len() <= text.lines().count());
        }
    }

    #[test]
    fn visdrone_labels(text in spoilt(VISDRONE), other in "[-0-9,. \n]{0,80}") {
        for text in [text, other] {
            let (mut image, mut findings) = (blank(), Findings::default());
            visdrone::parse(&text, &mut image, &mut findings);
            keeps_bounds(&image, 10)?;
        }
    }
}

#[test]
fn sound_labels_are_read_as_they_are_meant() {
    let dataset = coco::parse(COCO, Path::new("t.json")).expect("a dataset");
    let [a, b] = dataset.images.as_slice() else { panic!("two images") };
    assert_eq!((a.truths[0].area, a.truths[0].line, b.truths[0].crowd, b.truths[0].line), (500.5, 2, true, 3));
    assert!(dataset.findings.counts().is_empty());

    let (mut image, mut findings) = (blank(), Findings::default());
    yolo::parse(YOLO, &mut image, 3, false, &mut findings);
    let rounded: Vec<[f64; 4]> = image
        .truths
        .iter()
        .map(|t| [t.bbox.x, t.bbox.y, t.bbox.width, t.bbox.height].map(|v| (v * 100.0).round() / 100.0))
        .collect();
    assert_eq!(rounded, [[28.8, 19.2, 6.4, 9.6], [6.4, 9.6, 12.8, 9.6], [3.2, 21.6, 6.4, 4.8]]);

    let (mut image, mut findings) = (blank(), Findings::default());
    visdrone::parse(VISDRONE, &mut image, &mut findings);
    // The first lies by half in the ignored region and goes; others (11) are nothing.
    assert_eq!(image.truths.iter().map(|t| (t.class, t.line)).collect::<Vec<_>>(), [(9, 4)]);
    assert_eq!((image.ignored.len(), findings.counts().len()), (1, 0));
}

#[test]
fn every_bad_label_is_named_with_its_line() {
    let (mut image, mut findings) = (blank(), Findings::default());
    let text = "0 0.5 0.5 0.1\n7 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1\n0 33 0.5 0.1 0.1\nx 1 1 1 1\n";
    yolo::parse(text, &mut image, 3, false, &mut findings);
    let places: Vec<(&str, Issue)> = findings.kept().iter().map(|f| (f.place.as_str(), f.kind)).collect();
    assert_eq!(
        places,
        [
            ("a.txt:1", Issue::Format),
            ("a.txt:5", Issue::Format),
            ("a.txt:6", Issue::Format),
            ("a.txt:2", Issue::UnknownClass),
            ("a.txt:4", Issue::Duplicate)
        ]
    );
    assert_eq!(image.truths.len(), 1);
}

#[test]
fn floods_are_counted_not_kept() {
    let (mut image, mut findings) = (blank(), Findings::default());
    let rows: Vec<String> = (0..MOST_TRUTHS + 500).map(|n| format!("{n},{n},9,9,1,4,0,0")).collect();
    visdrone::parse(&rows.join("\n"), &mut image, &mut findings);
    assert_eq!((image.truths.len(), findings.count(Issue::TooMany)), (MOST_TRUTHS, 500));
    assert_eq!(findings.kept().len(), 100);
}

fn region(x: f64, y: f64, width: f64, height: f64) -> LabelBox {
    LabelBox { x, y, width, height }
}

proptest! {
    /// Against counting pixels, on boxes with whole corners.
    #[test]
    fn what_regions_cover_together_is_counted_once(
        regions in proptest::collection::vec((0u8..20, 0u8..20, 0u8..12, 0u8..12), 0..8),
        (x, y, w, h) in (0u8..20, 0u8..20, 1u8..12, 1u8..12),
    ) {
        let regions: Vec<LabelBox> =
            regions.iter().map(|r| region(r.0.into(), r.1.into(), r.2.into(), r.3.into())).collect();
        let bbox = region(x.into(), y.into(), w.into(), h.into());
        let mut pixels = 0.0;
        for px in x..x + w {
            for py in y..y + h {
                let (cx, cy) = (f64::from(px) + 0.5, f64::from(py) + 0.5);
                let inside = |r: &LabelBox| cx > r.x && cx < r.x + r.width && cy > r.y && cy < r.y + r.height;
                pixels += f64::from(u8::from(regions.iter().any(inside)));
            }
        }
        let found = covered(&bbox, &regions.iter().collect::<Vec<_>>());
        prop_assert!((found - pixels).abs() < 1e-9, "{found} against {pixels}");
    }
}
