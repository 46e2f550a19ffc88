//! Draws the dashboard, for whatever size the terminal has.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph};

use super::keys::HELP;
use super::panel::Panel;
use super::scene::Scene;
use super::state::{Phase, Stream};
use super::theme::{CHOSEN, QUIET, STRONG, Theme};
use super::{footer, panels, small};

/// Below this size one thing a line is shown, the most important ones first.
const SMALLEST: (u16, u16) = (64, 17);
/// From this size on panels have frames.
const FRAMED: (u16, u16) = (100, 34);
/// Rows of the charts, at most.
const CHART_ROWS: u16 = 12;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame, scene: &Scene) {
    let area = frame.area();
    if area.is_empty() {
        return;
    }
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        small::draw(frame, area, scene);
    } else {
        large(frame, area, scene);
    }
    if scene.help {
        help(frame, area, scene.theme);
    }
}

fn large(frame: &mut Frame, area: Rect, scene: &Scene) {
    let framed = area.width >= FRAMED.0 && area.height >= FRAMED.1;
    let edges = if framed { 2 } else { 1 };
    let head = head(scene, usize::from(area.width));
    let head_rows = u16::try_from(head.len()).unwrap_or(u16::MAX);
    let stages = scene.stream().map(panels::stages).unwrap_or_default();
    let wanted = u16::try_from(stages.len()).unwrap_or(u16::MAX).max(panels::FEWEST_STAGES);
    let spare = area.height.saturating_sub(head_rows + 1 + 3 * edges);
    // The charts and the log keep a row each; what is left once the stages are shown is shared.
    let stage_rows = wanted.min(spare.saturating_sub(2));
    let chart_rows = (spare.saturating_sub(stage_rows) / 3).clamp(1, CHART_ROWS);
    let [top, charts, middle, log, keys] = Layout::vertical([
        Constraint::Length(head_rows),
        Constraint::Length(chart_rows + edges),
        Constraint::Length(stage_rows + edges),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), top);
    let halves = |area| {
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(u16::from(!framed) * 2).areas(area)
    };
    let [latency, rate] = halves(charts);
    let [left, right] = halves(middle);
    let panel = Panel { theme: scene.theme, framed };
    if let Some(stream) = scene.stream() {
        panels::latency(frame, latency, panel, stream);
        panels::rate(frame, rate, panel, stream);
        panels::stage_bars(frame, left, panel, stages);
        panels::detections(frame, right, panel, scene, stream);
    }
    panels::log(frame, log, panel, scene.log);
    frame.render_widget(footer::keys_line(scene, usize::from(area.width)), keys);
}

/// Program, model, streams, and how far the one that is shown has come.
fn head(scene: &Scene, width: usize) -> Vec<Line<'static>> {
    let name = vec![Span::styled(" streamdet ", CHOSEN), Span::styled(format!(" {}", scene.facts.command), STRONG)];
    let right = format!("{} · {} ", scene.switches(), clock(scene.elapsed));
    let mut lines = vec![both_sides(name, vec![Span::raw(right)], width)];
    let provider = scene.view.provider.as_deref().unwrap_or("opening the model");
    lines.push(Line::styled(format!(" {} · {provider}", scene.facts.model), QUIET));
    if scene.view.streams.len() > 1 {
        lines.push(tabs(scene, width));
    }
    if let Some(stream) = scene.stream() {
        lines.push(about(scene, stream));
        lines.push(progress(scene, stream, width));
    }
    lines
}

/// One stream: where it stands, and what it is.
fn about(scene: &Scene, stream: &Stream) -> Line<'static> {
    let (sign, word, style) = scene.phase(stream);
    let mut facts: Vec<String> = Vec::new();
    facts.extend(stream.size.map(|size| format!("{}×{}", size.width, size.height)));
    facts.extend(stream.rate.map(|rate| format!("{} fps", (rate * 100.0).round() / 100.0)));
    facts.extend(Some(stream.codec.clone()).filter(|codec| !codec.is_empty()));
    let mut spans = vec![Span::styled(format!(" {sign} {word}  "), style), Span::styled(stream.name.clone(), STRONG)];
    spans.extend(facts.into_iter().map(|fact| Span::raw(format!(" · {fact}"))));
    Line::from(spans)
}

fn progress(scene: &Scene, stream: &Stream, width: usize) -> Line<'static> {
    let theme = scene.theme;
    let grouped = crate::text::grouped;
    let done = stream.frames + stream.dropped.total();
    let Some(total) = stream.total.filter(|total| *total > 0) else {
        return Line::from(format!("   {} frames", grouped(stream.frames)));
    };
    #[expect(clippy::cast_precision_loss, reason = "counts of frames")]
    let share = (done as f64 / total as f64).min(1.0);
    let mut text = format!("  {}/{} frames · {:.0} %", grouped(done), grouped(total), (share * 100.0).floor());
    if let Some(left) = stream.left().filter(|_| matches!(stream.phase, Phase::Running)) {
        text += " · ";
        text += &clock(left);
        text += " left";
    }
    let bar = width.saturating_sub(Span::raw(text.as_str()).width() + 2);
    let mut spans = vec![Span::raw(" ")];
    spans.extend(super::bars::progress(share, bar, (theme.accent(), QUIET)));
    spans.push(Span::raw(text));
    Line::from(spans)
}

/// All streams in a line, the one that is shown in reverse; where they do not fit, those around it.
fn tabs(scene: &Scene, width: usize) -> Line<'static> {
    let tab = |(n, stream): (usize, &Stream)| {
        let (sign, _, style) = scene.phase(stream);
        let name: String = stream.name.chars().take(24).collect();
        let rate = stream.fps().filter(|_| stream.phase == Phase::Running);
        let rate = rate.map_or_else(String::new, |fps| format!(" {fps:.0} fps"));
        let text = format!("{} {name}{rate} ", n + 1);
        let style_of_text = if n == scene.selected { CHOSEN } else { ratatui::style::Style::new() };
        [Span::styled(format!(" {sign} "), style), Span::styled(text, style_of_text)]
    };
    let tabs: Vec<[Span; 2]> = scene.view.streams.iter().enumerate().map(tab).collect();
    let of = |tab: &[Span; 2]| tab.iter().map(Span::width).sum::<usize>();
    let (mut first, mut last) = (scene.selected, scene.selected + 1);
    let mut used = tabs.get(first).map_or(0, of) + 4;
    loop {
        let before = first;
        if last < tabs.len() && used + of(&tabs[last]) <= width {
            used += of(&tabs[last]);
            last += 1;
        } else if first > 0 && used + of(&tabs[first - 1]) <= width {
            first -= 1;
            used += of(&tabs[first]);
        } else if before == first {
            break;
        }
    }
    let more = |hidden: bool, sign: &'static str| Span::raw(if hidden { sign } else { " " });
    let mut spans = vec![more(first > 0, "‹")];
    spans.extend(tabs[first.min(tabs.len())..last.min(tabs.len())].iter().flatten().cloned());
    spans.push(more(last < tabs.len(), "›"));
    Line::from(spans)
}

fn help(frame: &mut Frame, area: Rect, theme: Theme) {
    let widest = HELP.iter().map(|(_, meaning)| meaning.chars().count()).max().unwrap_or(0) + 14;
    let (width, height) = (u16::try_from(widest).unwrap_or(60).min(area.width), 10.min(area.height));
    let at = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let lines: Vec<Line> = HELP
        .iter()
        .map(|(key, meaning)| Line::from(vec![Span::styled(format!(" {key:<9}"), STRONG), Span::raw(*meaning)]))
        .collect();
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(theme.accent()).title(" keys ");
    frame.render_widget(Clear, at);
    frame.render_widget(Paragraph::new(lines).block(block), at);
}

/// `left`, and `right` at the other edge where it fits.
pub(super) fn both_sides(left: Vec<Span<'static>>, right: Vec<Span<'static>>, width: usize) -> Line<'static> {
    let of = |spans: &[Span]| spans.iter().map(Span::width).sum::<usize>();
    let gap = width.checked_sub(of(&left) + of(&right)).filter(|gap| *gap > 0);
    let mut spans = left;
    if let Some(gap) = gap {
        spans.push(Span::raw(" ".repeat(gap)));
        spans.extend(right);
    }
    Line::from(spans)
}

/// `0:07`, `12:34`, `1:02:03`.
pub(super) fn clock(time: Duration) -> String {
    let s = time.as_secs();
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        hours => format!("{hours}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}
