//! Which sources were meant, and what their outputs are called.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::outputs::{Given, Outputs};
use crate::pipeline::{Job, OutputSpec, SourceSpec};
use crate::secrets::Credentials;
use crate::sink::{Target, check_output};
use crate::source::Address;

/// Endings of stills.
const PICTURES: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp", "gif"];
/// Endings taken from a folder as video.
const VIDEOS: [&str; 23] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "vob", "flv", "wmv", "asf", "3gp",
    "ogv", "mxf", "dv", "264", "h264", "265", "hevc",
];

/// Turns sources and `-o` into jobs; notices go to `notices`.
pub(super) fn plan(
    sources: &[String],
    credentials: Option<&Credentials>,
    given: &Given,
    notices: &mut Vec<String>,
) -> Result<Vec<Job>, String> {
    let overwrite = given.overwrite;
    let mut specs = Vec::new();
    for source in sources {
        expand(source, credentials, &mut specs)?;
    }
    let several = specs.len() > 1;
    let mut taken = HashSet::new();
    let mut outputs = Outputs::read(given)?;
    let mut jobs = Vec::new();
    for (number, (name, source)) in specs.into_iter().enumerate() {
        let mut targets = Vec::new();
        let mut output = OutputSpec::None;
        for file in outputs.files() {
            match name_output(&name, &source, file, several, number, &mut taken, notices)? {
                OutputSpec::Stream(named) => targets.extend(named),
                other => output = other,
            }
        }
        if let SourceSpec::Pictures(_) = source {
            outputs.refuse_pictures(&name)?;
        } else {
            outputs.complete(&source, several, number, &mut targets)?;
            if !targets.is_empty() {
                output = OutputSpec::Stream(targets);
            }
        }
        match &output {
            OutputSpec::Stream(_) | OutputSpec::None => {}
            OutputSpec::Picture(path) => check_output(path, overwrite).map_err(|e| e.to_string())?,
            OutputSpec::Folder(folder) => {
                std::fs::create_dir_all(folder)
                    .map_err(|e| format!("{}: {e}\n  choose another folder with -o", folder.display()))?;
                let SourceSpec::Pictures(paths) = &source else { continue };
                for path in paths {
                    check_output(&folder.join(path.file_name().unwrap_or_default()), overwrite)
                        .map_err(|e| e.to_string())?;
                }
            }
        }
        let watched = matches!(&output, OutputSpec::Stream(targets) if targets.iter().any(Target::is_live));
        jobs.push(Job { name, source, output, paced: watched && !given.full_speed });
    }
    Ok(jobs)
}

fn expand(
    source: &str,
    credentials: Option<&Credentials>,
    specs: &mut Vec<(String, SourceSpec)>,
) -> Result<(), String> {
    let path = Path::new(source);
    // A file may be called test:1, too.
    if (source == "-" || source.contains("://") || source.starts_with("/dev/") || !path.exists())
        && let Some(address) = Address::parse(source, credentials)?
    {
        specs.push((address.to_string(), SourceSpec::Live(address)));
        return Ok(());
    }
    if path.is_dir() {
        let mut files: Vec<PathBuf> = std::fs::read_dir(path)
            .map_err(|e| format!("{source}: {e}\n  check its permissions"))?
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .filter(|p| p.is_file())
            .collect();
        files.sort();
        let pictures: Vec<PathBuf> = files.iter().filter(|p| has_ending(p, &PICTURES)).cloned().collect();
        let videos = files.iter().filter(|p| has_ending(p, &VIDEOS));
        let before = specs.len();
        specs.extend(videos.map(|p| (p.display().to_string(), SourceSpec::Video(p.clone()))));
        if !pictures.is_empty() {
            specs.push((source.to_owned(), SourceSpec::Pictures(pictures)));
        }
        if specs.len() == before {
            return Err(format!(
                "{source}: no video or picture in this folder\n  give a folder with media files, or a file"
            ));
        }
        return Ok(());
    }
    if path.exists() {
        specs.push((source.to_owned(), spec_of(path)));
        return Ok(());
    }
    if source.contains(['*', '?', '[']) {
        let mut files: Vec<PathBuf> = glob::glob(source)
            .map_err(|e| format!("{source}: {e}"))?
            .filter_map(Result::ok)
            .filter(|p| p.is_file())
            .collect();
        files.sort();
        let (pictures, videos): (Vec<PathBuf>, Vec<PathBuf>) =
            files.into_iter().partition(|p| has_ending(p, &PICTURES));
        if pictures.is_empty() && videos.is_empty() {
            return Err(format!("{source}: nothing matches\n  check the pattern"));
        }
        specs.extend(videos.into_iter().map(|p| (p.display().to_string(), SourceSpec::Video(p))));
        if !pictures.is_empty() {
            specs.push((source.to_owned(), SourceSpec::Pictures(pictures)));
        }
        return Ok(());
    }
    Err(format!("{source}: no such file\n  check the path; quote a glob so that the shell leaves it alone"))
}

fn spec_of(path: &Path) -> SourceSpec {
    if has_ending(path, &PICTURES) {
        SourceSpec::Pictures(vec![path.to_owned()])
    } else {
        SourceSpec::Video(path.to_owned())
    }
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| endings.contains(&e.to_ascii_lowercase().as_str()))
}

fn name_output(
    name: &str,
    source: &SourceSpec,
    output: Option<&str>,
    several: bool,
    number: usize,
    taken: &mut HashSet<PathBuf>,
    notices: &mut Vec<String>,
) -> Result<OutputSpec, String> {
    let input = Path::new(name);
    let live;
    let single = match source {
        SourceSpec::Pictures(paths) if paths.len() == 1 => Some(paths[0].as_path()),
        SourceSpec::Pictures(_) => None,
        SourceSpec::Video(path) => Some(path.as_path()),
        SourceSpec::Live(_) if output.is_none() => return Ok(OutputSpec::None),
        SourceSpec::Live(address) => {
            live = PathBuf::from(format!("{}.mkv", address.stem()));
            Some(live.as_path())
        }
    };
    let folder_given = output.is_some_and(|o| o.ends_with('/') || Path::new(o).is_dir());
    let Some(file) = single else {
        let folder = match output {
            Some(folder) if several => Path::new(folder).join(stem(input)),
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(format!(
                "{}-annotated",
                if name.contains(['*', '?', '[']) { "pictures".into() } else { stem(input) }
            )),
        };
        return Ok(OutputSpec::Folder(folder));
    };
    let picture = matches!(source, SourceSpec::Pictures(_));
    let ending = file.extension().and_then(|e| e.to_str()).unwrap_or("mkv").to_ascii_lowercase();
    let default_name = format!("{}-annotated.{ending}", stem(file));
    let mut path = match output {
        None => PathBuf::from(default_name),
        Some(folder) if folder_given => Path::new(folder).join(default_name),
        Some(pattern) if pattern.contains('{') => {
            PathBuf::from(pattern.replace("{stem}", &stem(file)).replace("{stream}", &number.to_string()))
        }
        Some(one) if several => {
            return Err(format!(
                "-o {one} names one file for several sources\n  give a folder (`-o out/`) or a pattern (`-o 'out/{{stem}}.mp4'`)"
            ));
        }
        Some(one) => PathBuf::from(one),
    };
    let writable: &[&str] = if picture { &["jpg", "jpeg", "png"] } else { &["mp4", "m4v", "mov", "mkv", "webm", "ts"] };
    if !has_ending(&path, writable) {
        let instead = path.with_extension(if picture { "png" } else { "mkv" });
        let seen = path.extension().map_or_else(|| "no ending".into(), |e| format!(".{}", e.to_string_lossy()));
        notices.push(format!("{seen} cannot be written; writing {} instead", instead.display()));
        path = instead;
    }
    if !taken.insert(path.clone()) {
        let ending = path.extension().map_or_else(String::new, |e| e.to_string_lossy().into_owned());
        path = path.with_file_name(format!("{}-{number}.{ending}", stem(&path)));
        taken.insert(path.clone());
    }
    if path.exists() && file.exists() && std::fs::canonicalize(&path).ok() == std::fs::canonicalize(file).ok() {
        return Err(format!("{}: the output would replace the input\n  choose another name with -o", path.display()));
    }
    Ok(if picture {
        OutputSpec::Picture(path)
    } else {
        OutputSpec::Stream(vec![Target::File { path, segments: None, overwrite: false }])
    })
}

pub(super) fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "output".into(), |s| s.to_string_lossy().into_owned())
}
