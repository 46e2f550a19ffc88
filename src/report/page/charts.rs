//! The charts of a run.

use super::axis::Axis;
use crate::latency::{Bin, LatencyBook, STAGES, Stage, Timeline};
use crate::report::plot::{Anchor, Paint, Scene, Shape};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
/// Plot area: left, top, right, bottom.
const PLOT: [f64; 4] = [62.0, 46.0, 570.0, 290.0];
/// Shortest time that the charts tell apart, ms.
const SHORTEST_MS: f64 = 0.01;
/// Points of a line over time, and of a distribution, at most.
const STEPS: usize = 240;
/// Bars of a histogram.
const BARS: usize = 44;

/// A stage's colour, in all charts.
fn paint(stage: Stage) -> Paint {
    match stage {
        Stage::EndToEnd => Paint::Accent,
        Stage::BehindLive | Stage::CaptureToDisplay => Paint::Ink,
        inside => Paint::Series(inside as usize),
    }
}

/// `queue wait`.
pub(super) fn name(stage: Stage) -> String {
    stage.key().replace('_', " ")
}

pub(super) fn real(n: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "points of a chart")]
    let real = n as f64;
    real
}

fn text(at: [f64; 2], text: impl Into<String>, px: f64, anchor: Anchor, paint: Paint) -> Shape {
    Shape::Text { at, text: text.into(), px, anchor, paint, turned: false }
}

fn line(points: Vec<[f64; 2]>, width: f64, paint: Paint, title: &str) -> Shape {
    Shape::Line { points, width, paint, dashed: false, opacity: 1.0, title: title.into() }
}

/// Title, grid, and names of the axes.
fn frame(title: &str, [across, down]: [&str; 2], x: &Axis, y: &Axis) -> Vec<Shape> {
    let [left, top, right, bottom] = PLOT;
    let mut shapes = vec![text([left, 24.0], title, 15.0, Anchor::Start, Paint::Ink)];
    for (value, name) in y.ticks() {
        let at = y.place(value);
        shapes.push(line(vec![[left, at], [right, at]], 1.0, Paint::Grid, ""));
        shapes.push(text([left - 8.0, at + 4.0], name, 11.0, Anchor::End, Paint::Muted));
    }
    for (value, name) in x.ticks() {
        let at = x.place(value);
        shapes.push(line(vec![[at, top], [at, bottom]], 1.0, Paint::Grid, ""));
        shapes.push(text([at, bottom + 17.0], name, 11.0, Anchor::Middle, Paint::Muted));
    }
    shapes.push(text([f64::midpoint(left, right), bottom + 37.0], across, 12.0, Anchor::Middle, Paint::Ink));
    shapes.push(Shape::Text {
        at: [16.0, f64::midpoint(top, bottom)],
        text: down.into(),
        px: 12.0,
        anchor: Anchor::Middle,
        paint: Paint::Ink,
        turned: true,
    });
    shapes
}

/// Names beside the plot: text, value, colour, whether the line is broken.
fn legend(shapes: &mut Vec<Shape>, head: &str, entries: &[(String, String, Paint, bool)]) {
    let ([_, top, right, _], to) = (PLOT, WIDTH - 12.0);
    shapes.push(text([to, top + 4.0], head, 11.0, Anchor::End, Paint::Muted));
    for (n, (name, value, paint, dashed)) in entries.iter().enumerate() {
        let y = top + 24.0 + real(n) * 20.0;
        let from = right + 20.0;
        shapes.push(Shape::Line {
            points: vec![[from, y - 4.0], [from + 18.0, y - 4.0]],
            width: 2.5,
            paint: *paint,
            dashed: *dashed,
            opacity: 1.0,
            title: String::new(),
        });
        shapes.push(text([from + 25.0, y], name, 12.0, Anchor::Start, Paint::Ink));
        shapes.push(text([to, y], value, 12.0, Anchor::End, Paint::Ink));
    }
}

/// Stages that frames passed.
pub(super) fn stages(book: &LatencyBook) -> impl Iterator<Item = Stage> {
    STAGES.into_iter().filter(|stage| book.summary(*stage).count > 0)
}

/// The shortest and longest time in any stage, ms.
fn range_ms(book: &LatencyBook) -> (f64, f64) {
    let low = stages(book).map(|s| book.quantile_ms(s, 0.05)).fold(f64::INFINITY, f64::min);
    let high = stages(book).map(|s| book.summary(s).max).fold(SHORTEST_MS, f64::max);
    (low.clamp(SHORTEST_MS, high), high)
}

/// Where a line breaks off: a stretch without a value.
fn pieces(points: impl Iterator<Item = Option<[f64; 2]>>) -> Vec<Vec<[f64; 2]>> {
    let mut pieces = vec![Vec::new()];
    for point in points {
        match (point, pieces.last_mut()) {
            (Some(point), Some(piece)) => piece.push(point),
            (None, Some(piece)) if !piece.is_empty() => pieces.push(Vec::new()),
            _ => {}
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    for piece in pieces.iter_mut().filter(|piece| piece.len() == 1) {
        // A single point would not be seen.
        piece.push([piece[0][0] + 1.5, piece[0][1]]);
    }
    pieces
}

/// Bins in groups, so that there are not too many; a group's width, s.
fn grouped(timeline: &Timeline, least_s: f64) -> (Vec<Bin>, f64) {
    let bins = timeline.bins();
    let mut size = bins.len().div_ceil(STEPS).max(1);
    while real(size) * timeline.width_s() < least_s {
        size += 1;
    }
    let sum = |group: &[Bin]| {
        let mut sum = Bin::default();
        for bin in group {
            sum.merge(bin);
        }
        sum
    };
    (bins.chunks(size).map(sum).collect(), real(size) * timeline.width_s())
}

/// Every stage's mean time over the run, and the slowest frame's.
pub(super) fn over_time(book: &LatencyBook, timeline: &Timeline) -> Scene {
    let [left, top, right, bottom] = PLOT;
    let (bins, width_s) = grouped(timeline, 0.0);
    // What the charts show reaches further than the table: it has the warm-up.
    let longest = bins.iter().filter_map(|bin| bin.stage_ms(Stage::EndToEnd as usize)).fold(0.0, |a, (_, b)| b.max(a));
    let (low, high) = range_ms(book);
    let x = Axis::exact(real(timeline.bins().len()) * timeline.width_s(), left, right);
    let y = Axis::logarithmic(low, high.max(longest), bottom, top);
    let mut shapes = frame("Latency over time", ["s since the first frame", "ms"], &x, &y);
    let mut entries = Vec::new();
    let at = |n: usize, ms: f64| [x.place((real(n) + 0.5) * width_s), y.place(ms)];
    let worst = bins.iter().enumerate().map(|(n, bin)| Some(at(n, bin.stage_ms(Stage::EndToEnd as usize)?.1)));
    for points in pieces(worst) {
        let title = "slowest frame, end to end".into();
        shapes.push(Shape::Line { points, width: 1.0, paint: Paint::Accent, dashed: true, opacity: 0.8, title });
    }
    for stage in stages(book) {
        let means = bins.iter().enumerate().map(|(n, bin)| Some(at(n, bin.stage_ms(stage as usize)?.0)));
        for points in pieces(means) {
            let thick = if stage == Stage::EndToEnd { 2.5 } else { 1.5 };
            shapes.push(line(points, thick, paint(stage), &name(stage)));
        }
        entries.push((name(stage), format!("{:.1}", book.summary(stage).mean), paint(stage), false));
    }
    entries.push(("slowest frame".into(), format!("{longest:.1}"), Paint::Accent, true));
    legend(&mut shapes, "mean, ms", &entries);
    Scene { width: WIDTH, height: HEIGHT, title: "Latency of every stage over time".into(), shapes }
}

/// The share of frames that stay below a time, every stage.
pub(super) fn distribution(book: &LatencyBook) -> Scene {
    let [left, top, right, bottom] = PLOT;
    let (low, high) = range_ms(book);
    let x = Axis::logarithmic(low, high, left, right);
    let y = Axis::exact(100.0, bottom, top);
    let mut shapes = frame("Share of frames below a time", ["ms", "% of frames"], &x, &y);
    let mut entries = Vec::new();
    for stage in stages(book) {
        let mut points: Vec<[f64; 2]> = Vec::new();
        for step in 0..=100 {
            let q = f64::from(step) / 100.0;
            let point = [x.place(book.quantile_ms(stage, q)), y.place(q * 100.0)];
            if points.last() != Some(&point) {
                points.push(point);
            }
        }
        let thick = if stage == Stage::EndToEnd { 2.5 } else { 1.5 };
        shapes.push(line(points, thick, paint(stage), &name(stage)));
        entries.push((name(stage), format!("{:.1}", book.summary(stage).p99), paint(stage), false));
    }
    legend(&mut shapes, "p99, ms", &entries);
    Scene { width: WIDTH, height: HEIGHT, title: "Distribution of every stage's latency".into(), shapes }
}

/// FPS over the run, and drops.
pub(super) fn rate(timeline: &Timeline, mean_fps: f64, budget_ms: f64) -> Scene {
    let [left, top, right, bottom] = PLOT;
    let length_s = real(timeline.bins().len()) * timeline.width_s();
    let (bins, width_s) = grouped(timeline, if length_s > 8.0 { 1.0 } else { (length_s / 8.0).max(0.2) });
    // A last group that is cut short would show a fall that was none.
    let whole = if bins.len() > 1 { bins.len() - 1 } else { bins.len() };
    let fps = |bin: &Bin| f64::from(bin.frames) / width_s;
    let dropped = |bin: &Bin| f64::from(bin.dropped) / width_s;
    let stream = if budget_ms > 0.0 { 1000.0 / budget_ms } else { 0.0 };
    let most = bins.iter().map(|bin| fps(bin).max(dropped(bin))).fold(mean_fps, f64::max);
    let shown = stream > 0.0 && stream < most * 1.5;
    let x = Axis::exact(length_s, left, right);
    let y = Axis::linear(if shown { most.max(stream) } else { most }, bottom, top);
    let mut shapes = frame("Frames per second", ["s since the first frame", "frames/s"], &x, &y);
    let mut entries = vec![("processed".to_owned(), format!("{mean_fps:.1}"), Paint::Accent, false)];
    for (n, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.dropped > 0) {
        let (from, to) = (x.place(real(n) * width_s), x.place(real(n + 1) * width_s));
        let height = bottom - y.place(dropped(bin));
        let at = [from, bottom - height, (to - from - 0.5).max(1.0), height];
        let title = format!("{} dropped", bin.dropped);
        shapes.push(Shape::Rect { at, paint: Paint::Series(0), opacity: 0.7, title });
    }
    let points = bins.iter().take(whole).enumerate();
    let points = points.map(|(n, bin)| [x.place((real(n) + 0.5) * width_s), y.place(fps(bin))]);
    shapes.extend(pieces(points.map(Some)).into_iter().map(|p| line(p, 2.5, Paint::Accent, "frames per second")));
    if shown {
        let points = vec![[left, y.place(stream)], [right, y.place(stream)]];
        let title = "frame rate of the stream".into();
        shapes.push(Shape::Line { points, width: 1.5, paint: Paint::Muted, dashed: true, opacity: 1.0, title });
        entries.push(("the stream".into(), format!("{stream:.1}"), Paint::Muted, true));
    }
    let dropped: u32 = bins.iter().map(|bin| bin.dropped).sum();
    if dropped > 0 {
        entries.push(("dropped, frames".into(), dropped.to_string(), Paint::Series(0), false));
    }
    legend(&mut shapes, "mean", &entries);
    Scene { width: WIDTH, height: HEIGHT, title: "Frames per second over time".into(), shapes }
}

/// A stage's histogram, small, on an axis that all stages share.
pub(super) fn histogram(book: &LatencyBook, stage: Stage) -> Scene {
    let (width, height) = (220.0, 26.0);
    let (low, high) = range_ms(book);
    let (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()));
    let edge = |n: usize| low * (high / low).powf(real(n) / real(BARS));
    // Times below the axis go into the first bar.
    let edges: Vec<f64> = (0..=BARS).map(|n| if n == 0 { 0.0 } else { edge(n) }).collect();
    let shares = book.shares(stage, &edges);
    let most = shares.iter().copied().fold(1e-9, f64::max);
    let step = width / real(BARS);
    let mut shapes = vec![line(vec![[0.0, height - 0.5], [width, height - 0.5]], 1.0, Paint::Grid, "")];
    for (n, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        // The square root: a tail of single frames is seen too.
        let tall = ((share / most).sqrt() * (height - 2.0)).max(1.0);
        let at = [real(n) * step, height - 1.0 - tall, step - 0.8, tall];
        let title = format!("{:.2} to {:.2} ms: {:.1} %", edges[n], edges[n + 1], share * 100.0);
        shapes.push(Shape::Rect { at, paint: paint(stage), opacity: 0.9, title });
    }
    Scene { width, height, title: format!("histogram of {}", name(stage)), shapes }
}
