//! Waiting for what must come: an event where the system tells of one, with a deadline in any case.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use streamdet::clock::{self, Deadline};

/// How long anything is waited for that must come.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Whether there is something to read within `time`.
pub fn readable(what: &impl AsFd, time: Duration) -> bool {
    let mut watched = [PollFd::new(what, PollFlags::IN)];
    let deadline = Deadline::after(time);
    loop {
        let left = Timespec::try_from(deadline.left()).expect("minutes");
        match poll(&mut watched, Some(&left)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => panic!("poll: {e}"),
        }
    }
}

/// Waits until the file holds what it should: the system tells of every change in its folder, which is there.
#[track_caller]
pub fn file(path: &Path, as_it_should_be: impl Fn(&[u8]) -> bool) {
    let folder = path.parent().expect("it lies in a folder");
    let changes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).expect("inotify");
    let kinds = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVED_TO;
    inotify::add_watch(&changes, folder, kinds).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let deadline = Deadline::after(PATIENCE);
    while !std::fs::read(path).is_ok_and(|bytes| as_it_should_be(&bytes)) {
        assert!(readable(&changes, deadline.left()), "{} is not as it should be in {PATIENCE:?}", path.display());
        // All that have come so far: one look answers them.
        while rustix::io::read(&changes, &mut [0; 4096]).is_ok() {}
    }
}

/// Waits for a state that nothing tells of: another program's socket, what is on a screen. Nothing depends on how long the
/// pause between two looks is.
#[track_caller]
pub fn state<T>(what: impl FnOnce() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(PATIENCE);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(!deadline.is_over(), "not within {PATIENCE:?}: {}", what());
        clock::process().sleep(Duration::from_millis(20));
    }
}
