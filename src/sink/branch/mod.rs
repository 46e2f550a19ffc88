//! Branches: everywhere that the encoded frames of a stream go.

mod file;
mod hls;
mod live;
mod open_file;
mod push;
mod serve;
mod timescale;
mod tracks;

use std::sync::Arc;

pub use hls::{PLAYLIST, check_playlist};

use super::error::SinkError;
use super::output::{Branch, BranchContext};
use super::target::Target;

/// Opens a branch for `target`; `None` for what shows frames that are not encoded.
pub(super) fn open(target: &Target, context: &BranchContext) -> Result<Option<Box<dyn Branch>>, SinkError> {
    Ok(match target {
        Target::File(file) => Some(Box::new(file::FileBranch::open(file, context)?)),
        Target::Hls { folder, segment, live } => {
            Some(Box::new(file::FileBranch::open_hls(folder, *segment, *live, context)?))
        }
        Target::Serve { server, mount } => Some(Box::new(serve::Mount::open(Arc::clone(server), mount, context))),
        Target::Push(url) => Some(Box::new(push::Push::open(url, context)?)),
        Target::Display => None,
    })
}
