//! What the output of a source is called.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::error::PlanError;
use super::sources::has_extension;
use crate::part::with_suffix;
use crate::pipeline::job::{OutputSpec, SourceSpec, free};
use crate::secrets::redact;
use crate::sink::{FileTarget, Target};

/// Names that were given so far.
pub(super) struct Names {
    /// Whether there are several sources.
    pub several: bool,
    /// Whether outputs are cut into segments, whose names have fields of the time.
    pub segmented: bool,
    pub taken: HashSet<PathBuf>,
    pub notices: Vec<String>,
}

impl Names {
    /// The output of source `number`, where `output` is what was asked for; `None`: a name from the source's own.
    pub fn output(
        &mut self,
        name: &str,
        source: &SourceSpec,
        output: Option<&OsStr>,
        number: usize,
    ) -> Result<OutputSpec, PlanError> {
        let from_address;
        let file = match source {
            SourceSpec::Images(images) if images.len() == 1 => images[0].as_path(),
            SourceSpec::Images(images) => {
                return Ok(match output.and_then(OsStr::to_str).filter(|pattern| pattern.contains("{stem}")) {
                    Some(pattern) => OutputSpec::Files(self.files(images, pattern, number)),
                    None => OutputSpec::Folder(self.folder(name, output, number)),
                });
            }
            SourceSpec::Video(path) => path.as_path(),
            SourceSpec::Live(_) if output.is_none() => return Ok(OutputSpec::None),
            SourceSpec::Live(address) => {
                from_address = PathBuf::from(format!("{}.mkv", address.stem()));
                from_address.as_path()
            }
        };
        let extension = file.extension().and_then(|e| e.to_str()).unwrap_or("mkv").to_ascii_lowercase();
        let escaped = self.segmented.then(|| without_fields(stem(file)));
        let source_stem = escaped.as_deref().unwrap_or_else(|| stem(file));
        let mut own_name = source_stem.to_owned();
        own_name.push(format!("-annotated.{extension}"));
        let path = match output {
            None => PathBuf::from(own_name),
            Some(folder) if is_folder(folder) => Path::new(folder).join(own_name),
            Some(one) => match one.to_str().filter(|pattern| pattern.contains('{')) {
                Some(pattern) => filled(&pattern.replace("{stream}", &number.to_string()), source_stem),
                None if self.several => return Err(PlanError::OneFile { output: one.display().to_string() }),
                None => PathBuf::from(one),
            },
        };
        let is_image = matches!(source, SourceSpec::Images(_));
        let path = self.writable(path, is_image);
        let path = self.free(&path, number);
        if path.exists() && file.exists() && std::fs::canonicalize(&path).ok() == std::fs::canonicalize(file).ok() {
            return Err(PlanError::ReplacesInput { output: path });
        }
        Ok(if is_image {
            OutputSpec::Image(path)
        } else {
            OutputSpec::Stream(vec![Target::File(FileTarget::new(path))])
        })
    }

    /// Where each of several images goes, by a pattern.
    fn files(&mut self, images: &[PathBuf], pattern: &str, number: usize) -> HashMap<PathBuf, PathBuf> {
        let pattern = self.writable(PathBuf::from(pattern.replace("{stream}", &number.to_string())), true);
        let pattern = pattern.to_string_lossy().into_owned();
        let file = |image: &PathBuf| (image.clone(), self.free(&filled(&pattern, stem(image)), number));
        images.iter().map(file).collect()
    }

    /// Where several images go.
    fn folder(&mut self, name: &str, output: Option<&OsStr>, number: usize) -> PathBuf {
        let folder = match output {
            Some(folder) if self.several => Path::new(folder).join(stem(Path::new(name))),
            Some(folder) => PathBuf::from(folder),
            None if name.contains(['*', '?', '[']) => PathBuf::from("pictures-annotated"),
            None => PathBuf::from(format!("{}-annotated", stem(Path::new(name)).display())),
        };
        self.free(&folder, number)
    }

    /// `path`, or with another extension where its own cannot be written.
    fn writable(&mut self, path: PathBuf, is_image: bool) -> PathBuf {
        let (writable, instead): (&[&str], _) = if is_image {
            (&["jpg", "jpeg", "png"], "png")
        } else {
            (&["mp4", "m4v", "mov", "mkv", "webm", "ts"], "mkv")
        };
        if has_extension(&path, writable) {
            return path;
        }
        let seen = path.extension().map_or_else(|| "no extension".into(), |e| format!(".{}", e.to_string_lossy()));
        let instead = path.with_extension(instead);
        self.notices
            .push(format!("{seen} cannot be written; writing {} instead", redact(&instead.display().to_string())));
        instead
    }

    /// `path`, or with the stream's number where another output has that name.
    fn free(&mut self, path: &Path, number: usize) -> PathBuf {
        free(number, |suffix| with_suffix(path, suffix), |path| self.taken.insert(path.clone()))
    }
}

/// A name in which a percent sign is one, and begins no field of the time.
fn without_fields(name: &OsStr) -> OsString {
    let escaped =
        name.as_bytes().iter().flat_map(|byte| if *byte == b'%' { &b"%%"[..] } else { std::slice::from_ref(byte) });
    OsString::from_vec(escaped.copied().collect())
}

/// A path's name without its extension.
pub(super) fn stem(path: &Path) -> &OsStr {
    path.file_stem().unwrap_or(OsStr::new("output"))
}

fn is_folder(output: &OsStr) -> bool {
    output.as_encoded_bytes().ends_with(b"/") || Path::new(output).is_dir()
}

/// `pattern` with `{stem}` filled in, whatever bytes that has.
fn filled(pattern: &str, stem: &OsStr) -> PathBuf {
    let mut path = OsString::new();
    for (number, part) in pattern.split("{stem}").enumerate() {
        if number > 0 {
            path.push(stem);
        }
        path.push(part);
    }
    path.into()
}
