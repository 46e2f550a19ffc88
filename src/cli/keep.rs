//! `--run-dir` and `--repeat`: runs that are kept, and done again.

use super::messages::command_line;
use super::options::KeepOptions;
use super::settings::Task;
use crate::config::Kept;
use crate::doctor::versions;
use crate::model::Origin;
use crate::pipeline::Finder;
use crate::report::run_folder::{KeptModel, KeptRun, RunFolder, RunFolderError};

impl KeepOptions {
    /// The folder that was asked for.
    pub(super) fn claim(&self, overwrite: bool) -> Result<Option<RunFolder>, RunFolderError> {
        self.run_dir.as_deref().map(|path| RunFolder::claim(path, overwrite)).transpose()
    }
}

impl Kept {
    /// What is done again needs the model of then.
    pub(super) fn check_model(&self, origin: &Origin) -> Result<(), RunFolderError> {
        let Some(folder) = &self.repeats else { return Ok(()) };
        KeptRun::read(folder)?.check_model(folder, kept_model(origin).as_ref())
    }
}

impl Task {
    /// Writes into `folder` what is known before the run.
    pub(super) fn keep_run(&self, folder: &RunFolder, finder: &Finder) -> Result<(), RunFolderError> {
        let runtime = match finder {
            Finder::Model(_, runtime) => Some(runtime),
            Finder::File(_) | Finder::Service(..) => None,
        };
        let run = KeptRun {
            model: kept_model(&finder.origin()),
            secrets_left_out: self.kept.left_out.clone(),
            ..KeptRun::new(self.command, command_line(), versions(runtime))
        };
        folder.keep(&self.kept.config, &run)
    }
}

fn kept_model(origin: &Origin) -> Option<KeptModel> {
    let model = KeptModel { name: origin.name.clone(), sha256: origin.sha256.clone() };
    origin.recorded.is_none().then_some(model)
}
