//! Progress of a download: a bar on a terminal, else a line now and then.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::{self, HostTime};
use crate::model::fetch::Observer;
use crate::secrets::redact;
use crate::text::printable;

/// How often a plain line is printed when there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// A bar on a terminal, a line now and then elsewhere.
pub(crate) struct Progress {
    bar: ProgressBar,
    quiet: bool,
    plain: Cell<HostTime>,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if !quiet && std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
        Self { bar, quiet, plain: Cell::new(clock::now()) }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Progress {
    fn at(&self, bytes: u64, total: Option<u64>) {
        if self.bar.length() != total || self.bar.position() == 0 {
            let template = match total {
                Some(_) => {
                    "  {bar:32.cyan/dim}  {decimal_bytes} of {decimal_total_bytes} · {decimal_bytes_per_sec} · {eta} left"
                }
                None => "  {spinner:.cyan}  {decimal_bytes} · {decimal_bytes_per_sec}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style.progress_chars("━╸─"));
            }
            match total {
                Some(total) => self.bar.set_length(total),
                None => self.bar.unset_length(),
            }
            // What is here from before says nothing about the speed.
            self.bar.set_position(bytes);
            self.bar.reset_eta();
        }
        self.bar.set_position(bytes);
        if self.bar.is_hidden() && !self.quiet && clock::now().since(self.plain.get()) >= PLAIN_EVERY {
            self.plain.set(clock::now());
            let of = total.map_or_else(String::new, |total| format!(" of {}", DecimalBytes(total)));
            eprintln!("  {}{of}", DecimalBytes(bytes));
        }
    }

    fn notice(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("  notice: {}", printable(&redact(text))));
        }
    }
}
