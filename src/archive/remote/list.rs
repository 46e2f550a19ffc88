//! Names of all objects below a prefix.

use std::path::{Path, PathBuf};

use crossbeam_channel::bounded;

use super::client::Clients;
use super::error::RemoteError;
use super::location::Location;
use crate::shutdown::Shutdown;
use crate::thread::{Thread, ThreadError, spawn};

/// Names that are listed before the first of them is taken.
const AHEAD: usize = 1000;

/// What of a prefix is not listed.
#[derive(Debug, thiserror::Error)]
pub enum Unlisted {
    /// One object.
    #[error("{0}: a name with an empty part, `.` or `..` cannot be asked for\n  copy the object to another name")]
    Name(String),
    /// What would come next.
    #[error("{prefix}: not all that is below it is known: {problem}")]
    Rest {
        /// The prefix.
        prefix: String,
        /// Why.
        problem: RemoteError,
    },
    /// What lists them.
    #[error(transparent)]
    Thread(#[from] ThreadError),
}

/// The objects below `prefix` that are wanted, as they are listed.
pub fn below(prefix: Location, is_wanted: fn(&Path) -> bool) -> impl Iterator<Item = Result<PathBuf, Unlisted>> {
    let (told, names) = bounded(AHEAD);
    // Who takes them runs a runtime of its own.
    let thread = spawn("listing", move || {
        let named = |name: Result<Location, Location>| match name {
            Ok(name) if is_wanted(Path::new(&name.key)) => told.send(Ok(name.to_string().into())).is_ok(),
            Ok(_) => true,
            Err(name) => told.send(Err(Unlisted::Name(name.to_string()))).is_ok(),
        };
        let listed = Clients::new(&Shutdown::new()).and_then(|clients| clients.list(&prefix, named));
        if let Err(problem) = listed {
            // Who takes no more hears no more.
            let _ = told.send(Err(Unlisted::Rest { prefix: prefix.to_string(), problem }));
        }
    });
    let mut thread = Some(thread);
    let end = std::iter::from_fn(move || thread.take()?.and_then(Thread::join).err().map(|e| Err(e.into())));
    names.into_iter().chain(end)
}
