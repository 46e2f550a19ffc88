//! `streamdet telemetry`: what a file says of its camera.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use super::messages::{print, print_error, told};
use super::options::Invocation;
use super::signals::Signals;
use crate::part::PartFile;
use crate::shutdown::Shutdown;
use crate::source::read_telemetry;
use crate::telemetry::packet::Packet;
use crate::telemetry::{export, sidecar, survey::Survey};
use crate::ui;

const EXAMPLES: &str = "Examples:
  streamdet telemetry flight.ts                      kinds, rates, gaps, first and last values
  streamdet telemetry flight.ts --json - | jq .sensor_latitude
  streamdet telemetry DJI_0001.MP4 --csv flight.csv --geojson flight.geojson
  streamdet telemetry DJI_0001.SRT

Read are: MISB ST 0601 (with ST 0102 and 0903) in MPEG-TS or .klv, DJI's subtitles in MP4, MOV, MKV or .SRT, GoPro's GPMF. \
docs/telemetry.md says what is read of each.

Exit codes: 0 done; 1 an output cannot be written; 2 unusable input, or no telemetry in it; 130, 143 interrupted.";

/// Options of `telemetry`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TelemetryArgs {
    /// Video, or a file of telemetry beside one (.SRT, .klv)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Every packet as a line of JSON; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    json: Option<PathBuf>,
    /// Position, attitude and field of view as a table; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    csv: Option<PathBuf>,
    /// The camera's way as `GeoJSON`; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    geojson: Option<PathBuf>,
    #[command(flatten)]
    invocation: Invocation,
}

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &TelemetryArgs) -> u8 {
    let signals = Signals::watch();
    let failed = |error: anyhow::Error, code| {
        print_error(&told(&error));
        code
    };
    match read(args, &signals.shutdown) {
        Ok(packets) => match write(args, &packets, &signals.shutdown) {
            Ok(()) => signals.exit_code(0),
            Err(error) => failed(error, 1),
        },
        Err(_) if signals.shutdown.is_requested() => signals.exit_code(0),
        Err(error) => failed(error, 2),
    }
}

/// Every packet that the file has.
fn read(args: &TelemetryArgs, shutdown: &Shutdown) -> anyhow::Result<Vec<Packet>> {
    args.invocation.start_logs()?;
    let outputs = [("--json", &args.json), ("--csv", &args.csv), ("--geojson", &args.geojson)];
    let on_stdout = |(_, path): &&(_, &Option<PathBuf>)| path.as_deref() == Some(Path::new("-"));
    if outputs.iter().filter(on_stdout).count() > 1 {
        return Err(anyhow!("only one output can be standard output\n  give the others a file"));
    }
    if sidecar::is_sidecar(&args.file) {
        return Ok(sidecar::read(&args.file)?);
    }
    gstreamer::init()?;
    let mut packets = Vec::new();
    let tracks = read_telemetry(&args.file, shutdown, &mut |packet| packets.push(packet))?;
    if packets.is_empty() {
        let what =
            if tracks == 0 { "it has no telemetry" } else { "its tracks of data and subtitles have no telemetry" };
        let beside = sidecar::beside(&args.file).map_or_else(
            || "streamdet reads MISB ST 0601 (KLV), DJI's subtitles and GoPro's GPMF".to_owned(),
            |path| format!("name the subtitles beside it: {}", path.display()),
        );
        return Err(anyhow!("{}: {what}\n  {beside}", args.file.display()));
    }
    Ok(packets)
}

fn write(args: &TelemetryArgs, packets: &[Packet], shutdown: &Shutdown) -> anyhow::Result<()> {
    let mut to_stdout = false;
    let mut out = |option: &str, path: &Path, text: &str| {
        if path == Path::new("-") {
            to_stdout = true;
            print(text);
            return Ok(());
        }
        let written = PartFile::create(path, Some(shutdown)).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.finish()
        });
        written.map_err(|e| anyhow!("{option} {}: {e}\n  name a file in a folder that can be written", path.display()))
    };
    if let Some(path) = &args.json {
        out("--json", path, &packets.iter().map(|packet| packet.to_line() + "\n").collect::<String>())?;
    }
    let samples: Vec<_> =
        packets.iter().flat_map(|packet| &packet.known).map(|(from, _, known)| (*from, *known)).collect();
    if let Some(path) = &args.csv {
        let rows = samples.iter().map(|(at, known)| export::csv_row(*at, known) + "\n");
        out("--csv", path, &std::iter::once(format!("{}\n", export::CSV_HEAD)).chain(rows).collect::<String>())?;
    }
    if let Some(path) = &args.geojson {
        out("--geojson", path, &format!("{}\n", export::geojson(&samples)))?;
    }
    if !args.invocation.quiet && !to_stdout {
        let mut survey = Survey::default();
        for packet in packets {
            survey.add(packet);
        }
        print(&ui::telemetry::table(&args.file, &survey));
    }
    Ok(())
}
