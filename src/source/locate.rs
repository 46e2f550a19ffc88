//! Looks up addresses that name no stream themselves: a page with a video, a numbered camera.

use std::process::Command;

use super::address::{Address, Kind};
use super::cameras::cameras;
use super::error::ConnectError;

/// The address that is read: the same, unless it must be looked up first.
pub(super) fn locate(address: &Address) -> Result<Address, ConnectError> {
    match address.kind {
        Kind::Page => video_of(address),
        Kind::Camera => camera(address),
        _ => Ok(address.clone()),
    }
}

fn video_of(address: &Address) -> Result<Address, ConnectError> {
    let mut command = Command::new("yt-dlp");
    command.args(["--no-playlist", "--get-url", "--format", "best[ext=mp4]/best", "--", address.location()]);
    let output = command.output().map_err(|e| {
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
