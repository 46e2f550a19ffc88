//! One source with its outputs.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::detections::{FileNames, with};
use crate::sink::Target;
use crate::source::Address;
use crate::stills::Kind;

/// A source.
#[derive(Debug, Clone)]
pub enum SourceSpec {
    /// One recorded file.
    Video(PathBuf),
    /// Images: one stream, in this order.
    Images(Vec<PathBuf>),
    /// A network stream, camera, test pattern or standard input.
    Live(Address),
}

impl SourceSpec {
    /// Whether its frames have one size that hardly ever changes.
    pub(super) fn is_video(&self) -> bool {
        !matches!(self, Self::Images(_))
    }

    /// Whether frames that are not taken in time are gone.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }
}

/// Where the annotated result goes.
#[derive(Debug, Clone)]
pub enum OutputSpec {
    /// Nowhere.
    None,
    /// One image's file.
    Image(PathBuf),
    /// A folder, for images under their own names.
    Folder(PathBuf),
    /// A file for each image, by a pattern.
    Files(HashMap<PathBuf, PathBuf>),
    /// Video outputs; a stream is encoded once for all of them.
    Stream(Vec<Target>),
}

/// One source with its output.
#[derive(Debug, Clone)]
pub struct Job {
    /// As the user named it, without secrets.
    pub name: String,
    /// A source.
    pub source: SourceSpec,
    /// Where the result goes.
    pub output: OutputSpec,
    /// A recording is read at its own frame rate, since one of its outputs is live; no frame is dropped for that.
    pub paced: bool,
}

impl Job {
    /// Where each of its images is written, where there are several; it is stream `number`.
    pub(in crate::pipeline) fn stills(&self, number: usize) -> HashMap<PathBuf, PathBuf> {
        match (&self.source, &self.output) {
            (SourceSpec::Images(images), OutputSpec::Folder(folder)) => still_files(number, folder, images),
            (SourceSpec::Images(_), OutputSpec::Files(files)) => files.clone(),
            _ => HashMap::new(),
        }
    }

    /// A short name for files.
    pub(super) fn stem(&self) -> OsString {
        match &self.source {
            SourceSpec::Live(address) => address.stem().into(),
            SourceSpec::Video(path) => path.file_stem().unwrap_or_default().to_owned(),
            SourceSpec::Images(_) => stem(Path::new(&self.name)).into(),
        }
    }
}

/// Names of the streams of these jobs, no two alike.
#[must_use]
pub fn stream_names(jobs: &[Job]) -> Vec<String> {
    file_names(jobs).iter().map(|names| names.stem.to_string_lossy().into_owned()).collect()
}

/// What the files of each job's frames are called by: its source's name or its images', with the stream's number where one before
/// has that name, and a further one where that is taken too.
pub(super) fn file_names(jobs: &[Job]) -> Vec<FileNames> {
    let (mut videos, mut images) = (HashSet::new(), HashSet::new());
    let mut names: Vec<FileNames> = Vec::with_capacity(jobs.len());
    for (number, job) in jobs.iter().enumerate() {
        let stem = if job.source.is_video() {
            free(number, |suffix| with(&job.stem(), suffix), |name| videos.insert(name.clone()))
        } else {
            job.stem()
        };
        names.push(FileNames { stem, images: Arc::default() });
    }
    for (number, job) in jobs.iter().enumerate() {
        let SourceSpec::Images(files) = &job.source else { continue };
        // Frame 12 of `clip` is `clip_12`, too.
        let is_free = |_: &Path, name: &OsString| !is_frame_of(name, &videos) && images.insert(name.clone());
        let mut called = image_names(number, files, is_free);
        called.retain(|file, name| file.file_stem() != Some(name.as_os_str()));
        names[number].images = Arc::new(called);
    }
    names
}

/// What each of the images of stream `number` is called in what is written of it, without an ending. Those that keep their kind come first.
/// Each has its own name if that can be taken; where another has it with another ending, the whole name with its ending; else the
/// first that can be taken with the stream's number.
fn image_names(
    number: usize,
    images: &[PathBuf],
    mut take: impl FnMut(&Path, &OsString) -> bool,
) -> HashMap<PathBuf, OsString> {
    let stem = |image: &Path| image.file_stem().unwrap_or_default().to_owned();
    let mut endings: HashMap<OsString, HashSet<&OsStr>> = HashMap::new();
    for image in images {
        endings.entry(stem(image)).or_default().insert(image.extension().unwrap_or_default());
    }
    let (own, converted): (Vec<_>, Vec<_>) = images.iter().partition(|image| Kind::of(image).is_some());
    let mut name = |image: &Path| {
        let stem = stem(image);
        let whole = image.file_name().filter(|_| endings[&stem].len() > 1).map(OsStr::to_owned);
        let first = std::iter::once(stem.clone()).chain(whole).find(|name| take(image, name));
        first.unwrap_or_else(|| free(number, |suffix| with(&stem, suffix), |name| name != &stem && take(image, name)))
    };
    own.into_iter().chain(converted).map(|image| (image.clone(), name(image))).collect()
}

/// Whether a name is that of a frame of one of `videos`.
fn is_frame_of(name: &OsStr, videos: &HashSet<OsString>) -> bool {
    let digits = name.as_bytes().iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (video, _) = name.as_bytes().split_at(name.len() - digits);
    let video = video.strip_suffix(b"_").filter(|_| digits > 0);
    video.is_some_and(|video| videos.contains(OsStr::from_bytes(video)))
}

/// What `name` makes of no suffix, else of the first of `-NUMBER`, `-NUMBER-2`, … of which it can be taken.
pub(in crate::pipeline) fn free<T>(number: usize, name: impl Fn(&str) -> T, mut take: impl FnMut(&T) -> bool) -> T {
    let mut free = name("");
    for further in 1.. {
        if take(&free) {
            break;
        }
        free = name(&if further == 1 { format!("-{number}") } else { format!("-{number}-{further}") });
    }
    free
}

/// Where each of the images of stream `number` is written in `folder`: as PNG where its kind is not written, and no two under one
/// name: `x.bmp` beside `x.png` becomes `x.bmp.png`.
fn still_files(number: usize, folder: &Path, images: &[PathBuf]) -> HashMap<PathBuf, PathBuf> {
    let path = |image: &Path, name: &OsStr| {
        let ending = image.extension().filter(|_| Kind::of(image).is_some()).unwrap_or(OsStr::new("png"));
        // A whole name has it.
        let is_whole = image.file_name() == Some(name) && Kind::of(image).is_some();
        if is_whole { folder.join(name) } else { folder.join(with(&with(name, "."), &ending.to_string_lossy())) }
    };
    let mut taken = HashSet::new();
    let names = image_names(number, images, |image, name| taken.insert(path(image, name)));
    names.into_iter().map(|(image, name)| (image.clone(), path(&image, &name))).collect()
}

/// A path's name without its ending.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sources_share_a_name() {
        let job = |name: &str, source| Job { name: name.into(), source, output: OutputSpec::None, paced: false };
        let images = |files: &[&str]| SourceSpec::Images(files.iter().map(PathBuf::from).collect());
        let video = |path: &str| job(path, SourceSpec::Video(path.into()));
        let jobs = [
            video("card1/DJI_0001.MP4"),
            video("card2/DJI_0001.MP4"),
            video("DJI_0001-3.mp4"),
            video("card3/DJI_0001.MP4"),
            job("day1", images(&["day1/x.png", "day1/x.jpg", "day1/DJI_0001_7.png"])),
            job("day2", images(&["day2/x.png"])),
        ];
        let names = file_names(&jobs);
        let stems: Vec<&OsStr> = names.iter().take(4).map(|names| names.stem.as_os_str()).collect();
        assert_eq!(stems, ["DJI_0001", "DJI_0001-1", "DJI_0001-3", "DJI_0001-3-2"]);
        let called =
            |job: usize, file: &str| names[job].images.get(Path::new(file)).map(|name| name.to_str().expect("a name"));
        assert_eq!(
            [called(4, "day1/x.png"), called(4, "day1/x.jpg"), called(4, "day1/DJI_0001_7.png")],
            [None, Some("x.jpg"), Some("DJI_0001_7-4")]
        );
        assert_eq!(called(5, "day2/x.png"), Some("x-5"));
    }

    /// Labels and annotated images of one image are called alike.
    #[test]
    fn no_two_images_share_a_file_nor_their_labels() {
        let images = ["a/x.bmp", "a/x.jpg", "a/x.png", "a/x.webp", "a/y.TIFF", "b/x.png", "b/x.bmp"].map(PathBuf::from);
        let files = still_files(0, Path::new("out"), &images);
        let source = SourceSpec::Images(images.to_vec());
        let names = file_names(&[Job { name: "*".into(), source, output: OutputSpec::None, paced: false }]);
        let label = |image: &Path| {
            let name = names[0].images.get(image).cloned();
            name.unwrap_or_else(|| image.file_stem().unwrap_or_default().to_owned())
        };
        let named: Vec<_> = images.iter().map(|image| (files[image].clone(), label(image))).collect();
        let expected = [
            ("out/x.bmp.png", "x.bmp"),
            ("out/x.jpg", "x"),
            ("out/x.png", "x.png"),
            ("out/x.webp.png", "x.webp"),
            ("out/y.png", "y"),
            ("out/x-0.png", "x-0"),
            ("out/x-0-2.png", "x-0-2"),
        ];
        assert_eq!(named, expected.map(|(file, label)| (PathBuf::from(file), OsString::from(label))));
    }
}
