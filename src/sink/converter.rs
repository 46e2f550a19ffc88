//! Makes what a muxer takes of a track's audio packets: their framing is changed, or they are re-encoded. All of it happens within
//! the call, on the caller's thread, in a pipeline of its own: where it fails, the track ends and nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::error::OutputError;
use super::pipeline::Pipeline;
use crate::stream::codec_name;

/// Loudspeakers of 3 to 8 channels whose layout is not stated: those that AAC has by default (ISO 14496-3, channel configurations).
const CHANNEL_MASKS: [u64; 6] = [0x7, 0x107, 0x37, 0x3f, 0x13f, 0xc3f];

/// A packet as the muxer takes it.
pub(super) struct Packet {
    pub buffer: gst::Buffer,
    pub caps: gst::Caps,
}

/// What a track is re-encoded as where its codec cannot be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    Aac,
    Opus,
}

impl Fallback {
    fn caps(self) -> gst::Caps {
        let caps = match self {
            Self::Aac => gst::Caps::builder("audio/mpeg").field("mpegversion", 4),
            Self::Opus => gst::Caps::builder("audio/x-opus"),
        };
        caps.field("channels", 2).field("rate", 48_000).build()
    }
}

/// What one track's packets go through.
pub(super) struct Converter {
    pipeline: Pipeline,
    input: gst::Pad,
    likely: gst::Caps,
    /// Where they come out.
    _output: gst::Pad,
    out: Arc<Mutex<Vec<Packet>>>,
    /// Packets without a time get that of the end of the one before, or are dropped.
    timed_only: bool,
    /// When that is.
    next: Option<gst::ClockTime>,
    /// Packets that were.
    pub untimed: u64,
    /// For people: what it is re-encoded as.
    pub reencodes: Option<&'static str>,
}

impl Converter {
    /// From `format` to what `takes` describes.
    ///
    /// # Errors
    /// When there is nothing that decodes it.
    pub fn new(format: &gst::Caps, takes: &gst::CapsRef, fallback: Fallback) -> Result<Self, OutputError> {
        let parser = parser_for(format);
        // What a parser makes of it: framing is undone or put on as the muxer asks.
        let mut bare = format.clone();
        for structure in bare.make_mut().iter_mut() {
            structure.remove_fields(["framed", "parsed"]);
            if parser == Some("aacparse") && !is_latm(structure) {
                structure.remove_field("stream-format");
            }
        }
        let (encoder, codec) = match fallback {
            Fallback::Aac => ("avenc_aac bitrate=192000 ! aacparse", "AAC"),
            Fallback::Opus => ("opusenc ! opusparse", "Opus"),
        };
        let is_carried = takes.can_intersect(&bare);
        let chain = if is_carried {
            parser.map_or_else(String::new, |parser| format!("! {parser} "))
        } else {
            let decoder = match decoder_for(format)? {
                Some(decoder) => format!("! {decoder} "),
                None => String::new(),
            };
            format!("{decoder}! audioconvert ! audioresample ! {encoder} ")
        };
        let description = format!("identity name=in silent=true {chain}! capsfilter name=out");
        let pipeline = Pipeline::parse("audio", &description)?;
        pipeline.element("out")?.set_property("caps", takes.to_owned());
        let (input, out) = (gst::Pad::new(gst::PadDirection::Src), Arc::<Mutex<Vec<Packet>>>::default());
        let missing = || gst::glib::bool_error!("the audio has no way in or out");
        let refused = |e| gst::glib::bool_error!("the audio cannot be linked: {:?}", e);
        let entry = pipeline.element("in")?.static_pad("sink").ok_or_else(missing)?;
        let exit = pipeline.element("out")?.static_pad("src").ok_or_else(missing)?;
        let taken = out.clone();
        let output = gst::Pad::builder(gst::PadDirection::Sink)
            .chain_function(move |pad, _, buffer| {
                let caps = pad.current_caps().ok_or(gst::FlowError::NotNegotiated)?;
                taken.lock().unwrap_or_else(PoisonError::into_inner).push(Packet { buffer, caps });
                Ok(gst::FlowSuccess::Ok)
            })
            .build();
        for pad in [&input, &output] {
            pad.set_active(true)?;
        }
        exit.link(&output).map_err(refused)?;
        input.link(&entry).map_err(refused)?;
        pipeline.start()?;
        let caps = if is_carried { format.clone() } else { with_layout(format) };
        input.push_event(gst::event::StreamStart::new("audio"));
        input.push_event(gst::event::Caps::new(&caps));
        input.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
        let timed_only = matches!(parser, Some("aacparse" | "mpegaudioparse" | "ac3parse" | "opusparse"));
        let reencodes = (!is_carried).then_some(codec);
        let coded = if is_carried { bare } else { fallback.caps() };
        let mut likely = takes.intersect(&coded);
        likely.fixate();
        Ok(Self { pipeline, input, likely, _output: output, out, timed_only, next: None, untimed: 0, reencodes })
    }

    /// The format of what comes out, as far as it is known before the first packet.
    pub fn likely_caps(&self) -> gst::Caps {
        self.likely.clone()
    }

    /// Takes a packet; gives what is made of it and of those before it.
    ///
    /// # Errors
    /// When it cannot be decoded or encoded.
    pub fn push(&mut self, packet: gst::Buffer) -> Result<Vec<Packet>, OutputError> {
        let pushed = self.input.push(packet);
        match (pushed, self.pipeline.error()) {
            (_, Some(error)) => Err(error.into()),
            (Err(gst::FlowError::NotNegotiated), None) => {
                Err(OutputError::Failed("its format cannot be converted".into()))
            }
            (Err(error), None) => Err(OutputError::Failed(error.to_string())),
            (Ok(_), None) => Ok(self.take()),
        }
    }

    /// No packet comes any more: gives what was held.
    pub fn end(&mut self) -> Vec<Packet> {
        self.input.push_event(gst::event::Eos::new());
        self.take()
    }

    fn take(&mut self) -> Vec<Packet> {
        let mut packets = std::mem::take(&mut *self.out.lock().unwrap_or_else(PoisonError::into_inner));
        // An MP4 muxer fails over what has no time. Of several packets in one, the first has it, and the others follow it. Those
        // before the first one that has are left out, as where the first headers of a broadcast are damaged.
        let before = packets.len();
        if self.timed_only {
            for packet in &mut packets {
                let pts = packet.buffer.pts().or(self.next);
                self.next = pts.zip(packet.buffer.duration()).map(|(pts, length)| pts + length);
                if packet.buffer.pts().is_none() && pts.is_some() {
                    packet.buffer.make_mut().set_pts(pts);
                }
            }
            packets.retain(|packet| packet.buffer.pts().is_some());
        }
        self.untimed += (before - packets.len()) as u64;
        packets
    }
}

/// Whether it is AAC in LATM, which no parser of `GStreamer` 1.22 unpacks.
fn is_latm(structure: &gst::StructureRef) -> bool {
    structure.get::<&str>("stream-format").is_ok_and(|format| format == "loas")
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

/// The best decoder of this format; `None` where there is nothing to decode.
fn decoder_for(format: &gst::Caps) -> Result<Option<String>, OutputError> {
    if format.structure(0).is_some_and(|structure| structure.name() == "audio/x-raw") {
        return Ok(None);
    }
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_AUDIO;
    let all = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    let able = all.into_iter().filter(|factory| factory.can_sink_any_caps(format));
    let best = able.max_by_key(gst::ElementFactory::rank);
    best.map(|factory| Some(factory.name().into())).ok_or_else(|| OutputError::NoAudioDecoder(codec_name(format)))
}

/// Raw audio with a layout, which an encoder asks for.
fn with_layout(format: &gst::Caps) -> gst::Caps {
    let mut caps = format.clone();
    for structure in caps.make_mut().iter_mut().filter(|structure| structure.name() == "audio/x-raw") {
        let channels = structure.get::<i32>("channels").ok().and_then(|channels| usize::try_from(channels).ok());
        let stated = structure.get::<gst::Bitmask>("channel-mask").is_ok_and(|mask| mask.0 != 0);
        let guessed = channels.and_then(|channels| CHANNEL_MASKS.get(channels.checked_sub(3)?));
        if let Some(mask) = guessed.filter(|_| !stated) {
            structure.set("channel-mask", gst::Bitmask::new(*mask));
        }
    }
    caps
}
