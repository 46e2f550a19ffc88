//! Which of a source's video tracks is decoded.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;

/// Chooses the video track, and keeps what is known of the others.
#[derive(Default)]
pub(super) struct TrackSelection {
    /// Number asked for, from 1.
    asked: Option<u32>,
    shown: AtomicU64,
    has_video: AtomicBool,
    refused: OnceLock<String>,
    demuxer: OnceLock<String>,
}

/// What becomes of a video track.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// It is decoded; the notice says that there are others.
    Decode(Option<String>),
    /// It goes on with the track that was decoded so far.
    GoOn,
    /// Another one is.
    Discard,
}

impl TrackSelection {
    /// Track number `asked`, from 1; the container's default one without.
    pub fn new(asked: Option<u32>) -> Self {
        Self { asked, ..Self::default() }
    }

    /// One more track, of whatever kind, has come out of `pipeline`.
    pub fn note_track(&self, pipeline: &gst::Pipeline) {
        self.shown.fetch_add(1, Ordering::SeqCst);
        if let Some(demuxer) = demuxer_of(pipeline) {
            self.demuxer.get_or_init(|| demuxer);
        }
    }

    /// Tracks so far.
    pub fn tracks(&self) -> u64 {
        self.shown.load(Ordering::SeqCst)
    }

    /// The demuxer's factory, once a track came out of one.
    pub fn demuxer(&self) -> Option<&str> {
        self.demuxer.get().map(String::as_str)
    }

    /// Whether a track was chosen.
    pub fn has_video(&self) -> bool {
        self.has_video.load(Ordering::SeqCst)
    }

    /// Why the track that was asked for cannot be had.
    pub fn refusal(&self) -> Option<&str> {
        self.refused.get().map(String::as_str)
    }

    /// Whether the video track at `pad` is the one asked for, or the container's default one, or the first. `has_ended` says
    /// that the one decoded so far has, as where the packets of a transport stream go on under another number.
    pub fn choose(&self, pipeline: &gst::Pipeline, pad: &gst::Pad, has_ended: bool) -> Choice {
        let videos = demuxed_videos(pipeline);
        let count = videos.len().max(1);
        let mut notice = None;
        let number = match self.asked {
            Some(number) if number as usize > count => {
                self.refused.get_or_init(|| format!("there is no video track {number}; it has {count}"));
                return Choice::Discard;
            }
            Some(number) => number.saturating_sub(1) as usize,
            None => {
                let number = videos.iter().position(|(_, is_default)| *is_default).unwrap_or(0);
                if videos.len() > 1 {
                    let others = format!("it has {count} video tracks; this is number {}", number + 1);
                    notice = Some(format!("{others}, --video-track chooses another"));
                }
                number
            }
        };
        // Without a demuxer there is but one track.
        let is_it = videos.get(number).is_none_or(|(id, _)| pad.stream_id().as_deref() == Some(id));
        match is_it {
            true if !self.has_video.swap(true, Ordering::SeqCst) => Choice::Decode(notice),
            true if has_ended => Choice::GoOn,
            _ => Choice::Discard,
        }
    }
}

/// The factory of the demuxer in `pipeline`.
pub(super) fn demuxer_of(pipeline: &gst::Pipeline) -> Option<String> {
    demuxers(pipeline).find_map(|demuxer| demuxer.factory()).map(|factory| factory.name().to_string())
}

/// Demuxers, but for those inside one that reads a playlist.
fn demuxers(pipeline: &gst::Pipeline) -> impl Iterator<Item = gst::Element> {
    let elements = pipeline.iterate_recurse().into_iter().flatten();
    elements.filter(|e| e.factory().is_some_and(|f| f.has_type(gst::ElementFactoryType::DEMUXER)) && !is_inside(e))
}

fn is_inside(element: &gst::Element) -> bool {
    let parents = std::iter::successors(element.parent(), GstObjectExt::parent);
    parents
        .filter_map(|parent| parent.downcast::<gst::Element>().ok())
        .any(|parent| parent.factory().is_some_and(|f| f.has_type(gst::ElementFactoryType::DEMUXER)))
}

/// The demuxer's video tracks in the container's order: the stream's id, and whether it is the default. They are all there
/// before parsebin shows the first one.
fn demuxed_videos(pipeline: &gst::Pipeline) -> Vec<(String, bool)> {
    let mut tracks = Vec::new();
    for pad in demuxers(pipeline).flat_map(|demuxer| demuxer.src_pads()) {
        let is_video = pad.current_caps().is_some_and(|caps| {
            // A playlist's demuxer may show a container, which another demultiplexes.
            caps.structure(0).is_some_and(|s| {
                (s.name().starts_with("video/") || s.name().starts_with("image/"))
                    && s.name() != "video/mpegts"
                    && s.name() != "video/quicktime"
            })
        });
        let Some(start) = pad.sticky_event::<gst::event::StreamStart>(0).filter(|_| is_video) else { continue };
        tracks.push((start.stream_id().to_owned(), start.stream_flags().contains(gst::StreamFlags::SELECT)));
    }
    tracks
}
