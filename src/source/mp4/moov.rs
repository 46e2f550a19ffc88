//! What stands in a header (`moov`), read and corrected in place.

use std::ops::Range;

use gstreamer as gst;
use gstreamer::prelude::*;

/// A video track shorter than the longest one by more than this is a preview (qtdemux's own limit).
const PREVIEW: u64 = 5;
/// A track is enabled, and used in the presentation (tkhd).
const ENABLED: u64 = 3;

/// What a header states that qtdemux is not told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stated {
    pub length: Option<gst::ClockTime>,
    pub edits: Vec<Edit>,
}

/// What is shown of a track, in its own time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub track: u64,
    pub start: gst::ClockTime,
    pub length: gst::ClockTime,
}

/// What a box begins with.
pub(super) struct Head {
    pub kind: [u8; 4],
    /// Its own bytes.
    pub length: usize,
    /// Of the whole box; 0 where it reaches to the end of the file.
    pub size: u64,
}

impl Head {
    /// `None` where it is not there as a whole.
    pub fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let size = number(bytes, at, 4)?;
        let kind = bytes.get(at + 4..at + 8)?.try_into().ok()?;
        if size == 1 {
            return Some(Self { kind, length: 16, size: number(bytes, at + 8, 8)? });
        }
        Some(Self { kind, length: 8, size })
    }
}

/// A number of so many bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The boxes in a part of `bytes`: each one's kind, where it begins, and its content.
fn boxes(bytes: &[u8], part: Range<usize>) -> impl Iterator<Item = ([u8; 4], usize, Range<usize>)> {
    let mut at = part.start;
    std::iter::from_fn(move || {
        let head = Head::at(&bytes[..part.end], at)?;
        let start = at;
        at = at.checked_add(usize::try_from(head.size).ok()?).filter(|after| *after <= part.end)?;
        (at >= start + head.length).then(|| (head.kind, start, start + head.length..at))
    })
}

/// The content of the first box of a kind.
fn find(bytes: &[u8], part: Range<usize>, kind: [u8; 4]) -> Option<Range<usize>> {
    boxes(bytes, part).find_map(|(found, _, content)| (found == kind).then_some(content))
}

/// Whether the content of a box has numbers of 64 bits.
fn is_long(bytes: &[u8], part: &Range<usize>) -> bool {
    bytes[part.clone()].first() == Some(&1)
}

/// How many units make a second in an `mvhd` or `mdhd`.
fn scale(bytes: &[u8], part: &Range<usize>) -> Option<u64> {
    let at = part.start + if is_long(bytes, part) { 20 } else { 12 };
    number(&bytes[..part.end], at, 4).filter(|scale| *scale > 0)
}

/// The length that an `mvhd` or `mdhd` states, and where it stands; `None` where it is unknown.
fn length(bytes: &[u8], part: &Range<usize>) -> Option<(gst::ClockTime, Range<usize>)> {
    let (at, size) = if is_long(bytes, part) { (24, 8) } else { (16, 4) };
    let field = part.start + at..part.start + at + size;
    let duration = number(&bytes[..part.end], field.start, size)?;
    let is_unknown = duration == 0 || duration == u64::MAX >> (64 - 8 * size);
    let time = gst::ClockTime::SECOND.mul_div_floor(duration, scale(bytes, part)?)?;
    (!is_unknown).then_some((time, field))
}

/// What qtdemux is told of an edit list's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It reads as it likes: an end so late that nothing of what is shown is missed.
    Later,
    /// What comes is pushed to it anyway: none.
    Open,
}

struct Track {
    at: usize,
    is_video: bool,
    /// It says that it is shown: no preview is.
    is_enabled: bool,
    length: Option<gst::ClockTime>,
    list: Option<EditList>,
}

/// An edit list that shows one stretch of its track.
struct EditList {
    edit: Edit,
    /// Where the stretch's length stands, in the movie's time.
    field: Range<usize>,
    /// How much later than it is shown a frame may be decoded.
    shift: gst::ClockTime,
}

impl Track {
    /// The `trak` that begins at `at`, of a movie whose time has this scale.
    fn of(moov: &[u8], at: usize, content: Range<usize>, movie_scale: u64) -> Option<Self> {
        let media = find(moov, content.clone(), *b"mdia")?;
        let handler = find(moov, media.clone(), *b"hdlr")?;
        let header = find(moov, media.clone(), *b"mdhd")?;
        let is_video = moov[handler].get(8..12).is_some_and(|kind| kind == b"vide");
        let flags = find(moov, content.clone(), *b"tkhd").and_then(|header| number(moov, header.start, 4));
        let is_enabled = flags.is_some_and(|flags| flags & ENABLED == ENABLED);
        let list = EditList::of(moov, content, media, scale(moov, &header)?, movie_scale);
        Some(Self { at, is_video, is_enabled, length: length(moov, &header).map(|(time, _)| time), list })
    }
}

impl Track {
    /// How long what is shown of it is.
    fn shown(&self) -> Option<gst::ClockTime> {
        self.list.as_ref().map(|list| list.edit.length).or(self.length)
    }
}

impl EditList {
    fn of(bytes: &[u8], track: Range<usize>, media: Range<usize>, scale: u64, movie_scale: u64) -> Option<Self> {
        let list = find(bytes, find(bytes, track.clone(), *b"edts")?, *b"elst")?;
        let id = find(bytes, track, *b"tkhd")?;
        let id = number(bytes, id.start + if is_long(bytes, &id) { 20 } else { 12 }, 4)?;
        let size = if is_long(bytes, &list) { 8 } else { 4 };
        let last = usize::try_from(number(bytes, list.start + 4, 4)?).ok()?.checked_sub(1)?;
        let entry = |n: usize| list.start + 8 + n * (2 * size + 4);
        let media_time = |n| number(&bytes[..list.end], entry(n) + size, size);
        let is_empty = |n| media_time(n) == Some(u64::MAX >> (64 - 8 * size));
        // Silence before it aside, it is the only one.
        if last > 2 || is_empty(last) || !(0..last).all(is_empty) {
            return None;
        }
        let field = entry(last)..entry(last) + size;
        let length = number(&bytes[..list.end], field.start, size).filter(|length| *length > 0)?;
        let shift = shift(bytes, media).unwrap_or_default();
        let time = |number: u64, scale| gst::ClockTime::SECOND.mul_div_floor(number, scale);
        let start = time(media_time(last)?.checked_add(shift)?, scale)?;
        let edit = Edit { track: id, start, length: time(length, movie_scale)? };
        Some(Self { edit, field, shift: time(shift, scale)? })
    }
}

/// By how much composition offsets are negative, in the track's time.
fn shift(bytes: &[u8], media: Range<usize>) -> Option<u64> {
    let table = find(bytes, find(bytes, media, *b"minf")?, *b"stbl")?;
    let offsets = find(bytes, table.clone(), *b"ctts")?;
    let signed = |at| number(bytes, at, 4).and_then(|n| u32::try_from(n).ok()).map(u32::cast_signed);
    let stated = find(bytes, table, *b"cslg").filter(|cslg| !is_long(bytes, cslg));
    let least = match stated {
        Some(cslg) => signed(cslg.start + 4)?.checked_neg()?,
        None => offsets.clone().skip(12).step_by(8).filter_map(signed).filter(|least| *least > i32::MIN).min()?,
    };
    Some(u64::from(least.min(0).unsigned_abs()))
}

/// Takes the length and the edit lists' ends out of a header, and previews; what it states.
pub(super) fn correct(moov: &mut [u8], end: End) -> Option<Stated> {
    let head = Head::at(moov, 0)?;
    let content = head.length..usize::try_from(head.size).ok().filter(|size| *size <= moov.len())?;
    let header = find(moov, content.clone(), *b"mvhd")?;
    let movie_scale = scale(moov, &header)?;
    // In fragments, the length is that of the first ones at most, and qtdemux knows it.
    if find(moov, content.clone(), *b"mvex").is_some() {
        return None;
    }
    let traks = boxes(moov, content).filter(|(kind, ..)| kind == b"trak");
    let tracks: Vec<Track> = traks.filter_map(|(_, at, content)| Track::of(moov, at, content, movie_scale)).collect();
    let longest = |tracks: &mut dyn Iterator<Item = &Track>| tracks.filter_map(|track| track.length).max();
    let longest_video = longest(&mut tracks.iter().filter(|track| track.is_video));
    let is_longer = |a: gst::ClockTime, b: Option<gst::ClockTime>| b.is_some_and(|b| a > b.saturating_mul(PREVIEW));
    for track in tracks.iter().filter(|track| track.is_video && !track.is_enabled) {
        if longest_video.is_some_and(|longest| is_longer(longest, track.length)) {
            moov[track.at + 4..track.at + 8].copy_from_slice(b"free");
        }
    }
    let stated = length(moov, &header);
    if let Some((_, field)) = &stated {
        moov[field.clone()].fill(0);
    }
    for EditList { edit, field, shift } in tracks.iter().filter_map(|track| track.list.as_ref()) {
        let later = || edit.length.saturating_add(*shift).mul_div_ceil(movie_scale, *gst::ClockTime::SECOND);
        let told = if end == End::Open { 0 } else { *later()? };
        let size = field.len();
        moov[field.clone()].copy_from_slice(&told.to_be_bytes()[8 - size..]);
    }
    // A length that no track comes near is wrong, and so is one that a track goes far beyond.
    let longest = tracks.iter().filter_map(Track::shown).max();
    let is_wrong =
        |length| is_longer(length, longest) || longest.is_some_and(|longest| is_longer(longest, Some(length)));
    let length = stated.map(|(length, _)| longest.filter(|_| is_wrong(length)).unwrap_or(length));
    Some(Stated { length, edits: tracks.into_iter().filter_map(|track| track.list).map(|list| list.edit).collect() })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn of(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len() + 8).expect("a small box");
        [size.to_be_bytes().as_slice(), &kind, content].concat()
    }

    fn words(words: &[i32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// An `mvhd` or `mdhd` of this length in tenths of a second.
    fn timed(kind: [u8; 4], long: bool, tenths: i32) -> Vec<u8> {
        let content = if long { [1 << 24, 0, 0, 0, 0, 10, 0, tenths] } else { [0, 0, 0, 10, tenths, 0, 0, 0] };
        of(kind, &words(&content))
    }

    fn track_with(id: i32, handler: [u8; 4], tenths: i32, edits: &[u8], offsets: &[u8]) -> Vec<u8> {
        let header = of(*b"tkhd", &words(&[0, 0, 0, id]));
        let handler = of(*b"hdlr", &[[0; 8].as_slice(), &handler, &[0; 12]].concat());
        let table = of(*b"minf", &of(*b"stbl", offsets));
        let media = of(*b"mdia", &[timed(*b"mdhd", tenths % 2 == 1, tenths), handler, table].concat());
        of(*b"trak", &[header, of(*b"edts", edits), media].concat())
    }

    fn track(handler: [u8; 4], tenths: i32) -> Vec<u8> {
        track_with(1, handler, tenths, &[], &[])
    }

    pub fn video(tenths: i32) -> Vec<u8> {
        track(*b"vide", tenths)
    }

    pub fn header(long: bool, tenths: i32, tracks: &[Vec<u8>]) -> Vec<u8> {
        of(*b"moov", &[timed(*b"mvhd", long, tenths), tracks.concat()].concat())
    }

    fn tenths(tenths: u64) -> gst::ClockTime {
        gst::ClockTime::from_mseconds(100) * tenths
    }

    #[test]
    fn no_length_is_stated_and_previews_are_left_out() {
        let sound = |tenths| track(*b"soun", tenths);
        for (stated, tracks, length, kept) in [
            (520, vec![video(100), sound(520)], 520, 2),
            (600, vec![video(61)], 61, 1),
            (100, vec![video(4), video(100), sound(1)], 100, 2),
            (300, vec![sound(300)], 300, 1),
            (300, vec![video(0)], 300, 1),
        ] {
            for long in [false, true] {
                let mut moov = header(long, stated, &tracks);
                let found = correct(&mut moov, End::Later).expect("a header");
                assert_eq!((found.length, found.edits), (Some(tenths(length)), vec![]), "{stated}");
                let content = 8..moov.len();
                assert_eq!(boxes(&moov, content).filter(|(kind, ..)| kind == b"trak").count(), kept, "{stated}");
                assert!(kept < tracks.len() || moov == header(long, 0, &tracks));
            }
        }
        let mut fragmented = header(false, 10, &[video(10), of(*b"mvex", &[])]);
        let before = fragmented.clone();
        assert_eq!((correct(&mut fragmented, End::Open), fragmented == before), (None, true));
    }

    #[test]
    fn an_edit_list_ends_later_or_not_at_all() {
        let list = |entries: &[i32], length: &[i32]| of(*b"elst", &[words(entries), words(length)].concat());
        let offsets = [of(*b"ctts", &words(&[1 << 24, 2, 1, 3, 1, -2])), of(*b"cslg", &words(&[0, 2, 0, 0]))];
        for (before, start, offsets, shift) in [
            (vec![0, 1], 7, offsets.concat(), 2),
            (vec![0, 1], 7, offsets[0].clone(), 2),
            (vec![0, 2, 5, -1, 1 << 16], 0, vec![], 0),
        ] {
            let made = |length| track_with(3, *b"vide", 60, &list(&before, &[length, start, 1 << 16]), &offsets);
            for (end, told) in [(End::Later, 30 + shift), (End::Open, 0)] {
                let mut moov = header(false, 60, &[made(30)]);
                let stated = correct(&mut moov, end).expect("a header");
                let start = tenths((start + shift).unsigned_abs().into());
                assert_eq!(stated.edits, [Edit { track: 3, start, length: tenths(30) }]);
                assert!(moov == header(false, 0, &[made(told)]), "{end:?}");
            }
        }
        // One that is as long as can be, of 64 bits, in a movie whose unit is a second.
        let longest = of(*b"elst", &words(&[1 << 24, 1, 4, 0x4B82_FA09, 0, 7, 1 << 16]));
        let late = of(*b"ctts", &words(&[1 << 24, 1, 1, -9]));
        let mut moov = header(false, 60, &[track_with(3, *b"vide", 60, &longest, &late)]);
        moov[28..32].copy_from_slice(&1u32.to_be_bytes());
        assert!(correct(&mut moov, End::Later).is_some());
        // Lists that show several stretches are left as they are, and those that end with the track.
        for entries in [[0, 2, 9, 0, 1 << 16, 9, 30, 1 << 16].as_slice(), &[0, 1, 0, 7, 1 << 16], &[0, 1, 9], &[0, 9]] {
            let tracks = [track_with(3, *b"vide", 60, &list(entries, &[]), &[])];
            let mut moov = header(true, 60, &tracks);
            assert_eq!(correct(&mut moov, End::Open).map(|stated| stated.edits), Some(vec![]));
            assert!(moov == header(true, 0, &tracks));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            edits in proptest::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..40),
            offsets in proptest::collection::vec(any::<u8>(), 0..40),
            cut in 0usize..300,
        ) {
            let list = of(*b"elst", &edits);
            let mut moov = header(false, 60, &[track_with(1, *b"vide", 60, &list, &of(*b"ctts", &offsets))]);
            correct(&mut moov.clone(), End::Open);
            moov.truncate(cut);
            correct(&mut moov, End::Later);
            correct(&mut of(*b"moov", &offsets), End::Later);
        }
    }
}
