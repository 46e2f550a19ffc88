//! Why sources and outputs cannot be used.

use std::path::PathBuf;

use crate::part::BUSY;
use crate::sink::SinkError;
use crate::source::AddressError;

/// Why sources and outputs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Another run writes a file of this one, or what one left cannot be moved.
    #[error("{option}: {source}\n  {BUSY}")]
    Left {
        /// Its option.
        option: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A file exists.
    #[error("{option} {} exists already\n  give --overwrite to replace it, or another name", path.display())]
    Exists {
        /// Its option.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The folder of a file is not there.
    #[error("{option} {}: no such folder\n  create it, or name another", path.display())]
    NoFolder {
        /// Its option.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("{option} {}: {source}\n  choose a folder that can be written", path.display())]
    Unwritable {
        /// Its option.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An address cannot be read.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A file or folder does not exist.
    #[error("{source_name}: no such file\n  check the path; quote a glob so that the shell does not expand it")]
    NoSuchFile {
        /// As given.
        source_name: String,
    },
    /// A folder cannot be read.
    #[error("{folder}: {source}\n  check its permissions")]
    Unreadable {
        /// As given.
        folder: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A folder holds no media.
    #[error(
        "{folder}: no video or image in this folder{}\n  give a folder with media files, or a file",
        passed_over.as_ref().map_or_else(String::new, |files| format!(" ({files})"))
    )]
    NoMedia {
        /// As given.
        folder: String,
        /// What it holds instead.
        passed_over: Option<String>,
    },
    /// An address or glob is not UTF-8.
    #[error(
        "{name}: an address or glob has to be UTF-8\n  write other bytes of an address as %XX; give the folder instead of a glob"
    )]
    NotUtf8 {
        /// As given, without secrets.
        name: String,
    },
    /// A glob cannot be read.
    #[error("{pattern}: {source}")]
    Glob {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        source: glob::PatternError,
    },
    /// A glob matches no file.
    #[error("{pattern}: no file matches\n  check the pattern")]
    NoMatch {
        /// As given.
        pattern: String,
    },
    /// One output for several sources.
    #[error(
        "-o {output} names one file for several sources\n  give a folder (`-o out/`) or a pattern (`-o 'out/{{stem}}.mp4'`)"
    )]
    OneFile {
        /// As given.
        output: String,
    },
    /// One live output for several sources.
    #[error("-o {output} names one output for several sources\n  put {{stem}} or {{stream}} into its name")]
    OneAddress {
        /// Without secrets.
        output: String,
    },
    /// The output is the input.
    #[error("{output}: the output would replace the input\n  choose another name with -o")]
    ReplacesInput {
        /// The file.
        output: PathBuf,
    },
    /// An output cannot be used as it was given.
    #[error("-o {output}: {problem}\n  {remedy}")]
    Output {
        /// Without secrets.
        output: String,
        /// What is wrong with it.
        problem: String,
        /// What to give instead.
        remedy: String,
    },
    /// Two outputs are one file.
    #[error("{first} and {second} both name {path}: one would replace the other\n  give each a name of its own")]
    SameFile {
        /// The option that names it first.
        first: &'static str,
        /// The option that names it again.
        second: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// `none` beside a file.
    #[error("-o none cannot be combined with a file\n  leave one of them out")]
    NoneAndFile,
    /// `--segment` without a file.
    #[error("--segment: there is no file to cut\n  name one with -o")]
    NothingToSegment,
    /// `--keep` below `--segment`.
    #[error("--keep is shorter than --segment: nothing would be kept\n  keep at least one segment")]
    KeepsNothing,
    /// Images to an output for video.
    #[error("{source_name}: images cannot go to {output}\n  give video, or write them to a folder with -o")]
    Images {
        /// The images.
        source_name: String,
        /// Kind of output.
        output: &'static str,
    },
    /// A folder for outputs cannot be created.
    #[error("{folder}: {source}\n  choose another folder with -o")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// An output cannot be opened.
    #[error(transparent)]
    Sink(#[from] SinkError),
}
