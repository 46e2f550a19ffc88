//! Figures as text: the table of stages, the `Speed:` line, what a frame shows.

use std::collections::BTreeMap;

use crate::detection::Detection;
use crate::latency::{LatencyBook, STAGES};
use crate::report::TilingReport;
use crate::report::threads::{ThreadTimes, WORKERS};
use crate::text::counted;

/// What a frame shows, most frequent classes in order of their ids: `4 persons, 1 car`.
pub(crate) fn objects(detections: &[Detection], classes: &[String]) -> String {
    let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
    for d in detections {
        *counts.entry(d.class_id).or_default() += 1;
    }
    if counts.is_empty() {
        return "(no detections)".into();
    }
    let parts: Vec<String> =
        counts.iter().map(|(id, n)| counted(*n, classes.get(usize::from(*id)).map_or("?", String::as_str))).collect();
    parts.join(", ")
}

/// The table of stages, milliseconds; stages without a sample are left out.
pub(crate) fn stage_table(book: &LatencyBook) -> String {
    let [p50, p90, p99, max, mean] = ["p50", "p90", "p99", "max", "mean"];
    let rows: Vec<_> = STAGES
        .iter()
        .map(|stage| (stage.key().replace('_', " "), book.summary(*stage)))
        .filter(|(_, s)| s.count > 0)
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).fold(13, usize::max);
    let mut text = format!("  {:<width$}{p50:>9}{p90:>9}{p99:>9}{max:>9}{mean:>9}   ms\n", "stage");
    for (name, s) in rows {
        let figures = format!("{:>9.1}{:>9.1}{:>9.1}{:>9.1}{:>9.1}", s.p50, s.p90, s.p99, s.max, s.mean);
        text.extend(["  ", &format!("{name:<width$}"), &figures, "\n"]);
    }
    text
}

/// The closing line that users of Ultralytics know.
pub(crate) fn speed_line(book: &LatencyBook, input: [usize; 4]) -> String {
    let [pre, inference, post] = book.per_image_ms();
    let [b, c, h, w] = input;
    format!(
        "Speed: {pre:.1}ms preprocess, {inference:.1}ms inference, {post:.1}ms postprocess per image at shape ({b}, {c}, {h}, {w})"
    )
}

/// The tiles of a stream: grid, and how many a frame got.
pub(crate) fn tiles(tiling: &TilingReport) -> String {
    let TilingReport { requested, grid, tiles_min, tiles_mean, tiles_max } = tiling;
    match (tiles_min, tiles_max) {
        (_, 0) => format!("no tiles ({requested}): whole frames only"),
        (min, max) if min == max => format!("tiles {grid} and the whole frame"),
        (min, max) => format!("tiles {grid} and the whole frame, {tiles_mean:.1} per frame ({min} to {max})"),
    }
}

/// Each part's share of the CPU time, the largest first: `decode 41 % · inference 38 %`.
pub(crate) fn bottleneck(threads: &ThreadTimes) -> String {
    let Some(shares) = threads.shares() else { return "not known: the run was too short".into() };
    let mut parts: Vec<(&str, f64)> = WORKERS.into_iter().zip(shares).filter(|(_, share)| *share >= 0.005).collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    parts.iter().map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::FrameBox;

    #[test]
    fn counts_read_as_people_say_them() {
        let d =
            |class_id| Detection { class_id, confidence: 0.5, bbox: FrameBox::new(0.0, 0.0, 1.0, 1.0), track: None };
        let classes = ["person".to_owned(), "car\u{1b}".to_owned()];
        assert_eq!(objects(&[d(0), d(1), d(0)], &classes), "2 persons, 1 car?");
        assert_eq!(objects(&[], &classes), "(no detections)");
    }

    #[test]
    fn the_speed_line_keeps_its_shape() {
        let line = speed_line(&LatencyBook::new(), [1, 3, 384, 640]);
        assert_eq!(
            line,
            "Speed: 0.0ms preprocess, 0.0ms inference, 0.0ms postprocess per image at shape (1, 3, 384, 640)"
        );
    }
}
