//! The command line: options, layers of settings, dispatch.

pub mod bench;
pub mod check;
pub mod count;
pub mod detect;
pub mod doctor;
pub mod fleet;
mod keep;
mod launch;
pub mod measure;
mod messages;
pub mod model;
mod mot;
pub mod options;
pub mod profile;
pub mod run;
pub mod serve;
mod settings;
mod signals;
pub mod telemetry;
pub mod val;
pub mod work;

use clap::{Parser, Subcommand};

/// Detect objects in video streams and files, draw them, and measure every frame's latency
#[derive(Debug, Parser)]
#[command(name = "streamdet", version, about, arg_required_else_help = true, args_override_self = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Detect objects in video or images; save or stream the annotated result
    Detect(Box<detect::DetectArgs>),
    /// Measure throughput, latency, resources and real-time ability of the whole pipeline
    Bench(Box<bench::BenchArgs>),
    /// Profile a model by operator
    Profile(Box<profile::ProfileArgs>),
    /// Detect over HTTP: an image in, boxes out; streams on a page
    Serve(Box<serve::ServeArgs>),
    /// Take recorded files from a queue or a list that many machines share
    Work(Box<work::WorkArgs>),
    /// Streams that several `streamdet serve --fleet` share: list, add, remove, move
    Fleet(fleet::FleetArgs),
    /// Measure accuracy on a labelled dataset
    Val(Box<val::ValArgs>),
    /// Check a config file: every key and value, the model, files, outputs; nothing runs
    Check(check::CheckArgs),
    /// Show the telemetry that a video carries: where the camera was and looked
    Telemetry(telemetry::TelemetryArgs),
    /// List, inspect and download models
    Model(model::ModelArgs),
    /// Check decoders, encoders, execution providers and models on this machine
    Doctor(doctor::DoctorArgs),
    /// Print shell completions
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}
