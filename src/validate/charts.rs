//! The charts of a validation.

use crate::report::plot::{Anchor, Paint, SERIES, Scene, Shape};
use crate::text::grouped;
use crate::validate::curves::{Curves, Point, confidence};
use crate::validate::dataset::Dataset;
use crate::validate::evaluate::RECALLS;
use crate::validate::real;
use crate::validate::scores::Scores;

/// Plot area of a chart with two axes from 0 to 1: left, top, side lengths, pixels.
const PLOT: [f64; 4] = [58.0, 44.0, 440.0, 330.0];
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 430.0;
/// Classes of the confusion matrix, at most: those with most truths and boxes.
const CELLS: usize = 40;

/// A curve with its name and value in the legend.
struct Curve {
    name: String,
    value: Option<f64>,
    points: Vec<[f64; 2]>,
}

/// Precision over recall at `IoU` 0.5, with the average precision of every class.
#[must_use]
pub fn precision_recall(dataset: &Dataset, scores: &Scores) -> Scene {
    let classes: Vec<Curve> = scores
        .curves
        .classes
        .iter()
        .filter_map(|(class, _)| {
            let result = &scores.evaluation.classes[*class];
            let precision = result.precision.as_ref()?;
            let points = precision.iter().enumerate().map(|(n, p)| [real(n) / real(RECALLS - 1), *p]).collect();
            Some(Curve { name: dataset.classes[*class].name.clone(), value: result.figures.map50, points })
        })
        .collect();
    let with_truths = || scores.evaluation.classes.iter().filter_map(|c| c.precision.as_ref());
    let count = real(with_truths().count().max(1));
    let mean =
        (0..RECALLS).map(|n| [real(n) / real(RECALLS - 1), with_truths().map(|p| p[n]).sum::<f64>() / count]).collect();
    let all = Curve { name: "all classes".into(), value: scores.evaluation.overall.map50, points: mean };
    chart("Precision over recall, IoU 0.5", ["recall", "precision", "AP50"], &classes, &all, None)
}

/// One of precision, recall and F1 over confidence.
#[must_use]
pub fn over_confidence(dataset: &Dataset, curves: &Curves, name: &str, of: fn(&Point) -> f64) -> Scene {
    // The curve's points change little from one step to the next: every fourth is enough to see.
    let points = |curve: &[Point]| {
        curve.iter().enumerate().step_by(4).map(|(step, point)| [confidence(step), of(point)]).collect()
    };
    let value = |at: Option<&Option<Point>>| at.and_then(|p| p.as_ref()).map(of);
    let classes: Vec<Curve> = curves
        .classes
        .iter()
        .map(|(class, curve)| Curve {
            name: dataset.classes[*class].name.clone(),
            value: value(curves.at_best.get(*class)),
            points: points(curve),
        })
        .collect();
    let all = Curve { name: "all classes".into(), value: Some(of(&curves.best)), points: points(&curves.mean) };
    let title = format!("{}{} over confidence, IoU 0.5", name[..1].to_uppercase(), &name[1..]);
    let legend = format!("at {:.3}", curves.best_confidence);
    chart(&title, ["confidence", name, &legend], &classes, &all, Some(curves.best_confidence))
}

fn text(at: [f64; 2], text: impl Into<String>, px: f64, anchor: Anchor, paint: Paint) -> Shape {
    Shape::Text { at, text: text.into(), px, anchor, paint, turned: false }
}

fn line(points: Vec<[f64; 2]>, width: f64, paint: Paint) -> Shape {
    Shape::Line { points, width, paint, dashed: false, opacity: 1.0, title: String::new() }
}

fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most { name.into() } else { name.chars().take(most - 1).chain(['…']).collect() }
}

/// A chart whose axes go from 0 to 1; `mark` is a vertical line.
fn chart(title: &str, [across, down, value]: [&str; 3], classes: &[Curve], all: &Curve, mark: Option<f64>) -> Scene {
    let [left, top, width, height] = PLOT;
    let (right, bottom) = (left + width, top + height);
    let place = |[x, y]: [f64; 2]| [left + x.clamp(0.0, 1.0) * width, bottom - y.clamp(0.0, 1.0) * height];
    let mut shapes = vec![text([left, 24.0], title, 15.0, Anchor::Start, Paint::Ink)];
    for step in 0..=5 {
        let at = f64::from(step) / 5.0;
        let ([x, _], [_, y]) = (place([at, 0.0]), place([0.0, at]));
        shapes.push(line(vec![[left, y], [right, y]], 1.0, Paint::Grid));
        shapes.push(line(vec![[x, top], [x, bottom]], 1.0, Paint::Grid));
        shapes.push(text([x, bottom + 18.0], format!("{at:.1}"), 11.0, Anchor::Middle, Paint::Muted));
        shapes.push(text([left - 8.0, y + 4.0], format!("{at:.1}"), 11.0, Anchor::End, Paint::Muted));
    }
    shapes.push(text([left + width / 2.0, bottom + 38.0], across, 12.0, Anchor::Middle, Paint::Ink));
    shapes.push(Shape::Text {
        at: [16.0, top + height / 2.0],
        text: down.into(),
        px: 12.0,
        anchor: Anchor::Middle,
        paint: Paint::Ink,
        turned: true,
    });
    if let Some(mark) = mark {
        let [x, _] = place([mark, 0.0]);
        let points = vec![[x, top], [x, bottom]];
        shapes.push(Shape::Line {
            points,
            width: 1.0,
            paint: Paint::Muted,
            dashed: true,
            opacity: 1.0,
            title: String::new(),
        });
    }
    // More classes than there are colours are a cloud behind the mean.
    let named = classes.len() <= SERIES.len();
    for (n, curve) in classes.iter().enumerate() {
        let (paint, width, opacity) = if named { (Paint::Series(n), 1.5, 0.9) } else { (Paint::Muted, 1.0, 0.35) };
        let title = format!("{} {}", curve.name, shown(curve.value));
        let points = curve.points.iter().map(|p| place(*p)).collect();
        shapes.push(Shape::Line { points, width, paint, dashed: false, opacity, title });
    }
    let points = all.points.iter().map(|p| place(*p)).collect();
    let title = format!("{} {}", all.name, shown(all.value));
    shapes.push(Shape::Line { points, width: 3.0, paint: Paint::Accent, dashed: false, opacity: 1.0, title });

    let (from, to) = (right + 22.0, WIDTH - 12.0);
    let mut y = top + 8.0;
    shapes.push(text([to, y], value, 11.0, Anchor::End, Paint::Muted));
    let mut entry = |curve: &Curve, paint: Paint, thick: f64| {
        y += 21.0;
        shapes.push(line(vec![[from, y - 4.0], [from + 18.0, y - 4.0]], thick, paint));
        shapes.push(text([from + 25.0, y], shortened(&curve.name, 16), 12.0, Anchor::Start, Paint::Ink));
        shapes.push(text([to, y], shown(curve.value), 12.0, Anchor::End, Paint::Ink));
    };
    entry(all, Paint::Accent, 3.0);
    if named && classes.len() > 1 {
        for (n, curve) in classes.iter().enumerate() {
            entry(curve, Paint::Series(n), 1.5);
        }
    } else if classes.len() > 1 {
        y += 21.0;
        let each = format!("{} classes, thin", classes.len());
        shapes.push(line(vec![[from, y - 4.0], [from + 18.0, y - 4.0]], 1.0, Paint::Muted));
        shapes.push(text([from + 25.0, y], each, 12.0, Anchor::Start, Paint::Muted));
    }
    Scene { width: WIDTH, height: HEIGHT, title: title_of(all, value, down), shapes }
}

fn title_of(all: &Curve, value: &str, what: &str) -> String {
    format!("{what}: {} {} {value}", all.name, shown(all.value))
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |v| format!("{v:.3}"))
}

/// The confusion matrix: a row a class of the truth, shares of the row as depth of colour, counts as figures.
#[must_use]
pub fn confusion_matrix(dataset: &Dataset, scores: &Scores) -> Scene {
    let matrix = &scores.confusion;
    let mut weights = vec![0; dataset.classes.len()];
    for ((truth, found), count) in &matrix.counts {
        for class in [*truth, *found].into_iter().flatten() {
            weights[class] += count;
        }
    }
    let mut classes: Vec<usize> = (0..weights.len()).filter(|c| weights[*c] > 0).collect();
    let all = classes.len();
    classes.sort_by_key(|c| std::cmp::Reverse(weights[*c]));
    classes.truncate(CELLS);
    classes.sort_unstable();
    let ids: Vec<Option<usize>> = classes.into_iter().map(Some).chain([None]).collect();
    let name = |id: Option<usize>| id.map_or("background", |c| dataset.classes[c].name.as_str());
    let longest = ids.iter().map(|id| name(*id).chars().count()).max().unwrap_or(0).min(16);

    let cell = (600.0 / real(ids.len())).clamp(17.0, 54.0).floor();
    let px = (cell * 0.34).clamp(8.0, 12.0);
    let names = real(longest) * px * 0.62;
    let margin = 40.0 + names;
    let side = cell * real(ids.len());
    let (left, top) = (margin, 64.0);
    let mut shapes = vec![
        text([14.0, 24.0], "Confusion matrix", 15.0, Anchor::Start, Paint::Ink),
        text(
            [14.0, 44.0],
            format!(
                "confidence {:.3}, IoU 0.5; colour is the share of the row{}",
                scores.curves.best_confidence,
                if all > CELLS { format!("; {CELLS} of {all} classes") } else { String::new() }
            ),
            11.0,
            Anchor::Start,
            Paint::Muted,
        ),
    ];
    for (row, truth) in ids.iter().enumerate() {
        let y = top + real(row) * cell;
        let total: usize = ids.iter().map(|found| matrix.get(*truth, *found)).sum();
        shapes.push(text(
            [left - 8.0, y + cell / 2.0 + px * 0.35],
            shortened(name(*truth), 16),
            px,
            Anchor::End,
            Paint::Ink,
        ));
        for (column, found) in ids.iter().enumerate() {
            let x = left + real(column) * cell;
            let count = matrix.get(*truth, *found);
            let share = if total > 0 { real(count) / real(total) } else { 0.0 };
            let (outer, title) = ([x + 0.5, y + 0.5, cell - 1.0, cell - 1.0], String::new());
            shapes.push(Shape::Rect { at: outer, paint: Paint::Grid, opacity: 0.45, title });
            if count == 0 {
                continue;
            }
            let title = format!("{} found as {}: {count} ({:.0} %)", name(*truth), name(*found), share * 100.0);
            // Falsely found objects are no share of what is there.
            let paint = if truth.is_none() { Paint::Muted } else { Paint::Accent };
            let opacity = 0.08 + 0.92 * share;
            shapes.push(Shape::Rect { at: outer, paint, opacity, title });
            if cell >= 24.0 {
                let paint = if share > 0.5 { Paint::Paper } else { Paint::Ink };
                let size = px.min(cell / (real(grouped(count as u64).len()) * 0.72));
                shapes.push(text(
                    [x + cell / 2.0, y + cell / 2.0 + size * 0.35],
                    grouped(count as u64),
                    size,
                    Anchor::Middle,
                    paint,
                ));
            }
        }
        let x = left + real(row) * cell + cell / 2.0 + px * 0.35;
        shapes.push(Shape::Text {
            at: [x, top + side + 8.0],
            text: shortened(name(*truth), 16),
            px,
            anchor: Anchor::End,
            paint: Paint::Ink,
            turned: true,
        });
    }
    shapes.push(Shape::Text {
        at: [16.0, top + side / 2.0],
        text: "what is there".into(),
        px: 12.0,
        anchor: Anchor::Middle,
        paint: Paint::Muted,
        turned: true,
    });
    let below = top + side + names + 30.0;
    shapes.push(text([left + side / 2.0, below], "what was found", 12.0, Anchor::Middle, Paint::Muted));
    Scene { width: (left + side + 16.0).max(420.0), height: below + 14.0, title: "Confusion matrix".into(), shapes }
}
