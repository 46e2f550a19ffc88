//! The audio tracks of one file. Each joins the muxer with its first packet, for which the first frames are held back: a track
//! without packets makes an MP4 unreadable. One that cannot be converted is left out, and the video goes on.

use std::collections::VecDeque;
use std::time::Duration;

use gstreamer as gst;
use gstreamer_app as gst_app;

use super::timescale;
use crate::sink::audio::{audio_pads, join};
use crate::sink::converter::{Converter, Fallback, Packet};
use crate::sink::error::OutputError;
use crate::sink::output::AudioWritten;
use crate::sink::pipeline::Pipeline;
use crate::stream::codec_name;

/// One track.
pub(super) struct Track {
    /// For people.
    codec: String,
    state: State,
    /// Converted, before it is known which tracks there are.
    held: VecDeque<Packet>,
    /// Where it enters the muxer.
    input: Option<gst_app::AppSrc>,
    /// Format of its first packet.
    caps: Option<gst::Caps>,
    span: Option<(gst::ClockTime, gst::ClockTime)>,
    written: AudioWritten,
}

enum State {
    /// Packets come.
    Open(Box<Converter>),
    /// None comes any more.
    Ended,
    /// It began when the file had begun without it.
    Late,
    /// It cannot be converted, or the muxer refuses it.
    LeftOut,
}

impl Track {
    /// A track in this format of a file that `mux` writes; with why it is left out, where it is.
    pub fn new(format: &gst::Caps, mux: &gst::Element, ending: &str) -> (Self, Option<String>) {
        let fallback = if ending == ".webm" { Fallback::Opus } else { Fallback::Aac };
        let converter = audio_pads(mux).and_then(|(_, takes)| Converter::new(format, &takes, fallback));
        let mut track = Self {
            codec: codec_name(format),
            state: State::Ended,
            held: VecDeque::new(),
            input: None,
            caps: None,
            span: None,
            written: AudioWritten::default(),
        };
        let notice = match converter {
            Ok(converter) => {
                track.written.reencoded = converter.reencodes;
                track.state = State::Open(Box::new(converter));
                None
            }
            Err(error) => Some(track.leave_out(&error)),
        };
        (track, notice)
    }

    /// A track that is over, or was left out of the file before.
    pub fn without(format: &gst::Caps, left_out: bool) -> Self {
        let state = if left_out { State::LeftOut } else { State::Ended };
        let (codec, written) = (codec_name(format), AudioWritten::default());
        Self { codec, state, held: VecDeque::new(), input: None, caps: None, span: None, written }
    }

    /// Whether it is known that it has a packet, or that none will come.
    pub fn is_decided(&self) -> bool {
        !self.held.is_empty() || !matches!(self.state, State::Open(_))
    }

    /// Whether it is left out for good.
    pub fn is_left_out(&self) -> bool {
        matches!(self.state, State::LeftOut)
    }

    /// Whether the muxer waits for a packet of it.
    pub fn is_waited_for(&self) -> bool {
        matches!(self.state, State::Open(_)) && self.input.as_ref().is_some_and(|i| i.current_level_buffers() == 0)
    }

    /// Takes a packet, which is `held` back while that is so; why the track is left out from here on, where it is.
    pub fn push(&mut self, packet: gst::Buffer, held: bool) -> Option<String> {
        let State::Open(converter) = &mut self.state else {
            self.written.dropped += 1;
            return None;
        };
        match converter.push(packet) {
            Ok(_) if !held && self.input.is_none() => {
                self.written.dropped += 1;
                self.state = State::Late;
                Some(format!("its {} audio begins later than the file could wait for, and is left out", self.codec))
            }
            Ok(packets) => {
                self.written.taken += 1;
                self.written.untimed = converter.untimed;
                for packet in packets {
                    self.write(packet);
                }
                None
            }
            Err(error) => {
                self.written.dropped += 1;
                self.end_input();
                Some(self.leave_out(&error))
            }
        }
    }

    /// No packet comes any more.
    pub fn end(&mut self) {
        if let State::Open(converter) = &mut self.state {
            let rest = converter.end();
            self.written.untimed = converter.untimed;
            self.state = State::Ended;
            for packet in rest {
                self.write(packet);
            }
            self.end_input();
        }
    }

    /// Has it join the muxer of a file so long if it has packets; what is to be said of that.
    pub fn join(&mut self, pipeline: &Pipeline, mux: &gst::Element, length: Option<Duration>) -> Option<String> {
        let caps = &self.held.front()?.caps;
        match join(pipeline.gst(), mux, Some(caps), timescale::of_audio(caps, length)) {
            Ok(input) => {
                self.input = Some(input);
                for packet in std::mem::take(&mut self.held) {
                    self.write(packet);
                }
                if !matches!(self.state, State::Open(_)) {
                    self.end_input();
                }
                self.written.reencoded.map(|to| format!("cannot carry {} audio; it is re-encoded as {to}", self.codec))
            }
            Err(error) => {
                self.written.dropped += std::mem::take(&mut self.written.taken);
                self.held.clear();
                Some(self.leave_out(&error))
            }
        }
    }

    /// What was written of it.
    pub fn written(&self) -> AudioWritten {
        let length = self.span.map_or(Duration::ZERO, |(from, to)| to.saturating_sub(from).into());
        AudioWritten { length, ..self.written.clone() }
    }

    fn write(&mut self, packet: Packet) {
        let Some(input) = &self.input else {
            self.held.push_back(packet);
            return;
        };
        if !packet.caps.is_subset(self.caps.get_or_insert_with(|| packet.caps.clone())) {
            // The muxer was told of another format.
            return;
        }
        if let Some(from) = packet.buffer.pts() {
            let to = from.saturating_add(packet.buffer.duration().unwrap_or_default());
            self.span = Some(self.span.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
        }
        self.written.packets += 1;
        // A pipeline that failed says so on its bus.
        let _ = input.push_buffer(packet.buffer);
    }

    fn end_input(&self) {
        if let Some(input) = &self.input {
            // A pipeline that failed needs no end: its error is on the bus.
            let _ = input.end_of_stream();
        }
    }

    fn leave_out(&mut self, error: &OutputError) -> String {
        self.state = State::LeftOut;
        format!("its {} audio is left out: {error}", self.codec)
    }
}
