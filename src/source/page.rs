//! Where the video of a page, or a numbered camera, is to be found.

use std::process::Command;

use super::address::{Address, Kind};
use super::cameras::cameras;
use super::refusal::Refusal;

/// The address that is read: the same, unless it must be looked up first.
pub(super) fn find(address: &Address) -> Result<Address, Refusal> {
    match address.kind {
        Kind::Page => video_of(address),
        Kind::Camera => camera(address),
        _ => Ok(address.clone()),
    }
}

fn video_of(address: &Address) -> Result<Address, Refusal> {
    let mut command = Command::new("yt-dlp");
    command.args(["--no-playlist", "--get-url", "--format", "best[ext=mp4]/best", "--", address.location()]);
    let output = command.output().map_err(|e| {
        let problem = if e.kind() == std::io::ErrorKind::NotFound {
            "yt-dlp, which finds the video of a page, is not installed".to_owned()
        } else {
            format!("yt-dlp does not start: {e}")
        };
        Refusal::new(problem, "install it (pipx install yt-dlp), or give the address of the video itself")
    })?;
    let found = String::from_utf8_lossy(&output.stdout).lines().find(|line| line.contains("://")).map(str::to_owned);
    let Some(url) = found.filter(|_| output.status.success()) else {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or("it says nothing");
        return Err(Refusal::new(
            format!("yt-dlp finds no video there: {}", crate::secrets::redact(last)),
            "check that the page shows a video, and that yt-dlp is not too old",
        ));
    };
    Ok(address.found_at(Kind::Http, &url))
}

fn camera(address: &Address) -> Result<Address, Refusal> {
    let cameras = cameras();
    let number: usize = address.location().parse().unwrap_or(usize::MAX);
    let Some(camera) = cameras.get(number) else {
        let seen = match cameras.len() {
            0 => "no camera is seen here".to_owned(),
            n => format!("cameras are numbered 0 to {}", n - 1),
        };
        let remedy = "connect it, and see that you may read it (group video); `streamdet doctor --cameras` lists them";
        return Err(Refusal::new(seen, remedy));
    };
    let node = camera.node.as_deref().ok_or_else(|| {
        let problem = format!("{} has no /dev/videoN", camera.name);
        Refusal::new(problem, "describe how it is read in a file given with --pipeline, and give pipeline:NAME")
    })?;
    Ok(address.found_at(Kind::Device, node))
}
