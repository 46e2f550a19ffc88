//! A download: its progress, a bar on a terminal, else a line now and then; and what came of it.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::{self, HostTime};
use crate::folders::short;
use crate::model::fetch::{Fetched, Observer, Request};
use crate::model::store;
use crate::secrets::redact;
use crate::text::{print_stderr, printable};

/// How often a plain line is printed when there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Says that a file is here, and how it is used; `name` is what was asked for.
pub(crate) fn arrived(fetched: &Fetched, request: &Request, name: &str) -> String {
    let checked = if request.sha256.is_some() { "as expected" } else { "not checked: no checksum was given" };
    let path = printable(&short(&fetched.path));
    let use_it = match fetched.path.parent() {
        Some(folder) if store::user_folder().is_some_and(|user| user == folder) => {
            let stem = fetched.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            if name.contains("://") { stem } else { name.to_owned() }
        }
        _ => path.clone(),
    };
    format!(
        "→ {path} · {}\n  SHA-256 {}\n  {checked}\n  use it: streamdet detect VIDEO -m {}",
        DecimalBytes(fetched.bytes),
        fetched.sha256,
        printable(&use_it)
    )
}

/// Says that a file of a model's external data is here.
pub(crate) fn arrived_data(fetched: &Fetched) -> String {
    let path = printable(&short(&fetched.path));
    format!("→ {path} · {}\n  SHA-256 {}\n  as expected", DecimalBytes(fetched.bytes), fetched.sha256)
}

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
            print_stderr(&format!("  {}{of}", DecimalBytes(bytes)));
        }
    }

    fn notice(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| print_stderr(&format!("  notice: {}", printable(&redact(text)))));
        }
    }
}
