//! The newest JSON Lines of a stream, in memory, for readers who come, go, and go on where they were.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::json::{write_event, write_line};
use super::{DetectedFrame, DetectionError, DetectionOutput, DetectionSink, FileNames, StreamEvent};
use crate::shutdown::Shutdown;
use crate::stream::StreamId;

/// Bytes that are kept: half a minute of a busy stream.
const BYTES: usize = 4 << 20;

/// The lines.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    classes: Arc<[String]>,
    changed: Box<dyn Fn() + Send + Sync>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Arc<str>>,
    bytes: usize,
    /// Number of the oldest that is kept, from 0.
    first: u64,
    ended: bool,
}

/// What a reader gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Lines with their numbers, without line breaks.
    pub lines: Vec<(u64, Arc<str>)>,
    /// Lines before them that are not kept any more.
    pub missed: u64,
    /// No more come.
    pub ended: bool,
}

impl Feed {
    /// For detections of these classes; `changed` is called after every line, on the stream's thread: it must not wait.
    #[must_use]
    pub fn new(classes: Arc<[String]>, changed: Box<dyn Fn() + Send + Sync>) -> Self {
        Self(Arc::new(Inner { classes, changed, kept: Mutex::default() }))
    }

    /// `most` lines from number `from` on, at most.
    #[must_use]
    pub fn read(&self, from: u64, most: usize) -> Read {
        let kept = self.kept();
        let skipped = usize::try_from(from.saturating_sub(kept.first)).unwrap_or(usize::MAX);
        let numbered = (kept.first..).zip(&kept.lines).skip(skipped).take(most);
        let lines: Vec<_> = numbered.map(|(number, line)| (number, line.clone())).collect();
        let is_all = skipped.saturating_add(lines.len()) >= kept.lines.len();
        Read { lines, missed: kept.first.saturating_sub(from), ended: kept.ended && is_all }
    }

    /// The number of the next line.
    #[must_use]
    pub fn next(&self) -> u64 {
        let kept = self.kept();
        kept.first + kept.lines.len() as u64
    }

    /// No more lines come.
    pub fn end(&self) {
        self.kept().ended = true;
        (self.0.changed)();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, write: impl FnOnce(&mut Vec<u8>, &[String]) -> std::io::Result<()>) {
        let mut line = Vec::with_capacity(256);
        // Nothing that is written into memory fails.
        let _ = write(&mut line, &self.0.classes);
        let text = String::from_utf8_lossy(&line);
        let line: Arc<str> = text.trim_end_matches('\n').into();
        let mut kept = self.kept();
        kept.bytes += line.len();
        kept.lines.push_back(line);
        while kept.bytes > BYTES
            && let Some(oldest) = kept.lines.pop_front()
        {
            kept.bytes -= oldest.len();
            kept.first += 1;
        }
        drop(kept);
        (self.0.changed)();
    }
}

impl DetectionOutput for Feed {
    fn sink(&self, stream: StreamId, _: &FileNames, _: &Shutdown) -> Box<dyn DetectionSink> {
        Box::new(FeedSink { feed: self.clone(), stream })
    }

    fn finish(&self, _: &Shutdown) -> Result<(), DetectionError> {
        self.end();
        Ok(())
    }
}

struct FeedSink {
    feed: Feed,
    stream: StreamId,
}

impl DetectionSink for FeedSink {
    fn frame(&mut self, detected: &DetectedFrame<'_>) -> Result<(), DetectionError> {
        self.feed.add(|line, classes| write_line(line, detected.frame, detected.size, classes));
        Ok(())
    }

    fn event(&mut self, event: &StreamEvent<'_>) -> Result<(), DetectionError> {
        self.feed.add(|line, classes| write_event(line, self.stream, event, classes));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn feed() -> (Feed, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let changed = move || {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        (Feed::new(Arc::new([]), Box::new(changed)), calls)
    }

    fn add(feed: &Feed, text: &str) {
        feed.add(|line, _| {
            line.extend_from_slice(text.as_bytes());
            line.push(b'\n');
            Ok(())
        });
    }

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let (feed, calls) = feed();
        (0..5).for_each(|number| add(&feed, &number.to_string()));
        let texts = |read: &Read| read.lines.iter().map(|(_, line)| line.to_string()).collect::<Vec<_>>();
        let first = feed.read(0, 3);
        assert_eq!((texts(&first), first.missed, first.ended), (vec!["0".into(), "1".into(), "2".into()], 0, false));
        feed.end();
        let rest = feed.read(3, 10);
        assert_eq!((texts(&rest), rest.ended), (vec!["3".into(), "4".into()], true));
        assert_eq!(feed.read(99, 10), Read { ended: true, ..Read::default() });
        assert_eq!((feed.next(), calls.load(Ordering::SeqCst)), (5, 6));
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_missing_is_said() {
        let (feed, _) = feed();
        let line = "x".repeat(1 << 20);
        (0..10).for_each(|_| add(&feed, &line));
        let read = feed.read(2, 100);
        assert_eq!((read.missed, read.lines.len(), read.lines[0].0), (4, 4, 6));
    }
}
