//! What `streamdet val --mot` prints.

use super::validation::fitted;
use crate::text::{append, counted, grouped, printable};
use crate::validate::mot::{Figures, Scored};

/// Columns of figures, and of counts; both tables fit 80 characters.
const COLUMN: usize = 8;
const COLUMNS: usize = 7;

/// What was compared, the figures and the counts of every sequence and of all together.
pub(crate) fn tables(scored: &Scored, width: usize) -> String {
    let mut rows: Vec<(String, Figures)> =
        scored.sequences.iter().map(|(name, figures)| (printable(name), *figures)).collect();
    if rows.len() > 1 {
        rows.push(("COMBINED".into(), scored.combined));
    }
    if scored.classes.len() > 1 {
        rows.extend(scored.classes.iter().map(|(name, figures)| ((*name).to_owned(), *figures)));
    }
    if let Some(figures) = scored.class_agnostic.filter(|_| !scored.classes.is_empty()) {
        rows.push(("classes as one".into(), figures));
    }
    let longest = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max("sequence".len());
    let name_width = longest.min(width.saturating_sub(COLUMN * COLUMNS + 2).max(8));
    let Figures { frames, gt_boxes, boxes, gt_tracks, tracks, .. } = scored.combined;
    let mut text = format!(
        "  {} ({}) · {} · {}\n  gt {}, {} · result {}, {}\n",
        scored.format.name(),
        scored.format.rule(),
        counted(scored.sequences.len() as u64, "sequence"),
        counted(frames, "frame"),
        counted_boxes(gt_boxes),
        counted(gt_tracks as u64, "track"),
        counted_boxes(boxes),
        counted(tracks as u64, "track"),
    );
    let figures = |f: &Figures| [f.hota, f.det_a, f.ass_a, f.loc_a, f.mota, f.motp, f.idf1].map(|v| format!("{v:.3}"));
    let counts = |f: &Figures| [f.idsw, f.fp, f.fn_, f.frag, f.mt, f.pt, f.ml].map(|n| grouped(n as u64));
    let row = |text: &mut String, name: &str, cells: [String; COLUMNS]| {
        let mut line = format!("  {}", fitted(name, name_width));
        for cell in &cells {
            append(&mut line, format_args!("{cell:>COLUMN$}"));
        }
        let line = console::style(line.as_str()).for_stderr();
        let line = match name {
            "sequence" => line.dim(),
            "COMBINED" => line.bold(),
            _ => line,
        };
        append(text, format_args!("{line}\n"));
    };
    for (headings, cells) in [
        (["HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1"], &figures as &dyn Fn(&Figures) -> [String; COLUMNS]),
        (["IDSW", "FP", "FN", "Frag", "MT", "PT", "ML"], &counts),
    ] {
        text.push('\n');
        row(&mut text, "sequence", headings.map(str::to_owned));
        for (name, figures) in &rows {
            row(&mut text, name, cells(figures));
        }
    }
    text
}

fn counted_boxes(boxes: usize) -> String {
    counted(boxes as u64, "box")
}
