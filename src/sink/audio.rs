//! Audio: passed through to the muxer where the container carries its codec, else re-encoded.

use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::error::OutputError;
use super::pipeline::Pipeline;
use crate::stream::{AUDIO_PACKETS, AudioTrack};

/// Compressed bytes a track may hold before a muxer: as much as an unluckily interleaved file needs.
pub(super) const BRANCH_BYTES: u32 = 256 << 20;
/// How long the next packet may take where a recording's audio is longer than its video.
const PATIENCE: Duration = Duration::from_secs(30);

/// One audio track of the source, taken packet by packet at the frames' pace.
pub(super) struct AudioFeed {
    /// Format of the packets.
    pub caps: gst::Caps,
    packets: Receiver<gst::Buffer>,
    /// Taken from the channel, but too early to be written.
    held: Option<gst::Buffer>,
    /// When the last packet began, and the longest time between two packets so far.
    rhythm: Option<(gst::ClockTime, gst::ClockTime)>,
    /// The end of the track was reported.
    ended: bool,
}

/// Takes a track's next packet, or `None` once, at its end.
type Take<'a> = &'a mut dyn FnMut(Option<gst::Buffer>);

impl AudioFeed {
    pub fn new(track: AudioTrack) -> Self {
        Self { caps: track.caps, packets: track.packets, held: None, rhythm: None, ended: false }
    }

    /// Hands over what belongs before a frame shown at `now`.
    pub fn advance(&mut self, now: gst::ClockTime, take: Take) {
        self.hand_over(Some(now), false, take);
    }

    /// Makes room when the demuxer is about to wait for it while no frame comes.
    pub fn relieve(&mut self, take: Take) {
        if self.packets.len() > AUDIO_PACKETS / 2 {
            self.hand_over(None, false, take);
        }
    }

    /// Hands over the rest: all of it once the source has ended, or up to the frame after the last one.
    pub fn finish(&mut self, cut_at: Option<gst::ClockTime>, take: Take) {
        self.hand_over(cut_at, cut_at.is_none(), take);
        self.end(take);
    }

    /// Takes packets that begin before `until`, waiting for more when `to_end`.
    fn hand_over(&mut self, until: Option<gst::ClockTime>, to_end: bool, take: Take) {
        while !self.ended {
            let mut packet = match self.held.take() {
                Some(packet) => packet,
                None if to_end => match self.packets.recv_timeout(PATIENCE) {
                    Ok(packet) => packet,
                    Err(_) => return self.end(take),
                },
                None => match self.packets.try_recv() {
                    Ok(packet) => packet,
                    Err(TryRecvError::Empty) => return,
                    Err(TryRecvError::Disconnected) => return self.end(take),
                },
            };
            if until.zip(packet.pts()).is_some_and(|(until, pts)| pts >= until) {
                self.held = Some(packet);
                return;
            }
            self.time(&mut packet);
            take(Some(packet));
        }
    }

    /// Sets the duration of a packet that has none to that of the one before it: a muxer that is not told how long the last one lasts
    /// leaves it out of the track's length, and players leave it out altogether.
    fn time(&mut self, packet: &mut gst::Buffer) {
        // Headers come before all times; a packet without one later on lost it in a damaged stretch.
        let guessed = self.rhythm.map(|(last, length)| last + length);
        let Some(pts) = packet.pts().or(guessed) else { return };
        let before = self.rhythm.map(|(last, length)| (pts.saturating_sub(last), length));
        let length = before.map_or(gst::ClockTime::ZERO, |(delta, length)| delta.max(length));
        self.rhythm = Some((pts, length));
        if packet.duration().is_none() || packet.pts().is_none() {
            let packet = packet.make_mut();
            packet.set_pts(pts);
            packet.set_duration(packet.duration().unwrap_or(length));
        }
    }

    fn end(&mut self, take: Take) {
        if !self.ended {
            self.ended = true;
            take(None);
        }
    }
}

/// Where one audio track enters a muxer.
pub(super) struct AudioInput {
    pub source: gst_app::AppSrc,
    ended: bool,
}

/// How an audio track is written.
pub(super) enum AudioMode {
    /// Passed through.
    Passthrough,
    /// Re-encoded, for this reason.
    Reencoded(String),
}

impl AudioInput {
    /// Adds a track of this format to `pipeline` before `mux`, which makes `what` of it (`.mp4`, `rtmp`).
    ///
    /// # Errors
    /// When an element is missing or the muxer takes no audio.
    pub fn add(
        pipeline: &Pipeline,
        mux: &gst::Element,
        what: &str,
        format: &gst::Caps,
    ) -> Result<(Self, AudioMode), OutputError> {
        let missing = |what| gst::glib::bool_error!("the muxer has no {}", what);
        let templates = ["audio_%u", "audio", "sink_%d"];
        let template = templates.iter().find_map(|name| mux.pad_template(name).map(|template| (*name, template)));
        let (name, template) = template.ok_or_else(|| missing("audio track"))?;
        let parser = parser_for(format);
        // What a parser makes of it: framing is undone or put on as the muxer asks.
        let mut bare = format.clone();
        for structure in bare.make_mut().iter_mut() {
            structure.remove_fields(["framed", "parsed", "stream-format"]);
        }
        let (branch, mode) = if template.caps().can_intersect(&bare) {
            (parser.unwrap_or("identity").to_owned(), AudioMode::Passthrough)
        } else {
            let opus = what == ".webm";
            let encoder = if opus { "opusenc ! opusparse" } else { "avenc_aac bitrate=192000 ! aacparse" };
            let codec = crate::stream::codec_name(format);
            let to = if opus { "Opus" } else { "AAC" };
            (
                format!("decodebin ! audioconvert ! audioresample ! {encoder}"),
                AudioMode::Reencoded(format!("{what} cannot carry {codec} audio; it is re-encoded as {to}")),
            )
        };
        let description = format!(
            "appsrc name=packets format=time ! {branch} \
             ! queue name=out max-size-buffers=0 max-size-time=0 max-size-bytes={BRANCH_BYTES}"
        );
        let bin = gst::parse::bin_from_description(&description, false)
            .map_err(|source| OutputError::SetUp { what: "audio", source })?;
        let source = bin.by_name("packets").and_then(|e| e.downcast::<gst_app::AppSrc>().ok());
        let source = source.ok_or_else(|| missing("audio input"))?;
        source.set_caps(Some(format));
        // Paced by the frames; no bound of its own may make their thread wait.
        source.set_max_bytes(0);
        // By hand: asked to, the parser would also expose the pads that decodebin links later.
        let out =
            bin.by_name("out").and_then(|queue| queue.static_pad("src")).ok_or_else(|| missing("audio branch"))?;
        if matches!(parser, Some("aacparse" | "mpegaudioparse" | "ac3parse")) {
            drop_untimed(&out);
        }
        let from = gst::GhostPad::with_target(&out)?;
        bin.add_pad(&from)?;
        pipeline.gst().add(&bin)?;
        let to = mux.request_pad_simple(name).ok_or_else(|| missing("audio track left"))?;
        from.link(&to).map_err(|e| gst::glib::bool_error!("the muxer refuses the audio: {:?}", e))?;
        Ok((Self { source, ended: false }, mode))
    }

    /// Hands a packet over.
    pub fn push(&mut self, packet: gst::Buffer) {
        if !self.ended && self.source.push_buffer(packet).is_err() {
            // The pipeline failed: its error is on the bus.
            self.ended = true;
        }
    }

    /// No packet comes any more.
    pub fn end(&mut self) {
        if !self.ended {
            // A pipeline that failed needs no end: its error is on the bus.
            let _ = self.source.end_of_stream();
            self.ended = true;
        }
    }
}

/// Drops what has no time, over which an MP4 muxer fails: packets before the first one that has, as where the first headers
/// of a broadcast are damaged. (Later ones are timed by those before them.)
fn drop_untimed(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| match info.buffer() {
        Some(packet) if packet.pts().is_none() => gst::PadProbeReturn::Drop,
        _ => gst::PadProbeReturn::Ok,
    });
}

fn parser_for(caps: &gst::Caps) -> Option<&'static str> {
    let structure = caps.structure(0)?;
    let version = structure.get::<i32>("mpegversion").ok();
    match structure.name().as_str() {
        "audio/mpeg" if version == Some(1) => Some("mpegaudioparse"),
        "audio/mpeg" => Some("aacparse"),
        "audio/x-opus" => Some("opusparse"),
        "audio/x-flac" => Some("flacparse"),
        "audio/x-vorbis" => Some("vorbisparse"),
        "audio/x-ac3" | "audio/x-eac3" => Some("ac3parse"),
        _ => None,
    }
}
