//! The user's own folders, as the XDG Base Directory Specification has them.

use std::path::PathBuf;

/// `${XDG_DATA_HOME:-~/.local/share}/streamdet`: ONNX Runtime and models that were fetched.
#[must_use]
pub fn data() -> Option<PathBuf> {
    under("XDG_DATA_HOME", ".local/share")
}

/// `${XDG_CACHE_HOME:-~/.cache}/streamdet`: compiled models, which are made again where they are gone.
#[must_use]
pub fn cache() -> Option<PathBuf> {
    under("XDG_CACHE_HOME", ".cache")
}

/// `${XDG_STATE_HOME:-~/.local/state}/streamdet`: what is to outlast a restart.
#[must_use]
pub fn state() -> Option<PathBuf> {
    under("XDG_STATE_HOME", ".local/state")
}

/// A path with `~` for the home folder.
#[must_use]
pub fn short(path: &std::path::Path) -> String {
    match set("HOME").and_then(|home| path.strip_prefix(home).ok().map(ToOwned::to_owned)) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

fn under(variable: &str, in_home: &str) -> Option<PathBuf> {
    // The specification: what is no absolute path is ignored.
    let base = set(variable).filter(|folder| folder.is_absolute());
    let base = base.or_else(|| set("HOME").map(|home| home.join(in_home)))?;
    Some(base.join("streamdet"))
}

fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
