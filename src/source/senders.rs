//! The senders of an RTP track. A camera whose encoder starts again goes on under another SSRC, of which `rtpbin` makes another
//! pad: it takes the place of the one before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::activity::Activity;
use super::link::change_caps;
use crate::clock::Clock;

/// A sender that was silent for so long has come back.
const SILENCE: Duration = Duration::from_secs(1);
/// Every sender leaves a thread and a jitter buffer behind in `rtpbin`: a connection that has had so many begins anew.
const MOST_SENDERS: usize = 64;

/// The tracks of a source, as far as they are of RTP.
pub(super) struct RtpTracks {
    clock: Arc<dyn Clock>,
    tracks: Mutex<HashMap<(u32, u32), Arc<Senders>>>,
}

/// Has `rtspsrc` take the packets of every sender from its first on. What the server says of the first packets
/// (`RTP-Info`) is of the first sender, where it is true at all: `GStreamer` 1.22 drops what is numbered before it.
pub(super) fn take_all(rtspsrc: &gst::Element) {
    rtspsrc.connect("new-manager", false, |values| {
        let manager = values.get(1)?.get::<gst::Element>().ok()?;
        manager.connect("new-jitterbuffer", false, |values| {
            let buffer = values.get(1)?.get::<gst::Element>().ok()?;
            // It would wait for as long as it may for packets before the first one, of which it now knows nothing.
            buffer.set_property("faststart-min-packets", 1u32);
            if let Some(pad) = buffer.static_pad("sink") {
                change_caps(&pad, without_first);
            }
            None
        });
        None
    });
}

/// The same caps without number and time of the first packet; `None` where there are none.
fn without_first(caps: &gst::CapsRef) -> Option<gst::Caps> {
    let fields = ["seqnum-base", "clock-base"];
    caps.structure(0).filter(|s| fields.iter().any(|field| s.has_field(*field)))?;
    let mut caps = caps.to_owned();
    caps.make_mut().structure_mut(0)?.remove_fields(fields);
    Some(caps)
}

/// The senders of a track, and which of them is listened to.
struct Senders {
    /// What their packets go into.
    funnel: gst::Element,
    known: AtomicUsize,
    current: AtomicUsize,
    /// When the one that is listened to last sent.
    last: Activity,
}

/// One of them.
pub(super) struct Sender {
    clock: Arc<dyn Clock>,
    senders: Arc<Senders>,
    number: usize,
    last: Activity,
}

impl RtpTracks {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tracks: Mutex::default() }
    }

    /// One more sender of the track that `pad` is of, which is listened to from now on. `None` where it is not of RTP.
    pub fn sender(&self, pad: &gst::Pad) -> Result<Option<Sender>, gst::glib::BoolError> {
        let Some(key) = session_and_payload(&pad.name()) else { return Ok(None) };
        let clock = self.clock.clone();
        let mut tracks = self.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        let senders = match tracks.entry(key) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => new.insert(Arc::new(Senders::new(clock.clone())?)).clone(),
        };
        let number = senders.known.fetch_add(1, Ordering::SeqCst);
        if number >= MOST_SENDERS {
            return Err(gst::glib::bool_error!("its SSRC has changed {} times", number));
        }
        senders.current.store(number, Ordering::SeqCst);
        Ok(Some(Sender { last: Activity::new(clock.clone()), clock, senders, number }))
    }
}

impl Senders {
    fn new(clock: Arc<dyn Clock>) -> Result<Self, gst::glib::BoolError> {
        let funnel = gst::ElementFactory::make("funnel").build()?;
        Ok(Self { funnel, known: AtomicUsize::new(0), current: AtomicUsize::new(0), last: Activity::new(clock) })
    }
}

impl Sender {
    /// Whether it is the first of its track.
    pub fn is_first(&self) -> bool {
        self.number == 0
    }

    /// What its packets go into, as those of every sender of its track do.
    pub fn funnel(&self) -> &gst::Element {
        &self.senders.funnel
    }

    /// It sends a packet: whether that belongs to the track. Of two that send at once, only the newest's do.
    pub fn takes(&self) -> bool {
        let (now, senders) = (self.clock.now(), &self.senders);
        let was_silent = |activity: &Activity| activity.last().is_none_or(|last| now.since(last) >= SILENCE);
        let is_back = was_silent(&self.last);
        self.last.note();
        if self.number != senders.current.load(Ordering::SeqCst) {
            if !is_back && !was_silent(&senders.last) {
                return false;
            }
            senders.current.store(self.number, Ordering::SeqCst);
        }
        senders.last.note();
        true
    }
}

/// The session of a pad of RTP: the number of its track in the server's description.
pub(super) fn session_of(pad: &gst::Pad) -> Option<u32> {
    session_and_payload(&pad.name()).map(|(session, _)| session)
}

/// Session and payload type of a pad, as `rtspsrc` and `rtpbin` name theirs: `recv_rtp_src_SESSION_SSRC_PAYLOAD`.
fn session_and_payload(name: &str) -> Option<(u32, u32)> {
    let (session, rest) = name.strip_prefix("recv_rtp_src_")?.split_once('_')?;
    let (_, payload) = rest.split_once('_')?;
    Some((session.parse().ok()?, payload.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimulatedClock;

    #[test]
    fn the_newest_sender_is_listened_to_until_it_falls_silent() {
        gst::init().expect("GStreamer");
        let clock = Arc::new(SimulatedClock::default());
        let tracks = RtpTracks::new(clock.clone());
        let pad = |name: &str| gst::Pad::builder(gst::PadDirection::Src).name(name).build();
        let sender = |name: &str| tracks.sender(&pad(name)).expect("few enough");
        let camera = sender("recv_rtp_src_0_4000000000_96").expect("of RTP");
        assert!(camera.is_first() && camera.takes());
        let sound = sender("recv_rtp_src_1_77_8").expect("of RTP");
        assert!(sender("src").is_none());
        let restarted = sender("recv_rtp_src_0_99_96").expect("of RTP");
        assert!(!restarted.is_first() && sound.is_first());
        assert_eq!(restarted.funnel(), camera.funnel());
        assert_ne!(restarted.funnel(), sound.funnel());
        // The last packets of the first come after the first packets of the second.
        assert_eq!([restarted.takes(), camera.takes(), restarted.takes(), sound.takes()], [true, false, true, true]);
        clock.advance(SILENCE / 2);
        assert_eq!([restarted.takes(), camera.takes()], [true, false]);
        // It comes back, and after that the other one falls silent.
        clock.advance(SILENCE);
        assert_eq!([camera.takes(), restarted.takes()], [true, true]);
        for _ in 0..3 {
            clock.advance(SILENCE / 2);
            camera.takes();
        }
        assert!(camera.takes());
        for ssrc in 2..MOST_SENDERS {
            sender(&format!("recv_rtp_src_0_{ssrc}_96"));
        }
        assert!(tracks.sender(&pad("recv_rtp_src_0_1_96")).is_err());
    }
}
