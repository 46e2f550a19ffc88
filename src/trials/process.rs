//! One run in a process of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::anyhow;
use crossbeam_channel::{bounded, never, select};
use serde_json::Value;

use crate::shutdown::Shutdown;
use crate::thread;

/// Where reports of runs lie until they are read; it goes with this.
pub struct Folder(PathBuf);

impl Folder {
    /// In the system's folder for such things.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("streamdet-trials-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|e| anyhow!("{}: {e}\n  set TMPDIR to another folder", path.display()))?;
        Ok(Self(path))
    }

    /// A run's report.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.0.join("report.json")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it lies where the system cleans up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs this program's command line `args` once more, with `flags` behind the command's name and `settings` as the environment gives them;
/// the report that it writes to `into`. `None` when it was interrupted.
///
/// # Errors
/// When it fails: what it said.
pub fn run(
    args: &[OsString],
    flags: &[&OsStr],
    settings: &[(&str, &str)],
    into: &Path,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Value>> {
    let said = into.with_extension("stderr");
    let stderr = std::fs::File::create(&said)?;
    let mut command = Command::new(std::env::current_exe()?);
    // Sources may follow a `--`.
    command.args(&args[1..2]).arg("--into").arg(into).args(flags).args(&args[2..]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    for (key, value) in settings {
        command.env(format!("STREAMDET_{}", key.to_ascii_uppercase().replace('-', "_")), value);
    }
    let child = command.spawn()?;
    let process = rustix::process::Pid::from_child(&child);
    let status = wait(child, process, shutdown)?;
    if shutdown.is_requested() {
        return Ok(None);
    }
    if !status.success() {
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        let errors = said.split_once("error: ").map_or(said.as_str(), |(_, errors)| errors);
        return Err(anyhow!("{}", errors.trim_end()));
    }
    Ok(Some(serde_json::from_str(&std::fs::read_to_string(into)?)?))
}

/// Waits for a process to end; it is told to when `shutdown` is requested.
fn wait(mut child: Child, process: rustix::process::Pid, shutdown: &Shutdown) -> std::io::Result<ExitStatus> {
    let (ended, end) = bounded(1);
    let waiting = move || {
        // The receiver waits for it.
        let _ = ended.send(child.wait());
    };
    let thread = thread::spawn("trial", waiting).map_err(std::io::Error::other)?;
    let mut requested = shutdown.requested().clone();
    let status = loop {
        select! {
            recv(end) -> status => break status,
            recv(requested) -> _ => {
                // It may have ended by itself: that is seen next.
                let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
                requested = never();
            }
        }
    };
    thread.join().map_err(std::io::Error::other)?;
    status.map_err(std::io::Error::other)?
}
