//! The terminal while the dashboard holds it: alternate screen, raw keys, and standard error captured into the log.
//! It is restored however the program ends: by its end, a panic or a second signal.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::log::Log;
use crate::clock::{self, Deadline};
use crate::thread::{self, Thread, ThreadError};

/// Alternate screen, cursor hidden.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
/// Plain style, cursor shown, alternate screen left.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";
/// Longest line that is taken from standard error in one piece, bytes.
const LONGEST: usize = 8 << 10;
/// How long a panic waits while the dashboard is being drawn.
const DRAWN_WITHIN: Duration = Duration::from_millis(200);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(1);
/// The dashboard's thread: it cannot wait for itself.
pub(super) const THREAD: &str = "dashboard";

/// Whether the dashboard has the terminal.
static HELD: AtomicBool = AtomicBool::new(false);
/// Whether it is being drawn on.
static DRAWING: AtomicBool = AtomicBool::new(false);
/// The terminal's descriptor while it is held; it stays open until the program ends.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);
/// How the terminal was.
static BEFORE: OnceLock<Termios> = OnceLock::new();
static HOOK: Once = Once::new();

/// What the dashboard is drawn through.
pub(super) type Canvas = ratatui::Terminal<CrosstermBackend<BufWriter<File>>>;

/// Why there can be no dashboard here; `None` where there can be. `to_stdout`: whether data goes to standard output.
pub(crate) fn unsuitable(to_stdout: bool) -> Option<&'static str> {
    if !io::stderr().is_terminal() {
        Some("--tui needs a terminal on standard error")
    } else if File::options().read(true).write(true).open("/dev/tty").is_err() {
        Some("--tui needs a terminal for its keys")
    } else if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        Some("--tui needs a terminal that can place text (TERM says that this one cannot)")
    } else if to_stdout && io::stdout().is_terminal() {
        Some("--tui cannot share the terminal with what goes to standard output")
    } else {
        None
    }
}

/// Whether a terminal has keys.
pub(super) enum Keys {
    /// Some were pressed.
    Some,
    /// None were.
    None,
    /// It was closed, or cannot be read.
    Gone,
}

/// The terminal, held until it is left or dropped.
pub(super) struct Held {
    capture: Capture,
    /// Where keys come from: the terminal that crossterm reads, too.
    keys: File,
}

/// Takes the terminal; what is written to standard error goes to `log` from now on.
pub(super) fn take(log: &Arc<Log>) -> io::Result<(Held, Canvas)> {
    let terminal = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let before = tcgetattr(&terminal)?;
    // Set by an earlier dashboard, it is the same terminal's.
    let _ = BEFORE.set(before.clone());
    // The descriptor that is used from a signal handler stays open whatever happens to the others.
    let kept = std::os::fd::IntoRawFd::into_raw_fd(terminal.try_clone()?);
    DESCRIPTOR.store(kept, Ordering::SeqCst);
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // One that becomes an error ends its stream, not the dashboard.
            if !thread::is_caught() {
                give_back_after_drawing();
            }
            before(panic);
        }));
    });
    let stdin = io::stdin();
    let keys = if stdin.is_terminal() {
        File::from(stdin.as_fd().try_clone_to_owned()?)
    } else {
        File::options().read(true).write(true).open("/dev/tty")?
    };
    let capture = Capture::start(log)?;
    let mut raw = before;
    raw.make_raw();
    HELD.store(true, Ordering::SeqCst);
    let entered = tcsetattr(&terminal, OptionalActions::Now, &raw).map_err(io::Error::from);
    let entered = entered.and_then(|()| (&terminal).write_all(ENTER));
    let held = Held { capture, keys };
    entered?;
    let screen = ratatui::Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(1 << 15, terminal)))?;
    Ok((held, screen))
}

/// Whether the dashboard still has the terminal.
pub(super) fn is_held() -> bool {
    HELD.load(Ordering::SeqCst)
}

/// Draws, unless the terminal was given back meanwhile; whether it was not.
pub(super) fn draw(screen: &mut Canvas, scene: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<bool> {
    DRAWING.store(true, Ordering::SeqCst);
    let drawn = if is_held() { screen.draw(scene).map(|_| true) } else { Ok(false) };
    DRAWING.store(false, Ordering::SeqCst);
    drawn
}

/// Gives the terminal back as it was, if it is held. May be called from a signal handler: it only reads and writes atomics,
/// and makes system calls.
pub fn give_back() {
    if !HELD.swap(false, Ordering::SeqCst) {
        return;
    }
    let descriptor = DESCRIPTOR.load(Ordering::SeqCst);
    // SAFETY: the descriptor was taken out of a `File` for good and is never closed.
    let terminal = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let mut left = LEAVE;
    while let Ok(written @ 1..) = rustix::io::write(terminal, left) {
        left = &left[written..];
    }
    if let Some(before) = BEFORE.get() {
        // In a signal handler there is nothing to be done about an error.
        let _ = tcsetattr(terminal, OptionalActions::Now, before);
    }
    // The same.
    let _ = rustix::stdio::dup2_stderr(terminal);
}

/// The same, once nothing is drawn any more.
fn give_back_after_drawing() {
    let deadline = Deadline::after(DRAWN_WITHIN);
    let own = std::thread::current().name() == Some(THREAD);
    while !own && DRAWING.load(Ordering::SeqCst) && !deadline.is_over() {
        // A hook of a panic waits for no lock: what the panicking thread holds is not known.
        clock::process().sleep(LOOK);
    }
    give_back();
}

impl Held {
    /// Waits for keys, for so long. A terminal that was closed is always ready to be read, and crossterm reads it without end.
    pub fn keys(&self, within: Duration) -> Keys {
        let mut ready = [PollFd::new(&self.keys, PollFlags::IN)];
        match poll(&mut ready, Timespec::try_from(within).ok().as_ref()) {
            Ok(0) | Err(Errno::INTR) => Keys::None,
            Ok(_) if ready[0].revents() == PollFlags::IN => Keys::Some,
            Ok(_) | Err(_) => Keys::Gone,
        }
    }

    /// Gives the terminal back; what came on standard error until now is in the log.
    ///
    /// # Errors
    /// When the thread that read standard error panicked.
    pub fn leave(mut self) -> Result<(), ThreadError> {
        give_back();
        self.capture.stop()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        give_back();
        // The panic has been printed by its hook.
        let _ = self.capture.stop();
    }
}

/// Standard error, read by a thread of its own.
struct Capture {
    /// Its end wakes the thread.
    alive: Option<UnixStream>,
    thread: Option<Thread<()>>,
}

impl Capture {
    fn start(log: &Arc<Log>) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        let (alive, end) = UnixStream::pair()?;
        let log = log.clone();
        let body = move || read_lines(reader, &end, &log);
        let thread = thread::spawn("stderr", body).map_err(io::Error::other)?;
        rustix::stdio::dup2_stderr(&writer)?;
        Ok(Self { alive: Some(alive), thread: Some(thread) })
    }

    fn stop(&mut self) -> Result<(), ThreadError> {
        drop(self.alive.take());
        self.thread.take().map_or(Ok(()), Thread::join)
    }
}

/// Puts what comes through `pipe` into the log, line by line, until the other side of `end` is closed.
fn read_lines(mut pipe: io::PipeReader, end: &UnixStream, log: &Log) {
    let (mut line, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        thread::test_panic_point();
        let mut ready = [PollFd::new(&pipe, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
        let ended = !ready[1].revents().is_empty();
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => return say(&mut line, log),
                Ok(read) => {
                    for &byte in &chunk[..read] {
                        if byte == b'\n' || line.len() == LONGEST {
                            say(&mut line, log);
                        }
                        if byte != b'\n' {
                            line.push(byte);
                        }
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if ended {
            break;
        }
    }
    say(&mut line, log);
}

fn say(line: &mut Vec<u8>, log: &Log) {
    if !line.is_empty() {
        let text = String::from_utf8_lossy(line).into_owned();
        log.line(&console::strip_ansi_codes(&text));
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_error_is_read_line_by_line_to_its_end() {
        let log = Arc::<Log>::default();
        let (reader, mut writer) = io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&reader, true).expect("it does not block");
        let (alive, end) = UnixStream::pair().expect("two sockets");
        let thread = {
            let log = log.clone();
            thread::spawn("reader", move || read_lines(reader, &end, &log))
        };
        let long = "x".repeat(LONGEST + 10);
        write!(writer, "one\n\x1b[31mtwo\x1b[0m\n{long}\nlast").expect("it is read");
        drop(alive);
        thread.expect("a thread").join().expect("it ends");
        let lines = log.newest(9);
        assert_eq!((lines[0].as_str(), lines[1].as_str(), lines[4].as_str()), ("one", "two", "last"));
        assert_eq!(lines.len(), 5, "a long line comes in pieces");
    }

    /// Set where `panics_on_a_dashboard` has a terminal of its own.
    const OWN: &str = "STREAMDET_TEST_OWN_TERMINAL";

    /// A dashboard whose program panics: what the test after this one runs, in a terminal, and nothing elsewhere.
    #[test]
    fn panics_on_a_dashboard() {
        if std::env::var_os(OWN).is_none() {
            return;
        }
        let (held, mut screen) = take(&Arc::default()).expect("a terminal");
        draw(&mut screen, |frame| frame.render_widget("DASHBOARD", frame.area())).expect("it draws");
        let ended = std::thread::scope(|scope| scope.spawn(|| panic!("the worker's last words")).join());
        assert!(ended.map(|(): ()| ()).is_err());
        assert!(!draw(&mut screen, |frame| frame.render_widget("TOO LATE", frame.area())).expect("nothing happens"));
        assert!(held.leave().is_ok());
    }

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = std::env::current_exe().expect("this program");
        let child = "ui::dashboard::terminal::tests::panics_on_a_dashboard";
        let seen = folder.path().join("stty");
        let script = format!(
            "echo BEFORE; {OWN}=1 '{}' --exact {child} --nocapture; stty -a > '{}'; tmux wait-for -S done; cat",
            program.display(),
            seen.display()
        );
        let socket = folder.path().join("tmux");
        let tmux = |args: &[&str]| {
            let output =
                std::process::Command::new("tmux").args(["-f", "/dev/null", "-S"]).arg(&socket).args(args).output();
            String::from_utf8_lossy(&output.expect("tmux is installed").stdout).into_owned()
        };
        tmux(&["new-session", "-d", "-x", "80", "-y", "40", &script]);
        tmux(&["wait-for", "done"]);
        let (screen, flags) =
            (tmux(&["capture-pane", "-p"]), tmux(&["display", "-p", "#{alternate_on} #{cursor_flag}"]));
        tmux(&["kill-server"]);
        assert_eq!(flags.trim(), "0 1", "the main screen, with its cursor:\n{screen}");
        assert!(screen.contains("BEFORE") && screen.contains("the worker's last words"), "{screen}");
        assert!(!screen.contains("DASHBOARD") && !screen.contains("TOO LATE"), "{screen}");
        let stty = std::fs::read_to_string(seen).expect("what the terminal is like");
        for on in ["icanon", "echo", "isig", "opost"] {
            assert!(stty.split_whitespace().any(|word| word == on), "{on} in {stty}");
        }
    }
}
