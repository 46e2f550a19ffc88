//! Which files and streams a SOURCE names.

use std::path::{Path, PathBuf};

use super::error::PlanError;
use crate::pipeline::job::SourceSpec;
use crate::secrets::Credentials;
use crate::source::Address;

/// Extensions of images.
pub(super) const IMAGES: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp", "gif"];
/// Extensions that are taken from a folder as video.
const VIDEOS: [&str; 23] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "vob", "flv", "wmv", "asf", "3gp",
    "ogv", "mxf", "dv", "264", "h264", "265", "hevc",
];

/// Appends what `source` names, each with its name for people; a folder or glob may hold several.
pub(super) fn expand(
    source: &str,
    credentials: Option<&Credentials>,
    specs: &mut Vec<(String, SourceSpec)>,
) -> Result<(), PlanError> {
    let path = Path::new(source);
    // A file may be called test:1, too.
    if (source == "-" || source.contains("://") || source.starts_with("/dev/") || !path.exists())
        && let Some(address) = Address::parse(source, credentials)?
    {
        specs.push((address.to_string(), SourceSpec::Live(address)));
        return Ok(());
    }
    if path.is_dir() {
        let unreadable = |error| PlanError::Unreadable { folder: source.to_owned(), source: error };
        let entries = std::fs::read_dir(path).map_err(unreadable)?;
        let files = entries.filter_map(|entry| entry.ok().map(|e| e.path())).filter(|p| p.is_file()).collect();
        let (videos, images) = by_kind(files, |path| has_extension(path, &VIDEOS));
        if videos.is_empty() && images.is_empty() {
            return Err(PlanError::NoMedia { folder: source.to_owned() });
        }
        add_streams(source, videos, images, specs);
        return Ok(());
    }
    if path.exists() {
        let spec = if has_extension(path, &IMAGES) {
            SourceSpec::Images(vec![path.to_owned()])
        } else {
            SourceSpec::Video(path.to_owned())
        };
        specs.push((source.to_owned(), spec));
        return Ok(());
    }
    if source.contains(['*', '?', '[']) {
        let found =
            glob::glob(source).map_err(|error| PlanError::Glob { pattern: source.to_owned(), source: error })?;
        let (videos, images) = by_kind(found.filter_map(Result::ok).filter(|p| p.is_file()).collect(), |_| true);
        if videos.is_empty() && images.is_empty() {
            return Err(PlanError::NoMatch { pattern: source.to_owned() });
        }
        add_streams(source, videos, images, specs);
        return Ok(());
    }
    Err(PlanError::NoSuchFile { source_name: source.to_owned() })
}

/// The videos and the images among `files`, in order of their names; what is no image has to pass `is_video`.
fn by_kind(mut files: Vec<PathBuf>, is_video: impl Fn(&Path) -> bool) -> (Vec<PathBuf>, Vec<PathBuf>) {
    files.sort();
    let (images, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| has_extension(path, &IMAGES));
    (others.into_iter().filter(|path| is_video(path)).collect(), images)
}

/// A stream a video, and one for all the images.
fn add_streams(source: &str, videos: Vec<PathBuf>, images: Vec<PathBuf>, specs: &mut Vec<(String, SourceSpec)>) {
    specs.extend(videos.into_iter().map(|path| (path.display().to_string(), SourceSpec::Video(path))));
    if !images.is_empty() {
        specs.push((source.to_owned(), SourceSpec::Images(images)));
    }
}

/// Whether a path ends with one of `extensions`, upper or lower case.
pub(super) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e.to_ascii_lowercase().as_str()))
}
