//! What `streamdet val` prints: the dataset in a line, the figures in a table.

use crate::text::{append, counted, grouped, printable};
use crate::validate::curves::Point;
use crate::validate::dataset::{Dataset, Summary};
use crate::validate::evaluate::{ClassResult, Figures};
use crate::validate::scores::Scores;

/// Columns of figures that stand after the class's name.
const HEADINGS: [&str; 7] = ["images", "objects", "P", "R", "F1", "mAP50", "mAP50-95"];
const WIDTHS: [usize; 7] = [10, 10, 8, 7, 7, 8, 10];
/// Characters of the bar that shows mAP50-95 where there is room.
const BAR: f64 = 24.0;

/// Characters a line.
pub(crate) fn width() -> usize {
    console::Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns))
}

/// What the dataset holds, on a line or, below its name, on two.
pub(crate) fn dataset_line(dataset: &Dataset, summary: &Summary, width: usize) -> String {
    let mut parts = vec![
        dataset.kind.name().to_owned(),
        counted(summary.images as u64, "image"),
        counted(summary.objects as u64, "object"),
        counted(dataset.classes.len() as u64, "class"),
    ];
    if summary.ignored_regions > 0 {
        parts.push(counted(summary.ignored_regions as u64, "ignored region"));
    }
    if summary.crowds > 0 {
        parts.push(counted(summary.crowds as u64, "crowd"));
    }
    let (name, rest) = (printable(&dataset.name), parts.join(" · "));
    let between = if name.chars().count() + rest.chars().count() + 5 > width { "\n  " } else { " · " };
    format!("  {name}{between}{rest}")
}

/// The table by class, sizes below it.
pub(crate) fn table(dataset: &Dataset, scores: &Scores, width: usize) -> String {
    let figures: usize = WIDTHS.iter().sum();
    let rows: Vec<(String, &ClassResult, Point)> = dataset
        .classes
        .iter()
        .zip(&scores.evaluation.classes)
        .zip(&scores.curves.at_best)
        .filter_map(|((class, result), at_best)| Some((printable(&class.name), result, (*at_best)?)))
        .collect();
    let longest = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0).max("mAP50-95".len());
    let name_width = longest.min(width.saturating_sub(figures + 3).max(8));
    let bar = width >= figures + name_width + 5 + 24;
    let mut text = String::from("\n");
    let row = |text: &mut String, name: &str, cells: [String; 7], ap: Option<f64>| {
        let mut line = format!("  {}", fitted(name, name_width));
        for (cell, width) in cells.iter().zip(WIDTHS) {
            append(&mut line, format_args!("{cell:>width$}"));
        }
        if let Some(ap) = ap.filter(|_| bar) {
            append(&mut line, format_args!("  {}", bar_of(ap)));
        }
        let line = console::style(line.trim_end()).for_stderr();
        append(
            text,
            format_args!(
                "{}\n",
                if name == "class" {
                    line.dim()
                } else if name == "all" {
                    line.bold()
                } else {
                    line
                }
            ),
        );
    };
    row(&mut text, "class", HEADINGS.map(str::to_owned), None);
    let (objects, images) = scores.totals();
    let overall = scores.evaluation.overall;
    row(&mut text, "all", cells(images, objects, scores.curves.best, overall), overall.map50_95);
    if rows.len() > 1 {
        for (name, result, at_best) in &rows {
            let cells = cells(result.images, result.truths, *at_best, result.figures);
            row(&mut text, name, cells, result.figures.map50_95);
        }
    }
    let best = scores.curves.best_confidence;
    append(&mut text, format_args!("\n  P, R and F1 at confidence {best:.3}, where the mean F1 is best\n"));
    text.push_str(&sizes(scores));
    text
}

/// By size of the objects, and the other overall figures.
fn sizes(scores: &Scores) -> String {
    let f = scores.evaluation.overall;
    let [one, ten, most] = scores.max_dets;
    let line = |name: &str, cells: [String; 4]| {
        let [a, b, c, d] = cells;
        format!("  {name:<10}{a:>9}{b:>9}{c:>9}{d:>9}\n")
    };
    let values = |v: [Option<f64>; 4]| v.map(figure);
    let mut text = String::from("\n");
    text.push_str(&line("objects", ["small", "medium", "large", "all"].map(str::to_owned)));
    text.push_str(&line("mAP50-95", values([f.map_small, f.map_medium, f.map_large, f.map50_95])));
    text.push_str(&line("recall", values([f.ar_small, f.ar_medium, f.ar_large, f.ar_max])));
    append(
        &mut text,
        format_args!(
            "\n  mAP75 {} · recall with {one}, {ten}, {most} boxes {}, {}, {}\n",
            figure(f.map75),
            figure(f.ar_1),
            figure(f.ar_10),
            figure(f.ar_max)
        ),
    );
    text
}

fn cells(images: usize, objects: usize, at_best: Point, figures: Figures) -> [String; 7] {
    let number = |v: f64| format!("{v:.3}");
    [
        grouped(images as u64),
        grouped(objects as u64),
        number(at_best.precision),
        number(at_best.recall),
        number(at_best.f1),
        figure(figures.map50),
        figure(figures.map50_95),
    ]
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |v| format!("{v:.3}"))
}

/// A name in exactly `width` characters.
pub(super) fn fitted(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return format!("{name:<width$}");
    }
    name.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Half characters count.
fn bar_of(share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=1 of a short bar")]
    let halves = (share.clamp(0.0, 1.0) * 2.0 * BAR).round() as usize;
    format!("{}{}", "━".repeat(halves / 2), if halves % 2 == 1 { "╸" } else { "" })
}
