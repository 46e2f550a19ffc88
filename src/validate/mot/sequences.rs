//! Which file of the result belongs to which of ground truth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::mot::MotError;

/// A sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Its name.
    pub name: String,
    /// Ground truth.
    pub gt: PathBuf,
    /// The tracker's result.
    pub result: PathBuf,
    /// How many frames it has, where a `seqinfo.ini` says so.
    pub length: Option<u32>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// By name.
    pub sequences: Vec<Sequence>,
    /// Results of sequences that ground truth does not have.
    pub unused: Vec<PathBuf>,
}

/// Pairs two files, or the sequences of two folders. Ground truth is `SEQ/gt/gt.txt`, `SEQ/gt.txt` or `SEQ.txt` in its
/// folder, the result `SEQ.txt`, `data/SEQ.txt`, `SEQ/result.txt` or `SEQ/SEQ.txt`.
///
/// # Errors
/// When a file is missing, or no sequence is there.
pub fn find(gt: &Path, result: &Path) -> Result<Found, MotError> {
    for path in [gt, result] {
        path.metadata()
            .map_err(|e| MotError::new(path.display(), e, "give --mot ground truth and result, as files or folders"))?;
    }
    let truths = truths(gt)?;
    if !result.is_dir() {
        let (Some((name, path)), 1) = (truths.first_key_value(), truths.len()) else {
            let problem = format!("a file, but {} has {} sequences", gt.display(), truths.len());
            return Err(MotError::new(result.display(), problem, "give a folder with SEQ.txt for each of them"));
        };
        let sequence =
            Sequence { name: name.clone(), gt: path.clone(), result: result.to_owned(), length: length(path)? };
        return Ok(Found { sequences: vec![sequence], unused: Vec::new() });
    }
    let mut sequences = Vec::new();
    for (name, path) in &truths {
        let file = format!("{name}.txt");
        let mut places =
            vec![result.join(&file), result.join("data").join(&file), result.join(name).join("result.txt")];
        places.push(result.join(name).join(&file));
        if truths.len() == 1 {
            places.push(result.join("result.txt"));
        }
        let Some(found) = places.into_iter().find(|place| place.is_file()) else {
            let remedy = format!("add {file}, {name}/result.txt or data/{file}; one without boxes is an empty file");
            return Err(MotError::new(result.display(), format!("no result of sequence {name}"), remedy));
        };
        sequences.push(Sequence { name: name.clone(), gt: path.clone(), result: found, length: length(path)? });
    }
    let used = |path: &PathBuf| sequences.iter().any(|s| s.result == *path || s.gt == *path);
    let unused = entries(result).into_iter().chain(entries(&result.join("data")));
    let unused = unused.filter(|path| is_text(path) && !used(path)).collect();
    Ok(Found { sequences, unused })
}

/// Files of ground truth by the names of their sequences.
fn truths(gt: &Path) -> Result<BTreeMap<String, PathBuf>, MotError> {
    let mut found = BTreeMap::new();
    if !gt.is_dir() {
        found.insert(name_of(gt), gt.to_owned());
        return Ok(found);
    }
    if let Some(own) = within(gt) {
        found.insert(name_of(&own), own);
        return Ok(found);
    }
    // VisDrone's folder has sequences/ and annotations/.
    let annotations = gt.join("annotations");
    let folder = if annotations.is_dir() { annotations.as_path() } else { gt };
    for path in entries(folder) {
        if path.is_dir() {
            found.extend(within(&path).map(|own| (file_name(&path), own)));
        } else if is_text(&path) {
            found.insert(stem(&path), path);
        }
    }
    if found.is_empty() {
        let remedy = "it has to hold SEQ/gt/gt.txt, SEQ/gt.txt or SEQ.txt";
        return Err(MotError::new(gt.display(), "no ground truth", remedy));
    }
    Ok(found)
}

/// The file of ground truth of a sequence's folder.
fn within(folder: &Path) -> Option<PathBuf> {
    [folder.join("gt/gt.txt"), folder.join("gt.txt")].into_iter().find(|path| path.is_file())
}

/// The sequence of a file of ground truth: its own name, or that of the folder it is the `gt.txt` of.
fn name_of(gt: &Path) -> String {
    let whole = gt.canonicalize().unwrap_or_else(|_| gt.to_owned());
    let mut names = whole.ancestors().map(stem_or_folder).skip_while(|name| name == "gt");
    names.next().filter(|name| !name.is_empty()).unwrap_or_else(|| stem(gt))
}

fn stem_or_folder(path: &Path) -> String {
    if is_text(path) { stem(path) } else { file_name(path) }
}

fn is_text(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("txt"))
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// What a folder holds, by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// `seqLength` in the `seqinfo.ini` beside `gt.txt` or its folder.
fn length(gt: &Path) -> Result<Option<u32>, MotError> {
    let folders = gt.ancestors().skip(1).take(2);
    // A flat folder of ground truth has no seqinfo.ini of a single sequence.
    let own = gt.file_name().is_some_and(|name| name == "gt.txt");
    let Some(file) = folders.filter(|_| own).map(|folder| folder.join("seqinfo.ini")).find(|file| file.is_file())
    else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(&file)
        .map_err(|e| MotError::new(file.display(), e, "make it readable, or move it away"))?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let value =
        pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case("seqLength")).map(|(_, value)| value.trim()).next();
    let length = value.and_then(|value| value.parse().ok()).filter(|length| *length > 0);
    length.map(Some).ok_or_else(|| {
        let problem = value.map_or_else(|| "no seqLength".to_owned(), |value| format!("seqLength={value}"));
        MotError::new(
            file.display(),
            crate::text::printable(&problem),
            "a line seqLength=N says how many frames the sequence has",
        )
    })
}
