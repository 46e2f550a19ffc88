//! Audio packets on their way from the source to the outputs, at the frames' pace, and where they enter a muxer.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::error::OutputError;
use crate::stream::{AUDIO_PACKETS, AudioCounters, AudioFormat, AudioTrack};

/// How long the next packet may take where a recording's audio is longer than its video.
const PATIENCE: Duration = Duration::from_secs(30);

/// Packets of a codec differ in length by no more than this; Vorbis has the largest differences.
const LONGER: u64 = 16;

/// One audio track of the source, taken packet by packet at the frames' pace.
pub(super) struct AudioFeed {
    /// Format of the packets, as far as the outputs know it.
    pub caps: gst::Caps,
    format: AudioFormat,
    packets: Receiver<gst::Buffer>,
    /// Of raw audio.
    bytes_per_second: Option<u64>,
    /// Taken from the channel, but too early to be written.
    held: Option<gst::Buffer>,
    /// When the last packet began, and the longest time between two packets so far.
    rhythm: Option<(gst::ClockTime, gst::ClockTime)>,
    /// When the last packet ended, where it says how long it is.
    end: Option<gst::ClockTime>,
    /// The end of the track was reported.
    ended: bool,
    /// The track came to its end, and all of it was handed over.
    is_complete: bool,
    handed_over: u64,
    counters: Arc<AudioCounters>,
}

/// What became of a track's packets before the outputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct AudioCounts {
    pub received: u64,
    pub early: u64,
    pub dropped: u64,
    pub handed_over: u64,
    /// The track came to its end, and nothing was left behind.
    pub is_complete: bool,
}

/// What comes of a track next.
pub(super) enum Next {
    /// Its packets have another format than was announced.
    Format(gst::Caps),
    Packet(gst::Buffer),
    /// Nothing, said once.
    End,
}

/// Takes what comes next.
type Take<'a> = &'a mut dyn FnMut(Next);

impl AudioFeed {
    pub fn new(track: AudioTrack) -> Self {
        let AudioTrack { format, counters, packets } = track;
        let caps = format.caps().unwrap_or_else(gst::Caps::new_empty);
        Self {
            bytes_per_second: bytes_per_second(&caps),
            caps,
            format,
            packets,
            held: None,
            rhythm: None,
            end: None,
            ended: false,
            is_complete: false,
            handed_over: 0,
            counters,
        }
    }

    /// Hands over what belongs before a frame shown at `now`.
    pub fn advance(&mut self, now: gst::ClockTime, take: Take) {
        self.hand_over(Some(now), false, take);
    }

    /// There was an outage up to `to`: packets before that are dropped.
    pub fn pass_gap(&mut self, to: gst::ClockTime, take: Take) {
        let mut dropped = 0;
        self.hand_over(Some(to), false, &mut |next| match next {
            Next::Packet(_) => dropped += 1,
            Next::Format(_) | Next::End => take(next),
        });
        self.handed_over -= dropped;
        (0..dropped).for_each(|_| self.counters.dropped());
        // How long packets are is not how long it was.
        (self.rhythm, self.end) = (None, None);
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
                    Err(error) => {
                        self.is_complete = error == RecvTimeoutError::Disconnected;
                        return self.end(take);
                    }
                },
                None => match self.packets.try_recv() {
                    Ok(packet) => packet,
                    Err(TryRecvError::Empty) => return,
                    Err(TryRecvError::Disconnected) => {
                        self.is_complete = true;
                        return self.end(take);
                    }
                },
            };
            if until.zip(packet.pts()).is_some_and(|(until, pts)| pts >= until) {
                self.held = Some(packet);
                return;
            }
            if self.handed_over == 0
                && let Some(caps) = self.format.caps().filter(|caps| *caps != self.caps)
            {
                self.bytes_per_second = bytes_per_second(&caps);
                self.caps = caps.clone();
                take(Next::Format(caps));
            }
            self.time(&mut packet);
            self.handed_over += 1;
            take(Next::Packet(packet));
        }
    }

    /// Sets the duration of a packet that has none to that of the one before it, and that of raw audio to what it is: a muxer that is not told how long the last one lasts
    /// leaves it out of the track's length, and players leave it out altogether.
    fn time(&mut self, packet: &mut gst::Buffer) {
        // Headers come before all times; a packet without one later on lost it in a damaged stretch.
        let guessed = self.end.or(self.rhythm.map(|(last, length)| last + length));
        // Of several packets of Opus in one of a transport stream the first has the time of all, and each says itself how long it is,
        // which the outputs' parser reads.
        let is_opus = self.caps.structure(0).is_some_and(|structure| structure.name() == "audio/x-opus");
        if is_opus && packet.duration().is_none() {
            return;
        }
        let Some(pts) = packet.pts().or(guessed) else { return };
        let before = self.rhythm.map(|(last, length)| (pts.saturating_sub(last), length));
        let exact = self
            .bytes_per_second
            .and_then(|rate| gst::ClockTime::SECOND.mul_div_round(u64::try_from(packet.size()).ok()?, rate));
        let length = exact.unwrap_or_else(|| before.map_or(gst::ClockTime::ZERO, longest));
        self.rhythm = Some((pts, length));
        self.end = exact.or(packet.duration()).map(|length| pts + length);
        if packet.duration().is_none() || packet.pts().is_none() || exact.is_some() {
            let packet = packet.make_mut();
            packet.set_pts(pts);
            packet.set_duration(exact.or(packet.duration()).unwrap_or(length));
        }
    }

    /// Packets that the source received, where all of them came here or were dropped, and how many of each.
    pub fn counts(&self) -> AudioCounts {
        let (received, early, dropped) = self.counters.counts();
        AudioCounts { received, early, dropped, handed_over: self.handed_over, is_complete: self.is_complete }
    }

    fn end(&mut self, take: Take) {
        if !self.ended {
            self.ended = true;
            take(Next::End);
        }
    }
}

/// How long packets are, by the time from one to the next and by those before: a stretch without any says nothing of that.
fn longest((delta, before): (gst::ClockTime, gst::ClockTime)) -> gst::ClockTime {
    if before.is_zero() || delta.saturating_mul(LONGER) < before {
        delta
    } else if delta > before.saturating_mul(LONGER) {
        before
    } else {
        delta.max(before)
    }
}

/// How much raw or logarithmic audio a second takes: its times in containers are rounded, and an MP4 muxer fails where they add
/// up to more than there is.
fn bytes_per_second(caps: &gst::CapsRef) -> Option<u64> {
    let structure = caps.structure(0)?;
    let number = |name: &str| structure.get::<i32>(name).ok().and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let bytes = match structure.name().as_str() {
        "audio/x-raw" => {
            let format = structure.get::<&str>("format").ok()?;
            // `S16LE`, `S24_32LE`, `F64BE`, `U8`: the last number is what a sample takes.
            let bits = format.split(|c: char| !c.is_ascii_digit()).rfind(|digits| !digits.is_empty())?;
            bits.parse::<u64>().ok()? / 8
        }
        "audio/x-mulaw" | "audio/x-alaw" => 1,
        _ => return None,
    };
    Some(bytes * number("rate")? * number("channels")?).filter(|rate| *rate > 0)
}

/// The pads that a muxer has for audio: their name, and what they take.
///
/// # Errors
/// When it takes no audio.
pub(super) fn audio_pads(mux: &gst::Element) -> Result<(&'static str, gst::Caps), OutputError> {
    // Those of the factory: webmmux of GStreamer 1.22 frees its class's own when they are looked at.
    let pads = mux.factory().map(|factory| factory.static_pad_templates()).unwrap_or_default();
    let find = |name| pads.iter().find(|pad| pad.name_template() == name).map(|pad| (name, pad.caps()));
    let found = ["audio_%u", "audio", "sink_%d"].into_iter().find_map(find);
    found.ok_or_else(|| gst::glib::bool_error!("the muxer has no audio track").into())
}

/// Adds a track to `mux`, for packets in `caps` where they are known already, with this time base where an MP4's own will not do.
///
/// # Errors
/// When the muxer refuses it.
pub(super) fn join(
    pipeline: &gst::Pipeline,
    mux: &gst::Element,
    caps: Option<&gst::Caps>,
    timescale: Option<u32>,
) -> Result<gst_app::AppSrc, OutputError> {
    let (name, _) = audio_pads(mux)?;
    let to = mux.request_pad_simple(name);
    let to = to.ok_or_else(|| gst::glib::bool_error!("the muxer has no audio track left"))?;
    if let Some(timescale) = timescale.filter(|_| to.has_property("trak-timescale")) {
        to.set_property("trak-timescale", timescale);
    }
    let source = gst_app::AppSrc::builder().format(gst::Format::Time).build();
    // Paced by the frames; no bound of its own may make their thread wait.
    source.set_max_bytes(0);
    let linked = || {
        if let Some(caps) = caps {
            source.set_caps(Some(caps));
            if !to.query_accept_caps(caps) {
                return Err(gst::glib::bool_error!("the muxer refuses it"));
            }
        }
        pipeline.add(&source)?;
        let from = source.static_pad("src").ok_or_else(|| gst::glib::bool_error!("no way in"))?;
        from.link(&to).map_err(|e| gst::glib::bool_error!("the muxer refuses it: {:?}", e))?;
        source.sync_state_with_parent()
    };
    linked().inspect_err(|_| mux.release_request_pad(&to))?;
    Ok(source)
}
