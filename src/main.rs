//! The command line of streamdet.

#![warn(clippy::print_stderr, clippy::print_stdout)]

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use streamdet::cli::serve::ServeArgs;
use streamdet::cli::{Cli, Command, bench, check, detect, doctor, fleet, model, profile, serve, telemetry, val, work};
use streamdet::config::{self, ConfigError, Fault, Layers};
use streamdet::secrets::redact;
use streamdet::text::print_stderr;

fn main() -> ExitCode {
    streamdet::source::share_arenas();
    streamdet::thread::install_panic_hook();
    let args: Vec<OsString> = std::env::args_os().collect();
    let parsed = match config::parse::<Cli>(&args, &|name| std::env::var_os(name)) {
        Ok(parsed) => parsed,
        Err(ConfigError::Usage(e)) => return refuse(&e),
        Err(e) => {
            print_stderr(&format!("error: {}", redact(&e.to_string())));
            return ExitCode::from(2);
        }
    };
    if let Some(table) = parsed.table {
        // A reader that left has seen enough.
        let _ = std::io::stdout().write_all(table.as_bytes());
        return ExitCode::SUCCESS;
    }
    match parsed.cli.command {
        Command::Detect(args) => ExitCode::from(detect::run(&args, &parsed.kept)),
        Command::Bench(args) => ExitCode::from(bench::run(&args, &parsed.kept)),
        Command::Profile(args) => ExitCode::from(profile::run(&args)),
        Command::Telemetry(args) => ExitCode::from(telemetry::run(&args)),
        Command::Val(args) => ExitCode::from(val::run(&args)),
        Command::Model(args) => ExitCode::from(model::run(&args)),
        Command::Serve(args) => ExitCode::from(serve::run(&args, &parsed.layers, serve_again)),
        Command::Work(args) => ExitCode::from(work::run(&args, &parsed.layers)),
        Command::Fleet(args) => ExitCode::from(fleet::run(&args, Cli::command())),
        Command::Check(args) => ExitCode::from(check::run(&args, Cli::command())),
        Command::Doctor(args) => ExitCode::from(doctor::run(&args)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "streamdet", &mut script);
            // The same.
            let _ = std::io::stdout().write_all(&script);
            ExitCode::SUCCESS
        }
    }
}

/// The command line of `serve` with the environment and the config file, as they are now.
fn serve_again() -> Result<(ServeArgs, Layers), ConfigError> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let parsed = config::parse::<Cli>(&args, &|name| std::env::var_os(name))?;
    match parsed.cli.command {
        Command::Serve(args) => Ok((*args, parsed.layers)),
        // It was another when the program started.
        _ => Err(Fault::new("command line", "it is not that of `streamdet serve`", "start it again").into()),
    }
}

/// Says what is wrong with the command line, or what was asked for. A source that stands in the wrong place may hold a password.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help holds nothing but our own words.
        error.exit();
    }
    let said = error.to_string();
    let shown = redact(&said);
    if shown == said {
        error.exit();
    }
    print_stderr(shown.trim_end());
    ExitCode::from(2)
}
