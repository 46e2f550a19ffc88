//! The best view of every tracked object, as JPEG, for the message of its end: `--publish-crops`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::voice::Voice;
use crate::detection::Detection;
use crate::detections::view;
use crate::frame::DecodedFrame;
use crate::frame::pixelate::Pixelation;
use crate::geometry::Size;
use crate::stills::{EncodeError, Kind, StillWriter};

/// Pixels of the longer side, at most.
const LONGEST: u32 = 640;
/// Of the JPEGs, 0 to 100.
const QUALITY: u8 = 85;
/// A crop of more bytes goes into no message: in base64 it would be more than brokers take, a megabyte.
const LARGEST: usize = 600_000;
/// Bytes of all that is kept of a stream; beyond that, the oldest objects lose theirs.
const BYTES: usize = 16 << 20;

/// The best views of a stream's objects.
pub(super) struct Views {
    stills: StillWriter,
    pixelation: Pixelation,
    voice: Arc<Voice>,
    /// How good it is, and the JPEG, empty where there is none; by track.
    best: BTreeMap<u32, (f32, Vec<u8>)>,
    bytes: usize,
}

impl Views {
    pub fn new(pixelation: Pixelation, voice: Arc<Voice>) -> Self {
        let stills = StillWriter::of_quality(QUALITY).within(LONGEST);
        Self { stills, pixelation, voice, best: BTreeMap::new(), bytes: 0 }
    }

    /// Keeps the views that are better than those before, of a frame of `size` (pixels) on which nothing is drawn yet.
    pub fn frame(&mut self, frame: &DecodedFrame, size: Size) {
        for found in frame.detections.iter().filter(|found| found.is_seen()) {
            let Some(track) = found.track else { continue };
            let before = self.best.get(&track.id).map(|(value, _)| *value);
            let Some(value) = view::better(found, size, before) else { continue };
            match self.encode(frame, found) {
                Ok(jpeg) if jpeg.len() <= LARGEST => self.keep(track.id, value, jpeg),
                // Not tried again before there is a better one.
                Ok(_) => self.keep(track.id, value, Vec::new()),
                Err(error) => {
                    self.voice.once(&format!("--publish-crops: {error}"));
                    self.keep(track.id, value, Vec::new());
                }
            }
        }
    }

    fn encode(&mut self, frame: &DecodedFrame, found: &Detection) -> Result<Vec<u8>, EncodeError> {
        let (buffer, video) = view::cut_out(&frame.pixels, &found.bbox, &self.pixelation, &frame.detections)?;
        Ok(self.stills.encode(Kind::Jpeg, buffer, &video)?.to_vec())
    }

    fn keep(&mut self, id: u32, value: f32, jpeg: Vec<u8>) {
        self.bytes += jpeg.len();
        let before = self.best.insert(id, (value, jpeg));
        self.bytes -= before.map_or(0, |(_, jpeg)| jpeg.len());
        while self.bytes > BYTES {
            let Some((_, (_, jpeg))) = self.best.pop_first() else { break };
            self.bytes -= jpeg.len();
        }
    }

    /// The best view of an object that has ended.
    pub fn take(&mut self, id: u32) -> Option<Vec<u8>> {
        let (_, jpeg) = self.best.remove(&id)?;
        self.bytes -= jpeg.len();
        (!jpeg.is_empty()).then_some(jpeg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_go_first() {
        let mut views = Views::new(Pixelation::of(&[]), Arc::default());
        for id in 0..40 {
            views.keep(id, 1.0, vec![0; LARGEST]);
            views.keep(id, 2.0, vec![0; LARGEST - 1]);
        }
        assert!(views.bytes <= BYTES && views.bytes == views.best.len() * (LARGEST - 1), "{}", views.bytes);
        assert!(views.take(0).is_none() && views.take(39).is_some() && views.take(39).is_none());
        assert_eq!(views.bytes, views.best.len() * (LARGEST - 1));
    }
}
