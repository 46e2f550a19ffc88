//! Bars made of eighths of a character.

use ratatui::style::Style;
use ratatui::text::Span;

/// From nothing to a whole cell, left to right.
const ACROSS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];
/// From nothing to a whole cell, upwards.
const UP: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Eighths of a cell that `share` (0 to 1) of `cells` is; what is not nothing shows.
fn eighths(share: f64, cells: usize) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "the width of a terminal")]
    let all = cells as f64 * 8.0;
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the width")]
    let eighths = (share * all).round() as usize;
    if share > 0.0 { eighths.max(1) } else { 0 }
}

/// A bar over `share` of `width` cells; padded to the width.
pub(super) fn bar(share: f64, width: usize) -> String {
    let eighths = if width == 0 { 0 } else { eighths(share, width) };
    let text = format!("{}{}", "█".repeat(eighths / 8), ACROSS[eighths % 8]);
    let used = eighths.div_ceil(8);
    text + &" ".repeat(width.saturating_sub(used))
}

/// A bar over `share` of `width` cells, and a line from its end to a mark at `far` of them.
pub(super) fn bar_to_mark(share: f64, far: f64, width: usize, (bar, line): (Style, Style)) -> Vec<Span<'static>> {
    if width == 0 {
        return Vec::new();
    }
    let eighths_of_bar = eighths(share, width);
    let solid = format!("{}{}", "█".repeat(eighths_of_bar / 8), ACROSS[eighths_of_bar % 8]);
    let used = eighths_of_bar.div_ceil(8);
    let mark = (eighths(far, width).div_ceil(8)).clamp(1, width) - 1;
    let mut spans = vec![Span::styled(solid, bar)];
    if mark >= used {
        spans.push(Span::styled("─".repeat(mark - used) + "┤", line));
        spans.push(Span::raw(" ".repeat(width - mark - 1)));
    } else {
        spans.push(Span::raw(" ".repeat(width - used)));
    }
    spans
}

/// How far something has come: `━━━╸───`.
pub(super) fn progress(share: f64, width: usize, (done, open): (Style, Style)) -> Vec<Span<'static>> {
    let halves = eighths(share, width) / 4;
    let half = if halves % 2 == 1 { "╸" } else { "" };
    let used = halves.div_ceil(2);
    let solid = format!("{}{half}", "━".repeat(halves / 2));
    vec![Span::styled(solid, done), Span::styled("─".repeat(width.saturating_sub(used)), open)]
}

/// A column a value, `rows` high, the newest at the right edge of `width`; `None` leaves its place empty.
pub(super) fn chart(values: &[Option<f64>], width: usize, rows: usize) -> Vec<String> {
    let shown = &values[values.len().saturating_sub(width)..];
    let largest = shown.iter().flatten().copied().fold(0.0, f64::max);
    let height =
        |value: &Option<f64>| value.filter(|_| largest > 0.0).map_or(0, |value| eighths(value / largest, rows));
    let heights: Vec<usize> = shown.iter().map(height).collect();
    let row = |row: usize| {
        let below = (rows - 1 - row) * 8;
        let left = std::iter::repeat_n(' ', width - shown.len());
        left.chain(heights.iter().map(|height| UP[height.saturating_sub(below).min(8)])).collect()
    };
    (0..rows).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn width(spans: &[Span]) -> usize {
        spans.iter().map(Span::width).sum()
    }

    #[test]
    fn bars_fill_their_width_exactly() {
        for cells in 0..40 {
            for n in 0..=20 {
                let (share, style) = (f64::from(n) / 20.0, Style::new());
                assert_eq!(bar(share, cells).chars().count(), cells);
                assert_eq!(width(&bar_to_mark(share / 2.0, share, cells, (style, style))), cells);
                assert_eq!(width(&progress(share, cells, (style, style))), cells);
            }
        }
        assert_eq!(bar(f64::NAN, 3), "   ");
        assert_eq!(bar(7.0, 3), "███");
        assert_eq!(bar(0.0001, 3), "▏  ");
        assert_eq!(bar(0.5, 3), "█▌ ");
    }

    #[test]
    fn a_mark_stands_where_its_value_is() {
        let text = |share, far| {
            let spans = bar_to_mark(share, far, 8, (Style::new(), Style::new()));
            spans.iter().map(|span| span.content.to_string()).collect::<String>()
        };
        assert_eq!(text(0.25, 1.0), "██─────┤");
        assert_eq!(text(0.25, 0.5), "██─┤    ");
        assert_eq!(text(0.25, 0.25), "██      ");
        assert_eq!(text(0.0, 0.0), "┤       ");
    }

    #[test]
    fn charts_are_scaled_by_what_is_shown() {
        let values = [Some(100.0), Some(1.0), None, Some(2.0), Some(0.0)];
        assert_eq!(chart(&values, 4, 1), ["▄ █ "]);
        assert_eq!(chart(&values, 7, 1), ["  █▁ ▁ "]);
        assert_eq!(chart(&values, 3, 2), [" █ ", " █ "]);
        assert_eq!(chart(&[Some(3.0), Some(4.0)], 2, 2), ["▄█", "██"]);
        assert_eq!(chart(&[], 3, 1), ["   "]);
    }
}
