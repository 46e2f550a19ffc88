//! One source with its outputs.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::detections::{FileNames, with};
use crate::part::with_suffix;
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
    /// Where each of its images is written, where there are several.
    pub(in crate::pipeline) fn stills(&self) -> HashMap<PathBuf, PathBuf> {
        match (&self.source, &self.output) {
            (SourceSpec::Images(images), OutputSpec::Folder(folder)) => still_files(folder, images),
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
        let mut others = HashMap::new();
        for file in files {
            let own = file.file_stem().unwrap_or_default();
            // Frame 12 of `clip` is `clip_12`, too.
            let is_free = |name: &OsString| !is_frame_of(name, &videos) && images.insert(name.clone());
            let name = free(number, |suffix| with(own, suffix), is_free);
            if name != own {
                others.insert(file.clone(), name);
            }
        }
        names[number].images = Arc::new(others);
    }
    names
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

/// Where each of `images` is written in `folder`: under its own name, as PNG where its kind is not written, and no two under
/// one: `x.bmp` beside `x.png` becomes `x.bmp.png`.
fn still_files(folder: &Path, images: &[PathBuf]) -> HashMap<PathBuf, PathBuf> {
    let is_written = |image: &Path| Kind::of(image).is_some();
    // Those that keep their names come first.
    let (own, converted): (Vec<_>, Vec<_>) = images.iter().partition(|image| is_written(image));
    let mut taken = HashSet::new();
    let mut file = |image: &Path| {
        let name = image.file_name().unwrap_or_default();
        let path = folder.join(name);
        let names = if is_written(image) {
            [path.clone(), path]
        } else {
            [path.with_extension("png"), folder.join(with(name, ".png"))]
        };
        let further = (2..).map(|number| with_suffix(&names[1], &format!("-{number}")));
        let mut free = names.iter().cloned().chain(further).filter(|name| taken.insert(name.clone()));
        free.next().unwrap_or_default()
    };
    own.into_iter().chain(converted).map(|image| (image.clone(), file(image))).collect()
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
            [None, Some("x-4"), Some("DJI_0001_7-4")]
        );
        assert_eq!(called(5, "day2/x.png"), Some("x-5"));
    }

    #[test]
    fn no_two_images_share_a_file() {
        let images = ["a/x.bmp", "a/x.jpg", "a/x.png", "a/x.webp", "a/y.TIFF", "b/x.png", "b/x.bmp"].map(PathBuf::from);
        let files = still_files(Path::new("out"), &images);
        let named: Vec<&str> = images.iter().map(|image| files[image].to_str().expect("a name")).collect();
        assert_eq!(
            named,
            [
                "out/x.bmp.png",
                "out/x.jpg",
                "out/x.png",
                "out/x.webp.png",
                "out/y.png",
                "out/x-2.png",
                "out/x.bmp-2.png"
            ]
        );
    }
}
