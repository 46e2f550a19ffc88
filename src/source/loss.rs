//! Frames that come by RTP with a packet missing: whether UDP loses so many that TCP is the better way.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::wake::Waker;
use crate::clock::{Clock, HostTime};
use crate::thread::Guard;

/// More of a hundred frames than this lack a packet: too many. A frame of 1080p is of 30 to 40 packets: with one packet in a
/// thousand lost, 4 % of them are damaged, and those that refer to them.
const MOST_PERCENT: u64 = 5;
/// How long frames are counted, and how many at least: a slow stream is not judged by two of them.
const WINDOW: Duration = Duration::from_secs(5);
const FEWEST: u64 = 50;
/// Windows with too many, one after the other: a burst of losses passes.
const WINDOWS: u32 = 2;

/// Watches the frames of a connection.
pub(super) struct FrameLoss {
    clock: Arc<dyn Clock>,
    waker: Waker,
    said: OnceLock<String>,
}

impl FrameLoss {
    pub fn new(clock: Arc<dyn Clock>, waker: Waker) -> Arc<Self> {
        Arc::new(Self { clock, waker, said: OnceLock::new() })
    }

    /// Watches the packets of one sender, as they leave its jitter buffer at `pad`; those of anything but video pass.
    pub fn watch(self: &Arc<Self>, pad: &gst::Pad, guard: &Guard) {
        let (this, guard, counted) = (self.clone(), guard.clone(), Mutex::<Counted>::default());
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |pad, info| {
            let goes_on = guard.run("loss", || this.note(pad, info, &counted));
            if goes_on == Some(true) { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Remove }
        });
    }

    /// Whether to go on counting.
    fn note(&self, pad: &gst::Pad, info: &gst::PadProbeInfo, counted: &Mutex<Counted>) -> bool {
        if self.said.get().is_some() {
            return false;
        }
        let caps = pad.current_caps();
        let media = caps.as_ref().and_then(|caps| caps.structure(0)?.get::<&str>("media").ok());
        if media.is_some_and(|media| media != "video") {
            return false;
        }
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let mut one = |buffer: &gst::BufferRef| {
            let packet = buffer.map_readable().ok()?;
            counted.packet(&packet, now)
        };
        let too_much = match (info.buffer(), info.buffer_list()) {
            (Some(buffer), _) => one(buffer),
            (None, Some(list)) => list.iter().find_map(&mut one),
            (None, None) => None,
        };
        let Some(said) = too_much else { return true };
        // The first sender of whom that is known is enough.
        let _ = self.said.set(said);
        self.waker.wake();
        false
    }

    /// In words, once too many frames have lacked a packet for too long.
    pub fn too_much(&self) -> Option<&String> {
        self.said.get()
    }
}

/// The packets of one sender.
#[derive(Debug, Default)]
struct Counted {
    since: Option<HostTime>,
    /// Sequence number and time of the last packet, and whether its frame is counted as damaged.
    last: Option<(u16, u32, bool)>,
    frames: u64,
    damaged: u64,
    /// Windows in a row with too many.
    bad: u32,
}

impl Counted {
    /// The next packet, at `now`; what is to be said where too many were lost for too long.
    fn packet(&mut self, packet: &[u8], now: HostTime) -> Option<String> {
        // RFC 3550, 5.1: two bytes of flags, the sequence number, the time.
        let &[_, _, high, low, t3, t2, t1, t0] = packet.first_chunk()?;
        let (number, time) = (u16::from_be_bytes([high, low]), u32::from_be_bytes([t3, t2, t1, t0]));
        let (last, last_time, was_damaged) = self.last.unwrap_or((number.wrapping_sub(1), time.wrapping_sub(1), false));
        let step = number.wrapping_sub(last);
        let is_new = time != last_time;
        // A sender that begins anew goes back.
        let is_missing = (2..0x8000).contains(&step);
        self.frames += u64::from(is_new);
        // Between two frames, it is of the first where that is whole so far.
        self.damaged += u64::from(is_missing && !was_damaged);
        self.last = Some((number, time, !is_new && (is_missing || was_damaged)));
        let since = *self.since.get_or_insert(now);
        if now.since(since) < WINDOW || self.frames < FEWEST {
            return None;
        }
        let (damaged, frames) = (std::mem::take(&mut self.damaged), std::mem::take(&mut self.frames));
        self.since = Some(now);
        self.bad = if damaged * 100 > frames * MOST_PERCENT { self.bad + 1 } else { 0 };
        (self.bad >= WINDOWS).then(|| {
            let seconds = (WINDOW * WINDOWS).as_secs();
            format!("of {frames} frames {damaged} lacked packets, and more than {MOST_PERCENT} % for {seconds} s: from UDP to TCP")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of four packets, 25 a second, for so many seconds; `lost` says which packets are.
    fn seen(counted: &mut Counted, from_s: u64, seconds: u64, lost: impl Fn(u32) -> bool) -> Option<String> {
        let first = u32::try_from(from_s * 100).expect("few");
        let packets = u32::try_from(seconds * 100).expect("few");
        (first..first + packets).filter(|n| !lost(*n)).find_map(|n| {
            let number = u16::try_from(n % 0x1_0000).expect("16 bits");
            let mut packet = vec![0x80, 96];
            packet.extend(number.to_be_bytes());
            packet.extend((n / 4 * 3600).to_be_bytes());
            counted.packet(&packet, HostTime::from_start(Duration::from_millis(u64::from(n) * 10)))
        })
    }

    #[test]
    fn udp_is_left_where_more_than_five_percent_of_the_frames_lack_packets_for_ten_seconds() {
        // One packet in a hundred: one frame in 25, 4 %.
        assert_eq!(seen(&mut Counted::default(), 0, 60, |n| n % 100 == 50), None);
        // One in fifty: 8 %.
        let said = seen(&mut Counted::default(), 0, 60, |n| n % 50 == 10).expect("too many");
        assert!(said.contains(" 10 lacked packets, and more than 5 % for 10 s"), "{said}");
        // Several of one frame are one frame.
        assert_eq!(seen(&mut Counted::default(), 0, 60, |n| n % 100 == 41 || n % 100 == 43), None);
        // A burst passes, and what comes after it counts anew.
        let mut counted = Counted::default();
        for from in [0, 20, 40] {
            assert_eq!(seen(&mut counted, from, 6, |n| n % 20 == 10), None);
            assert_eq!(seen(&mut counted, from + 6, 14, |_| false), None);
        }
        // A sender that begins anew loses nothing by that.
        for from in 0..30 {
            assert_eq!(seen(&mut counted, 60 + 10 * (from % 2), 1, |_| false), None);
        }
        assert_eq!(counted.packet(&[0x80, 96, 0], HostTime::default()), None, "no RTP");
    }
}
