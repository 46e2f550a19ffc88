//! `streamdet model fetch`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::messages::{print_error, print_line};
use crate::cli::signals::Signals;
use crate::folders::short;
use crate::model::fetch::{self, FetchError, FetchOptions};
use crate::model::is_sha256;
use crate::secrets::redact;
use crate::text::printable;
use crate::ui::download::{Progress, arrived, arrived_data};

const EXAMPLES: &str = "Examples:
  streamdet model fetch yolox-s              then: detect clip.mp4 -m yolox-s
  streamdet model fetch yolox-s --folder models/
  streamdet model fetch https://host/mine.onnx --sha256 1f2e…

What was interrupted is kept as FILE.part, and the same command goes on from there. The file takes its name when its \
checksum is right. HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are honoured.

Exit codes: 0 the file is here and right; 1 the download failed; 2 unusable options, a licence that has to be accepted, or \
no download for this model; 130, 143 interrupted.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FetchArgs {
    /// A known model (see `streamdet model list`), or where to download one
    #[arg(value_name = "NAME|URL")]
    model: String,
    /// SHA-256 that the file must have [default: the card's]
    #[arg(long, value_name = "HEX", value_parser = checksum)]
    sha256: Option<String>,
    /// Fetch although the licence is copyleft or forbids commercial use: you have read it
    #[arg(long, alias = "accept-licence")]
    accept_license: bool,
    /// Name of the file [default: the card's or the URL's, in the user's data folder]
    #[arg(short, long, value_name = "FILE", conflicts_with = "folder")]
    output: Option<PathBuf>,
    /// Folder of the file
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Replace an existing file with another checksum
    #[arg(long)]
    overwrite: bool,
    /// Give up after this long without data, s
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Retries without progress
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=100))]
    retries: u32,
    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
}

fn checksum(text: &str) -> Result<String, &'static str> {
    if is_sha256(text) { Ok(text.to_ascii_lowercase()) } else { Err("give 64 hex digits") }
}

pub(super) fn run(args: &FetchArgs) -> anyhow::Result<u8> {
    let say = |text: &str| {
        if !args.quiet {
            print_line(text);
        }
    };
    let options = FetchOptions {
        model: args.model.clone(),
        sha256: args.sha256.clone(),
        output: args.output.clone(),
        folder: args.folder.clone(),
        patience: Duration::from_secs(args.timeout),
        retries: args.retries,
        overwrite: args.overwrite,
    };
    let Some(download) = fetch::resolve(&options)? else {
        say(&format!("{} is built in: nothing to fetch", args.model));
        return Ok(0);
    };
    // The model last: what is there under its name can be used.
    let mut wanted = Vec::new();
    for request in download.data.iter().chain([&download.request]) {
        match fetch::already_here(request)? {
            Some(here) => say(&format!("already here, SHA-256 as expected: {}", printable(&short(&here.path)))),
            None => wanted.push(request),
        }
    }
    if wanted.is_empty() {
        return Ok(0);
    }
    match download.licence(&args.model, args.accept_license)? {
        Some(terms) => say(&format!("licence: {terms}")),
        None => say("licence: not stated here; look at where it comes from"),
    }
    let signals = Signals::watch();
    for request in wanted {
        let progress = Progress::new(args.quiet);
        let outcome = fetch::fetch(request, &progress, &signals.shutdown);
        progress.finish();
        match outcome {
            Ok(fetched) if std::ptr::eq(request, &raw const download.request) => {
                say(&arrived(&fetched, request, &args.model));
            }
            Ok(fetched) => say(&arrived_data(&fetched)),
            Err(e @ FetchError::Interrupted { .. }) => {
                print_line(&redact(&e.to_string()));
                return Ok(signals.exit_code(0));
            }
            Err(e) if e.is_usage() => return Err(e.into()),
            Err(e) => {
                print_error(&e);
                return Ok(1);
            }
        }
    }
    Ok(0)
}
