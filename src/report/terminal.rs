//! The terminal: what a person sees, on standard error.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::TilingReport;
use super::threads::{ThreadTimes, WORKERS};
use crate::detection::Detection;
use crate::latency::{LatencyBook, STAGES};
use crate::text::{counted, grouped};

/// What a frame shows, most frequent classes in order of their ids: `4 persons, 1 car`.
#[must_use]
pub fn objects(detections: &[Detection], classes: &[String]) -> String {
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
#[must_use]
pub fn stage_table(book: &LatencyBook) -> String {
    let [p50, p90, p99, max, mean] = ["p50", "p90", "p99", "max", "mean"];
    let rows: Vec<_> = STAGES
        .iter()
        .map(|stage| (stage.key().replace('_', " "), book.summary(*stage)))
        .filter(|(_, s)| s.count > 0)
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).fold(13, usize::max);
    let mut text = format!("  {:<width$}{p50:>9}{p90:>9}{p99:>9}{max:>9}{mean:>9}   ms\n", "stage");
    for (name, s) in rows {
        let _ =
            writeln!(text, "  {name:<width$}{:>9.1}{:>9.1}{:>9.1}{:>9.1}{:>9.1}", s.p50, s.p90, s.p99, s.max, s.mean);
    }
    text
}

/// The closing line that users of Ultralytics know.
#[must_use]
pub fn speed_line(book: &LatencyBook, input: [usize; 4]) -> String {
    let [pre, inference, post] = book.per_image_ms();
    let [b, c, h, w] = input;
    format!(
        "Speed: {pre:.1}ms preprocess, {inference:.1}ms inference, {post:.1}ms postprocess per image at shape ({b}, {c}, {h}, {w})"
    )
}

/// The tiles of a stream: grid, and how many a frame got.
#[must_use]
pub fn tiles(tiling: &TilingReport) -> String {
    let TilingReport { requested, grid, tiles_min, tiles_mean, tiles_max } = tiling;
    match (tiles_min, tiles_max) {
        (_, 0) => format!("no tiles ({requested}): the whole picture only"),
        (min, max) if min == max => format!("tiles {grid} beside the whole picture"),
        (min, max) => format!("tiles {grid} beside the whole picture, {tiles_mean:.1} a frame ({min} to {max})"),
    }
}

/// Each part's share of the CPU time, the largest first: `decode 41 % · inference 38 %`.
#[must_use]
pub fn bottleneck(threads: &ThreadTimes) -> String {
    let Some(shares) = threads.shares() else { return "not known: the run was too short".into() };
    let mut parts: Vec<(&str, f64)> = WORKERS.into_iter().zip(shares).filter(|(_, share)| *share >= 0.005).collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    parts.iter().map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect::<Vec<_>>().join(" · ")
}

/// Bytes as people say them.
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    format!("{} MB", grouped(bytes / 1_000_000))
}

/// What holds the run back: the two that take most of the CPU time, with their shares.
#[must_use]
pub fn bound_by(threads: &ThreadTimes) -> String {
    let Some(shares) = threads.shares() else { return "too short a run to say what bounds it".into() };
    let mut parts: Vec<(&str, f64)> = WORKERS.into_iter().zip(shares).collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let share = |p: &(&str, f64)| format!("{} {:.0} %", p.0, p.1 * 100.0);
    format!("bound by {}, {}", share(&parts[0]), share(&parts[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::FrameBox;

    #[test]
    fn counts_read_as_people_say_them() {
        let d = |class_id| Detection { class_id, confidence: 0.5, bbox: FrameBox::new(0.0, 0.0, 1.0, 1.0) };
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
