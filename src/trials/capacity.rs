//! How many streams this machine keeps up with: found by search, confirmed by a longer run.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;
use serde_json::{Value, json};

use super::process::{self, Folder};
use crate::report::verdict::LOSS;
use crate::shutdown::Shutdown;
use crate::text::counted;

/// Streams of a trial, at most.
pub const MOST: u16 = 256;
/// CPU time of all cores from which on they are what bounds a run.
const BUSY: f64 = 0.85;
/// Use of a GPU from which on it is that, per cent.
const GPU_BUSY: f64 = 85.0;

/// Frames of the first run, which tells the frame rate, and at least of every other.
const FIRST: u64 = 30;
/// Length of the runs of the search, unless the confirming one is shorter.
const SEARCHED: Duration = Duration::from_secs(10);

/// Percentiles that a report has.
const PERCENTILES: [&str; 3] = ["p50", "p90", "p99"];

/// What is promised of every frame's latency: `p99=200ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sla {
    percentile: &'static str,
    at_most: Duration,
}

impl Default for Sla {
    fn default() -> Self {
        Self { percentile: "p99", at_most: Duration::from_millis(200) }
    }
}

impl FromStr for Sla {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "give p50, p90 or p99 with a time, as p99=200ms".to_owned();
        let (name, time) = text.split_once('=').ok_or_else(expected)?;
        let percentile = PERCENTILES.into_iter().find(|known| *known == name).ok_or_else(expected)?;
        let (number, unit) = match time.strip_suffix("ms") {
            Some(number) => (number, 1e-3),
            None => (time.strip_suffix('s').ok_or_else(expected)?, 1.0),
        };
        let seconds = number.parse::<f64>().map_err(|_| expected())? * unit;
        let at_most = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
        Ok(Self { percentile, at_most: at_most.ok_or_else(expected)? })
    }
}

impl fmt::Display for Sla {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}ms", self.percentile, self.at_most.as_secs_f64() * 1e3)
    }
}

/// A run, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// Streams that ran beside each other.
    pub streams: u16,
    /// How long, seconds.
    pub run_s: f64,
    /// Frames of the stream that received the fewest.
    pub received: u64,
    /// Frames processed a second, all streams.
    pub fps: f64,
    /// Share of its frames that the worst stream dropped as stale or for a full queue.
    pub dropped: f64,
    /// From when a frame was due until it was handed on, the promised percentile, ms.
    pub behind_live_ms: f64,
    /// Whether the promise held.
    pub kept: bool,
    /// What bounds it.
    pub bound_by: String,
}

impl Trial {
    /// Of a run's report.
    #[must_use]
    pub fn of(report: &Value, streams: u16, sla: &Sla) -> Self {
        let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64);
        let all = report["streams"].as_array().map_or(&[][..], Vec::as_slice);
        let dropped = all.iter().map(|stream| {
            let frames = |key: &str| stream.pointer(&format!("/frames/{key}")).and_then(Value::as_f64).unwrap_or(0.0);
            (frames("dropped/stale") + frames("dropped/queue_full")) / frames("received").max(1.0)
        });
        let dropped = dropped.fold(0.0, f64::max);
        let received = all.iter().map(|stream| stream.pointer("/frames/received").and_then(Value::as_u64).unwrap_or(0));
        let has_all = all.len() == usize::from(streams);
        let behind = number(&format!("/latency_ms/behind_live/{}", sla.percentile)).filter(|_| {
            // Where no frame came through, none was late.
            number("/latency_ms/behind_live/count").is_some_and(|count| count > 0.0)
        });
        let at_most = sla.at_most.as_secs_f64() * 1e3;
        Self {
            streams,
            run_s: number("/resources/run_s").unwrap_or(0.0),
            received: received.min().unwrap_or(0),
            fps: number("/fps/mean").unwrap_or(0.0),
            dropped,
            behind_live_ms: behind.unwrap_or(0.0),
            kept: has_all && dropped <= LOSS && behind.is_some_and(|behind| behind <= at_most),
            bound_by: bound_by(report),
        }
    }
}

/// The GPU or the cores, where they are busy, and the stage with the most CPU time.
fn bound_by(report: &Value) -> String {
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0);
    if number("/resources/gpu_utilisation") >= GPU_BUSY {
        return "gpu".into();
    }
    let shares = report.pointer("/resources/cpu_share").and_then(Value::as_object);
    let shares = shares.into_iter().flatten().filter_map(|(stage, share)| Some((stage.as_str(), share.as_f64()?)));
    let Some((stage, share)) = shares.max_by(|a, b| a.1.total_cmp(&b.1)) else { return "unknown".into() };
    let (used, cores) = (number("/resources/cores_used"), number("/machine/cores"));
    let busy = if used >= BUSY * cores { "" } else { ", which waits: cores are left" };
    format!("{stage} ({:.0} % of CPU time; {used:.1} of {cores} cores{busy})", share * 100.0)
}

/// The largest number of streams that `keeps` says yes to, 1 to [`MOST`]; 0 where it says no to one. `None` where it was interrupted.
/// Larger numbers are taken to fail where a smaller one does.
///
/// # Errors
/// Those of `keeps`.
pub fn search<E>(mut keeps: impl FnMut(u16) -> Result<Option<bool>, E>) -> Result<Option<u16>, E> {
    let (mut good, mut bad) = (0, MOST + 1);
    while bad - good > 1 {
        // Doubled as long as none has failed.
        let next = if bad > MOST { (good * 2).clamp(1, MOST) } else { u16::midpoint(good, bad) };
        match keeps(next)? {
            Some(true) => good = next,
            Some(false) => bad = next,
            None => return Ok(None),
        }
    }
    Ok(Some(good))
}

/// Frames a second of a report's streams, where all have one and the same.
#[must_use]
pub fn frame_rate(report: &Value) -> Option<f64> {
    let rate = |stream: &Value| {
        let (n, d) = stream["frame_rate"].as_str()?.split_once('/')?;
        let rate = n.parse::<f64>().ok()? / d.parse::<f64>().ok()?;
        (rate.is_finite() && rate > 0.0).then_some(rate)
    };
    let mut rates = report["streams"].as_array()?.iter().map(rate);
    let first = rates.next()??;
    rates.all(|rate| rate == Some(first)).then_some(first)
}

/// How long a report's frames were in the decoder, ms, where that is more than a frame's time: for frames that are shown before them.
#[must_use]
pub fn held(report: &Value, rate: f64) -> Option<f64> {
    report.pointer("/latency_ms/decode/p50")?.as_f64().filter(|held_ms| *held_ms > 1e3 / rate)
}

/// Searches and confirms how many streams a `bench` of the command line `args` keeps up with; the report of the confirming run with what was
/// found. `None` where it was interrupted.
///
/// # Errors
/// When a run fails, or its streams have no frame rate.
pub fn find(
    args: &[OsString],
    sla: &Sla,
    confirm: Duration,
    say: &dyn Fn(&str),
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Value>> {
    let folder = Folder::create()?;
    let run = |count: u16, frames: u64| {
        let (streams, frames) = (count.to_string(), frames.to_string());
        let flags = [OsStr::new("--streams"), streams.as_ref(), OsStr::new("--frames-each"), frames.as_ref()];
        process::run(args, &flags, &[], &folder.report(), shutdown)
            .map_err(|error| anyhow!("{}: {error}", counted(count.into(), "stream")))
    };
    let Some(first) = run(1, FIRST)? else { return Ok(None) };
    let rate = frame_rate(&first).ok_or_else(|| {
        anyhow!("--max-streams: the source has no constant frame rate\n  give a clip of one that has, and sources of one frame rate")
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a number of frames")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of frames")]
    let frames = |time: Duration| (rate * time.as_secs_f64()).ceil().clamp(FIRST as f64, 1e9) as u64;
    let searched = frames(SEARCHED.min(confirm));
    if let Some(held_ms) = held(&first, rate) {
        say(&format!(
            "  notice: its decoder gives a frame out {held_ms:.0} ms after it was due, on any machine: frames wait for later ones that they were \
             stored before (B-frames)\n  for what a camera without them would take: ffmpeg -i IN -c:v libx264 -bf 0 OUT.mp4"
        ));
    }
    say(&head(sla));
    let mut trials: Vec<Trial> = Vec::new();
    let found = search(|streams| {
        let Some(report) = run(streams, searched)? else { return Ok(None) };
        let trial = Trial::of(&report, streams, sla);
        if trials.is_empty() && trial.received < searched {
            say(&format!("  notice: the clip ends after {}: runs are that short", counted(trial.received, "frame")));
        }
        say(&row(&trial));
        let kept = trial.kept;
        trials.push(trial);
        Ok::<_, anyhow::Error>(Some(kept))
    })?;
    let Some(mut streams) = found else { return Ok(None) };
    // What ten seconds kept, a minute may not.
    let mut confirmed = None;
    while streams > 0 {
        let Some(report) = run(streams, frames(confirm))? else { return Ok(None) };
        let trial = Trial::of(&report, streams, sla);
        say(&format!("{} for {:.0} s", row(&trial), trial.run_s));
        let (kept, run_s) = (trial.kept, trial.run_s);
        trials.push(trial);
        if kept {
            confirmed = Some((report, run_s));
            break;
        }
        streams -= 1;
    }
    // What holds back the smallest number that is too many.
    let failed = trials.iter().filter(|trial| !trial.kept).min_by_key(|trial| trial.streams);
    let bound_by = failed.or(trials.last()).map_or_else(String::new, |trial| trial.bound_by.clone());
    let (mut report, confirmed_s) = confirmed.unwrap_or((first, 0.0));
    let many = if failed.is_none() { " or more" } else { "" };
    let found = match streams {
        0 => format!("not even one stream at {rate:.2} frames/s: {sla} is not kept"),
        _ => format!(
            "{}{many} at {rate:.2} frames/s: {sla} kept for {confirmed_s:.0} s",
            counted(streams.into(), "stream")
        ),
    };
    say(&format!("\n  {found}; bound by {bound_by}"));
    report["capacity"] = json!({
        "streams": streams, "frame_rate": rate, "sla": sla.to_string(), "confirmed_s": confirmed_s, "bound_by": bound_by, "trials": trials
    });
    Ok(Some(report))
}

/// A line of the table.
#[must_use]
pub fn row(trial: &Trial) -> String {
    let Trial { streams, fps, dropped, behind_live_ms, kept, .. } = trial;
    let verdict = if *kept { "kept" } else { "not kept" };
    format!("  {streams:>7}  {fps:>8.1}  {:>7.1} %  {behind_live_ms:>8.0} ms  {verdict}", dropped * 100.0)
}

/// The table's head.
#[must_use]
pub fn head(sla: &Sla) -> String {
    format!(
        "  {:>7}  {:>8}  {:>9}  {:>11}  {sla}",
        "streams",
        "frames/s",
        "dropped",
        format!("{} behind", sla.percentile)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(stale: [u64; 2], p99: f64) -> Value {
        let stream = |stale: u64| {
            json!({ "frame_rate": "30/1", "frames": { "received": 1000, "processed": 1000 - stale,
                    "dropped": { "stale": stale, "queue_full": 0, "corrupt": 5 } } })
        };
        json!({
            "streams": stale.map(stream), "fps": { "mean": 59.5 }, "machine": { "cores": 2 },
            "latency_ms": { "behind_live": { "count": 1990, "p50": 20.0, "p90": 50.0, "p99": p99 } },
            "resources": { "run_s": 10.1, "cores_used": 1.9, "gpu_utilisation": null, "cpu_share": { "decode": 0.3, "inference": 0.7 } },
        })
    }

    #[test]
    fn a_promise_is_kept_when_every_stream_keeps_it() {
        let sla: Sla = "p99=200ms".parse().expect("it is one");
        let judged = |stale, p99| Trial::of(&report(stale, p99), 2, &sla);
        let kept = judged([0, 10], 200.0);
        assert!(
            kept.kept && (kept.dropped - 0.01).abs() < 1e-9 && (kept.behind_live_ms - 200.0).abs() < 1e-9,
            "{kept:?}"
        );
        assert_eq!(kept.bound_by, "inference (70 % of CPU time; 1.9 of 2 cores)");
        // One stream's drops are not made good by another's.
        assert!(!judged([0, 11], 20.0).kept);
        assert!(!judged([0, 0], 200.1).kept);
        assert!(!Trial::of(&report([0, 0], 20.0), 3, &sla).kept, "a stream is missing");
        assert!(!Trial::of(&json!({}), 0, &sla).kept, "no frame came through");
        assert!(Trial::of(&report([0, 0], 900.0), 2, &"p50=0.02s".parse().expect("it is one")).kept);
        let mut idle = report([0, 0], 900.0);
        idle["resources"]["cores_used"] = 0.4.into();
        assert!(Trial::of(&idle, 2, &sla).bound_by.contains("cores are left"));
        idle["resources"]["gpu_utilisation"] = 97.into();
        assert_eq!(Trial::of(&idle, 2, &sla).bound_by, "gpu");
    }

    #[test]
    fn what_is_no_promise_is_refused() {
        for wrong in ["", "p99", "p99=", "p95=1s", "p99=0ms", "p99=-1ms", "p99=1", "p99=nanms", "p99=infs"] {
            assert!(wrong.parse::<Sla>().is_err(), "{wrong}");
        }
        assert_eq!("p90=1.5s".parse::<Sla>().map(|sla| sla.to_string()).as_deref(), Ok("p90=1500ms"));
    }

    #[test]
    fn the_largest_number_is_found_whatever_it_is() {
        for limit in [0, 1, 2, 3, 7, 8, 100, MOST - 1, MOST, MOST + 1] {
            let mut trials = Vec::new();
            let found = search(|streams| {
                trials.push(streams);
                Ok::<_, ()>(Some(streams <= limit))
            });
            assert_eq!(found, Ok(Some(limit.min(MOST))), "{trials:?}");
            assert!(trials.len() <= 18, "{trials:?}");
        }
        assert_eq!(search(|_| Ok::<_, ()>(None)), Ok(None));
        assert_eq!(search(|_| Err("it fails")), Err("it fails"));
    }

    #[test]
    fn one_frame_rate_is_needed() {
        assert_eq!(frame_rate(&report([0, 0], 1.0)), Some(30.0));
        let mut two = report([0, 0], 1.0);
        two["streams"][1]["frame_rate"] = "25/1".into();
        assert_eq!(frame_rate(&two), None);
        two["streams"][1]["frame_rate"] = Value::Null;
        assert_eq!((frame_rate(&two), frame_rate(&json!({}))), (None, None));
    }

    #[test]
    fn a_decoder_that_waits_for_later_frames_is_told() {
        let of = |p50: f64| json!({ "latency_ms": { "decode": { "p50": p50 } } });
        assert_eq!((held(&of(33.0), 30.0), held(&of(67.0), 30.0)), (None, Some(67.0)));
        assert_eq!(held(&json!({}), 30.0), None);
    }
}
