//! A terminal without room for panels: one thing a line, the most important ones first.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::bars::chart;
use super::footer::keys_line;
use super::panels;
use super::scene::Scene;
use super::state::Stream;
use super::theme::STRONG;
use crate::latency::Stage;
use crate::text::{as_many_as_fit, counted, grouped, printable};

/// Columns of a chart's name.
const NAME: usize = 4;

/// Draws what fits.
pub(super) fn draw(frame: &mut Frame, area: Rect, scene: &Scene) {
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let Some(stream) = scene.stream() else { return };
    // In the order of their places; the number says which stay when there are fewer lines.
    let mut lines: Vec<(u8, Line)> = vec![
        (0, title(scene, stream)),
        (1, figures(stream)),
        (3, sparks("ms", &panels::latencies(stream), width, scene)),
        (6, sparks("fps", &panels::rates(stream), width, scene)),
        (7, Line::raw(found(scene, stream, width))),
        (4, waiting(scene, stream)),
        (8, Line::raw(settings(scene))),
    ];
    let newest = scene.log.newest(1).pop().unwrap_or_default();
    lines.push((5, Line::raw(panels::clipped(&newest, width))));
    lines.push((2, keys_line(scene, width)));
    let mut kept: Vec<u8> = lines.iter().map(|(priority, _)| *priority).collect();
    kept.sort_unstable();
    kept.truncate(height);
    lines.retain(|(priority, _)| kept.contains(priority));
    let spare = height.saturating_sub(lines.len());
    let mut lines: Vec<Line> = lines.into_iter().map(|(_, line)| line).collect();
    if spare > 0 {
        // The log has what is left.
        let rows = u16::try_from(spare + 1).unwrap_or(u16::MAX);
        let log = panels::log_lines(scene.theme, scene.log, Rect { height: rows, ..area });
        let keys = lines.pop();
        lines.truncate(7);
        lines.resize(height.saturating_sub(1 + log.len()), Line::default());
        lines.extend(log);
        lines.extend(keys);
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn title(scene: &Scene, stream: &Stream) -> Line<'static> {
    let (sign, word, style) = scene.phase(stream);
    let number = match scene.view.streams.len() {
        1 => String::new(),
        all => format!("{}/{all} ", scene.selected + 1),
    };
    Line::from(vec![
        Span::styled(format!("{sign} {word} "), style),
        Span::raw(number),
        Span::styled(stream.name.clone(), STRONG),
    ])
}

/// `478/599 61.2 fps 14.9 ms`.
fn figures(stream: &Stream) -> Line<'static> {
    let done = stream.frames + stream.dropped.total();
    let mut text = grouped(done);
    if let Some(total) = stream.total {
        text = format!("{text}/{}", grouped(total));
    }
    if let Some(fps) = stream.fps() {
        text = format!("{text}  {fps:.1} fps");
    }
    if let Some((p50, _)) = stream.stage_ms(Stage::EndToEnd as usize) {
        text = format!("{text}  {p50:.1} ms");
    }
    Line::raw(text)
}

fn sparks(name: &'static str, values: &[Option<f64>], width: usize, scene: &Scene) -> Line<'static> {
    let chart = chart(values, width.saturating_sub(NAME), 1).pop().unwrap_or_default();
    Line::from(vec![Span::raw(format!("{name:<NAME$}")), Span::styled(chart, scene.theme.accent())])
}

fn found(scene: &Scene, stream: &Stream, width: usize) -> String {
    let seen = stream.found.iter().zip(scene.facts.classes.iter()).filter(|((newest, _), _)| *newest > 0);
    let parts: Vec<String> = seen.map(|((newest, _), class)| counted(u64::from(*newest), &printable(class))).collect();
    if parts.is_empty() { "(no detections)".into() } else { as_many_as_fit(&parts, width) }
}

fn waiting(scene: &Scene, stream: &Stream) -> Line<'static> {
    let (waiting, capacity) = scene.view.queue;
    let mut line = panels::drops(scene, stream);
    line.spans.insert(0, Span::raw(format!("queue {waiting}/{capacity}  ")));
    line
}

fn settings(scene: &Scene) -> String {
    let provider = scene.view.provider.as_deref().unwrap_or("opening the model");
    format!("{} · {provider}", scene.switches())
}
