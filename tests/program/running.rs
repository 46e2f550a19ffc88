//! The program in the background, and what it prints.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use streamdet::clock::Deadline;
use streamdet::thread;

use super::events::{PATIENCE, readable};

/// A child whose standard error is read; killed when dropped.
pub struct Running {
    child: Child,
    log: Arc<Mutex<String>>,
    /// Something was printed; disconnected when nothing more will be.
    printed: Receiver<()>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let log = Arc::<Mutex<String>>::default();
        let kept = log.clone();
        let (told, printed) = bounded(1);
        let read = move || {
            let mut line = Vec::new();
            while stderr.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                kept.lock().expect("the log").push_str(&String::from_utf8_lossy(&line));
                line.clear();
                // Full: the reader will look anyway.
                let _ = told.try_send(());
            }
        };
        // It ends with the child's standard error.
        drop(thread::spawn("log", read).expect("a thread"));
        Self { child, log, printed }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// What `found` makes of all that was printed, once it makes something of it.
    #[track_caller]
    fn once<T>(&self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Deadline::after(PATIENCE);
        loop {
            if let Some(found) = found(&self.log.lock().expect("the log")) {
                return found;
            }
            let more = self.printed.recv_timeout(deadline.left());
            // What came last may have come between the two lines above.
            if more.is_err() {
                let said = self.said();
                return found(&said).unwrap_or_else(|| panic!("{what}: it ended, or {PATIENCE:?} are over: {said}"));
            }
        }
    }

    /// Waits until it has said `words` so many times.
    #[track_caller]
    pub fn wait_for(&self, words: &str, times: usize) {
        self.once(&format!("{words}, {times} times"), |said| (said.matches(words).count() >= times).then_some(()));
    }

    /// The rest of the first line with `words`, once it is there.
    #[track_caller]
    pub fn rest_after(&self, words: &str) -> String {
        self.once(words, |said| {
            let whole = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            whole.filter_map(|line| line.trim_end().split_once(words)).map(|(_, rest)| rest.to_owned()).next()
        })
    }

    #[track_caller]
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().expect("kill").success());
    }

    /// Its end, if that comes within `time`, with all that it said read.
    pub fn ends_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Deadline::after(time);
        let process = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).expect("a child");
        if !readable(&process, deadline.left()) {
            return None;
        }
        let status = self.child.wait().expect("its end");
        while self.printed.recv_timeout(deadline.left()).is_ok() {}
        Some(status)
    }

    /// Its exit code, once it has ended by itself.
    #[track_caller]
    pub fn ended(&mut self) -> Option<i32> {
        self.ends_within(PATIENCE).unwrap_or_else(|| panic!("it does not end: {}", self.said())).code()
    }

    /// Interrupts it as Ctrl-C does; its exit code and what it said.
    #[track_caller]
    pub fn interrupt(mut self) -> (Option<i32>, String) {
        self.signal("INT");
        (self.ended(), self.said())
    }

    /// What it said, once it has ended by itself and well.
    #[track_caller]
    pub fn succeeds(&mut self) -> String {
        let code = self.ended();
        assert_eq!(code, Some(0), "{}", self.said());
        self.said()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whether it ran at all: who is killed by a signal says nothing.
            let status = self.child.try_wait().expect("a child").map_or("running".into(), |status| status.to_string());
            eprintln!("{} ({status}); what it said: {}", self.id(), self.said());
        }
        // It may have ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
