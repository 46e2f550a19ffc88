//! Lines for standard error: shown in the dashboard's log panel while it is up, and printed after it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::text::printable;

/// Lines that the log shows, at most; the oldest are dropped.
const SHOWN: usize = 500;
/// Lines that are kept to be printed after it, at most; the oldest are dropped, and counted.
const KEPT: usize = 1000;
/// Longest line, characters: the rest of it is cut.
const LONGEST: usize = 2000;

/// The lines of a run.
#[derive(Debug, Default)]
pub(crate) struct Log {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Whether the dashboard is up, so that nothing may be printed.
    up: bool,
    shown: VecDeque<String>,
    kept: VecDeque<String>,
    forgotten: u64,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line; whether it is to be printed now.
    pub(crate) fn line(&self, text: &str) -> bool {
        let mut inner = self.lock();
        inner.show(text);
        if inner.up {
            if inner.kept.len() == KEPT {
                inner.kept.pop_front();
                inner.forgotten += 1;
            }
            inner.kept.push_back(text.to_owned());
        }
        !inner.up
    }

    /// Takes a line that is not kept for later; whether it is to be printed now.
    pub(crate) fn passing(&self, text: &str) -> bool {
        let mut inner = self.lock();
        inner.show(text);
        !inner.up
    }

    /// The dashboard is up.
    pub(super) fn hold(&self) {
        self.lock().up = true;
    }

    /// The dashboard is gone; the lines that were kept meanwhile.
    pub(super) fn release(&self) -> Vec<String> {
        let mut inner = self.lock();
        inner.up = false;
        let forgotten = std::mem::take(&mut inner.forgotten);
        let before = (forgotten > 0).then(|| format!("  … {forgotten} earlier lines are left out"));
        before.into_iter().chain(std::mem::take(&mut inner.kept)).collect()
    }

    /// The newest lines, the oldest of them first.
    pub(super) fn newest(&self, count: usize) -> Vec<String> {
        let inner = self.lock();
        inner.shown.iter().skip(inner.shown.len().saturating_sub(count)).cloned().collect()
    }
}

impl Inner {
    fn show(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if self.shown.len() == SHOWN {
                self.shown.pop_front();
            }
            let line: String = line.trim().chars().take(LONGEST).collect();
            self.shown.push_back(printable(&line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_while_it_is_up_and_bounded() {
        let log = Log::default();
        assert!(log.line("before"));
        log.hold();
        assert!(!log.line("  notice: é\u{1b}[31m\n  second") && !log.passing("a figure"));
        for n in 0..KEPT {
            log.line(&format!("line {n}"));
        }
        assert_eq!(log.newest(2), ["line 998", "line 999"]);
        assert_eq!(log.newest(SHOWN * 2).len(), SHOWN);
        let kept = log.release();
        assert_eq!(kept.len(), KEPT + 1);
        assert_eq!(kept[0], "  … 1 earlier lines are left out");
        assert!(log.line("after") && log.release().is_empty());
    }
}
