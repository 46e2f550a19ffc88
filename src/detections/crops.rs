//! Every detected object as an image of its own: `FOLDER/CLASS/NAME-N.jpg`; or of every tracked one its best view:
//! `FOLDER/CLASS/NAME-idN.jpg`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::{DetectedFrame, DetectionError, DetectionOutput, DetectionSink, FileNames, with};
use crate::detection::Detection;
use crate::frame::pixelate::Pixelation;
use crate::frame::{DecodedFrame, FrameInfo, FrameViewMut, VideoBuffer, planes_mut};
use crate::geometry::{FrameBox, Size, px};
use crate::shutdown::Shutdown;
use crate::stills::{StillError, StillWriter};
use crate::stream::StreamId;

/// Objects whose best view is known, at most: beyond that, the oldest keep the one they have.
const OBJECTS: usize = 10_000;
/// A view is better that is better by so much: not every frame is written while an object comes closer.
const BETTER: f32 = 1.1;

/// Crops in a folder, as `--crops` asks for.
#[derive(Debug, Clone)]
pub struct Crops {
    folder: PathBuf,
    classes: Arc<[String]>,
    pixelation: Pixelation,
    best: bool,
}

impl Crops {
    /// Crops of objects of these classes in `folder`, which is created where it is not there; what `pixelation` names is
    /// pixelated in all of them. `best`: of tracked objects only, and of each only its best view, the largest of those of which the
    /// model is sure.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(folder: &Path, classes: Arc<[String]>, pixelation: Pixelation, best: bool) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), classes, pixelation, best })
    }
}

impl DetectionOutput for Crops {
    fn sink(&self, _: StreamId, names: &FileNames, _: &Shutdown) -> Box<dyn DetectionSink> {
        let best = self.best.then(BTreeMap::new);
        Box::new(CropSink { of: self.clone(), names: names.clone(), stills: StillWriter::default(), best })
    }
}

/// One stream's crops.
struct CropSink {
    of: Crops,
    names: FileNames,
    stills: StillWriter,
    /// By track: how good its best view is, and its file.
    best: Option<BTreeMap<u32, (f32, PathBuf)>>,
}

impl CropSink {
    fn path(&self, class_id: u16, name: &OsStr) -> PathBuf {
        let class = self.of.classes.get(usize::from(class_id));
        let folder = class.map_or_else(|| class_id.to_string(), |class| folder_name(class));
        self.of.folder.join(folder).join(name)
    }

    fn write(&mut self, frame: &DecodedFrame, d: &Detection, path: &Path) -> Result<(), DetectionError> {
        let unwritable = |source| StillError::Unwritable { path: path.to_owned(), source };
        std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(unwritable)?;
        let cut = cut_out(&frame.pixels, &d.bbox, &self.of.pixelation, &frame.detections);
        let (buffer, video) = cut.map_err(|e| StillError::Encode { path: path.to_owned(), source: e.into() })?;
        Ok(self.stills.write(path, buffer, &video)?)
    }

    /// Where the object's view goes, if it is its best so far.
    fn better(&mut self, detected: &DetectedFrame<'_>, d: &Detection) -> Option<PathBuf> {
        let id = d.track?.id;
        let path = self.path(d.class_id, &with(&self.names.stem, &format!("-id{id}.jpg")));
        let (width, height) = (px(detected.size.width), px(detected.size.height));
        let b = &d.bbox;
        let whole = b.x1 > 1.0 && b.y1 > 1.0 && b.x2 < width - 1.0 && b.y2 < height - 1.0;
        // What the frame's edge cuts is half a view.
        let value = d.confidence * b.area().sqrt() * if whole { 1.0 } else { 0.5 };
        let best = self.best.as_mut()?;
        let before = best.get(&id);
        if before.is_some_and(|(known, _)| value < known * BETTER) {
            return None;
        }
        if let Some((_, elsewhere)) = before.filter(|(_, file)| *file != path) {
            // It was taken for another class; where it cannot be deleted, both are there.
            let _ = std::fs::remove_file(elsewhere);
        }
        best.insert(id, (value, path.clone()));
        if best.len() > OBJECTS {
            best.pop_first();
        }
        Some(path)
    }
}

impl DetectionSink for CropSink {
    /// Writes the frame's objects, cut out before anything was drawn on it.
    fn frame(&mut self, detected: &DetectedFrame<'_>) -> Result<(), DetectionError> {
        let frame = detected.frame;
        if frame.detections.is_empty() {
            return Ok(());
        }
        let name = self.names.of(frame);
        for (number, d) in (1..).zip(frame.detections.iter().filter(|d| d.is_seen())) {
            let path = if self.best.is_some() {
                self.better(detected, d)
            } else {
                Some(self.path(d.class_id, &with(&name, &format!("-{number}.jpg"))))
            };
            if let Some(path) = path {
                self.write(frame, d, &path)?;
            }
        }
        Ok(())
    }
}

/// A class name that is safe as a folder's: no separators, no control characters, not hidden.
fn folder_name(class: &str) -> String {
    let name: String = class.chars().map(|c| if c.is_control() || "/\\:".contains(c) { '_' } else { c }).collect();
    if name.is_empty() || name.starts_with('.') { format!("_{name}") } else { name }
}

/// Whole pixels of `bbox` that start on a chroma sample: `(x, y, width, height)`, at least one pixel.
fn pixels(info: &FrameInfo, bbox: &FrameBox) -> [usize; 4] {
    let (across, down) = info.format.chroma_shift();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clipped to the frame")]
    let axis = |low: f32, high: f32, side: u32, shift: u32| {
        let low = (low.floor().max(0.0) as u32).min(side - 1) >> shift << shift;
        let high = (high.ceil().max(0.0) as u32).clamp(low + 1, side.max(low + 1));
        (low as usize, (high - low) as usize)
    };
    let (x, width) = axis(bbox.x1, bbox.x2, info.size.width, across);
    let (y, height) = axis(bbox.y1, bbox.y2, info.size.height, down);
    [x, y, width, height]
}

/// The part of the frame inside `bbox`, copied; what is to be pixelated of all that was found in the frame is.
fn cut_out(
    frame: &VideoBuffer,
    bbox: &FrameBox,
    pixelation: &Pixelation,
    found: &[Detection],
) -> Result<(gst::Buffer, gst_video::VideoInfo), gst::glib::BoolError> {
    let info = frame.info();
    let [x, y, width, height] = pixels(&info, bbox);
    let source = frame.video_info();
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let video = gst_video::VideoInfo::builder(source.format(), side(width), side(height))
        .colorimetry(&source.colorimetry())
        .build()?;
    let buffer = gst::Buffer::with_size(video.size())?;
    let mut target = gst_video::VideoFrame::from_buffer_writable(buffer, &video)
        .map_err(|_| gst::glib::bool_error!("the crop cannot be mapped"))?;
    let view = frame.view();
    for (index, plane) in view.planes.iter().enumerate().take(info.format.planes()) {
        let stride = usize::try_from(target.plane_stride()[index]).unwrap_or(0);
        let (across, down) = if index == 0 { (0, 0) } else { info.format.chroma_shift() };
        let pixel = if index == 1 && info.format.planes() == 2 { 2 } else { 1 };
        let bytes = width.div_ceil(1 << across) * pixel;
        let first = (y >> down) * plane.stride + (x >> across) * pixel;
        let rows = height.div_ceil(1 << down);
        let data = target.plane_data_mut(u32::try_from(index).unwrap_or(0))?;
        for (to, from) in data.chunks_mut(stride).zip(plane.data[first..].chunks(plane.stride)).take(rows) {
            to[..bytes].copy_from_slice(&from[..bytes]);
        }
    }
    let part = FrameInfo { size: Size { width: side(width), height: side(height) }, ..info };
    let mut part = FrameViewMut { info: part, planes: planes_mut(&mut target), hdr: None };
    pixelation.apply(&mut part, found, (px(side(x)), px(side(y))));
    Ok((target.into_buffer(), video))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChromaSite, Colour, Matrix, PixelFormat, Range};
    use proptest::prelude::*;

    #[test]
    fn names_are_safe() {
        assert_eq!(folder_name("../a/b"), "_.._a_b");
        assert_eq!(folder_name("traffic light"), "traffic light");
    }

    proptest! {
        #[test]
        fn a_crop_lies_inside_the_frame(
            w in 1u32..50, h in 1u32..50, x1 in -9f32..60., y1 in -9f32..60., x2 in -9f32..60., y2 in -9f32..60.
        ) {
            let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited, site: ChromaSite::Left };
            let info = FrameInfo { format: PixelFormat::I420, size: Size { width: w, height: h }, colour };
            let [x, y, width, height] = pixels(&info, &FrameBox::new(x1, y1, x2, y2));
            prop_assert!(width > 0 && height > 0 && x % 2 == 0 && y % 2 == 0);
            prop_assert!(x + width <= w as usize && y + height <= h as usize);
        }
    }
}
