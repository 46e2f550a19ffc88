//! Styles of the dashboard: the terminal's own colours, and none of them where `NO_COLOR` is set. No meaning is in a colour
//! alone: a word or a sign says the same.

use ratatui::style::{Color, Modifier, Style};

/// Figures and names that matter.
pub(super) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
/// What is chosen, and keys.
pub(super) const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

/// What holds the rest together. Dim, not grey: there are themes whose grey is their background.
pub(super) const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
/// What stands in it all the same.
pub(super) const PLAIN: Style = Style::new().remove_modifier(Modifier::DIM);

/// Which styles there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    colours: bool,
}

impl Theme {
    /// As the environment asks.
    pub fn from_environment() -> Self {
        Self { colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    #[cfg(test)]
    pub fn new(colours: bool) -> Self {
        Self { colours }
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// Bars and lines.
    pub fn accent(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// The sum of the others.
    pub fn sum(self) -> Style {
        self.coloured(Color::Blue)
    }

    /// All is well.
    pub fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// Something to look at.
    pub fn warning(self) -> Style {
        self.coloured(Color::Yellow)
    }

    /// Something failed.
    pub fn bad(self) -> Style {
        self.coloured(Color::Red)
    }
}
