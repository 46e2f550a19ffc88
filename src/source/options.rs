//! Settings of sources.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::template::SourceTemplates;
use crate::clock::StreamTime;
use crate::telemetry::Timeline;

/// How RTP packets travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// UDP, then TCP when nothing arrives; TCP for `rtsps://`.
    #[default]
    Auto,
    /// UDP.
    Udp,
    /// In the RTSP connection itself.
    Tcp,
    /// Tunnelled through HTTP.
    Http,
    /// UDP multicast.
    Multicast,
}

/// What HDR video is written as; detectors always see SDR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hdr {
    /// Tone-mapped to BT.709, 8 bits.
    #[default]
    ToneMap,
    /// HDR as it is, 10 bits.
    Keep,
}

/// How live sources are read.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// A frame that is later than this when it is taken is dropped.
    pub max_lag: Duration,
    /// Jitter buffer latency.
    pub jitter: Duration,
    /// A stream without data for so long is disconnected and opened again.
    pub stall_timeout: Duration,
    /// Attempts to reconnect after an outage began; unlimited without.
    pub reconnect: Option<u64>,
    /// Keeps trying when a source is not available at the start.
    pub wait: bool,
    /// How RTP travels.
    pub transport: Transport,
    /// Certificates of authorities to trust, PEM; the system's without.
    pub tls_ca: Option<PathBuf>,
    /// Trusts any certificate.
    pub insecure: bool,
    /// Whether an HTTP server may send to another address.
    pub redirects: bool,
    /// What sources are read with.
    pub templates: SourceTemplates,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            max_lag: Duration::from_millis(500),
            jitter: Duration::from_millis(100),
            stall_timeout: Duration::from_secs(5),
            reconnect: None,
            wait: false,
            transport: Transport::Auto,
            tls_ca: None,
            insecure: false,
            redirects: true,
            templates: SourceTemplates::default(),
        }
    }
}

/// Images have no times: they are as if a video had 25 of them a second.
const IMAGE_NS: u64 = 40_000_000;

/// What of a source is decoded, and how fast.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Video track, from 1; `None`: the container's default one.
    pub track: Option<u32>,
    /// Frames to deliver, at most.
    pub limit: Option<u64>,
    /// For an image: its path, written on its frame, and its number in its stream.
    pub image: Option<(Arc<Path>, u64)>,
    /// EXIF orientation of a file whose decoder does not tell it, 2..=8; 0 and 1: as the decoder tells.
    pub orientation: u8,
    /// What HDR video is written as.
    pub hdr: Hdr,
    /// Whether an output takes the audio.
    pub audio: bool,
    /// Frames enter the decoder when they are due, as from a live source.
    pub real_time: bool,
    /// What a file beside the source says of the camera.
    pub telemetry: Option<Beside>,
    /// Added to every frame's time in the decoder, to see that the figures show it.
    pub delay: Duration,
}

/// Telemetry of a file beside a source.
#[derive(Debug, Clone)]
pub struct Beside {
    /// By the time of the stream.
    pub timeline: Arc<Timeline>,
    /// The user named it: what the source itself carries does not count.
    pub is_named: bool,
}

impl Wanted {
    /// When an image is shown, in the time of its stream; `None` for what has times of its own.
    pub(super) fn image_time(&self) -> Option<StreamTime> {
        self.image.as_ref().map(|(_, number)| StreamTime { ns: number.saturating_mul(IMAGE_NS) })
    }
}
