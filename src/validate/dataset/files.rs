//! Files of a dataset.

use std::path::{Path, PathBuf};

use super::error::DatasetError;

/// Size of one file of labels, and of one JSON file, bytes.
pub(super) const LARGEST_LABELS: u64 = 16 << 20;
pub(super) const LARGEST_JSON: u64 = 2 << 30;

/// Endings of images, in the order they are looked for.
const PICTURES: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "gif"];

/// The text of a JSON file.
pub(in crate::validate) fn read_json(path: &Path) -> Result<String, DatasetError> {
    read_text(path, LARGEST_JSON)
}

/// The text of a file of labels; refuses what is no regular file or larger than `most` bytes.
pub(super) fn read_text(path: &Path, most: u64) -> Result<String, DatasetError> {
    let place = || path.display();
    let metadata = std::fs::metadata(path).map_err(|e| DatasetError::new(place(), e, "check the path"))?;
    if !metadata.is_file() {
        return Err(DatasetError::new(place(), "it is not a file", "give a file"));
    }
    if metadata.len() > most {
        let problem = format!("{} bytes, at most {most} are read", metadata.len());
        return Err(DatasetError::new(place(), problem, "split the dataset"));
    }
    let bytes = std::fs::read(path).map_err(|e| DatasetError::new(place(), e, "check its permissions"))?;
    String::from_utf8(bytes).map_err(|e| {
        let problem = format!("it is not UTF-8 text (byte {})", e.utf8_error().valid_up_to());
        DatasetError::new(place(), problem, "save it as UTF-8")
    })
}

/// Regular files of a folder by name; none where there is no such folder.
pub(super) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

pub(super) fn is_image(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| PICTURES.contains(&e.to_ascii_lowercase().as_str()))
}

pub(super) fn stem_of(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}
