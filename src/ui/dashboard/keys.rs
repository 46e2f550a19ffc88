//! Keys and their commands.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Ends the run; outputs are finished.
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
    /// Closes the help.
    Back,
}

/// The keys as the help lists them.
pub(super) const HELP: [(&str, &str); 8] = [
    ("q", "quit: outputs are finished, exit code 0"),
    ("p", "pause and resume (recorded files)"),
    ("h", "FPS and latency in the frame, on or off"),
    ("s", "snapshot of the newest frame, as PNG"),
    ("+ -", "confidence threshold up and down by 0.05, from the next frame on"),
    ("Tab ← →", "another stream"),
    ("?", "this help, on or off"),
    ("Ctrl-C", "stop; once more: leave at once"),
];

/// The command of `key`, if it has one.
pub(super) fn command(key: KeyEvent) -> Option<Command> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return (key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL)
            .then_some(Command::Interrupt);
    }
    Some(match key.code {
        KeyCode::Char('q' | 'Q') => Command::Quit,
        KeyCode::Char('p' | 'P' | ' ') => Command::Pause,
        KeyCode::Char('h' | 'H') => Command::Hud,
        KeyCode::Char('s' | 'S') => Command::Snapshot,
        // The key without and with Shift.
        KeyCode::Char('+' | '=') => Command::Confidence(true),
        KeyCode::Char('-' | '_') => Command::Confidence(false),
        KeyCode::Tab | KeyCode::Right | KeyCode::Down => Command::Stream(true),
        KeyCode::BackTab | KeyCode::Left | KeyCode::Up => Command::Stream(false),
        KeyCode::Char('?') | KeyCode::F(1) => Command::Help,
        KeyCode::Esc => Command::Back,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_help() {
        let plain = |code| command(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(plain(KeyCode::Char('q')), Some(Command::Quit));
        assert_eq!(plain(KeyCode::Char('+')), Some(Command::Confidence(true)));
        assert_eq!(plain(KeyCode::Char('x')), None);
        assert_eq!(command(KeyEvent::new(KeyCode::Char('?'), KeyModifiers::SHIFT)), Some(Command::Help));
        assert_eq!(command(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Command::Interrupt));
        assert_eq!(command(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL)), None);
    }
}
