//! `streamdet model fetch`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use indicatif::DecimalBytes;

use crate::cli::signals::Signals;
use crate::model::fetch::{self, FetchError, Fetched, Request};
use crate::model::licence::{self, LicenceKind};
use crate::model::store::{self, Known, Place};
use crate::model::{Card, ModelError, is_sha256, nearest};
use crate::secrets::redact;
use crate::text::{printable, short};
use crate::ui::download::Progress;
use crate::ui::models::folder_for_downloads;

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

fn checksum(text: &str) -> Result<String, String> {
    if is_sha256(text) { Ok(text.to_ascii_lowercase()) } else { Err("give 64 hex digits".into()) }
}

pub(super) fn run(args: &FetchArgs) -> anyhow::Result<u8> {
    let (request, card) = match plan(args)? {
        Plan::Download(download) => *download,
        Plan::Nothing(message) => {
            say(args, &message);
            return Ok(0);
        }
    };
    let here = fetch::already_here(&request)?;
    if let Some(fetched) = here {
        say(args, &format!("already here, SHA-256 as expected: {}", printable(&short(&fetched.path))));
        return Ok(0);
    }
    let licence = card.as_ref().and_then(|card| card.licence.as_deref());
    consent(args, licence, card.as_ref())?;
    let signals = Signals::watch();
    let screen = Progress::new(args.quiet);
    let outcome = fetch::fetch(&request, &screen, &signals.shutdown);
    screen.finish();
    match outcome {
        Ok(fetched) => {
            say(args, &arrived(&fetched, &request, args));
            Ok(0)
        }
        Err(e @ FetchError::Interrupted { .. }) => {
            eprintln!("{}", redact(&e.to_string()));
            Ok(signals.exit_code(0))
        }
        Err(e) if e.is_usage() => Err(e.into()),
        Err(e) => {
            eprintln!("error: {}", redact(&e.to_string()));
            Ok(1)
        }
    }
}

fn say(args: &FetchArgs, text: &str) {
    if !args.quiet {
        eprintln!("{text}");
    }
}

enum Plan {
    Download(Box<(Request, Option<Card>)>),
    /// There is nothing to do, and why.
    Nothing(String),
}

fn plan(args: &FetchArgs) -> anyhow::Result<Plan> {
    let (url, name, card) = if args.model.contains("://") {
        (args.model.clone(), file_name(&args.model), None)
    } else {
        let name = &args.model;
        let known =
            store::find(name)?.ok_or_else(|| ModelError::Missing { name: name.clone(), nearest: nearest(name) })?;
        match known {
            Known { place: Place::BuiltIn, .. } => {
                return Ok(Plan::Nothing(format!("{name} is built in: nothing to fetch")));
            }
            Known { card: Some(card), .. } => match &card.url {
                Some(url) => (url.clone(), Some(card.file.clone()), Some(card)),
                None => return Err(anyhow!(no_download(name, &card))),
            },
            Known { place, .. } => {
                let path = if let Place::Here(path) = place { short(&path) } else { String::new() };
                return Err(anyhow!("{name} has no card to say where it comes from; its file is {path}"));
            }
        }
    };
    let target = match (&args.output, &args.folder) {
        (Some(file), _) => file.clone(),
        (None, folder) => {
            let folder = folder
                .clone()
                .or_else(store::user_folder)
                .ok_or_else(|| anyhow!("HOME is not set\n  name a --folder"))?;
            folder.join(name.ok_or_else(|| anyhow!("the URL ends in no file name\n  name the file with -o"))?)
        }
    };
    let card_says = card.as_ref().and_then(|card| card.sha256.clone());
    if let (Some(flag), Some(card)) = (&args.sha256, &card_says)
        && !flag.eq_ignore_ascii_case(card)
    {
        return Err(anyhow!("--sha256 {flag}: the card of {} says {card}\n  leave out one of them", args.model));
    }
    let request = Request {
        url,
        target,
        sha256: args.sha256.clone().or(card_says),
        size_bytes: card.as_ref().and_then(|card| card.size_bytes),
        patience: Duration::from_secs(args.timeout),
        retries: args.retries,
        overwrite: args.overwrite,
    };
    Ok(Plan::Download(Box::new((request, card))))
}

/// Last part of a URL's path, if it can be a file's name.
fn file_name(url: &str) -> Option<String> {
    let path = url.split_once("://")?.1.split(['?', '#']).next()?;
    let last = path.split_once('/')?.1.rsplit('/').next()?;
    let name = percent_encoding::percent_decode_str(last).decode_utf8().ok()?;
    let plain = !name.contains(['/', '\\']) && !name.chars().any(char::is_control);
    (plain && !matches!(&*name, "" | "." | "..")).then(|| name.into_owned())
}

/// What to do about a model that nobody offers as an ONNX file.
fn no_download(name: &str, card: &Card) -> String {
    let licence =
        card.licence.as_deref().map_or_else(String::new, |l| format!(" (licence: {})", licence_words(l, card)));
    let page = card.source.as_ref().map_or_else(String::new, |page| format!("\n  its page: {page}"));
    let how = match &card.obtain {
        Some(command) => {
            format!(
                "\n  make it: {command}\n  then put {} into {}, or give its path to -m",
                card.file,
                folder_for_downloads()
            )
        }
        None => String::new(),
    };
    format!("{name}: no ONNX file of it is offered for download{licence}{how}{page}")
}

fn licence_words(licence: &str, card: &Card) -> String {
    let terms = card.terms.as_ref().map_or_else(String::new, |terms| format!("; {terms}"));
    format!("{licence}{terms}")
}

/// Shows the licence; refuses to go on where it asks much and was not accepted.
fn consent(args: &FetchArgs, licence: Option<&str>, card: Option<&Card>) -> anyhow::Result<()> {
    let (Some(licence), Some(card)) = (licence, card) else {
        say(args, "licence: not stated here; look at where it comes from");
        return Ok(());
    };
    let kind = licence::kind(licence);
    let words = licence_words(licence, card);
    if kind != LicenceKind::Permissive && !args.accept_license {
        let page = card.source.as_deref().unwrap_or("the model's page");
        return Err(anyhow!(
            "{}: its licence is {words}\n  {}\n  read it at {page}; if you accept it, add --accept-license",
            args.model,
            kind.words()
        ));
    }
    say(args, &format!("licence: {words}"));
    Ok(())
}

fn arrived(fetched: &Fetched, request: &Request, args: &FetchArgs) -> String {
    let checked = if request.sha256.is_some() { "as expected" } else { "not checked: no checksum was given" };
    let path = printable(&short(&fetched.path));
    let use_it = match fetched.path.parent() {
        Some(folder) if store::user_folder().is_some_and(|user| user == folder) => {
            let stem = fetched.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            if args.model.contains("://") { stem } else { args.model.clone() }
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

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_url_names_its_file() {
        for (url, name) in [
            ("https://h/a/b.onnx?token=1#x", Some("b.onnx")),
            ("https://h/a%20b.onnx", Some("a b.onnx")),
            ("https://h/a/", None),
            ("https://h", None),
            ("https://h/..", None),
            ("https://h/%2e%2e", None),
            ("https://h/a%2fb", None),
            ("https://h/a%00b", None),
        ] {
            assert_eq!(file_name(url).as_deref(), name, "{url}");
        }
    }
}
