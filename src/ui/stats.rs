//! Figures while it runs (`--stats`): a line every so often on standard error.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use hdrhistogram::Histogram;

use super::screen::Screen;
use crate::clock::HostTime;
use crate::frame::DecodedFrame;
use crate::geometry::Size;
use crate::inference::ProviderReport;
use crate::pipeline::{Listener, RunEvent};
use crate::stream::{Dropped, StreamId, StreamInfo};

/// Longest latency that is told apart, µs.
const LONGEST_US: u64 = 3_600_000_000;
/// Lines after which `DeepStream`'s head is repeated.
const HEAD_EVERY: u64 = 20;

/// How the lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Frame rate, latency, drops and queue.
    Streamdet,
    /// `**PERF:` lines, a column a stream.
    Deepstream,
}

/// The lines, being printed by a thread of their own: they come when no frame does, too.
pub(crate) struct Stats {
    watch: Arc<Watch>,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

struct Watch {
    format: Format,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Frames of every stream: since the last line, and in all.
    streams: Vec<[u64; 2]>,
    /// End to end, since the last line, µs.
    latency: Histogram<u64>,
    /// Since the last line, and in all.
    dropped: [u64; 2],
    queue: (usize, usize),
    lines: u64,
    started: Instant,
    last: Instant,
}

impl Stats {
    /// Begins to print through `screen`.
    pub(crate) fn start(every: Duration, format: Format, screen: &Arc<Screen>) -> Self {
        let now = Instant::now();
        let inner = Inner {
            streams: Vec::new(),
            latency: Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid"),
            dropped: [0; 2],
            queue: (0, 0),
            lines: 0,
            started: now,
            last: now,
        };
        let watch = Arc::new(Watch { format, inner: Mutex::new(inner) });
        let (stop, stopped) = bounded(0);
        let (own, screen) = (watch.clone(), screen.clone());
        let body = move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                for line in own.lock().line(own.format).lines() {
                    screen.passing(line);
                }
            }
        };
        let thread = std::thread::Builder::new().name("stats".into()).spawn(body).ok();
        Self { watch, stop, thread }
    }

    pub(crate) fn listener(&self) -> Arc<dyn Listener> {
        self.watch.clone()
    }

    /// Ends the lines.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    fn opened(&self, stream: StreamId, _info: &StreamInfo, _provider: Option<&ProviderReport>) {
        let mut inner = self.lock();
        let streams = stream.0 as usize + 1;
        if inner.streams.is_empty() {
            // Loading the model is no part of the mean.
            (inner.started, inner.last) = (Instant::now(), Instant::now());
        }
        if inner.streams.len() < streams {
            inner.streams.resize(streams, [0; 2]);
        }
    }

    fn frame(&self, frame: &DecodedFrame, _size: Size) {
        let mut inner = self.lock();
        if let Some([since, all]) = inner.streams.get_mut(frame.stream.0 as usize) {
            *since += 1;
            *all += 1;
        }
        let latency = frame.stamps.handed_over.since(frame.stamps.decoded).as_micros();
        inner.latency.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
    }

    fn dropped(&self, _stream: StreamId, dropped: Dropped, _at: HostTime) {
        for count in &mut self.lock().dropped {
            *count += dropped.total();
        }
    }

    fn queue(&self, waiting: usize, capacity: usize) {
        self.lock().queue = (waiting, capacity);
    }
}

#[deny(clippy::wildcard_enum_match_arm)]
impl Listener for Watch {
    fn on(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::StreamUp { stream, info, provider } => self.opened(stream, info, provider),
            RunEvent::FrameDone { frame, size } => self.frame(frame, size),
            RunEvent::Dropped { stream, dropped, at } => self.dropped(stream, dropped, at),
            RunEvent::Queue { waiting, capacity } => self.queue(waiting, capacity),
            RunEvent::Disconnected { .. }
            | RunEvent::Reconnected { .. }
            | RunEvent::Outage { .. }
            | RunEvent::StreamEnded { .. }
            | RunEvent::FrameRecorded(_)
            | RunEvent::Serving { .. }
            | RunEvent::Notice(_)
            | RunEvent::Failed { .. } => {}
        }
    }
}

impl Inner {
    /// The figures since the last call; nothing before a stream is open.
    fn line(&mut self, format: Format) -> String {
        if self.streams.is_empty() {
            return String::new();
        }
        let now = Instant::now();
        let (since_s, all_s) =
            ((now - self.last).as_secs_f64().max(1e-9), (now - self.started).as_secs_f64().max(1e-9));
        #[expect(clippy::cast_precision_loss, reason = "counts of frames")]
        let rates = |[since, all]: [u64; 2]| (since as f64 / since_s, all as f64 / all_s);
        let mut text = String::new();
        if format == Format::Deepstream {
            if self.lines.is_multiple_of(HEAD_EVERY) {
                text += "**PERF:  ";
                for stream in 0..self.streams.len() {
                    let _ = write!(text, "FPS {stream} (Avg)\t");
                }
                text.push('\n');
            }
            text += "**PERF:  ";
            for counts in &self.streams {
                let (since, all) = rates(*counts);
                let _ = write!(text, "{since:.2} ({all:.2})\t");
            }
        } else {
            let total = self.streams.iter().fold([0; 2], |sum, counts| [sum[0] + counts[0], sum[1] + counts[1]]);
            let (since, all) = rates(total);
            #[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^52")]
            let at = |q| self.latency.value_at_quantile(q) as f64 / 1000.0;
            let latency = match self.latency.len() {
                0 => "no frame".to_owned(),
                _ => format!("end to end p50 {:.1} ms, p99 {:.1} ms", at(0.5), at(0.99)),
            };
            let ([dropped, dropped_all], (waiting, capacity)) = (self.dropped, self.queue);
            let _ = write!(
                text,
                "  stats: {since:.1} fps (mean {all:.1}) \u{b7} {latency} \u{b7} {dropped} dropped (all {dropped_all}) \u{b7} \
                 queue {waiting}/{capacity}"
            );
        }
        self.lines += 1;
        self.last = now;
        self.dropped[0] = 0;
        self.latency.reset();
        self.streams.iter_mut().for_each(|counts| counts[0] = 0);
        text
    }
}
