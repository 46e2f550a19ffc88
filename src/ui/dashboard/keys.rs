//! What keys mean.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// End, with what was written whole.
    Quit,
    /// As SIGINT.
    Interrupt,
    Pause,
    Hud,
    Snapshot,
    /// Up or down.
    Confidence(bool),
    /// The next stream, or the one before.
    Stream(bool),
    Help,
    /// Away with the help.
    Back,
}

/// The keys as the help lists them.
pub(super) const HELP: [(&str, &str); 8] = [
    ("q", "quit: files are finished and play, exit code 0"),
    ("p", "pause and go on (recorded files)"),
    ("h", "frame rate and latency in the picture, on or off"),
    ("s", "snapshot of the newest picture, as PNG"),
    ("+ -", "confidence up and down by 0.05, from the next frame on"),
    ("Tab ← →", "another stream"),
    ("?", "this help, on or off"),
    ("Ctrl-C", "stop; once more: leave at once"),
];

/// What `key` means, if anything.
pub(super) fn wish(key: KeyEvent) -> Option<Wish> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return (key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL).then_some(Wish::Interrupt);
    }
    Some(match key.code {
        KeyCode::Char('q' | 'Q') => Wish::Quit,
        KeyCode::Char('p' | 'P' | ' ') => Wish::Pause,
        KeyCode::Char('h' | 'H') => Wish::Hud,
        KeyCode::Char('s' | 'S') => Wish::Snapshot,
        // The key without and with Shift.
        KeyCode::Char('+' | '=') => Wish::Confidence(true),
        KeyCode::Char('-' | '_') => Wish::Confidence(false),
        KeyCode::Tab | KeyCode::Right | KeyCode::Down => Wish::Stream(true),
        KeyCode::BackTab | KeyCode::Left | KeyCode::Up => Wish::Stream(false),
        KeyCode::Char('?') | KeyCode::F(1) => Wish::Help,
        KeyCode::Esc => Wish::Back,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_help() {
        let plain = |code| wish(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(plain(KeyCode::Char('q')), Some(Wish::Quit));
        assert_eq!(plain(KeyCode::Char('+')), Some(Wish::Confidence(true)));
        assert_eq!(plain(KeyCode::Char('x')), None);
        assert_eq!(wish(KeyEvent::new(KeyCode::Char('?'), KeyModifiers::SHIFT)), Some(Wish::Help));
        assert_eq!(wish(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Wish::Interrupt));
        assert_eq!(wish(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL)), None);
    }
}
