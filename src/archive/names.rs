//! What the outputs of a file are called: by its own name and its folder's, so that no two files write one, on whatever machine.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use super::remote::{Location, LocationError};
use crate::secrets::redact;

/// A file's folder, and its name: two files may differ by their ending alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    parent: PathBuf,
    /// The same without its root: `archive/day1`.
    folder: PathBuf,
    name: String,
    stem: String,
    ending: String,
    /// Whether annotated video lies beside it, where nothing else is asked for.
    is_path: bool,
    /// Outputs that go elsewhere: a folder for them, where each is written in it, and where it goes.
    staging: PathBuf,
    sent: RefCell<Vec<(PathBuf, Location)>>,
}

/// Why outputs cannot be named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// One name for all files.
    #[error(
        "{option} {name}: one name for every file\n  give a folder ({example}/), or put {{name}} into the name: \
         {example}/{{dir}}/{{name}}{ending}"
    )]
    OneName {
        /// The option.
        option: &'static str,
        /// As given.
        name: String,
        /// A folder of that name.
        example: String,
        /// What such files end with.
        ending: &'static str,
    },
    /// What is no file.
    #[error(
        "-o {0}: outputs of an archive are files\n  give a folder (out/), a pattern (out/{{dir}}/{{name}}.mkv) or none"
    )]
    NoFile(String),
    /// A web server.
    #[error("{0} {1}: a web server takes no outputs\n  give s3://BUCKET/PREFIX/, or a folder")]
    NotThere(&'static str, String),
    /// Many files.
    #[error("{0} {1}: many small files are written into a folder\n  give a folder, or ask for --json")]
    Many(&'static str, String),
    /// A bucket's name that cannot be used.
    #[error("{0} {1}")]
    Location(&'static str, LocationError),
}

impl Names {
    /// Of the file at `source`: an absolute path, or an address.
    #[must_use]
    pub fn of(source: &Path) -> Self {
        let (staging, sent) = (PathBuf::new(), RefCell::default());
        if let Some(Ok(location)) = source.to_str().and_then(Location::of) {
            let (folder, name) = location.local();
            let part = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
            let [stem, ending] = [Path::new(&name).file_stem(), Path::new(&name).extension()].map(part);
            return Self { parent: PathBuf::new(), folder, name, stem, ending, is_path: false, staging, sent };
        }
        let mut folder = PathBuf::new();
        for part in source.parent().into_iter().flat_map(Path::components) {
            match part {
                Component::Normal(name) => folder.push(name),
                Component::ParentDir => {
                    folder.pop();
                }
                Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            }
        }
        let parent = source.parent().unwrap_or(Path::new("/")).to_owned();
        let text = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let [name, stem, ending] = [source.file_name(), source.file_stem(), source.extension()].map(text);
        Self { parent, folder, name, stem, ending, is_path: true, staging, sent }
    }

    /// The same; outputs that go elsewhere are written below this folder.
    #[must_use]
    pub fn staged(self, folder: &Path) -> Self {
        Self { staging: folder.to_owned(), ..self }
    }

    /// Outputs that go elsewhere, of those that were named: where each is written, and where it goes.
    #[must_use]
    pub fn sent(&self) -> Vec<(PathBuf, Location)> {
        self.sent.borrow().clone()
    }

    /// Where an output is written: one that goes elsewhere in a folder of its own.
    fn written(&self, option: &'static str, name: PathBuf) -> Result<PathBuf, NameError> {
        let Some(location) = name.to_str().and_then(Location::of) else { return Ok(name) };
        let location = location.map_err(|error| NameError::Location(option, error))?;
        let mut sent = self.sent.borrow_mut();
        // Two that are one are found where paths are.
        if let Some((written, _)) = sent.iter().find(|(_, known)| *known == location) {
            return Ok(written.clone());
        }
        let written = self.staging.join(sent.len().to_string()).join(location.short_name());
        sent.push((written.clone(), location));
        Ok(written)
    }

    /// What `-o` is for it: below a folder, in the file's own folder; beside the file, where nothing is given and it is a path. An ending that cannot be
    /// written is left to who plans outputs.
    ///
    /// # Errors
    /// When it is the same for every file, or no file.
    pub fn output(&self, asked: Option<&OsStr>) -> Result<OsString, NameError> {
        let annotated = |folder: PathBuf| {
            let ending = if self.ending.is_empty() { "mkv" } else { &self.ending };
            folder.join(format!("{}-annotated.{}", self.name, ending.to_ascii_lowercase())).into_os_string()
        };
        let Some(asked) = asked else {
            return Ok(if self.is_path { annotated(self.parent.clone()) } else { "none".into() });
        };
        let text = asked.to_string_lossy();
        if text == "none" {
            return Ok(asked.to_owned());
        }
        let is_bucket = is_bucket("-o", &text)?;
        if is_address(&text) && !is_bucket {
            return Err(NameError::NoFile(redact(&text)));
        }
        let name = if is_folder(&text) {
            annotated(self.below(&text)).into()
        } else if is_own(&text) {
            self.filled(&text)
        } else {
            return Err(one_name("-o", &text, ".mkv"));
        };
        Ok(self.written("-o", name)?.into_os_string())
    }

    /// What the file of another option is for it; `ending` is what such a file ends with.
    ///
    /// # Errors
    /// When it is the same for every file.
    pub fn file(&self, option: &'static str, asked: &Path, ending: &'static str) -> Result<PathBuf, NameError> {
        let text = asked.to_string_lossy();
        is_bucket(option, &text)?;
        let name = if is_folder(&text) {
            self.below(&text).join(format!("{}{ending}", self.name))
        } else if is_own(&text) {
            self.filled(&text)
        } else {
            return Err(one_name(option, &text, ending));
        };
        self.written(option, name)
    }

    /// What a folder of many files is for it.
    ///
    /// # Errors
    /// When it is none.
    pub fn folder(&self, option: &'static str, asked: &Path) -> Result<PathBuf, NameError> {
        let text = asked.to_string_lossy();
        if is_bucket(option, &text)? {
            return Err(NameError::Many(option, text.into_owned()));
        }
        Ok(if is_own(&text) { self.filled(&text) } else { self.below(&text).join(&self.name) })
    }

    fn below(&self, folder: &str) -> PathBuf {
        if folder.contains("{dir}") { self.filled(folder) } else { Path::new(folder).join(&self.folder) }
    }

    /// In one pass: a folder may be called `{stem}`.
    fn filled(&self, pattern: &str) -> PathBuf {
        let folder = self.folder.to_string_lossy();
        let fields = [("{dir}", &*folder), ("{name}", &*self.name), ("{stem}", &*self.stem)];
        let (mut filled, mut left) = (String::new(), pattern);
        while let Some(at) = left.find('{') {
            filled += &left[..at];
            left = &left[at..];
            let field = fields.iter().find(|(field, _)| left.starts_with(field));
            let (text, length) = field.map_or(("{", 1), |(field, text)| (*text, field.len()));
            filled += text;
            left = &left[length..];
        }
        (filled + left).into()
    }
}

/// Options that name files and folders.
const PATHS: [&str; 11] = [
    "output",
    "json",
    "mot-output",
    "events-csv",
    "heatmap",
    "save-txt",
    "crops",
    "zones",
    "telemetry",
    "camera",
    "terrain",
];

/// Makes what options name mean the same for workers, whose working folders are others.
pub fn make_absolute(options: &mut toml::Table) {
    for (_, value) in options.iter_mut().filter(|(key, _)| PATHS.contains(&key.as_str())) {
        let texts = match value {
            toml::Value::Array(several) => several.iter_mut().collect(),
            one => vec![one],
        };
        for text in texts {
            if let toml::Value::String(text) = text
                && text != "none"
                && !is_address(text)
                && let Ok(path) = std::path::absolute(&*text)
            {
                *text = path.to_string_lossy().into_owned();
            }
        }
    }
}

/// Whether an output goes to S3.
fn is_bucket(option: &'static str, output: &str) -> Result<bool, NameError> {
    match Location::of(output) {
        None => Ok(false),
        Some(Ok(location)) if location.is_writable() => Ok(true),
        // A folder of one as well.
        Some(Ok(_) | Err(LocationError::NoFolder(_))) => Err(NameError::NotThere(option, redact(output))),
        Some(Err(error)) => Err(NameError::Location(option, error)),
    }
}

fn is_address(output: &str) -> bool {
    output.contains("://") || output.starts_with("hls:")
}

/// Whether a pattern is another name for every file of a folder.
fn is_own(pattern: &str) -> bool {
    pattern.contains("{name}") || pattern.contains("{stem}")
}

fn is_folder(text: &str) -> bool {
    text.ends_with('/') || Path::new(text).is_dir()
}

fn one_name(option: &'static str, name: &str, ending: &'static str) -> NameError {
    let example = Path::new(name).with_extension("").display().to_string();
    NameError::OneName { option, name: name.to_owned(), example, ending }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_a_queue_are_absolute() {
        let mut options: toml::Table =
            toml::from_str("output = ['none', 'out/', 'hls:x/']\njson = 'a/{name}'\nconf = 0.5\nclasses = ['car']")
                .expect("TOML");
        make_absolute(&mut options);
        let here = std::env::current_dir().expect("a folder").display().to_string();
        assert_eq!(options["output"].to_string(), format!("[\"none\", \"{here}/out/\", \"hls:x/\"]"));
        assert_eq!(options["json"].as_str(), Some(&*format!("{here}/a/{{name}}")));
        assert_eq!(options["classes"].to_string(), "[\"car\"]");
    }

    #[test]
    fn a_files_outputs_lie_where_no_other_files_do() {
        let names = Names::of(Path::new("/archive/../archive/./day1/DJI_0001.MP4"));
        let output =
            |asked: Option<&str>| names.output(asked.map(OsStr::new)).map(|name| name.into_string().expect("UTF-8"));
        assert_eq!(output(Some("out/")), Ok("out/archive/day1/DJI_0001.MP4-annotated.mp4".into()));
        assert_eq!(output(Some("out/{dir}/{stem}.mkv")), Ok("out/archive/day1/DJI_0001.mkv".into()));
        assert_eq!(output(Some("out/{dir}/x/")), Ok("out/archive/day1/x/DJI_0001.MP4-annotated.mp4".into()));
        assert_eq!(output(Some("none")), Ok("none".into()));
        let beside = "/archive/../archive/./day1/DJI_0001.MP4-annotated.mp4";
        assert_eq!(output(None), Ok(beside.into()), "beside the file");
        assert!(matches!(output(Some("out.mkv")), Err(NameError::OneName { .. })));
        for live in ["rtsp://:8554/x", "udp://u:secret@h:1/", "hls:out/"] {
            let error = output(Some(live)).expect_err(live);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let file = |asked: &str| names.file("--json", Path::new(asked), ".jsonl");
        assert_eq!(file("out/"), Ok("out/archive/day1/DJI_0001.MP4.jsonl".into()));
        assert_eq!(file("{stem}.json"), Ok("DJI_0001.json".into()));
        assert_eq!(file("{x}{name}.json{"), Ok("{x}DJI_0001.MP4.json{".into()));
        let error = file("found.jsonl").expect_err("one for all").to_string();
        assert!(error.contains("found/{dir}/{name}.jsonl"), "{error}");
        let folder = |asked: &str| names.folder("--crops", Path::new(asked));
        assert_eq!(folder("labels"), Ok("labels/archive/day1/DJI_0001.MP4".into()));
        assert_eq!(folder("labels/{stem}"), Ok("labels/DJI_0001".into()));
        assert!(matches!(folder("s3://b/labels/"), Err(NameError::Many(..))));
        // A name that is a pattern itself.
        let odd = Names::of(Path::new("/{stem}/{dir}.mp4"));
        assert_eq!(odd.file("--json", Path::new("out/{dir}/{name}"), ""), Ok("out/{stem}/{dir}.mp4".into()));
    }

    #[test]
    fn what_goes_to_a_bucket_is_written_elsewhere_before() {
        let of = |source: &str| Names::of(Path::new(source)).staged(Path::new("/cache/out"));
        let names = of("s3://b/day 1/DJI_0001.MP4");
        assert_eq!(names.output(None), Ok("none".into()), "not beside its source");
        assert_eq!(names.output(Some(OsStr::new("out/"))), Ok("out/b/day 1/DJI_0001.MP4-annotated.mp4".into()));
        let asked = |asked: &str| names.file("--json", Path::new(asked), ".jsonl");
        assert_eq!(asked("s3://c/out/"), Ok("/cache/out/0/DJI_0001.MP4.jsonl".into()));
        assert_eq!(asked("s3://c/{dir}/{stem}.json"), Ok("/cache/out/1/DJI_0001.json".into()));
        let sent: Vec<String> = names.sent().into_iter().map(|(_, location)| location.to_string()).collect();
        assert_eq!(sent, ["s3://c/out/b/day 1/DJI_0001.MP4.jsonl", "s3://c/b/day 1/DJI_0001.json"]);
        assert!(matches!(asked("s3://c/out"), Err(NameError::OneName { .. })));
        assert!(matches!(asked("s3://c//"), Err(NameError::Location(..))));
        assert!(matches!(asked("https://h/out/"), Err(NameError::NotThere(..))));
        let long = of(&format!("https://h/{}.mp4", "x".repeat(300)));
        let written = long.output(Some(OsStr::new("s3://c/{name}"))).expect("a name");
        assert!(written.len() < 220, "{}", written.display());
    }
}
