//! Words for people: names that are safe to print, counts, the name that was probably meant.

use std::collections::HashSet;
use std::fmt::{Arguments, Write as _};
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

/// The one of `among` that resembles `name` most.
#[must_use]
pub fn nearest<T: AsRef<str>>(name: &str, among: impl IntoIterator<Item = T>) -> Option<T> {
    let near = |other: &T| strsim::jaro_winkler(other.as_ref(), name);
    among.into_iter().max_by(|a, b| near(a).total_cmp(&near(b)))
}

/// Appends formatted text: `append(&mut text, format_args!("{n} frames"))`.
///
/// # Panics
/// When a value's `Display` fails, which none of the standard ones does.
pub fn append(text: &mut String, formatted: Arguments) {
    text.write_fmt(formatted).expect("memory takes all text");
}

/// A number from 0 to 1.
///
/// # Errors
/// When it is none.
pub fn fraction(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(v) if (0.0..=1.0).contains(&v) => Ok(v),
        _ => Err("give a number from 0 to 1".into()),
    }
}

/// A name from outside, safe to print: control characters become `?`.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A count with its class name, in the plural where it is one.
#[must_use]
pub fn counted(count: u64, class: &str) -> String {
    let class = printable(class);
    let ending = match class.as_str() {
        "people" | "sheep" | "skis" | "scissors" => "",
        _ if count == 1 => "",
        word if word.ends_with(['s', 'x', 'z']) || word.ends_with("ch") || word.ends_with("sh") => "es",
        _ => "s",
    };
    format!("{} {class}{ending}", grouped(count))
}

/// A number with thin groups of three digits.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(c);
    }
    text
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        append(&mut text, format_args!("{byte:02x}"));
        text
    })
}

/// An error with its remedy, in one line.
#[must_use]
pub fn in_one_line(text: &str) -> String {
    text.replace("\n  ", "; ").replace('\n', "; ")
}

/// Texts that are remembered, at most; then it begins anew.
const REMEMBERED: usize = 1000;

/// What was said before, and need not be said again.
#[derive(Default)]
pub struct Once(Mutex<HashSet<String>>);

impl Once {
    /// Whether a text was not said before; it was then.
    pub fn is_new(&self, text: &str) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == REMEMBERED {
            said.clear();
        }
        said.insert(text.to_owned())
    }
}

/// As many of `parts` as fit into `width` characters, the rest counted: `3 cars, 1 bus, and 4 more`.
#[must_use]
pub fn as_many_as_fit(parts: &[String], width: usize) -> String {
    for shown in (1..=parts.len()).rev() {
        let mut text = parts[..shown].join(", ");
        if shown < parts.len() {
            append(&mut text, format_args!(", and {} more", parts.len() - shown));
        }
        if shown == 1 || text.chars().count() <= width {
            return text;
        }
    }
    String::new()
}

/// Bytes as people say them.
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    format!("{} MB", grouped(bytes / 1_000_000))
}

/// Writes a line to standard error. One that is full or closed loses it, and nothing else.
pub fn print_stderr(line: &str) {
    // In one piece: lines of several threads do not mix. There is nowhere left to say that it failed.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Says that a test is left out, and why. Where none may be (`STREAMDET_REQUIRE_ALL=1`, as in CI), it fails instead.
#[cfg(test)]
#[track_caller]
pub(crate) fn skipped(why: &str) {
    let all = std::env::var_os("STREAMDET_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!all, "skipped, where STREAMDET_REQUIRE_ALL=1 asks for every test: {why}");
    print_stderr(&format!("skipped: {why}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_as_people_say_them() {
        assert_eq!(grouped(3812), "3 812");
        assert_eq!(grouped(12), "12");
        let parts = ["3 cars", "2 buses", "1 dog"].map(str::to_owned);
        assert_eq!(as_many_as_fit(&parts, 80), "3 cars, 2 buses, 1 dog");
        assert_eq!(as_many_as_fit(&parts, 20), "3 cars, and 2 more");
        assert_eq!(counted(2, "bus"), "2 buses");
        assert_eq!(counted(1, "bus"), "1 bus");
        assert_eq!(counted(5, "people"), "5 people");
    }
}
