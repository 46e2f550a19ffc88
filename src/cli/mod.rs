//! The command line: what is accepted, and what each command does with it.

mod baseline;
pub mod bench;
mod choices;
mod closing;
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
mod title;
mod units;
pub mod val;

use clap::{Parser, Subcommand};

use crate::secrets::redact;

/// The exit code of a command that has ended; an error is printed, and means that the command line, the settings or an input
/// cannot be used.
fn or_unusable(result: anyhow::Result<u8>) -> u8 {
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", redact(&told(&error)));
        2
    })
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

/// A path as a person writes it: `~` for the home folder.
fn short(path: &std::path::Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(std::path::PathBuf::from);
    match home.as_ref().and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
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
