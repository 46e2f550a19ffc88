//! Looks up addresses that name no stream themselves: a page with a video, a numbered camera.

use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::address::{Address, Kind};
use super::cameras::cameras;
use super::error::ConnectError;
use crate::shutdown::Shutdown;
use crate::thread::spawn;

/// How long `yt-dlp` may take to find a page's video.
const PATIENCE: Duration = Duration::from_mins(1);

/// The address that is read: the same, unless it must be looked up first. A request of `shutdown` ends that.
///
/// # Errors
/// When nothing is found there, or the look-up was ended.
pub(super) fn locate(address: &Address, shutdown: &Shutdown) -> Result<Address, ConnectError> {
    match address.kind {
        Kind::Page => video_of(address, shutdown),
        Kind::Camera => camera(address),
        _ => Ok(address.clone()),
    }
}

fn video_of(address: &Address, shutdown: &Shutdown) -> Result<Address, ConnectError> {
    let mut command = Command::new("yt-dlp");
    command.args(["--no-playlist", "--get-url", "--format", "best[ext=mp4]/best", "--", address.location()]);
    let output = output(&mut command, PATIENCE, shutdown).map_err(|e| {
        let problem = if e.kind() == std::io::ErrorKind::NotFound {
            "yt-dlp, which extracts the video of a page, is not installed".to_owned()
        } else {
            format!("yt-dlp cannot be started: {e}")
        };
        ConnectError::new(problem, "install it (pipx install yt-dlp), or give the URL of the video itself")
    })?;
    let found = String::from_utf8_lossy(&output.stdout).lines().find(|line| line.contains("://")).map(str::to_owned);
    let Some(url) = found.filter(|_| output.status.success()) else {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or("no message");
        return Err(ConnectError::new(
            format!("yt-dlp found no video: {}", crate::secrets::redact(last)),
            "check that the page has a video, and that yt-dlp is up to date",
        ));
    };
    Ok(address.found_at(Kind::Http, &url))
}

/// Runs a program to its end, for `within` at most, or until `shutdown` is requested.
fn output(command: &mut Command, within: Duration, shutdown: &Shutdown) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let child = Arc::new(Mutex::new(child));
    let killed = child.clone();
    // One that has ended by itself cannot be killed, and need not be.
    let _kill = shutdown.on_request(move || drop(lock(&killed).kill()));
    let (late, (ended, has_ended)) = (child.clone(), bounded::<()>(0));
    let deadline = move || {
        if has_ended.recv_timeout(within) == Err(RecvTimeoutError::Timeout) {
            drop(lock(&late).kill());
        }
    };
    spawn("deadline", deadline).map_err(std::io::Error::other)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    // What it reports fits into a pipe (64 KiB), so it does not wait for the second to be read.
    out.map(|mut out| out.read_to_end(&mut stdout)).transpose()?;
    err.map(|mut err| err.read_to_end(&mut stderr)).transpose()?;
    let status = lock(&child).wait()?;
    drop(ended);
    Ok(Output { status, stdout, stderr })
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

fn camera(address: &Address) -> Result<Address, ConnectError> {
    let cameras = cameras();
    let number: usize = address.location().parse().unwrap_or(usize::MAX);
    let Some(camera) = cameras.get(number) else {
        let problem = match cameras.len() {
            0 => "no camera found".to_owned(),
            n => format!("cameras are numbered 0 to {}", n - 1),
        };
        let remedy = "connect it and check its permissions (group video); `streamdet doctor --cameras` lists cameras";
        return Err(ConnectError::new(problem, remedy));
    };
    let node = camera.node.as_deref().ok_or_else(|| {
        let problem = format!("{} has no /dev/videoN", camera.name);
        ConnectError::new(problem, "describe its elements in a file given with --pipeline, and give pipeline:NAME")
    })?;
    Ok(address.found_at(Kind::Device, node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_output_is_read_and_a_stop_ends_it() {
        let shutdown = Shutdown::new();
        let said = output(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), PATIENCE, &shutdown)
            .expect("it starts");
        assert_eq!((said.stdout.as_slice(), said.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(said.status.code(), Some(3));
        let late = output(Command::new("sleep").arg("600"), Duration::from_millis(10), &shutdown).expect("it starts");
        assert!(!late.status.success());
        shutdown.request();
        let killed = output(Command::new("sleep").arg("600"), PATIENCE, &shutdown).expect("it starts");
        assert!(!killed.status.success());
    }
}
