//! Audio on its way past the detector: into the muxer as it is where the container carries it, else re-encoded.

use crossbeam_channel::{Receiver, TryRecvError};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::BRANCH_BYTES;
use crate::stream::{AUDIO_PACKETS, AudioTrack};

/// One audio track of the source, taken packet by packet at the pictures' pace.
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

/// What a track gives: its next packet, or `None` once, at its end.
type Give<'a> = &'a mut dyn FnMut(Option<gst::Buffer>);

impl AudioFeed {
    pub fn new(side: AudioTrack) -> Self {
        Self { caps: side.caps, packets: side.packets, held: None, rhythm: None, ended: false }
    }

    /// Gives what belongs before a picture shown at `now`.
    pub fn advance(&mut self, now: gst::ClockTime, give: Give) {
        self.take(Some(now), false, give);
    }

    /// Makes room when the demuxer is about to wait for it while no picture comes.
    pub fn relieve(&mut self, give: Give) {
        if self.packets.len() > AUDIO_PACKETS / 2 {
            self.take(None, false, give);
        }
    }

    /// Gives the rest: all of it once the source has ended, or up to the picture after the last one.
    pub fn finish(&mut self, cut_at: Option<gst::ClockTime>, give: Give) {
        self.take(cut_at, cut_at.is_none(), give);
        self.end(give);
    }

    /// Takes packets that begin before `until`, waiting for more when `to_end`.
    fn take(&mut self, until: Option<gst::ClockTime>, to_end: bool, give: Give) {
        while !self.ended {
            let mut packet = match self.held.take() {
                Some(packet) => packet,
                None if to_end => match self.packets.recv() {
                    Ok(packet) => packet,
                    Err(_) => return self.end(give),
                },
                None => match self.packets.try_recv() {
                    Ok(packet) => packet,
                    Err(TryRecvError::Empty) => return,
                    Err(TryRecvError::Disconnected) => return self.end(give),
                },
            };
            if until.zip(packet.pts()).is_some_and(|(until, pts)| pts >= until) {
                self.held = Some(packet);
                return;
            }
            self.time(&mut packet);
            give(Some(packet));
        }
    }

    /// Gives a packet without a duration that of the one before it: a muxer that is not told how long the last one lasts
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

    fn end(&mut self, give: Give) {
        if !self.ended {
            self.ended = true;
            give(None);
        }
    }
}

/// Where one audio track enters a muxer.
pub(super) struct AudioInput {
    pub source: gst_app::AppSrc,
    ended: bool,
}

/// What becomes of an audio track.
pub(super) enum Carried {
    /// Its packets are written as they came.
    Untouched,
    /// It is re-encoded, for this reason.
    Reencoded(String),
}

impl AudioInput {
    /// Adds a track of this format to `pipeline` before `mux`, which makes `what` of it (`.mp4`, `rtmp`).
    ///
    /// # Errors
    /// When an element is missing or the muxer takes no audio.
    pub fn add(
        pipeline: &gst::Pipeline,
        mux: &gst::Element,
        what: &str,
        format: &gst::Caps,
    ) -> Result<(Self, Carried), gst::glib::BoolError> {
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
        let (branch, carried) = if template.caps().can_intersect(&bare) {
            (parser.unwrap_or("identity").to_owned(), Carried::Untouched)
        } else {
            let opus = what == ".webm";
            let encoder = if opus { "opusenc ! opusparse" } else { "avenc_aac bitrate=192000 ! aacparse" };
            let codec = crate::stream::codec_name(format);
            let to = if opus { "Opus" } else { "AAC" };
            (
                format!("decodebin ! audioconvert ! audioresample ! {encoder}"),
                Carried::Reencoded(format!("{what} cannot carry {codec} audio; it is re-encoded as {to}")),
            )
        };
        let description = format!(
            "appsrc name=packets format=time ! {branch} \
             ! queue name=out max-size-buffers=0 max-size-time=0 max-size-bytes={BRANCH_BYTES}"
        );
        let bin = gst::parse::bin_from_description(&description, false)
            .map_err(|e| gst::glib::bool_error!("the audio cannot be set up: {}", e))?;
        let source = bin.by_name("packets").and_then(|e| e.downcast::<gst_app::AppSrc>().ok());
        let source = source.ok_or_else(|| missing("audio input"))?;
        source.set_caps(Some(format));
        // Paced by the pictures; no bound of its own may make their thread wait.
        source.set_max_bytes(0);
        // By hand: asked to, the parser would also expose the pads that decodebin links later.
        let out =
            bin.by_name("out").and_then(|queue| queue.static_pad("src")).ok_or_else(|| missing("audio branch"))?;
        if matches!(parser, Some("aacparse" | "mpegaudioparse" | "ac3parse")) {
            drop_untimed(&out);
        }
        let from = gst::GhostPad::with_target(&out)?;
        bin.add_pad(&from)?;
        pipeline.add(&bin)?;
        let to = mux.request_pad_simple(name).ok_or_else(|| missing("audio track left"))?;
        from.link(&to).map_err(|e| gst::glib::bool_error!("the muxer refuses the audio: {:?}", e))?;
        Ok((Self { source, ended: false }, carried))
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
