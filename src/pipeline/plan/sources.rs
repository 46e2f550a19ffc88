//! Which files and streams a SOURCE names.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::error::PlanError;
use crate::pipeline::job::SourceSpec;
use crate::secrets::{Credentials, redact};
use crate::source::Address;
use crate::text::{counted, printable};

/// Extensions of images.
pub(super) const IMAGES: [&str; 14] =
    ["jpg", "jpeg", "jpe", "jfif", "mpo", "jp2", "j2k", "png", "apng", "bmp", "tif", "tiff", "webp", "gif"];
/// Extensions of images that no decoder takes: a file is refused by its format, a folder's are passed over.
const UNDECODABLE: [&str; 4] = ["heic", "heif", "avif", "jxl"];
/// Extensions that are taken from a folder as video: drones' previews (`lrv`) and panoramas (`insv`) are MP4.
const VIDEOS: [&str; 33] = [
    "mp4", "m4v", "mov", "lrv", "insv", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "m2v", "vob", "flv",
    "f4v", "wmv", "asf", "3gp", "3g2", "ogv", "mxf", "dv", "264", "h264", "265", "h265", "hevc", "mjpeg", "mjpg",
    "y4m", "ivf",
];
/// Files passed over that a notice names.
const NAMED: usize = 5;

/// Appends what `source` names, each with its name for people; a folder or glob may hold several. `notices` gets what is
/// passed over.
pub(super) fn expand(
    source: &OsStr,
    credentials: Option<&Credentials>,
    specs: &mut Vec<(String, SourceSpec)>,
    notices: &mut Vec<String>,
) -> Result<(), PlanError> {
    let path = Path::new(source);
    let name = path.display().to_string();
    // Addresses and globs are UTF-8.
    let source = source.to_str().unwrap_or_default();
    // A file may be called test:1, too.
    if !source.is_empty()
        && (source == "-"
            || source.contains("://")
            || source.starts_with("/dev/")
            || !path.exists()
            || has_extension(path, &["sdp"]))
        && let Some(address) = Address::parse(source, credentials)?
    {
        specs.push((address.to_string(), SourceSpec::Live(address)));
        return Ok(());
    }
    if path.is_dir() {
        let unreadable = |error| PlanError::Unreadable { folder: name.clone(), source: error };
        let entries = std::fs::read_dir(path).map_err(unreadable)?;
        let files = entries.filter_map(|entry| entry.ok().map(|e| e.path())).filter(|p| p.is_file()).collect();
        let (mut videos, images) = by_kind(files);
        let passed_over: Vec<PathBuf> = videos.extract_if(.., |path| !has_extension(path, &VIDEOS)).collect();
        let passed_over = passed_over_files(&passed_over);
        if videos.is_empty() && images.is_empty() {
            return Err(PlanError::NoMedia { folder: name, passed_over });
        }
        notices.extend(passed_over.map(|files| format!("{name}: {files}")));
        add_streams(&name, videos, images, specs);
        return Ok(());
    }
    if path.exists() {
        let spec = if has_extension(path, &IMAGES) || has_extension(path, &UNDECODABLE) {
            SourceSpec::Images(vec![path.to_owned()])
        } else {
            SourceSpec::Video(path.to_owned())
        };
        specs.push((name, spec));
        return Ok(());
    }
    if source.contains(['*', '?', '[']) {
        let found =
            glob::glob(source).map_err(|error| PlanError::Glob { pattern: source.to_owned(), source: error })?;
        let (videos, images) = by_kind(found.filter_map(Result::ok).filter(|p| p.is_file()).collect());
        if videos.is_empty() && images.is_empty() {
            return Err(PlanError::NoMatch { pattern: source.to_owned() });
        }
        add_streams(source, videos, images, specs);
        return Ok(());
    }
    if source.is_empty() && name.contains(['*', '?', '[', ':']) {
        return Err(PlanError::NotUtf8 { name: redact(&name) });
    }
    Err(PlanError::NoSuchFile { source_name: name })
}

/// Whether a file's name is that of video or an image.
#[must_use]
pub fn is_media(path: &Path) -> bool {
    has_extension(path, &VIDEOS) || has_extension(path, &IMAGES)
}

/// What is no image among `files`, and the images, in order of their names.
fn by_kind(mut files: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    files.sort();
    files.into_iter().partition(|path| !has_extension(path, &IMAGES))
}

/// How many files of a folder are of no supported format, and which; hidden ones are not looked at.
fn passed_over_files(files: &[PathBuf]) -> Option<String> {
    let names: Vec<String> = files
        .iter()
        .filter_map(|path| Some(printable(&path.file_name()?.to_string_lossy())))
        .filter(|name| !name.starts_with('.'))
        .collect();
    let more = names.len().saturating_sub(NAMED);
    let listed = names.iter().take(NAMED).cloned().chain((more > 0).then(|| format!("and {more} more")));
    let listed: Vec<String> = listed.collect();
    let count = counted(names.len() as u64, "file");
    (!names.is_empty()).then(|| format!("{count} passed over, of no supported format: {}", listed.join(", ")))
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
