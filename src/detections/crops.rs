//! Every detected object as an image of its own: `FOLDER/CLASS/NAME-N.jpg`; or of every tracked one its best view:
//! `FOLDER/CLASS/NAME-idN.jpg`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DetectedFrame, DetectionError, DetectionOutput, DetectionSink, FileNames, view, with};
use crate::detection::Detection;
use crate::frame::DecodedFrame;
use crate::frame::pixelate::Pixelation;
use crate::shutdown::Shutdown;
use crate::stills::{StillError, StillWriter};
use crate::stream::StreamId;

/// Objects whose best view is known, at most: beyond that, the oldest keep the one they have.
const OBJECTS: usize = 10_000;

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
        let cut = view::cut_out(&frame.pixels, &d.bbox, &self.of.pixelation, &frame.detections);
        let (buffer, video) = cut.map_err(|e| StillError::Encode { path: path.to_owned(), source: e.into() })?;
        Ok(self.stills.write(path, buffer, &video)?)
    }

    /// Where the object's view goes, if it is its best so far.
    fn better(&mut self, detected: &DetectedFrame<'_>, d: &Detection) -> Option<PathBuf> {
        let id = d.track?.id;
        let path = self.path(d.class_id, &with(&self.names.stem, &format!("-id{id}.jpg")));
        let best = self.best.as_mut()?;
        let before = best.get(&id);
        let value = view::better(d, detected.size, before.map(|(known, _)| *known))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe() {
        assert_eq!(folder_name("../a/b"), "_.._a_b");
        assert_eq!(folder_name("traffic light"), "traffic light");
    }
}
