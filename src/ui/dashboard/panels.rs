//! The panels of a terminal that has room for them.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::bars::{bar, bar_to_mark, chart};
use super::log::Log;
use super::panel::Panel;
use super::scene::Scene;
use super::state::{Bin, Stream};
use super::theme::{QUIET, STRONG};
use crate::latency::{STAGES, Stage};
use crate::text::{grouped, printable};

/// Room for so many stages is kept before they are known: those of a run that writes nothing.
pub(super) const FEWEST_STAGES: u16 = 8;
/// Columns of a stage's name.
const STAGE_NAME: usize = 12;
/// Below so many columns, lines of the log are not indented.
const NARROW: usize = 8;
/// Columns of a stage's figures.
const STAGE_FIGURES: usize = 18;

/// One stage's median and 99th percentile, ms.
pub(super) struct StageRow {
    stage: Stage,
    p50: f64,
    p99: f64,
}

/// The stages that the newest frames passed.
pub(super) fn stages(stream: &Stream) -> Vec<StageRow> {
    let row = |stage: Stage| stream.stage_ms(stage as usize).map(|(p50, p99)| StageRow { stage, p50, p99 });
    STAGES.into_iter().filter_map(row).collect()
}

/// Mean `end_to_end` of every half second, ms; `None` where no frame was processed.
pub(super) fn latencies(stream: &Stream) -> Vec<Option<f64>> {
    #[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^52")]
    let mean = |bin: &Bin| (bin.frames > 0).then(|| bin.latency_us as f64 / f64::from(bin.frames) / 1000.0);
    over(stream).map(mean).collect()
}

/// Frames a second of every half second.
pub(super) fn rates(stream: &Stream) -> Vec<Option<f64>> {
    over(stream).map(|bin| Some(f64::from(bin.frames) / super::state::BIN.as_secs_f64())).collect()
}

/// The half seconds that are over.
fn over(stream: &Stream) -> impl Iterator<Item = &Bin> {
    stream.bins.iter().take(stream.bins.len().saturating_sub(1))
}

pub(super) fn latency(frame: &mut Frame, area: Rect, panel: Panel, stream: &Stream) {
    let figures = stream.stage_ms(Stage::EndToEnd as usize);
    let figures = figures.map_or_else(|| "- ".into(), |(p50, p99)| format!("p50 {p50:.1} · p99 {p99:.1} ms "));
    column_chart(frame, area, panel, (" end to end ", figures), &latencies(stream));
}

pub(super) fn rate(frame: &mut Frame, area: Rect, panel: Panel, stream: &Stream) {
    let now = stream.fps().map_or_else(|| "-".into(), |fps| format!("{fps:.1}"));
    let mean = stream.mean_fps().map_or_else(String::new, |fps| format!(" · mean {fps:.1}"));
    column_chart(frame, area, panel, (" frames per second ", format!("{now}{mean} ")), &rates(stream));
}

fn column_chart(frame: &mut Frame, area: Rect, panel: Panel, title: (&'static str, String), values: &[Option<f64>]) {
    let theme = panel.theme;
    let (name, figures) = title;
    let shown = values.iter().rev().take(usize::from(area.width)).flatten().copied().fold(0.0, f64::max);
    let largest = if shown > 0.0 { format!(" max {shown:.0}") } else { String::new() };
    let inside = panel.open(frame, area, vec![Span::raw(name), Span::styled(figures, STRONG)], &largest);
    let lines = chart(values, usize::from(inside.width), usize::from(inside.height));
    let lines: Vec<Line> = lines.into_iter().map(|line| Line::styled(line, theme.accent())).collect();
    frame.render_widget(Paragraph::new(lines), inside);
}

/// A bar a stage to its median, and a mark at its 99th percentile.
pub(super) fn stage_bars(frame: &mut Frame, area: Rect, panel: Panel, mut rows: Vec<StageRow>) {
    let theme = panel.theme;
    let inside = panel.open(frame, area, vec![Span::raw(" stages, ms ")], " p50      p99");
    // Where there is no room for all, the shortest go.
    while rows.len() > usize::from(inside.height) {
        let inner = rows.iter().enumerate().filter(|(_, row)| row.stage != Stage::EndToEnd);
        let Some((shortest, _)) = inner.min_by(|a, b| a.1.p50.total_cmp(&b.1.p50)) else { break };
        rows.remove(shortest);
    }
    // How far behind a live source is says nothing of the others: it may leave the scale.
    let scaled = rows.iter().filter(|row| !is_behind(row.stage));
    let scale = scaled.map(|row| row.p99).fold(0.0, f64::max).max(1e-3);
    let width = usize::from(inside.width).saturating_sub(STAGE_NAME + STAGE_FIGURES);
    let line = |row: &StageRow| {
        let sum = row.stage == Stage::EndToEnd || is_behind(row.stage);
        let style = if sum { theme.sum() } else { theme.accent() };
        let weight = if sum { STRONG } else { ratatui::style::Style::new() };
        let name = row.stage.key().replace('_', " ");
        let mut spans = vec![Span::styled(format!("{name:<STAGE_NAME$}"), weight)];
        spans.extend(bar_to_mark(row.p50 / scale, row.p99 / scale, width, (style, QUIET)));
        spans.push(Span::styled(format!("{:>9.1}{:>9.1}", row.p50, row.p99), weight));
        Line::from(spans)
    };
    let text =
        if rows.is_empty() { vec![Line::styled("no frame yet", QUIET)] } else { rows.iter().map(line).collect() };
    frame.render_widget(Paragraph::new(text), inside);
}

/// Detections by class, and below them the queue and the drops.
pub(super) fn detections(frame: &mut Frame, area: Rect, panel: Panel, scene: &Scene, stream: &Stream) {
    let theme = panel.theme;
    let inside = panel.open(frame, area, vec![Span::raw(" detections, newest frame ")], " total");
    let (width, height) = (usize::from(inside.width), usize::from(inside.height));
    let below = vec![queue(scene), drops(scene, stream)];
    let mut classes: Vec<(&str, u32, u64)> = stream
        .found
        .iter()
        .zip(scene.facts.classes.iter())
        .filter(|((_, all), _)| *all > 0)
        .map(|((newest, all), class)| (class.as_str(), *newest, *all))
        .collect();
    // By their totals: so they keep their places.
    classes.sort_by_key(|(_, _, all)| std::cmp::Reverse(*all));
    let room = height.saturating_sub(below.len());
    let hidden = classes.len().saturating_sub(room);
    if hidden > 0 {
        classes.truncate(room.saturating_sub(1));
    }
    let name_width = (width / 3).clamp(6, 24);
    let bar_width = width.saturating_sub(name_width + 7 + 11);
    let mut lines: Vec<Line> = classes
        .iter()
        .map(|(class, newest, all)| {
            let name = clipped(&printable(class), name_width);
            let weight = if *newest > 0 { STRONG } else { QUIET };
            let all = grouped(*all);
            Line::from(vec![
                Span::styled(name, weight),
                Span::styled(format!("{newest:>5}  "), weight),
                Span::styled(bar(f64::from(*newest) / f64::from(stream.most.max(1)), bar_width), theme.good()),
                Span::styled(format!("{all:>11}"), QUIET),
            ])
        })
        .collect();
    if hidden > 0 && room > 0 {
        let left = stream.found.iter().filter(|(_, all)| *all > 0).count() - lines.len();
        lines.push(Line::styled(format!("and {left} more classes"), QUIET));
    }
    if lines.is_empty() && room > 0 {
        lines.push(Line::styled("none yet", QUIET));
    }
    lines.resize(room, Line::default());
    lines.extend(below);
    frame.render_widget(Paragraph::new(lines), inside);
}

/// `queue  ███░░░░░  3/8`.
fn queue(scene: &Scene) -> Line<'static> {
    let (waiting, capacity) = scene.view.queue;
    let theme = scene.theme;
    let full = capacity > 0 && waiting >= capacity;
    let style = if full { theme.warning() } else { theme.accent() };
    let mut spans = vec![Span::raw("queue  ")];
    spans.push(Span::styled("█".repeat(waiting.min(capacity)), style));
    spans.push(Span::styled("░".repeat(capacity.saturating_sub(waiting)), QUIET));
    spans.push(Span::raw(format!("  {waiting}/{capacity} frames{}", if full { ": full" } else { "" })));
    Line::from(spans)
}

/// Whether a stage is a delay against the source and not a part of `end_to_end`.
fn is_behind(stage: Stage) -> bool {
    matches!(stage, Stage::BehindLive | Stage::CaptureToDisplay)
}

/// `drops  10 queue_full · 2 corrupt`, and reconnects.
pub(super) fn drops(scene: &Scene, stream: &Stream) -> Line<'static> {
    let theme = scene.theme;
    let dropped = stream.dropped;
    let reasons = [
        (dropped.stale, "stale"),
        (dropped.queue_full, "queue_full"),
        (dropped.corrupt, "corrupt"),
        (dropped.failed, "failed"),
    ];
    let reasons: Vec<String> =
        reasons.iter().filter(|(n, _)| *n > 0).map(|(n, reason)| format!("{} {reason}", grouped(*n))).collect();
    let mut spans = vec![Span::raw("drops  ")];
    if reasons.is_empty() {
        spans.push(Span::raw("0"));
    } else {
        spans.push(Span::styled(reasons.join(" · "), theme.warning()));
    }
    if stream.reconnects > 0 {
        spans.push(Span::styled(format!("  reconnects {}", stream.reconnects), theme.warning()));
    }
    Line::from(spans)
}

pub(super) fn log(frame: &mut Frame, area: Rect, panel: Panel, log: &Log) {
    let inside = panel.open(frame, area, vec![Span::raw(" log ")], "");
    frame.render_widget(Paragraph::new(log_lines(panel.theme, log, inside)), inside);
}

/// The newest lines of the log, wrapped, as many as fit.
pub(super) fn log_lines(theme: super::theme::Theme, log: &Log, inside: Rect) -> Vec<Line<'static>> {
    let (width, height) = (usize::from(inside.width), usize::from(inside.height));
    let mut lines: Vec<Line> = Vec::new();
    for text in log.newest(height) {
        let style = match text.split(':').next() {
            Some("error") => theme.bad(),
            Some("notice") => theme.warning(),
            _ => ratatui::style::Style::new(),
        };
        lines.extend(wrapped(&text, width).into_iter().map(|line| Line::styled(line, style)));
    }
    lines.split_off(lines.len().saturating_sub(height))
}

/// Lines of at most `width` columns (but for what is wider by itself); those after the first are indented.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let indent = if width < NARROW { "" } else { "  " };
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let columns = Span::raw(word.trim_end()).width();
        if used > 0 && used + columns > width {
            lines.push(indent.to_owned());
            used = indent.len();
        }
        for c in word.chars() {
            let column = Span::raw(c.to_string()).width();
            if used + column > width && c != ' ' {
                lines.push(indent.to_owned());
                used = indent.len();
            }
            used += column;
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
        }
    }
    lines
}

/// `name` in exactly `width` columns.
pub(super) fn clipped(name: &str, width: usize) -> String {
    let mut text = String::new();
    let mut used = 0;
    let cut = Span::raw(name).width() > width;
    for c in name.chars() {
        let column = Span::raw(c.to_string()).width();
        if used + column + usize::from(cut) > width {
            break;
        }
        used += column;
        text.push(c);
    }
    if cut && used < width {
        text.push('…');
        used += 1;
    }
    text + &" ".repeat(width - used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_at_words_and_long_words_cut() {
        assert_eq!(wrapped("one two three", 8), ["one two ", "  three"]);
        assert_eq!(wrapped("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("", 4), [""]);
        for width in 0..12 {
            for line in wrapped("notice: a 日本語 text/with/a/long/path.mp4 in it", width) {
                assert!(Span::raw(line.trim_end()).width() <= width.max(2), "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn names_have_their_columns() {
        assert_eq!(clipped("car", 5), "car  ");
        assert_eq!(clipped("pedestrian", 6), "pedes…");
        assert_eq!(clipped("日本語", 4), "日… ");
    }
}
