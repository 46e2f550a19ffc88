//! H.264 access units as encoders' parsers lay them out for files (each NAL unit after its length, the parameter sets apart, in
//! `codec_data`), and as a byte stream, which decoders can enter at any keyframe: ISO/IEC 14496-15, 5.3; ITU-T H.264, annex B.

use gstreamer as gst;

/// Stands before each NAL unit of a byte stream.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Kinds of NAL units (ITU-T H.264, table 7-1).
const SEQUENCE_PARAMETERS: u8 = 7;
const FRAME_PARAMETERS: u8 = 8;
const DELIMITER: u8 = 9;

/// How a stream's access units are laid out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Avc {
    /// Bytes of a NAL unit's length: 1 to 4.
    length_bytes: usize,
    /// The parameter sets, as a byte stream.
    sets: Vec<u8>,
    /// `profile_idc`, constraints, `level_idc`.
    profile: [u8; 3],
}

impl Avc {
    /// As `caps` say; `None` where they say something else.
    pub fn of(caps: &gst::Caps) -> Option<Self> {
        let data = caps.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
        Self::read(&data.map_readable().ok()?)
    }

    /// As an `AVCDecoderConfigurationRecord` says.
    fn read(data: &[u8]) -> Option<Self> {
        let (head, mut rest) = data.split_at_checked(5)?;
        let &[1, profile, constraints, level, length] = head else { return None };
        let mut sets = Vec::new();
        for mask in [0x1f, 0xff] {
            let (&count, mut following) = rest.split_first()?;
            for _ in 0..count & mask {
                let (set, after) = take(following, 2)?;
                sets.extend_from_slice(&START_CODE);
                sets.extend_from_slice(set);
                following = after;
            }
            rest = following;
        }
        Some(Self { length_bytes: usize::from(length & 3) + 1, sets, profile: [profile, constraints, level] })
    }

    /// What a decoder must be able to do.
    pub fn profile(&self) -> [u8; 3] {
        self.profile
    }

    /// An access unit as a byte stream, a keyframe with the parameter sets before it; `None` where it is damaged.
    pub fn byte_stream(&self, unit: &[u8], is_keyframe: bool) -> Option<Vec<u8>> {
        // Lengths of less than four bytes grow; a frame has a slice a thread.
        let mut stream = Vec::with_capacity(unit.len() + self.sets.len() + 64);
        if is_keyframe {
            stream.extend_from_slice(&self.sets);
        }
        let mut rest = unit;
        while !rest.is_empty() {
            let (nal, after) = take(rest, self.length_bytes)?;
            rest = after;
            let Some(kind) = nal.first().map(|head| head & 0x1f) else { continue };
            // Those of `codec_data` are what counts.
            if !matches!(kind, SEQUENCE_PARAMETERS | FRAME_PARAMETERS | DELIMITER) {
                stream.extend_from_slice(&START_CODE);
                stream.extend_from_slice(nal);
            }
        }
        Some(stream)
    }
}

/// What stands after its length of so many bytes, and what follows.
fn take(data: &[u8], length_bytes: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_at_checked(length_bytes)?;
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: [u8; 17] = [1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 3, 0x67, 0x64, 0, 1, 0, 2, 0x68, 0xee, 0xff];

    #[test]
    fn a_keyframe_of_a_byte_stream_brings_its_parameter_sets() {
        let avc = Avc::read(&RECORD[..16]).expect("a record");
        assert_eq!((avc.profile(), avc.length_bytes), ([0x64, 0, 0x1f], 4));
        // A delimiter, sets in between and two slices.
        let unit = [&[0, 0, 0, 2, 9, 0xf0][..], &[0, 0, 0, 2, 0x67, 0], &[0, 0, 0, 2, 0x65, 1], &[0, 0, 0, 1, 0x65]];
        let stream = avc.byte_stream(&unit.concat(), true).expect("whole");
        let nals = [&[0x67, 0x64, 0][..], &[0x68, 0xee], &[0x65, 1], &[0x65]];
        let expected: Vec<u8> = nals.iter().flat_map(|nal| START_CODE.iter().chain(*nal)).copied().collect();
        assert_eq!(stream, expected);
        assert_eq!(avc.byte_stream(&[0, 0, 0, 1, 0x41], false).expect("whole"), [0, 0, 0, 1, 0x41]);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        for length in 0..16 {
            assert_eq!(Avc::read(&RECORD[..length]), None, "{length}");
        }
        let avc = Avc::read(&RECORD[..16]).expect("a record");
        assert_eq!(avc.byte_stream(&[0, 0, 0, 9, 0x41], false), None);
        assert_eq!(avc.byte_stream(&[0xff, 0xff, 0xff, 0xff], false), None);
    }
}
