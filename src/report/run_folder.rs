//! A folder that keeps a run: its settings, its report, and what it ran with.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Machine, RunReport};
use crate::part::write_whole;
use crate::shutdown::Shutdown;

/// The settings, a config file.
pub const CONFIG: &str = "config.toml";
/// The report.
pub const REPORT: &str = "report.json";
/// What it ran with.
const RUN: &str = "run.json";

/// Why a folder keeps no run.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// There is one in it.
    #[error("--run-dir {}: there is a run in this folder\n  name another folder, or replace that run with --overwrite", .0.display())]
    Taken(PathBuf),
    /// It cannot be written.
    #[error("--run-dir {}: {source}\n  choose a folder that can be written", folder.display())]
    Unwritable {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is none in it.
    #[error("there is no run in this folder: {RUN}: {0}")]
    None(#[source] std::io::Error),
    /// What is kept in it cannot be read.
    #[error("{RUN}: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// Another model.
    #[error(
        "--repeat {}: the model is another one: {name} had the SHA-256 {expected}, and {found} has {actual}\n  give the model of that run, \
         or leave out --repeat and take its settings: --config {}", folder.display(), folder.join(CONFIG).display()
    )]
    OtherModel {
        /// The folder.
        folder: PathBuf,
        /// The model's name, then.
        name: String,
        /// Its checksum.
        expected: String,
        /// The model's name now.
        found: String,
        /// Its checksum.
        actual: String,
    },
}

/// A model by its checksum.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeptModel {
    /// Short name.
    pub name: String,
    /// Checksum of all it is of.
    pub sha256: String,
}

/// What a run ran with.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct KeptRun {
    /// Version of this format.
    pub schema: u32,
    /// `detect` or `bench`.
    pub command: String,
    /// Without secrets.
    pub command_line: String,
    /// When it began, UTC.
    pub started: String,
    /// The folder that its paths go from.
    pub folder: PathBuf,
    /// Of the program and of what it uses.
    pub versions: BTreeMap<String, String>,
    /// What it ran on.
    pub machine: serde_json::Value,
    /// None where detections come from a file.
    pub model: Option<KeptModel>,
    /// Secrets that the settings lack, and where each is given.
    pub secrets_left_out: Vec<String>,
}

impl KeptRun {
    /// A run that begins now, on this machine.
    #[must_use]
    pub fn new(command: &str, command_line: String, versions: BTreeMap<String, String>) -> Self {
        Self {
            schema: 1,
            command: command.to_owned(),
            command_line,
            started: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            folder: std::env::current_dir().unwrap_or_default(),
            versions,
            machine: serde_json::to_value(Machine::read()).unwrap_or_default(),
            model: None,
            secrets_left_out: Vec::new(),
        }
    }

    /// What the run in `folder` ran with.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(folder: &Path) -> Result<Self, RunFolderError> {
        let text = std::fs::read(folder.join(RUN)).map_err(RunFolderError::None)?;
        serde_json::from_slice(&text).map_err(RunFolderError::Unreadable)
    }

    /// Checks that `model` is the one that the run in `folder` had.
    ///
    /// # Errors
    /// When it is another one.
    pub fn check_model(&self, folder: &Path, model: Option<&KeptModel>) -> Result<(), RunFolderError> {
        let Some((then, now)) = self.model.as_ref().zip(model).filter(|(then, now)| then.sha256 != now.sha256) else {
            return Ok(());
        };
        Err(RunFolderError::OtherModel {
            folder: folder.to_owned(),
            name: then.name.clone(),
            expected: then.sha256.clone(),
            found: now.name.clone(),
            actual: now.sha256.clone(),
        })
    }
}

/// The folder of a run that has not begun.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Takes `path`, which is not created yet.
    ///
    /// # Errors
    /// When there is a run in it, unless `overwrite` says that it may be replaced.
    pub fn claim(path: &Path, overwrite: bool) -> Result<Self, RunFolderError> {
        let is_there = |name: &&str| path.join(name).symlink_metadata().is_ok();
        if !overwrite && [CONFIG, REPORT, RUN].iter().any(is_there) {
            return Err(RunFolderError::Taken(path.to_owned()));
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Creates it: outputs may lie in it.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(&self) -> Result<(), RunFolderError> {
        std::fs::create_dir_all(&self.path).map_err(|source| self.unwritable(source))
    }

    /// Where its report goes.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.path.join(REPORT)
    }

    /// Writes what is known before the run. What a run before it left is taken away: half of each would be none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, config: &str, run: &KeptRun) -> Result<(), RunFolderError> {
        self.create()?;
        match std::fs::remove_file(self.report()) {
            Err(source) if source.kind() != ErrorKind::NotFound => return Err(self.unwritable(source)),
            _ => {}
        }
        let mut text = serde_json::to_string_pretty(run).map_err(RunFolderError::Unreadable)?;
        text.push('\n');
        write_whole(&self.path.join(CONFIG), config.as_bytes(), None)
            .and_then(|()| write_whole(&self.path.join(RUN), text.as_bytes(), None))
            .map_err(|source| self.unwritable(source))
    }

    /// Writes the report.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(&self, report: &RunReport, stopping: &Shutdown) -> Result<(), RunFolderError> {
        report.write(&self.report(), stopping).map_err(|source| self.unwritable(source))
    }

    fn unwritable(&self, source: std::io::Error) -> RunFolderError {
        RunFolderError::Unwritable { folder: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_run_in_it_is_not_taken_again() {
        let above = tempfile::tempdir().expect("a folder");
        let path = above.path().join("runs/a");
        let folder = RunFolder::claim(&path, false).expect("it is empty");
        let model = KeptModel { name: "m".into(), sha256: "aa".into() };
        let run = KeptRun { model: Some(model.clone()), ..KeptRun::new("detect", "streamdet".into(), BTreeMap::new()) };
        folder.keep("conf = 0.4\n", &run).expect("it is written");
        let refused = RunFolder::claim(&path, false).expect_err("there is a run").to_string();
        assert!(refused.contains("runs/a") && refused.contains("--overwrite"), "{refused}");
        RunFolder::claim(&path, true).expect("it may be replaced");
        let read = KeptRun::read(&path).expect("it is kept");
        assert_eq!((read.command.as_str(), read.model.as_ref()), ("detect", Some(&model)));
        read.check_model(&path, Some(&model)).expect("it is the same");
        read.check_model(&path, None).expect("none is loaded");
        let other = KeptModel { sha256: "bb".into(), ..model };
        let refused = read.check_model(&path, Some(&other)).expect_err("it is another").to_string();
        assert!(refused.contains("aa") && refused.contains("bb") && refused.contains("--config"), "{refused}");
        assert!(matches!(KeptRun::read(above.path()), Err(RunFolderError::None(_))));
    }
}
