//! Detections in YOLO's text format, one file a frame: class, centre and size relative to the frame, confidence; one line a
//! box. A file appears whole or not at all.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;

use super::{DetectedFrame, DetectionError, DetectionOutput, DetectionSink, FileNames, with};
use crate::detection::Detection;
use crate::geometry::Size;
use crate::part::{Folder, write_whole};
use crate::shutdown::Shutdown;
use crate::stream::StreamId;

/// Labels in a folder, as `--save-txt` asks for.
#[derive(Debug)]
pub struct Labels {
    folder: Folder,
}

impl Labels {
    /// Labels in `folder`, which is created where it is not there.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: Folder::new(folder) })
    }
}

impl DetectionOutput for Labels {
    fn sink(&self, _: StreamId, names: &FileNames, _: &Shutdown) -> Box<dyn DetectionSink> {
        Box::new(LabelSink { folder: self.folder.clone(), names: names.clone(), text: String::new() })
    }
}

/// One stream's labels.
struct LabelSink {
    folder: Folder,
    names: FileNames,
    /// Its memory is used from frame to frame.
    text: String,
}

impl DetectionSink for LabelSink {
    fn frame(&mut self, detected: &DetectedFrame<'_>) -> Result<(), DetectionError> {
        let path = self.folder.path().join(with(&self.names.of(detected.frame), ".txt"));
        self.text.clear();
        label(&mut self.text, &detected.frame.detections, detected.size).expect("memory takes everything");
        let mut written = write_whole(&path, self.text.as_bytes(), None);
        if written.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            // The folder was deleted.
            self.folder.restore();
            written = write_whole(&path, self.text.as_bytes(), None);
        }
        written.map_err(|source| DetectionError::Write { option: "--save-txt", path, source, kept: None })
    }
}

/// The labels of a frame of `size` pixels.
fn label(out: &mut String, detections: &[Detection], size: Size) -> std::fmt::Result {
    let (w, h) = (f64::from(size.width), f64::from(size.height));
    for d in detections.iter().filter(|d| d.is_seen()) {
        let [x1, y1, x2, y2] = [d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2].map(f64::from);
        let (cx, cy) = (f64::midpoint(x1, x2) / w, f64::midpoint(y1, y2) / h);
        let (width, height) = ((x2 - x1) / w, (y2 - y1) / h);
        write!(out, "{} {cx:.6} {cy:.6} {width:.6} {height:.6} {:.6}", d.class_id, d.confidence)?;
        if let Some(track) = &d.track {
            write!(out, " {}", track.id)?;
        }
        out.push('\n');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::FrameBox;

    #[test]
    fn a_box_becomes_relative_centre_and_size() {
        let d = Detection { class_id: 3, confidence: 0.5, bbox: FrameBox::new(10.0, 20.0, 30.0, 60.0), track: None };
        let mut text = String::new();
        label(&mut text, &[d], Size { width: 100, height: 200 }).expect("memory takes everything");
        assert_eq!(text, "3 0.200000 0.200000 0.200000 0.200000 0.500000\n");
    }
}
