//! What every command prints, and its exit code.

use std::io::Write;

use crate::pipeline::RunError;
use crate::secrets::{redact_arguments, shows_password};
use crate::text::print_stderr;
use crate::ui::logs;
use crate::ui::screen::Failure;

/// The exit code of a command that has ended; an error is printed, and means that the command line, the settings or an input
/// cannot be used.
pub(super) fn or_unusable(result: anyhow::Result<u8>) -> u8 {
    result.unwrap_or_else(|error| {
        print_error(&told(&error));
        2
    })
}

/// Prints an error, without secrets.
pub(super) fn print_error(error: &impl std::fmt::Display) {
    logs::print_error(error);
}

/// An error with its causes, each said once: most messages contain their cause's.
pub(super) fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Prints what went wrong in a run, and only names what was `said` as it happened; the exit code of a run that would else have
/// ended with `code`.
pub(super) fn print_failures(errors: &[RunError], said: &[Failure], processed: u64, mut code: u8) -> u8 {
    let mut names: Vec<&str> = Vec::new();
    for error in errors {
        let text = error.to_string();
        match said.iter().find(|said| said.text == text) {
            Some(Failure { name, .. }) if names.contains(&name.as_str()) => {}
            Some(Failure { name, .. }) => names.push(name),
            None => print_error(error),
        }
        code = if error.is_usage() && processed == 0 && code != 1 { 2 } else { 1 };
    }
    if !names.is_empty() {
        print_line(&format!("failed during the run, as said above: {}", names.join(", ")));
    }
    code
}

fn arguments() -> impl Iterator<Item = String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned())
}

/// The command line as it was given, without secrets.
pub(super) fn command_line() -> String {
    redact_arguments(arguments())
}

/// What the user should know about the command line: a notice, where it shows a password.
pub(super) fn command_line_notice() -> Option<&'static str> {
    arguments().any(|argument| shows_password(&argument)).then_some(
        "the password on the command line is visible in the process list; use the config file or the environment: STREAMDET_USER \
         and STREAMDET_PASSWORD, STREAMDET_OUTPUT, STREAMDET_PUBLISH, STREAMDET_FLEET, STREAMDET_QUEUE, STREAMDET_TOKEN",
    )
}

/// Prints lines for people on standard error.
pub(super) fn print_line(text: &str) {
    if logs::are_json() {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            tracing::info!("{line}");
        }
    } else {
        print_stderr(text);
    }
}

/// Prints data on standard output.
pub(super) fn print(text: &str) {
    // A reader that closed the pipe has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
