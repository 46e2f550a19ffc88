//! The command line: what is accepted, and what each command does with it.

pub mod bench;
mod choices;
mod compare;
pub mod config;
pub mod detect;
pub mod doctor;
pub mod live;
pub mod measure;
pub mod model;
pub mod options;
pub mod profile;
pub mod run;
mod settings;
mod signals;
mod units;
pub mod val;

use std::io::Write;

use clap::{Parser, Subcommand};

use crate::pipeline::RunError;
use crate::secrets::{redact, shows_password};
use crate::ui::logs;

/// The exit code of a command that has ended; an error is printed, and means that the command line, the settings or an input
/// cannot be used.
fn or_unusable(result: anyhow::Result<u8>) -> u8 {
    result.unwrap_or_else(|error| {
        print_error(&told(&error));
        2
    })
}

/// Prints an error, without secrets.
fn print_error(error: &(impl std::fmt::Display + ?Sized)) {
    let text = redact(&error.to_string());
    if logs::are_json() {
        tracing::error!("{text}");
    } else {
        eprintln!("error: {text}");
    }
}

/// An error with its causes, each said once: most messages contain their cause's.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Prints what went wrong in a run; the exit code of a run that would else have ended with `code`.
fn print_failures(errors: &[RunError], processed: u64, mut code: u8) -> u8 {
    for error in errors {
        print_error(error);
        code = if error.is_usage() && processed == 0 && code != 1 { 2 } else { 1 };
    }
    code
}

/// The command line as it was given, without secrets.
fn command_line() -> String {
    redact(&std::env::args().collect::<Vec<_>>().join(" "))
}

/// What the user should know about the command line: a notice, where it shows a password.
fn command_line_notice() -> Option<&'static str> {
    std::env::args().any(|argument| shows_password(&argument)).then_some(
        "the password on the command line is visible in the process list; use STREAMDET_USER and STREAMDET_PASSWORD or the \
         config file",
    )
}

/// Prints data on standard output.
fn print(text: &str) {
    // A reader that closed the pipe has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Watch video, draw what is found, and say how long every frame took.
#[derive(Debug, Parser)]
#[command(name = "streamdet", version, about, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find objects in video or pictures and save the annotated result
    Detect(Box<detect::DetectArgs>),
    /// Measure how fast, how late and at what cost the whole pipeline runs, and whether it keeps up
    Bench(Box<bench::BenchArgs>),
    /// Show where a model's time goes, operator by operator
    Profile(Box<profile::ProfileArgs>),
    /// Measure accuracy on labelled pictures
    Val(Box<val::ValArgs>),
    /// Show, inspect and download models
    Model(model::ModelArgs),
    /// Show what works on this machine, and what to do about the rest
    Doctor(doctor::DoctorArgs),
    /// Print shell completions
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}
