//! Why a file was not fetched, and what to do about it.

use std::path::{Path, PathBuf};

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL cannot be used.
    #[error("{url}: {problem}\n  give a URL such as https://host/model.onnx")]
    Url {
        /// As given, without secrets.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file of that name is there, and is not the one that is wanted, or that cannot be told.
    #[error("{path} exists: {problem}\n  --overwrite replaces it, -o chooses another name or folder", path = .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// How it differs.
        problem: String,
    },
    /// Another process fetches the same file.
    #[error("{part} is being written by another fetch\n  wait for it, or choose another name with -o", part = .part.display())]
    Busy {
        /// Its part.
        part: PathBuf,
    },
    /// The server does not give it.
    #[error("{url}: {problem}")]
    Server {
        /// Without secrets.
        url: String,
        /// What it said, and a remedy.
        problem: String,
    },
    /// The file is another one than expected.
    #[error(
        "{url}: SHA-256 differs\n  expected {expected}\n  found    {found}{rather}\n  it was removed: fetch again, or correct the checksum if the file has a new version"
    )]
    Checksum {
        /// Without secrets.
        url: String,
        /// As stated.
        expected: String,
        /// As computed.
        found: String,
        /// What the file seems to be instead, or nothing.
        rather: String,
    },
    /// It cannot be written.
    #[error("{path}: {problem}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says, and a remedy.
        problem: String,
    },
    /// A signal came.
    #[error("interrupted{}", if .bytes > &0 { format!(": {} bytes are kept in {}\n  the same command goes on from there", .bytes, .part.display()) } else { String::new() })]
    Interrupted {
        /// What is kept for the next run.
        part: PathBuf,
        /// How much of it.
        bytes: u64,
    },
}

impl FetchError {
    pub(super) fn write(path: &Path, error: &std::io::Error) -> Self {
        let remedy = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge => {
                "\n  make room, then run the same command: it goes on where it stopped"
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                "\n  choose another folder with --folder"
            }
            _ => "",
        };
        Self::Write { path: path.to_owned(), problem: format!("{error}{remedy}") }
    }

    /// Whether the command line was unusable, rather than the download.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Url { .. } | Self::Exists { .. })
    }
}
