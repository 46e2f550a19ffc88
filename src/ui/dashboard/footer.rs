//! The line of keys at the bottom.

use ratatui::text::{Line, Span};

use super::scene::Scene;
use super::theme::CHOSEN;

/// From so many columns on keys have some room around them.
const ROOMY: usize = 64;

/// As many keys as fit, the most needed ones first.
pub(super) fn keys_line(scene: &Scene, width: usize) -> Line<'static> {
    let theme = scene.theme;
    if scene.finishing {
        let text = if width < ROOMY { " finishing …" } else { " finishing outputs · Ctrl-C quits at once" };
        return Line::styled(text, theme.warning());
    }
    let several = scene.view.streams.len() > 1;
    let pause = if scene.controls.is_paused() { "resume" } else { "pause" };
    let keys = [("q", "quit"), ("?", "help"), ("p", pause), ("+/-", "conf"), ("s", "snapshot"), ("h", "HUD")];
    let tab = several.then_some(("Tab", "stream"));
    let mut spans = Vec::new();
    let mut used = 0;
    for (key, word) in keys.into_iter().chain(tab) {
        let (key, word) = if width < ROOMY {
            (key.to_owned(), format!(" {word} "))
        } else {
            (format!(" {key} "), format!(" {word}  "))
        };
        let needed = key.chars().count() + word.trim_end().chars().count();
        if used + needed > width {
            break;
        }
        let needed = key.chars().count() + word.chars().count();
        used += needed;
        spans.extend([Span::styled(key, CHOSEN), Span::raw(word)]);
    }
    Line::from(spans)
}
