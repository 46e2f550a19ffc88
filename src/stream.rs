//! What is known of a stream: which it is, what it carries, how its frames are counted, when it was away.

use std::time::Duration;

use crossbeam_channel::Receiver;
use gstreamer as gst;

use crate::clock::StreamTime;
use crate::geometry::Size;

/// Which input stream a frame belongs to: its index on the command line, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// An audio track, passed by the detector: its caps and its packets.
#[derive(Clone)]
pub struct AudioTrack {
    /// Format, as parsed.
    pub caps: gstreamer::Caps,
    /// Packets with running-time PTS; bounded at [`AUDIO_PACKETS`]. When it is full, the demuxer waits; a live source lets
    /// packets go.
    pub packets: Receiver<gstreamer::Buffer>,
}

/// Capacity of a side track's channel, packets. Audio is interleaved with video within seconds; this is minutes, so that
/// a demuxer never stands still between a full audio branch and a muxer that waits for video.
pub const AUDIO_PACKETS: usize = 1 << 16;

/// What is known once the first picture is there.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// Short name for people.
    pub name: String,
    /// First picture's size as displayed.
    pub size: Size,
    /// Frame rate as a fraction; `None` when the stream has no constant rate.
    pub frame_rate: Option<(i32, i32)>,
    /// How long it will be watched, as far as that can be said.
    pub duration: Option<Duration>,
    /// The same, where it is certain enough to reserve room by.
    pub sure_duration: Option<Duration>,
    /// Codec of the pictures, for people.
    pub codec: String,
    /// Codecs of the audio tracks, for people.
    pub audio_codecs: Vec<String>,
    /// Notices for the user, each with what was done.
    pub notices: Vec<String>,
}

/// What is known when a stream begins, and its audio tracks.
pub type Opening = (StreamInfo, Vec<AudioTrack>);

/// A stretch of a stream's time in which it was away.
#[derive(Debug, Clone)]
pub struct Gap {
    /// The last frame before it.
    pub from: StreamTime,
    /// The first frame after it, or when the run ended.
    pub to: StreamTime,
    /// Why it was away, without secrets.
    pub reason: String,
    /// Whether it came back.
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
    /// Lost, by reason.
    pub dropped: Dropped,
}

/// Why frames were lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Dropped {
    /// Too old when decoded (live).
    pub stale: u64,
    /// Evicted by a newer one (live).
    pub queue_full: u64,
    /// Damaged.
    pub corrupt: u64,
}

impl Dropped {
    /// Adds what another count holds.
    pub fn add(&mut self, other: Self) {
        self.stale += other.stale;
        self.queue_full += other.queue_full;
        self.corrupt += other.corrupt;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.stale + self.queue_full + self.corrupt
    }
}

/// What a live output sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct LiveOutput {
    /// Its address, without secrets.
    pub uri: String,
    /// Frames that were sent; to several clients, a frame counts for each.
    pub frames_sent: u64,
    /// Frames that were not: nobody took them in time, or nobody was there.
    pub frames_lost: u64,
    /// Connections that were made anew.
    pub reconnects: u64,
    /// Clients there have been, where it is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<u64>,
}

/// The codec for people: `h264`, `aac`, …
#[must_use]
pub fn codec_name(caps: &gst::CapsRef) -> String {
    let Some(structure) = caps.structure(0) else { return "unknown".into() };
    let version = structure.get::<i32>("mpegversion").ok();
    let layer = structure.get::<i32>("layer").ok();
    match (structure.name().as_str(), version) {
        ("audio/mpeg", Some(1)) => layer.map_or_else(|| "mp3".into(), |n| format!("mp{n}")),
        ("audio/mpeg", _) => "aac".into(),
        ("audio/x-raw", _) => "pcm".into(),
        ("video/mpeg", Some(4)) => "mpeg4".into(),
        ("video/mpeg", Some(1)) => "mpeg1".into(),
        ("video/mpeg", _) => "mpeg2".into(),
        ("image/jpeg", _) => "jpeg".into(),
        (name, _) => name.rsplit('/').next().unwrap_or(name).trim_start_matches("x-").into(),
    }
}
