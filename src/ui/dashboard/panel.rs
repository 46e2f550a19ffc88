//! A panel: its border, its title, and the room inside.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Borders, Padding};

use super::theme::{PLAIN, QUIET, Theme};

/// How panels look.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub theme: Theme,
    pub framed: bool,
}

impl Panel {
    /// A panel with its title, and what stands at the right of it; its inside.
    pub fn open(self, frame: &mut Frame, area: Rect, title: Vec<Span<'static>>, right: &str) -> Rect {
        let borders = if self.framed { Borders::ALL } else { Borders::TOP };
        let mut block =
            Block::new().borders(borders).border_type(BorderType::Rounded).border_style(QUIET).title_style(PLAIN);
        let inset = if self.framed { "" } else { "─" };
        let title: Vec<Span> = std::iter::once(Span::raw(inset)).chain(title).collect();
        let title_width: usize = title.iter().map(Span::width).sum();
        block = block.title_top(Line::from(title));
        let room = usize::from(area.width).saturating_sub(title_width + 3);
        if !right.is_empty() && Span::raw(right).width() <= room {
            let right = if self.framed { format!("{right} ") } else { right.to_owned() };
            block = block.title_top(Line::styled(right, QUIET).right_aligned());
        }
        if self.framed {
            block = block.padding(Padding::horizontal(1));
        }
        let inside = block.inner(area);
        frame.render_widget(block, area);
        inside
    }
}
