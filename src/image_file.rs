//! What an image file says of itself before it is decoded: its EXIF orientation, how many images it holds, and whether its
//! format can be decoded at all.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Cursor, Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::path::Path;

/// Chunks, blocks or directories of one file: those beyond are not looked at.
const MOST: usize = 1 << 16;
/// Entries of a TIFF directory, and directories of a file, that are looked at.
const ENTRIES: u16 = 4096;
const DIRECTORIES: usize = 4096;
/// A larger file is not read as a whole, bytes.
const LARGEST_WHOLE: u64 = 64 << 20;
/// An encoded frame inside a file, bytes.
const LARGEST: u32 = 256 << 20;

/// Pixels of an image, at most: 16384×16384. The largest cameras have 200 million; ffmpeg's decoders take no more than this either.
/// Decoded, one takes a gigabyte, and as much again while it is converted.
const MOST_PIXELS: u64 = 1 << 28;

/// Strips of a TIFF: one a row of the largest image.
const STRIPS: u32 = 1 << 16;

/// Width and height, pixels.
type Sides = (u32, u32);

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// EXIF orientation of PNG, WebP and TIFF, 1..=8; 1 is upright. A JPEG's comes with its decoded frame.
    pub orientation: u8,
    /// The part of it that is left to do after decoding: that of a TIFF is mirrored by its decoder (libtiff), not turned.
    pub turn: u8,
    /// Frames of an animation, or pages.
    pub images: usize,
    /// An animated WebP's first frame, as a file of its own: decoders take no animation.
    pub first: Option<Vec<u8>>,
    /// The format, where no decoder takes it, and what converts it.
    pub undecodable: Option<(&'static str, &'static str)>,
    /// Width and height, where the format is one of those that can be large (WebP cannot).
    pub size: Option<Sides>,
    /// Pixels of a TIFF are not in the file, or nobody knows: a decoder shows what was in memory before in their place.
    pub lacks_pixels: bool,
}

impl Default for ImageFile {
    fn default() -> Self {
        Self { orientation: 1, turn: 1, images: 1, first: None, undecodable: None, size: None, lacks_pixels: false }
    }
}

impl ImageFile {
    /// Reads what `path` says; what cannot be read says nothing.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        open_regular(path).and_then(|file| Self::parse(BufReader::new(file)).ok()).unwrap_or_default()
    }

    /// What `bytes` say, a whole file's; what cannot be read says nothing.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::parse(Cursor::new(bytes)).unwrap_or_default()
    }

    /// Why it is not decoded, where it is too large: a few bytes can ask for more memory than there is.
    #[must_use]
    pub fn too_large(&self) -> Option<String> {
        let (width, height) = self.size.filter(|(w, h)| u64::from(*w) * u64::from(*h) > MOST_PIXELS)?;
        Some(format!("{width}×{height} pixels are more than the {} million that are decoded", MOST_PIXELS / 1_000_000))
    }

    fn parse(file: impl Read + Seek) -> Result<Self> {
        let mut file = Bytes { file, little: true };
        let start: [u8; 12] = file.take()?;
        match start {
            [b'G', b'I', b'F', _, _, _, w0, w1, h0, h1, ..] => {
                let size = Some((u16::from_le_bytes([w0, w1]).into(), u16::from_le_bytes([h0, h1]).into()));
                // Its blocks may be cut off.
                Ok(Self { images: file.gif_frames().unwrap_or(1), size, ..Self::default() })
            }
            [0xff, 0xd8, ..] => Ok(Self { size: file.jpeg_size()?, ..Self::default() }),
            [b'B', b'M', ..] => Ok(Self { size: Some(file.bmp_size()?), ..Self::default() }),
            [0xff, 0x4f, 0xff, 0x51, ..] => Ok(Self { size: Some(file.siz(8)?), ..Self::default() }),
            [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] => Ok(Self { size: file.jp2_size()?, ..Self::default() }),
            [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => {
                let (orientation, images, size) = file.tiff(0)?;
                let turn = match orientation {
                    5 | 7 => 5,
                    6 | 8 => 7,
                    _ => 1,
                };
                let end = file.file.seek(SeekFrom::End(0))?;
                let lacks_pixels = file.pixels_end().map_or(true, |pixels| pixels > end);
                Ok(Self { orientation, turn, images, size, lacks_pixels, ..Self::default() })
            }
            [0x89, b'P', b'N', b'G', ..] => file.png(),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => file.webp(),
            [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => {
                Ok(Self::undecodable("JPEG XL", "djxl IN OUT.png"))
            }
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => Ok(match &brand {
                b"avif" | b"avis" => Self::undecodable("AVIF", "avifdec IN OUT.png"),
                b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1" => {
                    Self::undecodable("HEIC", "heif-convert IN OUT.jpg")
                }
                _ => Self::default(),
            }),
            _ => Ok(Self::default()),
        }
    }

    fn undecodable(format: &'static str, converter: &'static str) -> Self {
        Self { undecodable: Some((format, converter)), ..Self::default() }
    }
}

/// Opens a file to look into it before it is decoded; `None` for a pipe or device, which is opened once, by what decodes it: its
/// bytes come once, and a writer that sees its reader leave ends.
#[must_use]
pub fn open_regular(path: &Path) -> Option<File> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    File::open(path).ok()
}

/// All of a regular file of 64 MiB at most.
#[must_use]
pub fn whole(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(LARGEST_WHOLE + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= LARGEST_WHOLE).then_some(bytes)
}

/// A file that is read in pieces.
struct Bytes<R> {
    file: R,
    /// Byte order of numbers.
    little: bool,
}

impl<R: Read + Seek> Bytes<R> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn short(&mut self) -> Result<u16> {
        let bytes = self.take()?;
        Ok(if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(&mut self) -> Result<u32> {
        let bytes = self.take()?;
        Ok(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn seek(&mut self, at: u64) -> Result<()> {
        self.file.seek(SeekFrom::Start(at)).map(|_| ())
    }

    fn skip(&mut self, bytes: u32) -> Result<()> {
        self.file.seek_relative(i64::from(bytes))
    }

    /// Two numbers of four bytes, the greater digits first.
    fn pair(&mut self) -> Result<Sides> {
        self.little = false;
        Ok((self.long()?, self.long()?))
    }

    /// A JPEG's frame header (ITU-T T.81, B.2.2), which comes before its data; `None` where there is none.
    fn jpeg_size(&mut self) -> Result<Option<Sides>> {
        self.seek(2)?;
        self.little = false;
        for _ in 0..MOST {
            // Markers may have any number of 0xff before them.
            let mut code = 0xff;
            while code == 0xff {
                [code] = self.take()?;
            }
            match code {
                // All of 0xc0 to 0xcf, but for tables, an extension and arithmetic conditioning.
                0xc0..=0xcf if !matches!(code, 0xc4 | 0xc8 | 0xcc) => {
                    let (_, _, height, width) = (self.short()?, self.take::<1>()?, self.short()?, self.short()?);
                    return Ok(Some((width.into(), height.into())));
                }
                // Without a length.
                0x01 | 0xd0..=0xd8 => {}
                // Its data begins, or it ends.
                0xda | 0xd9 => break,
                _ => {
                    let length = self.short()?;
                    self.skip(length.saturating_sub(2).into())?;
                }
            }
        }
        Ok(None)
    }

    /// A BMP's header: of OS/2's, numbers of two bytes, else of four, of which the height may be negative.
    fn bmp_size(&mut self) -> Result<Sides> {
        self.seek(14)?;
        self.little = true;
        if self.long()? == 12 {
            return Ok((self.short()?.into(), self.short()?.into()));
        }
        let sides = [self.long()?, self.long()?].map(|side| side.cast_signed().unsigned_abs());
        Ok((sides[0], sides[1]))
    }

    /// The reference grid of a JPEG 2000 codestream (ITU-T T.800, A.5.1), which is at least as large as its image.
    fn siz(&mut self, at: u64) -> Result<Sides> {
        self.seek(at)?;
        self.pair()
    }

    /// A JP2's image header (ITU-T T.800, I.5.3.1), first in its header box.
    fn jp2_size(&mut self) -> Result<Option<Sides>> {
        let mut at = 12;
        for _ in 0..MOST {
            self.seek(at)?;
            let (length, kind) = self.pair()?;
            if &kind.to_be_bytes() == b"jp2h" {
                let _ = self.pair()?;
                return self.pair().map(|(height, width)| Some((width, height)));
            }
            if length < 8 {
                break;
            }
            at += u64::from(length);
        }
        Ok(None)
    }

    /// A TIFF structure (TIFF 6.0) that begins at `base`: tag 0x0112 of its first directory, how many directories follow one
    /// another, and the first one's size.
    fn tiff(&mut self, base: u64) -> Result<(u8, usize, Option<Sides>)> {
        self.seek(base)?;
        self.little = self.take::<4>()?[0] == b'I';
        let (orientation, size) = self.directory(base)?;
        let mut seen = HashSet::new();
        // Directories are linked, in hostile files to each other.
        while let Ok(next) = self.long()
            && next != 0
            && seen.len() < DIRECTORIES
            && seen.insert(next)
        {
            self.seek(base + u64::from(next))?;
            let Ok(entries) = self.short() else { break };
            self.skip(u32::from(entries) * 12)?;
        }
        Ok((orientation, seen.len().max(1), size))
    }

    /// Where the last of a TIFF's strips (tags 0x0111, 0x0117) or tiles (0x0144, 0x0145) ends, of its first image.
    fn pixels_end(&mut self) -> Result<u64> {
        self.seek(4)?;
        let first = u64::from(self.long()?);
        self.seek(first)?;
        let mut lists = [None; 2];
        for entry in 0..u64::from(self.short()?.min(ENTRIES)) {
            let at = first + 2 + 12 * entry;
            self.seek(at)?;
            let (tag, kind, count) = (self.short()?, self.short()?, self.long()?);
            match tag {
                0x0111 | 0x0144 => lists[0] = Some((kind, count, at + 8)),
                0x0117 | 0x0145 => lists[1] = Some((kind, count, at + 8)),
                _ => {}
            }
        }
        let [Some(places), Some(lengths)] = lists else { return Err(ErrorKind::InvalidData.into()) };
        let (places, lengths) = (self.numbers(places)?, self.numbers(lengths)?);
        let has_all = places.len() == lengths.len() && lengths.iter().all(|length| *length > 0);
        let end = places.iter().zip(&lengths).map(|(place, length)| place + length).max();
        end.filter(|_| has_all).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// Numbers of a TIFF's field: kind, how many, and where they or their place stand.
    fn numbers(&mut self, (kind, count, at): (u16, u32, u64)) -> Result<Vec<u64>> {
        let is_long = match kind {
            3 => false,
            4 => true,
            _ => return Err(ErrorKind::InvalidData.into()),
        };
        if count == 0 || count > STRIPS {
            return Err(ErrorKind::InvalidData.into());
        }
        self.seek(at)?;
        if count > if is_long { 1 } else { 2 } {
            let place = self.long()?;
            self.seek(place.into())?;
        }
        (0..count).map(|_| if is_long { self.long().map(u64::from) } else { self.short().map(u64::from) }).collect()
    }

    /// Orientation (tag 0x0112) and size (0x0100, 0x0101) in the first directory, whose place comes next; that is where this stays.
    /// Of a side that is stated twice the larger counts, whichever a decoder takes.
    fn directory(&mut self, base: u64) -> Result<(u8, Option<Sides>)> {
        const BYTE: u16 = 1;
        const SHORT: u16 = 3;
        const LONG: u16 = 4;
        let link = self.file.stream_position()?;
        let first = self.long()?;
        self.seek(base + u64::from(first))?;
        let (mut orientation, mut width, mut height) = (1, 0, 0);
        let entries = self.short()?;
        let mut is_known = entries <= ENTRIES;
        for _ in 0..entries.min(ENTRIES) {
            let (tag, kind, _, value, more) =
                (self.short()?, self.short()?, self.long()?, self.short()?, self.short()?);
            let (high, low) = if self.little { (more, value) } else { (value, more) };
            let side = match kind {
                BYTE if self.little => u32::from(value & 0xff),
                BYTE => u32::from(value >> 8),
                LONG => u32::from(high) << 16 | u32::from(low),
                _ => u32::from(value),
            };
            // No kind that a side is written in.
            is_known &= !matches!(tag, 0x0100 | 0x0101) || matches!(kind, BYTE | SHORT | LONG);
            match tag {
                0x0112 => orientation = u8::try_from(value).ok().filter(|value| (1..=8).contains(value)).unwrap_or(1),
                0x0100 => width = side.max(width),
                0x0101 => height = side.max(height),
                _ => {}
            }
        }
        self.seek(link)?;
        Ok((orientation, (is_known && width > 0 && height > 0).then_some((width, height))))
    }

    /// The orientation of an EXIF block that begins here.
    fn exif(&mut self) -> Result<u8> {
        let at = self.file.stream_position()?;
        let prefix = if &self.take::<6>()? == b"Exif\0\0" { 6 } else { 0 };
        self.seek(at + prefix)?;
        self.little = self.take::<4>()?[0] == b'I';
        // It may be cut off.
        Ok(self.directory(at + prefix).map_or(1, |(orientation, _)| orientation))
    }

    /// Chunks of length, kind, data and checksum.
    fn png(&mut self) -> Result<ImageFile> {
        let (mut found, mut has_exif) = (ImageFile::default(), false);
        self.seek(8)?;
        for _ in 0..MOST {
            self.little = false;
            let Ok(length) = self.long() else { break };
            let kind: [u8; 4] = self.take()?;
            let data = self.file.stream_position()?;
            match &kind {
                b"IHDR" => found.size = Some(self.pair()?),
                b"eXIf" if !has_exif => (found.turn, has_exif) = (self.exif()?, true),
                b"acTL" => found.images = usize::try_from(self.long()?).unwrap_or(1).max(1),
                b"IEND" => break,
                _ => {}
            }
            self.seek(data + u64::from(length) + 4)?;
        }
        found.orientation = found.turn;
        Ok(found)
    }

    /// Chunks of kind, length and data, padded to an even length.
    fn webp(&mut self) -> Result<ImageFile> {
        let (mut found, mut frames, mut has_exif) = (ImageFile::default(), 0, false);
        for _ in 0..MOST {
            self.little = true;
            let Ok(kind) = self.take::<4>() else { break };
            let length = self.long()?;
            let data = self.file.stream_position()?;
            match &kind {
                b"EXIF" if !has_exif => (found.turn, has_exif) = (self.exif()?, true),
                b"ANMF" => {
                    frames += 1;
                    if found.first.is_none() {
                        found.first = Some(self.first_frame(length)?);
                    }
                }
                _ => {}
            }
            self.seek(data + u64::from(length) + u64::from(length % 2))?;
        }
        found.images = frames.max(1);
        found.orientation = found.turn;
        Ok(found)
    }

    /// A frame of an animation, without its place and duration, as a file.
    fn first_frame(&mut self, length: u32) -> Result<Vec<u8>> {
        const HEADER: u32 = 16;
        let length = length.checked_sub(HEADER).filter(|length| *length <= LARGEST).ok_or(ErrorKind::InvalidData)?;
        let header: [u8; HEADER as usize] = self.take()?;
        let mut chunks = Vec::new();
        self.file.by_ref().take(u64::from(length)).read_to_end(&mut chunks)?;
        if chunks.len() % 2 == 1 {
            chunks.push(0);
        }
        let mut file = b"WEBP".to_vec();
        if chunks.starts_with(b"ALPH") {
            // With transparency in a chunk of its own: width and height less one, as in the frame.
            file.extend(b"VP8X\x0a\0\0\0\x10\0\0\0");
            file.extend(&header[6..12]);
        }
        file.extend(chunks);
        let size = u32::try_from(file.len()).map_err(|_| Error::from(ErrorKind::InvalidData))?;
        Ok([b"RIFF", &size.to_le_bytes()[..], &file].concat())
    }

    /// Blocks (GIF89a): images, extensions, the trailer.
    fn gif_frames(&mut self) -> Result<usize> {
        let colours = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << (u32::from(flags & 7) + 1) };
        self.seek(10)?;
        let [flags, _, _] = self.take()?;
        self.skip(colours(flags))?;
        let mut frames = 0;
        for _ in 0..MOST {
            match self.take::<1>() {
                Ok([0x2c]) => {
                    let block: [u8; 9] = self.take()?;
                    self.skip(colours(block[8]) + 1)?;
                    frames += 1;
                }
                Ok([0x21]) => self.skip(1)?,
                _ => break,
            }
            loop {
                let [length] = self.take()?;
                self.skip(length.into())?;
                if length == 0 {
                    break;
                }
            }
        }
        Ok(frames.max(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(bytes: &[u8]) -> ImageFile {
        ImageFile::of(bytes)
    }

    /// A big-endian TIFF structure with an orientation and so many more directories.
    fn tiff(orientation: u16, more: usize) -> Vec<u8> {
        let mut file = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
        file.extend(orientation.to_be_bytes());
        file.extend([0; 2]);
        for _ in 0..more {
            let next = u32::try_from(file.len() + 4).expect("short");
            file.extend(next.to_be_bytes());
            file.extend([0, 0]);
        }
        file.extend([0; 4]);
        file
    }

    #[test]
    fn a_tiff_has_its_pixels_or_not() {
        let strip = |place: u16, length: u16, count: u8| {
            let mut file = b"MM\0*\0\0\0\x08\0\x02".to_vec();
            for (tag, value) in [(0x11, place), (0x17, length)] {
                file.extend([1, tag, 0, 3, 0, 0, 0, count]);
                file.extend(value.to_be_bytes());
                file.extend([0; 2]);
            }
            file.extend([0; 4 + 10]);
            parsed(&file).lacks_pixels
        };
        // The file ends at 48.
        assert!(!strip(38, 10, 1) && strip(38, 11, 1) && strip(38, 0, 1) && strip(38, 10, 0) && strip(38, 10, 3));
        assert!(parsed(&tiff(1, 0)).lacks_pixels && !parsed(b"GIF89a\x01\0\x01\0\0\0").lacks_pixels);
    }

    #[test]
    fn orientations_are_read() {
        let of = |orientation| (parsed(&tiff(orientation, 0)).orientation, parsed(&tiff(orientation, 0)).turn);
        assert_eq!((of(3), of(6), of(9)), ((3, 1), (6, 7), (1, 1)));
        let exif = tiff(3, 0);
        let length = u32::try_from(exif.len()).expect("short");
        let png = [b"\x89PNG\r\n\x1a\n", &length.to_be_bytes()[..], b"eXIf", &exif, &[0; 4]].concat();
        assert_eq!(parsed(&png).orientation, 3);
        for prefix in [&b""[..], b"Exif\0\0"] {
            let length = u32::try_from(exif.len() + prefix.len()).expect("short");
            let webp = [b"RIFF\0\0\0\0WEBPEXIF", &length.to_le_bytes()[..], prefix, &exif].concat();
            assert_eq!(parsed(&webp).orientation, 3);
        }
    }

    #[test]
    fn sizes_are_read_before_anything_is_decoded() {
        let (w, h) = (30_000_u32, 20_000_u32);
        let be = |numbers: [u32; 2]| numbers.map(u32::to_be_bytes).concat();
        let le = |numbers: [u32; 2]| numbers.map(u32::to_le_bytes).concat();
        let short = |n: u32| u16::try_from(n).expect("short");
        let png = [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", &be([w, h])[..], &[8, 2, 0, 0, 0], &[0; 4]].concat();
        let mut jpeg =
            b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xff\xc4\0\x03\0\xff\xc2\0\x11\x08".to_vec();
        jpeg.extend([short(h).to_be_bytes(), short(w).to_be_bytes()].concat());
        let gif = [b"GIF89a", &short(w).to_le_bytes()[..], &short(h).to_le_bytes(), &[0; 3]].concat();
        let bmp =
            [b"BM", &[0; 12][..], &40_u32.to_le_bytes(), &le([w, h.cast_signed().wrapping_neg().cast_unsigned()])]
                .concat();
        let codestream = [b"\xff\x4f\xff\x51\0\x2f\0\0", &be([w, h])[..]].concat();
        let jp2 = [b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x0cftypjp2 \0\0\0\x2djp2h\0\0\0\x16ihdr", &be([h, w])[..]].concat();
        let entry = |tag: u16, value: u32| [&tag.to_le_bytes()[..], b"\x04\0\x01\0\0\0", &value.to_le_bytes()].concat();
        let tiff = [b"II*\0\x08\0\0\0\x02\0", &entry(0x100, w)[..], &entry(0x101, h), &[0; 4]].concat();
        for (kind, file) in [
            ("png", png),
            ("jpeg", jpeg),
            ("gif", gif),
            ("bmp", bmp),
            ("j2k", codestream),
            ("jp2", jp2),
            ("tiff", tiff),
        ] {
            let found = parsed(&file);
            assert_eq!(found.size, Some((w, h)), "{kind}");
            assert!(found.too_large().is_some_and(|why| why.starts_with("30000×20000 pixels are more than")), "{kind}");
        }
        let of = |size| ImageFile { size: Some(size), ..ImageFile::default() }.too_large();
        assert_eq!((of((16_384, 16_384)), of((u32::MAX, 0))), (None, None));
        assert!(of((u32::MAX, u32::MAX)).is_some());
    }

    #[test]
    fn images_are_counted() {
        assert_eq!((parsed(&tiff(1, 0)).images, parsed(&tiff(1, 4)).images), (1, 5));
        // A directory of 65 535 entries that is followed by itself.
        let full = [b"II*\0\x08\0\0\0\xff\xff", &vec![0; 65_535 * 12][..], b"\x08\0\0\0"].concat();
        assert_eq!(parsed(&full).images, 1);
        let frame = b"\x21\xf9\x04\0\0\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
        let gif = [b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff".to_vec(), frame.repeat(3), b";".to_vec()].concat();
        assert_eq!(parsed(&gif).images, 3);
        let apng = b"\x89PNG\r\n\x1a\n\0\0\0\x08acTL\0\0\0\x07\0\0\0\0\0\0\0\0";
        assert_eq!(parsed(apng).images, 7);
    }

    #[test]
    fn an_animations_first_frame_is_a_file() {
        let frame = [&[0; 6][..], b"\x09\0\0\x07\0\0", &[0; 4], b"VP8 \x04\0\0\0abcd"].concat();
        let chunk = [b"ANMF", &u32::try_from(frame.len()).expect("short").to_le_bytes()[..], &frame].concat();
        let file = parsed(&[b"RIFF\0\0\0\0WEBP", &chunk[..], &chunk].concat());
        assert_eq!((file.images, file.first.as_deref()), (2, Some(&b"RIFF\x10\0\0\0WEBPVP8 \x04\0\0\0abcd"[..])));
    }

    #[test]
    fn formats_that_are_not_decoded_are_named() {
        let format = |bytes: &[u8]| parsed(bytes).undecodable.map(|(format, _)| format);
        assert_eq!(format(b"\0\0\0\x18ftypheic\0\0\0\0"), Some("HEIC"));
        assert_eq!(format(b"\0\0\0\x18ftypavif\0\0\0\0"), Some("AVIF"));
        assert_eq!(format(b"\0\0\0\x18ftypisom\0\0\0\0"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(start in 0usize..9, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let starts: [&[u8]; 9] = [
                b"GIF89a",
                b"II*\0",
                b"MM\0*",
                b"\x89PNG\r\n\x1a\n",
                b"RIFF\0\0\0\0WEBP",
                b"\xff\xd8",
                b"BM",
                b"\xff\x4f\xff\x51",
                b"\0\0\0\x0cjP  \r\n\x87\n",
            ];
            let _ = parsed(&[starts[start], &bytes].concat());
        }
    }
}
