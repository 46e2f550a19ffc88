//! Audio on its way past the detector: into the muxer as it is where the container carries it, else re-encoded.

use crossbeam_channel::{Receiver, TryRecvError};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::file::BRANCH_BYTES;
use crate::source::{SIDE_PACKETS, SideTrack};

/// One audio track being written.
pub(super) struct AudioTrack {
    packets: Receiver<gst::Buffer>,
    input: gst_app::AppSrc,
    /// Taken from the channel, but too early to be written.
    held: Option<gst::Buffer>,
    /// When the last packet began, and the longest time between two packets so far.
    rhythm: Option<(gst::ClockTime, gst::ClockTime)>,
    /// The end of the track is written.
    ended: bool,
}

/// What became of an audio track.
pub(super) enum Carried {
    /// Its packets are written as they came.
    Untouched,
    /// It is re-encoded, for this reason.
    Reencoded(String),
}

impl AudioTrack {
    /// Adds `side` to `pipeline` before `mux`, whose container is called `ending`.
    ///
    /// # Errors
    /// When an element is missing or the muxer takes no audio.
    pub fn add(
        pipeline: &gst::Pipeline,
        mux: &gst::Element,
        ending: &str,
        side: SideTrack,
    ) -> Result<(Self, Carried), gst::glib::BoolError> {
        let template = mux.pad_template("audio_%u");
        let parser = parser_for(&side.caps);
        let taken = |caps: &gst::Caps| template.as_ref().is_some_and(|t| t.caps().can_intersect(caps));
        // ADTS and LOAS framing is undone by the parser: ask for what it would deliver.
        let bare = match parser {
            Some("aacparse") => {
                gst::Caps::builder("audio/mpeg").field("mpegversion", 4i32).field("stream-format", "raw").build()
            }
            _ => side.caps.clone(),
        };
        let (branch, carried) = if taken(&bare) {
            (parser.unwrap_or("identity").to_owned(), Carried::Untouched)
        } else {
            let encoder = if ending == "webm" { "opusenc ! opusparse" } else { "avenc_aac bitrate=192000 ! aacparse" };
            let codec = crate::source::codec_name(&side.caps);
            let to = if ending == "webm" { "Opus" } else { "AAC" };
            (
                format!("decodebin ! audioconvert ! audioresample ! {encoder}"),
                Carried::Reencoded(format!("a .{ending} file cannot carry {codec} audio; it is re-encoded as {to}")),
            )
        };
        let description = format!(
            "appsrc name=packets format=time ! {branch} \
             ! queue name=out max-size-buffers=0 max-size-time=0 max-size-bytes={BRANCH_BYTES}"
        );
        let bin = gst::parse::bin_from_description(&description, false)
            .map_err(|e| gst::glib::bool_error!("the audio cannot be set up: {}", e))?;
        let missing = |what| gst::glib::bool_error!("the muxer has no {}", what);
        let input = bin.by_name("packets").and_then(|e| e.downcast::<gst_app::AppSrc>().ok());
        let input = input.ok_or_else(|| missing("audio input"))?;
        input.set_caps(Some(&side.caps));
        // The sink thread paces it by the pictures; no bound of its own may make that thread wait.
        input.set_max_bytes(0);
        // By hand: asked to, the parser would also expose the pads that decodebin links later.
        let out =
            bin.by_name("out").and_then(|queue| queue.static_pad("src")).ok_or_else(|| missing("audio branch"))?;
        if matches!(parser, Some("aacparse" | "mpegaudioparse" | "ac3parse")) {
            drop_untimed(&out);
        }
        let from = gst::GhostPad::with_target(&out)?;
        bin.add_pad(&from)?;
        pipeline.add(&bin)?;
        let to = mux.request_pad_simple("audio_%u").ok_or_else(|| missing("audio track left"))?;
        from.link(&to).map_err(|e| gst::glib::bool_error!("the muxer refuses the audio: {:?}", e))?;
        Ok((Self { packets: side.packets, input, held: None, rhythm: None, ended: false }, carried))
    }

    /// Writes what belongs before a picture shown at `now`.
    pub fn advance(&mut self, now: gst::ClockTime) {
        self.write(Some(now), false);
    }

    /// Makes room when the demuxer is about to wait for it while no picture comes.
    pub fn relieve(&mut self) {
        if self.packets.len() > SIDE_PACKETS / 2 {
            self.write(None, false);
        }
    }

    /// Writes the rest: all of it once the source has ended, or up to the picture after the last one.
    pub fn finish(&mut self, cut_at: Option<gst::ClockTime>) {
        self.write(cut_at, cut_at.is_none());
        self.end();
    }

    /// Pushes packets that begin before `until`, waiting for more when `to_end`.
    fn write(&mut self, until: Option<gst::ClockTime>, to_end: bool) {
        while !self.ended {
            let mut packet = match self.held.take() {
                Some(packet) => packet,
                None if to_end => match self.packets.recv() {
                    Ok(packet) => packet,
                    Err(_) => return self.end(),
                },
                None => match self.packets.try_recv() {
                    Ok(packet) => packet,
                    Err(TryRecvError::Empty) => return,
                    Err(TryRecvError::Disconnected) => return self.end(),
                },
            };
            if until.zip(packet.pts()).is_some_and(|(until, pts)| pts >= until) {
                self.held = Some(packet);
                return;
            }
            self.time(&mut packet);
            if self.input.push_buffer(packet).is_err() {
                // The pipeline failed: its error is on the bus.
                self.ended = true;
            }
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

    fn end(&mut self) {
        if !self.ended {
            let _ = self.input.end_of_stream();
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
