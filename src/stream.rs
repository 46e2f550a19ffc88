//! What is known of a stream: which it is, what it carries, how its frames are counted, when it was disconnected.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Receiver;
use gstreamer as gst;

use crate::clock::StreamTime;
use crate::geometry::Size;

/// Which input stream a frame belongs to: its index on the command line, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// An audio track that passes through beside the detector: its caps and its packets.
#[derive(Clone)]
pub struct AudioTrack {
    /// Format, as parsed.
    pub format: AudioFormat,
    /// What became of its packets in the source.
    pub counters: Arc<AudioCounters>,
    /// Packets with running-time PTS; bounded at [`AUDIO_PACKETS`]. When it is full, the demuxer waits; of a live
    /// source packets are dropped.
    pub packets: Receiver<gstreamer::Buffer>,
}

/// The format of a track: as announced, until its first packet says it for good.
#[derive(Debug, Clone, Default)]
pub struct AudioFormat(Arc<Mutex<(Option<gst::Caps>, bool)>>);

impl AudioFormat {
    fn lock(&self) -> MutexGuard<'_, (Option<gst::Caps>, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As far as it is known.
    #[must_use]
    pub fn caps(&self) -> Option<gst::Caps> {
        self.lock().0.clone()
    }

    /// It is announced to be `caps`; whether that is the track's format, as it is as long as no packet came.
    #[must_use]
    pub fn announce(&self, caps: &gst::CapsRef) -> bool {
        let mut format = self.lock();
        if let (Some(known), true) = &*format {
            return caps.is_subset(known);
        }
        format.0 = Some(caps.to_owned());
        true
    }

    /// A packet came in `caps`; whether it belongs into the track.
    #[must_use]
    pub fn takes(&self, caps: Option<&gst::CapsRef>) -> bool {
        let mut format = self.lock();
        match (&*format, caps) {
            ((Some(known), true), Some(caps)) => caps.is_subset(known),
            (_, Some(caps)) => {
                *format = (Some(caps.to_owned()), true);
                true
            }
            _ => true,
        }
    }
}

/// Counts the audio packets of a track where they leave the demuxer.
#[derive(Debug, Default)]
pub struct AudioCounters {
    received: AtomicU64,
    early: AtomicU64,
    dropped: AtomicU64,
}

impl AudioCounters {
    /// A packet left the demuxer.
    pub fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// It lies before the stream's beginning.
    pub fn early(&self) {
        self.early.fetch_add(1, Ordering::Relaxed);
    }

    /// It is in another format than the track, goes back in time, or came while a live stream's channel was full.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Packets that were received, those among them that are too early, and others that were dropped.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (get(&self.received), get(&self.early), get(&self.dropped))
    }
}

/// Audio tracks that a file has, and how much of the longest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AudioKept {
    /// Tracks with the source's own packets.
    pub passed_through: usize,
    /// Tracks that were encoded anew.
    pub reencoded: usize,
    /// From the first packet to the end of the last.
    pub length: Duration,
}

/// Capacity of a side track's channel, packets. Audio is interleaved with video within seconds; this is minutes, so that
/// a demuxer never stands still between a full audio branch and a muxer that waits for video.
pub const AUDIO_PACKETS: usize = 1 << 16;

/// What is known once the first frame is decoded.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// Short name for people.
    pub name: String,
    /// It is a recording: all of it comes, and its end is the end.
    pub recorded: bool,
    /// First frame's size as displayed.
    pub size: Size,
    /// Frame rate as a fraction; `None` when the stream has no constant rate.
    pub frame_rate: Option<(i32, i32)>,
    /// How long it is, as far as that can be said.
    pub duration: Option<Duration>,
    /// The same, where it is certain enough to reserve room by.
    pub sure_duration: Option<Duration>,
    /// Video codec, for people.
    pub codec: String,
    /// Codecs of the audio tracks, for people.
    pub audio_codecs: Vec<String>,
    /// Notices for the user, each with what was done.
    pub notices: Vec<String>,
}

/// What is known when a stream begins, and its audio tracks.
pub type Opening = (StreamInfo, Vec<AudioTrack>);

/// An outage: a stretch of a stream's time in which it was disconnected.
#[derive(Debug, Clone)]
pub struct Gap {
    /// The last frame before it.
    pub from: StreamTime,
    /// The first frame after it, or when the run ended.
    pub to: StreamTime,
    /// Why it was disconnected, without secrets.
    pub reason: String,
    /// Whether it was re-established.
    pub resumed: bool,
}

/// Frames of a stream: `received = processed + Σ dropped`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct FrameCounts {
    /// Frames that left the decoder, or should have.
    pub received: u64,
    /// Inferred or carried over, drawn and handed to the sink.
    pub processed: u64,
    /// Run through the model.
    pub inferred: u64,
    /// Not processed, by reason.
    pub dropped: Dropped,
}

impl FrameCounts {
    /// Whether every frame that was received is processed or dropped, and no other.
    #[must_use]
    pub fn is_accounted(&self) -> bool {
        self.received == self.processed + self.dropped.total()
    }
}

/// Why frames were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Dropped {
    /// Too old when decoded (live).
    pub stale: u64,
    /// Evicted by a newer one (live).
    pub queue_full: u64,
    /// Damaged.
    pub corrupt: u64,
    /// Swallowed by what failed: the model's run, or the stream's output.
    pub failed: u64,
}

impl Dropped {
    /// Adds what another count holds.
    pub fn add(&mut self, other: Self) {
        self.stale += other.stale;
        self.queue_full += other.queue_full;
        self.corrupt += other.corrupt;
        self.failed += other.failed;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.stale + self.queue_full + self.corrupt + self.failed
    }
}

/// The counts of a stream while it runs, each kept where it happens and by nobody else: that they agree at the end is no
/// matter of course, and is checked.
#[derive(Debug, Default)]
pub struct FrameCounters {
    /// By the source, where frames leave the decoder, or it is known that they never will.
    received: AtomicU64,
    /// By the worker: frames given to the stream's sink thread.
    handed_on: AtomicU64,
    /// By the sink thread.
    processed: AtomicU64,
    inferred: AtomicU64,
    swallowed: AtomicU64,
    /// By the worker, and by the source where the worker is gone.
    stale: AtomicU64,
    queue_full: AtomicU64,
    corrupt: AtomicU64,
    failed: AtomicU64,
    /// Of its telemetry tracks, by the source.
    pub telemetry: TelemetryCounters,
}

/// Counts the packets of a stream's telemetry.
#[derive(Debug, Default)]
pub struct TelemetryCounters {
    packets: AtomicU64,
    bad_checksum: AtomicU64,
    unknown: AtomicU64,
    unreadable: AtomicU64,
}

impl TelemetryCounters {
    /// A packet was read.
    pub fn packet(&self) {
        self.packets.fetch_add(1, Ordering::Relaxed);
    }

    /// Its checksum is wrong: it is passed over.
    pub fn bad_checksum(&self) {
        self.bad_checksum.fetch_add(1, Ordering::Relaxed);
    }

    /// It is of a kind that is not known: it is passed over.
    pub fn unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes that are no whole packet came.
    pub fn unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    /// As they are now.
    #[must_use]
    pub fn counts(&self) -> TelemetryCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TelemetryCounts {
            packets: get(&self.packets),
            bad_checksum: get(&self.bad_checksum),
            unknown: get(&self.unknown),
            unreadable: get(&self.unreadable),
        }
    }
}

/// Packets of a stream's telemetry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct TelemetryCounts {
    /// Read, those that are passed over included.
    pub packets: u64,
    /// Passed over: the checksum is wrong.
    pub bad_checksum: u64,
    /// Passed over: of a kind that is not known.
    pub unknown: u64,
    /// Buffers with bytes that are no whole packet.
    pub unreadable: u64,
}

impl FrameCounters {
    /// So many frames left the decoder, or are known to be lost in it.
    pub fn received(&self, frames: u64) {
        self.received.fetch_add(frames, Ordering::Relaxed);
    }

    /// A frame was given to the stream's sink thread.
    pub fn handed_on(&self) {
        self.handed_on.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame was handed to the stream's outputs, after it was inferred, or with what an earlier one showed.
    pub fn processed(&self, inferred: bool) {
        self.processed.fetch_add(1, Ordering::Relaxed);
        self.inferred.fetch_add(u64::from(inferred), Ordering::Relaxed);
    }

    /// The stream's outputs failed, and so many frames that the sink thread was given came to nothing.
    pub fn swallowed(&self, frames: u64) {
        self.swallowed.fetch_add(frames, Ordering::Relaxed);
    }

    /// The sink thread never came back: what it was given and has not counted came to nothing. How many that is.
    pub fn give_up_sink(&self) -> u64 {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let rest = get(&self.handed_on).saturating_sub(get(&self.processed) + get(&self.swallowed));
        self.swallowed(rest);
        rest
    }

    /// Frames were dropped before the sink thread.
    pub fn dropped(&self, dropped: Dropped) {
        let Dropped { stale, queue_full, corrupt, failed } = dropped;
        let counters = [&self.stale, &self.queue_full, &self.corrupt, &self.failed];
        for (counter, frames) in counters.into_iter().zip([stale, queue_full, corrupt, failed]) {
            counter.fetch_add(frames, Ordering::Relaxed);
        }
    }

    /// The counts as they are now; while the stream runs, some frames are on their way.
    #[must_use]
    pub fn counts(&self) -> FrameCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FrameCounts {
            received: get(&self.received),
            processed: get(&self.processed),
            inferred: get(&self.inferred),
            dropped: Dropped {
                stale: get(&self.stale),
                queue_full: get(&self.queue_full),
                corrupt: get(&self.corrupt),
                failed: get(&self.failed) + get(&self.swallowed),
            },
        }
    }
}

/// What a live output sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct LiveOutput {
    /// Its address, without secrets.
    pub uri: String,
    /// Frames that were sent; to several clients, a frame counts for each.
    pub frames_sent: u64,
    /// Frames that were not: no client took them in time, or there was none.
    pub frames_lost: u64,
    /// Connections that were made anew.
    pub reconnects: u64,
    /// Clients there have been, where it is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<u64>,
    /// Clients that were refused at its address, where it is served: there were as many as may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients_refused: Option<u64>,
}

impl LiveOutput {
    /// Adds it to `all`: an output that was opened again has one entry.
    pub fn add_to(self, all: &mut Vec<Self>) {
        let Some(before) = all.iter_mut().find(|before| before.uri == self.uri) else { return all.push(self) };
        before.frames_sent += self.frames_sent;
        before.frames_lost += self.frames_lost;
        before.reconnects += self.reconnects;
        before.clients = before.clients.zip(self.clients).map(|(before, since)| before + since);
        // Those of its address, as often as it was opened.
        before.clients_refused = before.clients_refused.max(self.clients_refused);
    }
}

/// The codec for people: `h264`, `aac`, …
#[must_use]
pub fn codec_name(caps: &gst::CapsRef) -> String {
    let Some(structure) = caps.structure(0) else { return "unknown".into() };
    let version = structure.get::<i32>("mpegversion").ok();
    let layer = structure.get::<i32>("layer").ok();
    match (structure.name().as_str(), version) {
        ("audio/mpeg", Some(1)) => layer.map_or_else(|| "mp3".into(), |n| format!("mp{n}")),
        ("audio/mpeg", _) if structure.get::<&str>("stream-format").is_ok_and(|format| format == "loas") => {
            "aac (LATM)".into()
        }
        ("audio/mpeg", _) => "aac".into(),
        ("audio/x-raw", _) => "pcm".into(),
        ("video/mpeg", Some(4)) => "mpeg4".into(),
        ("video/mpeg", Some(1)) => "mpeg1".into(),
        ("video/mpeg", _) => "mpeg2".into(),
        ("image/jpeg", _) => "jpeg".into(),
        (name, _) => {
            name.rsplit('/').next().unwrap_or(name).trim_start_matches("x-").trim_start_matches("gst-fourcc-").into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_nobody_counts_is_seen() {
        let counters = FrameCounters::default();
        counters.received(5);
        counters.dropped(Dropped { stale: 1, ..Dropped::default() });
        for _ in 0..4 {
            counters.handed_on();
        }
        counters.processed(true);
        counters.processed(false);
        counters.swallowed(1);
        let counts = counters.counts();
        assert!(!counts.is_accounted() && counts.dropped.failed == 1, "{counts:?}");
        assert_eq!(counters.give_up_sink(), 1);
        let counts = counters.counts();
        assert!(counts.is_accounted() && counts.inferred == 1, "{counts:?}");
    }
}
