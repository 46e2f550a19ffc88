//! The command line of streamdet.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use streamdet::cli::{Cli, Command, detect};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Detect(args) => ExitCode::from(detect::run(&args)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "streamdet", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}
