//! Audio passthrough: encoded packets go past the detector to the output, in one bounded channel a track.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use gstreamer as gst;

use crate::stream::{AUDIO_PACKETS, AudioCounters, AudioFormat, AudioTrack, codec_name};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An audio track being demuxed, on whatever connection: its clones are the same track.
#[derive(Clone)]
pub(super) struct Passthrough(Arc<Inner>);

struct Inner {
    format: AudioFormat,
    packets: Mutex<Option<Receiver<gst::Buffer>>>,
    /// Taken when nothing more will come, which closes the channel.
    sender: Mutex<Option<Sender<gst::Buffer>>>,
    /// Time of the newest packet, ns.
    newest_ns: AtomicU64,
    /// It ended since its format changed.
    has_changed: AtomicBool,
    counters: Arc<AudioCounters>,
}

impl Passthrough {
    pub fn new() -> Self {
        let (tx, rx) = bounded(AUDIO_PACKETS);
        Self(Arc::new(Inner {
            format: AudioFormat::default(),
            packets: Mutex::new(Some(rx)),
            sender: Mutex::new(Some(tx)),
            newest_ns: AtomicU64::new(0),
            has_changed: AtomicBool::new(false),
            counters: Arc::default(),
        }))
    }

    /// Notes the format of what comes; whether it is that of the track.
    pub fn set_format(&self, caps: &gst::CapsRef) -> bool {
        self.0.format.announce(caps)
    }

    /// Whether packets of this format belong into the track.
    pub fn takes(&self, caps: Option<&gst::CapsRef>) -> bool {
        self.0.format.takes(caps)
    }

    fn format(&self) -> Option<gst::Caps> {
        self.0.format.caps()
    }

    /// The track for the sink, once its format is known and it was not taken.
    fn take_track(&self) -> Option<AudioTrack> {
        self.format()?;
        let packets = lock(&self.0.packets).take()?;
        Some(AudioTrack { format: self.0.format.clone(), counters: self.0.counters.clone(), packets })
    }

    pub fn counters(&self) -> &AudioCounters {
        &self.0.counters
    }

    /// Nothing more will come.
    pub fn close(&self) {
        lock(&self.0.sender).take();
    }

    /// What comes has another format from here on: the track ends, and another one begins with the next connection. Whether that is
    /// new.
    pub fn end_changed(&self) -> bool {
        self.close();
        !self.0.has_changed.swap(true, Ordering::SeqCst)
    }

    /// Sends a packet: where the channel is full, one of a recording waits, one of a live stream is dropped. One that goes
    /// back in time, as after an outage, would break the file.
    pub fn send(&self, packet: gst::Buffer, live: bool) {
        let Some(tx) = lock(&self.0.sender).clone() else { return };
        let is_gone = if live {
            let ns = packet.pts().map_or(0, gst::ClockTime::nseconds);
            if ns > 0 && self.0.newest_ns.fetch_max(ns, Ordering::SeqCst) >= ns {
                return self.0.counters.dropped();
            }
            let sent = tx.try_send(packet);
            if matches!(sent, Err(TrySendError::Full(_))) {
                self.0.counters.dropped();
            }
            matches!(sent, Err(TrySendError::Disconnected(_)))
        } else {
            tx.send(packet).is_err()
        };
        if is_gone {
            // The output takes no audio: the demuxer goes on for the video.
            self.close();
        }
    }
}

/// The audio tracks of a live stream over all its connections.
#[derive(Default)]
pub(super) struct StreamAudio {
    tracks: Mutex<Vec<Passthrough>>,
    /// What was announced did not come.
    is_silent: AtomicBool,
}

impl StreamAudio {
    /// Track number `index`, in this connection and those after it.
    fn track(&self, index: usize) -> Passthrough {
        let mut tracks = lock(&self.tracks);
        while tracks.len() <= index {
            tracks.push(Passthrough::new());
        }
        tracks[index].clone()
    }

    /// Nothing more will come in the tracks so far; what comes later is new ones.
    pub fn close(&self) {
        lock(&self.tracks).drain(..).for_each(|track| track.close());
    }
}

/// The place of an audio track among those that were announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// From 0.
    pub index: usize,
    /// How many were.
    pub of: usize,
}

/// The audio tracks of one connection or file.
#[derive(Default)]
pub(super) struct AudioTracks {
    /// Where the tracks stay the same over several connections.
    stream: Option<Arc<StreamAudio>>,
    /// By their place.
    tracks: Mutex<BTreeMap<usize, Passthrough>>,
    has_changed: AtomicBool,
}

impl AudioTracks {
    /// Those of a connection of this stream.
    pub fn of_connection(stream: Arc<StreamAudio>) -> Self {
        Self { stream: Some(stream), ..Self::default() }
    }

    /// One more track, and its number from 1: of its place, in whatever order tracks show themselves; behind those that were
    /// announced where it has none, or another one has it.
    pub fn add(&self, place: Option<Place>) -> (Passthrough, usize) {
        let mut tracks = lock(&self.tracks);
        let behind = place.map_or(0, |place| place.of);
        let own = place.map(|place| place.index).filter(|index| !tracks.contains_key(index));
        let mut free = (behind..=behind + tracks.len()).filter(|index| !tracks.contains_key(index));
        let index = own.or_else(|| free.next()).unwrap_or_default();
        let track = self.stream.as_ref().map_or_else(Passthrough::new, |stream| stream.track(index));
        if track.0.has_changed.load(Ordering::SeqCst) {
            self.note_change();
        }
        tracks.insert(index, track.clone());
        (track, index + 1)
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.tracks).is_empty()
    }

    /// Whether the format of every track is known.
    pub fn all_have_format(&self) -> bool {
        lock(&self.tracks).values().all(|track| track.format().is_some())
    }

    /// Whether some of so many announced tracks never came, and nobody has waited for them in vain.
    pub fn awaits(&self, announced: usize) -> bool {
        self.stream.as_ref().is_some_and(|stream| {
            let known = lock(&stream.tracks).iter().filter(|track| track.format().is_some()).count();
            known < announced && !stream.is_silent.load(Ordering::SeqCst)
        })
    }

    /// What was announced is not waited for any more, on later connections either.
    pub fn wait_no_more(&self) {
        if let Some(stream) = &self.stream {
            stream.is_silent.store(true, Ordering::SeqCst);
        }
    }

    /// A track came in another format than on an earlier connection.
    pub fn note_change(&self) {
        self.has_changed.store(true, Ordering::SeqCst);
    }

    /// Whether one did.
    pub fn has_changed(&self) -> bool {
        self.has_changed.load(Ordering::SeqCst)
    }

    /// Codecs for people; `None` for a track whose format is not known.
    pub fn codecs(&self) -> Vec<Option<String>> {
        lock(&self.tracks).values().map(|track| track.format().map(|caps| codec_name(&caps))).collect()
    }

    /// The tracks for the sink, each once and as soon as its format is known.
    pub fn take(&self) -> Vec<AudioTrack> {
        lock(&self.tracks).values().filter_map(Passthrough::take_track).collect()
    }

    /// Nothing more will come.
    pub fn close(&self) {
        lock(&self.tracks).values().for_each(Passthrough::close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ms: u64) -> gst::Buffer {
        let mut packet = gst::Buffer::new();
        packet.make_mut().set_pts(gst::ClockTime::from_mseconds(ms));
        packet
    }

    #[test]
    fn tracks_stay_over_connections_until_their_format_changes() {
        gst::init().expect("GStreamer");
        let stream = Arc::new(StreamAudio::default());
        let (aac, opus) = (gst::Caps::new_empty_simple("audio/mpeg"), gst::Caps::new_empty_simple("audio/x-opus"));
        let first = AudioTracks::of_connection(stream.clone());
        let (track, number) = first.add(None);
        assert_eq!((number, first.all_have_format(), first.take().len()), (1, false, 0));
        assert!(track.set_format(&aac) && first.all_have_format());
        assert!(track.set_format(&opus) && track.set_format(&aac), "it may change until a packet came");
        assert!(track.takes(Some(&aac)));
        let taken = first.take();
        assert_eq!((taken.len(), first.take().len()), (1, 0), "once");
        for ms in [20, 40, 30] {
            track.send(packet(ms), true);
        }
        let second = AudioTracks::of_connection(stream.clone());
        let (track, _) = second.add(None);
        assert!(second.take().is_empty() && track.set_format(&aac));
        track.send(packet(60), true);
        let times: Vec<_> = taken[0].packets.try_iter().filter_map(|packet| packet.pts()).collect();
        assert_eq!(times, [20, 40, 60].map(gst::ClockTime::from_mseconds), "none goes back in time");
        assert!(!track.set_format(&opus) && !track.takes(Some(&opus)));
        stream.close();
        assert!(taken[0].packets.recv().is_err());
        let third = AudioTracks::of_connection(stream);
        assert!(third.add(None).0.set_format(&opus));
        assert_eq!(third.take().len(), 1);
    }

    #[test]
    fn tracks_keep_their_numbers_in_whatever_order_they_show_themselves() {
        gst::init().expect("GStreamer");
        let stream = Arc::new(StreamAudio::default());
        let formats = ["audio/mpeg", "audio/x-alaw", "audio/x-opus"].map(gst::Caps::new_empty_simple);
        let place = |index| Some(Place { index, of: 2 });
        let add = |tracks: &AudioTracks, place: Option<Place>, format: usize| {
            let (track, number) = tracks.add(place);
            assert!(track.set_format(&formats[format]) && track.takes(Some(&formats[format])), "{number}");
            number
        };
        let first = AudioTracks::of_connection(stream.clone());
        assert_eq!([add(&first, place(1), 1), add(&first, place(0), 0)], [2, 1]);
        // Two under one place, as where a server describes one thing and sends another.
        assert_eq!(add(&first, place(1), 2), 3);
        let taken: Vec<_> = first.take().iter().filter_map(|track| track.format.caps()).collect();
        assert_eq!(taken, formats, "in their order");
        let second = AudioTracks::of_connection(stream);
        assert_eq!([add(&second, place(0), 0), add(&second, place(1), 1), add(&second, None, 2)], [1, 2, 3]);
        assert!(second.take().is_empty() && !second.has_changed(), "they go on");
        // Without a description, as they come.
        let file = AudioTracks::default();
        assert_eq!([add(&file, None, 2), add(&file, None, 0)], [1, 2]);
    }

    #[test]
    fn announced_tracks_are_awaited_until_they_came_once_or_nobody_waits_any_more() {
        gst::init().expect("GStreamer");
        let stream = Arc::new(StreamAudio::default());
        let first = AudioTracks::of_connection(stream.clone());
        assert!(first.awaits(1) && !first.awaits(0));
        let (track, _) = first.add(None);
        assert!(first.awaits(1), "its format is not known");
        assert!(track.set_format(&gst::Caps::new_empty_simple("audio/mpeg")) && !first.awaits(1) && first.awaits(2));
        let second = AudioTracks::of_connection(stream);
        assert!(!second.awaits(1), "it goes on whenever it comes");
        second.wait_no_more();
        assert!(!second.awaits(2) && !first.awaits(2));
        assert!(!AudioTracks::default().awaits(1), "a file shows all at once");
    }

    #[test]
    fn a_track_whose_format_changes_ends_and_begins_anew_with_the_next_connection() {
        gst::init().expect("GStreamer");
        let stream = Arc::new(StreamAudio::default());
        let (aac, opus) = (gst::Caps::new_empty_simple("audio/mpeg"), gst::Caps::new_empty_simple("audio/x-opus"));
        let first = AudioTracks::of_connection(stream.clone());
        let (track, _) = first.add(None);
        assert!(track.set_format(&aac) && track.takes(Some(&aac)));
        let taken = first.take();
        assert!(!track.set_format(&opus) && track.end_changed() && !track.end_changed(), "said once");
        assert!(taken[0].packets.recv().is_err(), "it has ended");
        // Even in the format that it had.
        let second = AudioTracks::of_connection(stream.clone());
        assert!(second.add(None).0.set_format(&aac) && second.has_changed());
        stream.close();
        let third = AudioTracks::of_connection(stream);
        assert!(third.add(None).0.set_format(&opus) && !third.has_changed());
        assert_eq!(third.take().len(), 1);
    }
}
