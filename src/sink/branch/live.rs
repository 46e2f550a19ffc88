//! Where encoded frames enter the pipeline of a live client or peer: a bounded queue that never blocks. When it is full, frames
//! are dropped up to the next keyframe that fits, so that what is sent can be decoded.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use crate::clock::{HostTime, now};
use crate::sink::converter::{Converter, Fallback, Packet};
use crate::sink::encode::KeyframeRequester;
use crate::sink::output::{AccessUnit, BranchContext, OutputEvent, OutputListener};
use crate::stream::codec_name;

/// Frames that wait for a slow client: two seconds at 30 frames a second, of twice the rate a live stream is held to.
const WAITING_UNITS: u64 = 60;
const WAITING_BYTES: u64 = 8 << 20;
/// Audio packets that wait: as many seconds of 48 kHz AAC, and some.
const WAITING_PACKETS: u64 = 128;

/// Who begins to watch gets a keyframe at once, but no more often than this: keyframes are large.
const KEYFRAME_EVERY: Duration = Duration::from_millis(250);

/// Keyframes for those who wait for the one they begin with.
#[derive(Default)]
pub(super) struct Keyframes {
    encoder: Option<KeyframeRequester>,
    /// When the last one was requested.
    last: Option<HostTime>,
}

impl Keyframes {
    /// They come from this encoder from now on.
    pub fn set_encoder(&mut self, encoder: &KeyframeRequester) {
        self.encoder = Some(encoder.clone());
    }

    /// Requests one, unless one is on its way.
    pub fn request(&mut self) {
        let time = now();
        if let Some(encoder) =
            self.encoder.as_ref().filter(|_| self.last.is_none_or(|last| time.since(last) >= KEYFRAME_EVERY))
        {
            encoder.request(None);
            self.last = Some(time);
        }
    }
}

/// The inputs of one client's pipeline.
pub(super) struct LiveInput {
    units: gst_app::AppSrc,
    audio: Option<gst_app::AppSrc>,
    caps: Option<gst::Caps>,
    audio_caps: Option<gst::Caps>,
    /// The time of the first frame that was sent, and that of this client's pipeline then: muxers that wait for late audio
    /// compare the two.
    origin: Option<(gst::ClockTime, gst::ClockTime)>,
    /// Frames are dropped until a keyframe comes.
    needs_keyframe: bool,
}

impl LiveInput {
    /// Sends into `units`, and packets of one audio track into `audio`.
    pub fn new(units: gst_app::AppSrc, audio: Option<gst_app::AppSrc>) -> Self {
        for source in std::iter::once(&units).chain(&audio) {
            source.set_format(gst::Format::Time);
            source.set_is_live(true);
            source.set_block(false);
            source.set_max_bytes(0);
        }
        Self { units, audio, caps: None, audio_caps: None, origin: None, needs_keyframe: true }
    }

    /// Sends a frame in the format `caps`, unless there is no room; says whether it was sent, or `None` where it counts for
    /// neither: the client has not had the keyframe that it begins with, or has left.
    pub fn access_unit(&mut self, unit: &AccessUnit, caps: &gst::Caps) -> Option<bool> {
        let units = &self.units;
        let full = units.current_level_buffers() >= WAITING_UNITS || units.current_level_bytes() >= WAITING_BYTES;
        if full || (self.needs_keyframe && !unit.is_keyframe) {
            self.needs_keyframe = true;
            return self.origin.map(|_| false);
        }
        if self.caps.as_ref() != Some(caps) {
            self.units.set_caps(Some(caps));
            self.caps = Some(caps.clone());
        }
        let origin = self.origin.unwrap_or_else(|| (unit.pts, self.units.current_running_time().unwrap_or_default()));
        if self.units.push_buffer(since(&unit.buffer, origin)).is_err() {
            // Its pipeline does not run yet, and what it begins with is still to come; or it does no more.
            return None;
        }
        self.origin = Some(origin);
        self.needs_keyframe = false;
        Some(true)
    }

    /// Whether it has not had the keyframe that it begins with.
    pub fn is_waiting(&self) -> bool {
        self.origin.is_none()
    }

    /// Sends a packet, if it belongs to a frame that was sent and there is room.
    pub fn audio(&mut self, packet: &Packet) {
        let Some((source, origin)) = self.audio.as_ref().zip(self.origin) else { return };
        let Packet { buffer, caps } = packet;
        if source.current_level_buffers() < WAITING_PACKETS && buffer.pts().is_some_and(|pts| pts >= origin.0) {
            if self.audio_caps.as_ref() != Some(caps) {
                source.set_caps(Some(caps));
                self.audio_caps = Some(caps.clone());
            }
            // A pipeline that failed is seen by its frames.
            let _ = source.push_buffer(since(buffer, origin));
        }
    }

    /// No packet comes any more.
    pub fn end_audio(&self) {
        if let Some(source) = &self.audio {
            // A pipeline that failed needs no end.
            let _ = source.end_of_stream();
        }
    }

    /// Nothing comes any more.
    pub fn end(&self) {
        // A pipeline that failed needs no end.
        let _ = self.units.end_of_stream();
        self.end_audio();
    }
}

/// The audio that goes along: the first track, in packets that can be sent. One that cannot be converted is left out.
pub(super) struct LiveAudio {
    converter: Option<Converter>,
    codec: String,
    takes: gst::Caps,
    /// The output's name, for people.
    output: String,
    listener: OutputListener,
}

impl LiveAudio {
    /// For an output that `takes` these formats; `None` where no audio goes along.
    pub fn open(output: String, takes: &gst::CapsRef, context: &BranchContext) -> Option<Self> {
        let listener = context.listener.clone();
        let format = context.audio.first()?;
        if context.audio.len() > 1 {
            listener(OutputEvent::Notice(format!("{output} carries the first audio track only")));
        }
        let mut audio = Self { converter: None, codec: String::new(), takes: takes.to_owned(), output, listener };
        audio.set_format(format).then_some(audio)
    }

    /// The track's packets are in this format; whether it can be sent.
    pub fn set_format(&mut self, format: &gst::Caps) -> bool {
        self.codec = codec_name(format);
        match Converter::new(format, &self.takes, Fallback::Aac) {
            Ok(converter) => {
                if let Some(to) = converter.reencodes {
                    self.say(&format!("cannot carry {} audio; it is re-encoded as {to}", self.codec));
                }
                self.converter = Some(converter);
                true
            }
            Err(error) => {
                self.converter = None;
                self.say(&format!("its {} audio is left out: {error}", self.codec));
                false
            }
        }
    }

    /// The format of what is sent, as far as it is known before the first packet.
    pub fn caps(&self) -> gst::Caps {
        self.converter.as_ref().map_or_else(gst::Caps::new_empty, Converter::likely_caps)
    }

    /// Packets that can be sent, and whether more may come.
    pub fn convert(&mut self, packet: Option<&gst::Buffer>) -> (Vec<Packet>, bool) {
        let Some(converter) = &mut self.converter else { return (Vec::new(), false) };
        let Some(packet) = packet else { return (converter.end(), false) };
        match converter.push(packet.clone()) {
            Ok(packets) => (packets, true),
            Err(error) => {
                self.converter = None;
                self.say(&format!("its {} audio is left out: {error}", self.codec));
                (Vec::new(), false)
            }
        }
    }

    fn say(&self, notice: &str) {
        (self.listener)(OutputEvent::Notice(format!("{}: {notice}", self.output)));
    }
}

/// The buffer in the client's time: what was `origin` is `now` there. Its bytes are shared, not copied.
fn since(buffer: &gst::Buffer, (origin, now): (gst::ClockTime, gst::ClockTime)) -> gst::Buffer {
    let mut buffer = buffer.clone();
    let own = buffer.make_mut();
    own.set_pts(own.pts().map(|time| now + time.saturating_sub(origin)));
    own.set_dts(own.dts().map(|time| now + time.saturating_sub(origin)));
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_begins_with_a_keyframe_that_its_pipeline_takes() {
        gst::init().expect("GStreamer");
        let units = gst_app::AppSrc::builder().name("units").build();
        let pipeline = gst::Pipeline::new();
        let sink = gst::ElementFactory::make("fakesink").build().expect("a sink");
        pipeline.add_many([units.upcast_ref(), &sink]).expect("elements");
        units.link(&sink).expect("a link");
        let mut input = LiveInput::new(units, None);
        let caps = gst::Caps::new_empty_simple("video/x-h264");
        let unit = |is_keyframe| AccessUnit {
            buffer: gst::Buffer::from_slice([0; 4]),
            pts: gst::ClockTime::ZERO,
            end: gst::ClockTime::from_mseconds(40),
            is_keyframe,
        };
        let state = |state| {
            pipeline.set_state(state).expect("it goes there");
        };
        state(gst::State::Paused);
        assert_eq!(input.access_unit(&unit(false), &caps), None, "it begins with a keyframe");
        state(gst::State::Null);
        assert_eq!(input.access_unit(&unit(true), &caps), None, "nobody took it");
        assert!(input.is_waiting());
        state(gst::State::Paused);
        assert_eq!(input.access_unit(&unit(false), &caps), None, "it still needs one");
        assert_eq!(input.access_unit(&unit(true), &caps), Some(true));
        assert_eq!(input.access_unit(&unit(false), &caps), Some(true));
        assert!(!input.is_waiting());
        state(gst::State::Null);
    }
}
