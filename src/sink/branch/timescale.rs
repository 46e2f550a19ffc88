//! Time bases of an MP4's tracks. A track's length is stated in 32 bits of its time base: at the usual 1/90000 s that is 13.25 hours,
//! at 1/48000 s a day. `GStreamer`'s muxer overflows without a word; a longer track gets a coarser base.

use std::time::Duration;

use gstreamer as gst;

/// What a file of unknown length may reach: its times are then rounded to 0.6 ms, finer than Matroska's.
const UNKNOWN: Duration = Duration::from_hours(30 * 24);
/// The coarsest base: 1 ms, 49 days.
const COARSEST: u32 = 1000;
/// Samples of a packet of AAC.
const AAC_SAMPLES: u32 = 1024;

/// A base in which the frame rate is exact and 1/90000 s is not lost, where the track's length fits: the numerator, multiplied up.
pub(super) fn of_video(numer: i32, length: Option<Duration>) -> u32 {
    let numer = u32::try_from(numer).ok().filter(|numer| (1..=90_000).contains(numer));
    let exact = numer.map_or(90_000, |numer| numer * 90_000u32.div_ceil(numer));
    let fits = fits(length);
    if exact <= fits { exact } else { multiple(numer.unwrap_or(1), fits) }
}

/// A base for audio in this format, where its own, the sample rate, is too fine. Raw audio keeps its own: the muxer counts its samples.
pub(super) fn of_audio(caps: &gst::CapsRef, length: Option<Duration>) -> Option<u32> {
    let structure = caps.structure(0)?;
    if matches!(structure.name().as_str(), "audio/x-raw" | "audio/x-mulaw" | "audio/x-alaw") {
        return None;
    }
    let rate = structure.get::<i32>("rate").ok().and_then(|rate| u32::try_from(rate).ok()).filter(|rate| *rate > 0)?;
    let fits = fits(length);
    // One in which a packet's length is exact, where there is one.
    (rate > fits).then(|| multiple(rate / common(rate, AAC_SAMPLES), fits))
}

/// The finest base in which so long a track's length fits.
fn fits(length: Option<Duration>) -> u32 {
    // What is stated can be a little too short.
    let seconds = length.unwrap_or(UNKNOWN).as_secs().saturating_add(10);
    u64::from(u32::MAX).checked_div(seconds).and_then(|most| u32::try_from(most).ok()).unwrap_or(u32::MAX).max(COARSEST)
}

/// The largest multiple of `step` up to `most`, else `most`.
fn multiple(step: u32, most: u32) -> u32 {
    if step <= most { most / step * step } else { most }
}

/// The greatest common divisor.
fn common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn frame_rates_are_exact_in_the_time_base() {
        let hour = Some(Duration::from_hours(1));
        assert_eq!(of_video(30_000, hour), 90_000);
        assert_eq!(of_video(25, Some(Duration::from_hours(13))), 90_000);
        assert_eq!(of_video(0, hour), 90_000);
    }

    #[test]
    fn a_long_track_has_a_base_in_which_its_length_fits() {
        for (numer, hours) in [(25, 20), (30_000, 20), (30_000, 50), (0, 20), (90_000, 1000)] {
            let length = Duration::from_hours(hours);
            let base = of_video(numer, Some(length));
            assert!(u32::try_from(u64::from(base) * length.as_secs()).is_ok(), "{numer} {hours}: {base}");
        }
        assert_eq!(of_video(25, Some(Duration::from_hours(20))) % 25, 0);
        assert_eq!(of_video(30_000, Some(Duration::from_hours(20))), 30_000);
        assert_eq!(of_video(25, Some(Duration::MAX)), 1000);
    }

    #[test]
    fn a_live_recording_may_last_for_thirty_days() {
        let days = |base: u32| u64::from(u32::MAX) / u64::from(base) / DAY.as_secs();
        assert_eq!((of_video(25, None), days(of_video(25, None))), (1650, 30));
        assert_eq!(days(of_video(30_000, None)), 30);
    }

    #[test]
    fn audio_longer_than_a_day_has_a_base_in_which_its_length_fits() {
        gst::init().expect("GStreamer");
        let of =
            |name: &str, rate: i32, length| of_audio(&gst::Caps::builder(name).field("rate", rate).build(), length);
        let aac = "audio/mpeg";
        assert_eq!(of(aac, 48_000, Some(Duration::from_hours(20))), None);
        assert_eq!(of(aac, 48_000, Some(2 * DAY)), Some(24_750));
        // A packet of 1024 samples is a whole number of it.
        assert_eq!(of(aac, 48_000, None).map(|base| (base, base * 1024 % 48_000)), Some((1500, 0)));
        assert_eq!(of(aac, 44_100, None), Some(1657));
        assert_eq!((of(aac, 8000, Some(2 * DAY)), of("audio/x-alaw", 8000, None)), (None, None));
    }
}
