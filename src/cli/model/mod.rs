//! `streamdet model`: which models there are, what a file is, and where to get them.

mod fetch;
mod inspect;
mod list;

use clap::{Args, Subcommand};

use crate::cli::messages::or_unusable;

/// Options of `model`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Show the models known by name, and which are here
    List(list::ListArgs),
    /// Show what a model is: inputs, outputs, metadata, the layout and why
    Inspect(inspect::InspectArgs),
    /// Download a model and check it
    Fetch(fetch::FetchArgs),
}

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &ModelArgs) -> u8 {
    let done = match &args.command {
        ModelCommand::List(args) => Ok(list::run(args)),
        ModelCommand::Inspect(args) => inspect::run(args),
        ModelCommand::Fetch(args) => fetch::run(args),
    };
    or_unusable(done)
}
