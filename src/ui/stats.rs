//! Statistics of a run (`--stats`): a line every so often on standard error.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::screen::Screen;
use crate::clock::{self, HostTime};
use crate::frame::DecodedFrame;
use crate::pipeline::{Listener, RunEvent};
use crate::shutdown::Shutdown;
use crate::stream::{Dropped, StreamId};
use crate::thread::{self, Thread, ThreadError};

/// Longest latency that is told apart, µs.
const LONGEST_US: u64 = 3_600_000_000;
/// Lines after which `DeepStream`'s head is repeated.
const HEAD_EVERY: u64 = 20;

/// Format of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Frame rate, latency, drops and queue.
    #[default]
    Streamdet,
    /// `**PERF:` lines, a column a stream.
    Deepstream,
    /// The newest frame's line, as `-v` prints it: the screen prints it, no thread of its own.
    Ultralytics,
}

/// The lines, printed by a thread of their own, so that they also appear while no frame does.
pub(crate) struct Stats {
    counts: Arc<Counts>,
    stop: Shutdown,
    thread: Thread<()>,
}

struct Counts {
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
    started: HostTime,
    last: HostTime,
}

impl Stats {
    /// Prints through `screen` from now on, every `every`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(every: Duration, format: Format, screen: &Arc<Screen>) -> Result<Self, ThreadError> {
        let now = clock::now();
        let inner = Inner {
            streams: Vec::new(),
            latency: Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid"),
            dropped: [0; 2],
            queue: (0, 0),
            lines: 0,
            started: now,
            last: now,
        };
        let counts = Arc::new(Counts { format, inner: Mutex::new(inner) });
        let stop = Shutdown::new();
        let (own, screen, stopped) = (counts.clone(), screen.clone(), stop.clone());
        let body = move || {
            while !stopped.wait(every) {
                thread::test_panic_point();
                let text = own.lock().line(own.format);
                for line in text.lines() {
                    screen.passing(line);
                }
            }
        };
        let thread = thread::spawn("stats", body)?;
        Ok(Self { counts, stop, thread })
    }

    pub(crate) fn listener(&self) -> Arc<dyn Listener> {
        self.counts.clone()
    }

    /// Ends the lines.
    ///
    /// # Errors
    /// When their thread panicked.
    pub(crate) fn stop(self) -> Result<(), ThreadError> {
        self.stop.request();
        self.thread.join()
    }
}

impl Counts {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, stream: StreamId) {
        let mut inner = self.lock();
        let streams = stream.0 as usize + 1;
        if inner.streams.is_empty() {
            // Loading the model is no part of the mean.
            let now = clock::now();
            (inner.started, inner.last) = (now, now);
        }
        if inner.streams.len() < streams {
            inner.streams.resize(streams, [0; 2]);
        }
    }

    fn frame(&self, frame: &DecodedFrame) {
        let mut inner = self.lock();
        if let Some([since, all]) = inner.streams.get_mut(frame.stream.0 as usize) {
            *since += 1;
            *all += 1;
        }
        let latency = frame.stamps.handed_over.since(frame.stamps.decoded).as_micros();
        inner.latency.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
    }

    fn dropped(&self, dropped: Dropped) {
        for count in &mut self.lock().dropped {
            *count += dropped.total();
        }
    }

    fn queue(&self, waiting: usize, capacity: usize) {
        self.lock().queue = (waiting, capacity);
    }
}

#[deny(clippy::wildcard_enum_match_arm)]
impl Listener for Counts {
    fn on(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::StreamUp { stream, .. } => self.opened(stream),
            RunEvent::FrameDone { frame, .. } => self.frame(frame),
            RunEvent::Dropped { dropped, .. } => self.dropped(dropped),
            RunEvent::Queue { waiting, capacity } => self.queue(waiting, capacity),
            RunEvent::Disconnected { .. }
            | RunEvent::Reconnected { .. }
            | RunEvent::Outage { .. }
            | RunEvent::StreamEnded { .. }
            | RunEvent::FrameRecorded(_)
            | RunEvent::Occupancy { .. }
            | RunEvent::Output { .. }
            | RunEvent::Serving { .. }
            | RunEvent::Notice(_)
            | RunEvent::Occurrence(_)
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
        let now = clock::now();
        let (since_s, all_s) =
            (now.since(self.last).as_secs_f64().max(1e-9), now.since(self.started).as_secs_f64().max(1e-9));
        #[expect(clippy::cast_precision_loss, reason = "counts of frames")]
        let rates = |[since, all]: [u64; 2]| (since as f64 / since_s, all as f64 / all_s);
        let mut text = String::new();
        if format == Format::Deepstream {
            if self.lines.is_multiple_of(HEAD_EVERY) {
                text += "**PERF:  ";
                text.extend((0..self.streams.len()).map(|stream| format!("FPS {stream} (Avg)\t")));
                text.push('\n');
            }
            text += "**PERF:  ";
            text.extend(self.streams.iter().map(|counts| {
                let (since, all) = rates(*counts);
                format!("{since:.2} ({all:.2})\t")
            }));
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
            text = format!(
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
