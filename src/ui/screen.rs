//! What a run looks like on standard error: header, progress, notices.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::dashboard::Log;
use super::logs;
use super::tables::objects;
use crate::clock::{self, HostTime, StreamTime};
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::inference::ProviderReport;
use crate::model::{Origin, RecordedIn};
use crate::pipeline::{Job, Listener, RunError, RunEvent, SourceSpec};
use crate::stream::{Gap, StreamId, StreamInfo};
use crate::text::{Once, counted, in_one_line, print_stderr, printable};

/// How often a plain line is printed when there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Verbosity {
    /// Errors only.
    Quiet,
    /// Header, progress, notices, closing figures.
    #[default]
    Normal,
    /// A line per frame as well.
    Frames,
}

/// What failed while the run went on, as it was said then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// All of it.
    pub text: String,
    /// The stream, or what else failed.
    pub name: String,
}

/// Shows a run to a person.
pub(crate) struct Screen {
    bar: ProgressBar,
    quiet: bool,
    verbosity: Verbosity,
    streams: usize,
    /// Of every stream, once it is open: its name, and how many frames are expected.
    known: Mutex<Vec<(String, u64)>>,
    fixed_total: Option<u64>,
    model: String,
    /// Detections come from a file.
    recorded: bool,
    classes: Arc<[String]>,
    said: Once,
    failures: Mutex<Vec<Failure>>,
    plain: Mutex<(HostTime, u64)>,
    started: HostTime,
    /// How often a frame gets its line, and when the last one did; without it by `verbosity` alone.
    line_every: Option<(Duration, Mutex<Option<HostTime>>)>,
    /// Where lines go as well, and wait while the dashboard is up.
    log: Option<Arc<Log>>,
}

impl Screen {
    pub(crate) fn new(verbosity: Verbosity, jobs: &[Job], frames: Option<u64>, origin: &Origin, imgsz: Size) -> Self {
        let images = |job: &Job| match &job.source {
            SourceSpec::Images(paths) => Some(paths.len() as u64),
            SourceSpec::Video(_) | SourceSpec::Live(_) => None,
        };
        let fixed_total = jobs.iter().map(images).sum::<Option<u64>>().or_else(|| frames.filter(|_| jobs.len() == 1));
        let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
        Self::of_streams(verbosity, &names, fixed_total, origin, imgsz)
    }

    /// For streams of these names; `fixed_total` is the number of frames, where it is known beforehand.
    pub(crate) fn of_streams(
        verbosity: Verbosity,
        names: &[String],
        fixed_total: Option<u64>,
        origin: &Origin,
        imgsz: Size,
    ) -> Self {
        let (quiet, streams) = (verbosity == Verbosity::Quiet, names.len());
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if verbosity == Verbosity::Normal && !logs::are_json() && std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
        if let Ok(style) = ProgressStyle::with_template("  {bar:32.cyan/dim}  {pos}/{len} frames · {per_sec}{left}") {
            bar.set_style(
                style
                    .progress_chars("━╸─")
                    .with_key("per_sec", |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                        // A bar that cannot be written is not worth an error.
                        let _ = write!(w, "{:.1} fps", state.per_sec());
                    })
                    .with_key("left", |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                        // Before the first frame nobody knows.
                        if state.pos() > 0 {
                            let _ = write!(w, " · {:#} left", indicatif::HumanDuration(state.eta()));
                        }
                    }),
            );
        }
        Self {
            bar,
            quiet,
            verbosity,
            streams,
            known: Mutex::new(names.iter().map(|name| (printable(name), 0)).collect()),
            fixed_total,
            model: described(origin, imgsz),
            classes: origin.classes.clone(),
            recorded: origin.recorded.is_some(),
            said: Once::default(),
            failures: Mutex::default(),
            plain: Mutex::new((clock::now(), 0)),
            started: clock::now(),
            line_every: None,
            log: None,
        }
    }

    /// Gives frames their lines this often.
    pub(crate) fn lines_every(self, every: Option<Duration>) -> Self {
        Self { line_every: every.map(|every| (every, Mutex::default())), ..self }
    }

    /// Has the dashboard show the lines; it shows progress, too.
    pub(crate) fn logged(mut self, log: Option<Arc<Log>>) -> Self {
        if log.is_some() {
            self.bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        self.log = log;
        self
    }

    /// Whether this frame gets a line.
    fn wants_line(&self) -> bool {
        let Some((every, last)) = &self.line_every else { return self.verbosity == Verbosity::Frames };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        let due = last.is_none_or(|last| now.since(last) >= *every);
        if due {
            *last = Some(now);
        }
        due || self.verbosity == Verbosity::Frames
    }

    fn name(&self, stream: StreamId) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(stream.0 as usize)
            .map(|(name, _)| name)
            .filter(|name| !name.is_empty())
            .cloned()
            .unwrap_or_else(|| format!("stream {}", stream.0 + 1))
    }

    /// One line on standard error, above the bar; an event where logs are JSON.
    pub(crate) fn line(&self, text: &str) {
        if logs::are_json() {
            self.events(text);
        } else if !self.quiet && self.log.as_ref().is_none_or(|log| log.line(text)) {
            self.bar.suspend(|| print_stderr(text));
        }
    }

    fn events(&self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !self.quiet) {
            tracing::info!(target: "streamdet::ui", "{line}");
        }
    }

    /// A line that the dashboard shows but does not keep.
    pub(crate) fn passing(&self, text: &str) {
        if logs::are_json() {
            self.events(text);
        } else if !self.quiet && self.log.as_ref().is_none_or(|log| log.passing(text)) {
            self.bar.suspend(|| print_stderr(text));
        }
    }

    /// The model: its name, how many classes it has, and its input's size.
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// Characters per line: the terminal's, else 100.
    pub(crate) fn width() -> usize {
        console::Term::stderr().size_checked().map_or(100, |(_, columns)| usize::from(columns))
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Notes a stream's name and length, and prints the model's line with the first one.
    pub(crate) fn began(&self, stream: StreamId, info: &StreamInfo, provider: Option<&ProviderReport>) {
        if let Some(provider) = provider.filter(|_| stream.0 == 0) {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let plural = if cores == 1 { "" } else { "s" };
            self.line(&format!("  {} · {} · {cores} core{plural}", self.model, printable(&provider.summary())));
            if self.verbosity == Verbosity::Frames {
                for (rejected, reason) in &provider.rejected {
                    self.line(&format!("  {} not used: {reason}", rejected.name()));
                }
            }
        }
        if self.recorded && stream.0 == 0 {
            self.line(&format!("  {}", self.model));
        }
        let frames = info.duration.zip(rate(info)).map_or(0.0, |(d, r)| d.as_secs_f64() * r);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of frames")]
        let frames = frames.round() as u64;
        known[stream.0 as usize] = (printable(&info.name), frames);
        let total = self.fixed_total.unwrap_or_else(|| known.iter().map(|(_, frames)| frames).sum());
        if total > 0 {
            self.bar.set_length(total);
        }
    }
}

fn rate(info: &StreamInfo) -> Option<f64> {
    info.frame_rate.map(|(n, d)| f64::from(n) / f64::from(d.max(1)))
}

impl Screen {
    pub(crate) fn opened(&self, stream: StreamId, info: &StreamInfo, provider: Option<&ProviderReport>) {
        let mut parts = vec![printable(&info.name), format!("{}×{}", info.size.width, info.size.height)];
        parts.extend(rate(info).map(|r| format!("{} fps", (r * 100.0).round() / 100.0)));
        parts.push(std::iter::once(&info.codec).chain(&info.audio_codecs).cloned().collect::<Vec<_>>().join(" + "));
        self.line(&format!("  {}", parts.join(" · ")));
        self.began(stream, info, provider);
    }

    pub(crate) fn frame(&self, frame: &DecodedFrame, size: Size) {
        self.bar.inc(1);
        if self.wants_line() {
            let s = &frame.stamps;
            let shape = frame.letterbox.map_or(size, |l| l.tensor);
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let (name, total) = &known[frame.stream.0 as usize];
            let what = objects(&frame.detections, &self.classes);
            let ms = s.inference.as_secs_f64() * 1000.0 / f64::from(s.batch_size.max(1));
            let number = frame.stream.0 + 1;
            let place = if let Some(file) = &frame.file {
                let of = self.bar.length().unwrap_or(0).max(frame.index + 1);
                format!("image {}/{of} {}", frame.index + 1, printable(&file.display().to_string()))
            } else {
                // How many frames a live stream will have is unknown.
                let of = if *total > 0 { format!("/{total}") } else { String::new() };
                format!("video {number}/{} (frame {}{of}) {name}", self.streams, frame.index + 1)
            };
            self.passing(&format!("{place}: {}x{} {what}, {ms:.1}ms", shape.height, shape.width));
        } else if self.bar.is_hidden() && !self.quiet && self.log.is_none() && !logs::are_json() {
            let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
            plain.1 += 1;
            let now = clock::now();
            if now.since(plain.0) >= PLAIN_EVERY {
                plain.0 = now;
                #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
                let fps = plain.1 as f64 / now.since(self.started).as_secs_f64();
                let of = self.bar.length().map_or_else(String::new, |n| format!("/{n}"));
                print_stderr(&format!("  {}{of} frames · {fps:.1} fps", plain.1));
            }
        }
    }

    pub(crate) fn serving(&self, _: StreamId, address: &str) {
        self.line(&format!("  serving {address}"));
    }

    pub(crate) fn disconnected(&self, stream: StreamId, reason: &str) {
        self.line(&format!("  {}: disconnected: {}, reconnecting", self.name(stream), printable(reason)));
    }

    pub(crate) fn gap(&self, stream: StreamId, gap: &Gap) {
        let s = |time: StreamTime| Duration::from_nanos(time.ns).as_secs_f64();
        let end = if gap.resumed { "reconnected after" } else { "still disconnected after" };
        self.line(&format!("  {}: {end} {:.1} s", self.name(stream), s(gap.to) - s(gap.from)));
    }

    pub(crate) fn notice(&self, text: &str) {
        if self.said.is_new(text) {
            self.occurrence(text);
        }
    }

    /// Something failed, and the end may be far: it is said now, quiet or not. A dashboard shows it for as long as it is up.
    fn failed(&self, stream: Option<StreamId>, error: &RunError) {
        if self.log.is_some() {
            return;
        }
        let text = error.to_string();
        let what = || text.split(": ").next().unwrap_or_default().to_owned();
        let name = stream.map_or_else(what, |stream| self.name(stream));
        self.bar.suspend(|| logs::print_error(&text));
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(Failure { text, name });
    }

    /// What was said to have failed.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A notice of what happened now, which is never held back.
    pub(crate) fn occurrence(&self, text: &str) {
        self.line(&format!("  notice: {}", printable(&in_one_line(text))));
    }
}

impl logs::Printer for Screen {
    fn log(&self, text: &str) {
        if self.log.as_ref().is_none_or(|log| log.passing(text)) {
            self.bar.suspend(|| print_stderr(text));
        }
    }
}

#[deny(clippy::wildcard_enum_match_arm)]
impl Listener for Screen {
    fn on(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::StreamUp { stream, info, provider } => self.opened(stream, info, provider),
            RunEvent::Disconnected { stream, reason } => self.disconnected(stream, reason),
            RunEvent::Outage { stream, gap } => self.gap(stream, gap),
            RunEvent::FrameDone { frame, size } => self.frame(frame, size),
            RunEvent::Serving { stream, address } => self.serving(stream, address),
            RunEvent::Notice(text) => self.notice(text),
            RunEvent::Occurrence(text) => self.occurrence(text),
            RunEvent::Failed { stream, error, goes_on: true } => self.failed(stream, error),
            RunEvent::Reconnected { .. }
            | RunEvent::StreamEnded { .. }
            | RunEvent::FrameRecorded(_)
            | RunEvent::Dropped { .. }
            | RunEvent::Occupancy { .. }
            | RunEvent::Output { .. }
            | RunEvent::Queue { .. }
            | RunEvent::Failed { goes_on: false, .. } => {}
        }
    }
}

/// Name, classes and input size of the model, or what a file has.
fn described(origin: &Origin, imgsz: Size) -> String {
    if let Some(RecordedIn { format, boxes, .. }) = &origin.recorded {
        return format!("{} · {} ({format}) · no model", printable(&origin.name), counted(*boxes, "box"));
    }
    let Size { width, height } = origin.static_size.unwrap_or(imgsz);
    let side = if width == height { width.to_string() } else { format!("{height}×{width}") };
    let classes = counted(origin.classes.len() as u64, "class");
    format!("{} · {classes} · {side}", printable(&origin.name))
}
