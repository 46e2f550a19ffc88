//! A worker: takes a file, has it worked on, says what came of it, and takes the next.

use std::time::Duration;

use super::Outcome;
use super::item::{Failure, Item};
use super::keeper::Keeper;
use super::queue::{Figures, QueueError};
use crate::clock::Deadline;
use crate::shutdown::Shutdown;
use crate::text::{counted, grouped, in_one_line};

/// Between two lines that say how far all workers are.
pub const SAID: Duration = Duration::from_secs(10);
/// Between two attempts to reach a server that is away.
const AGAIN: Duration = Duration::from_secs(1);

/// What a worker has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files whose outputs it wrote.
    pub done: u64,
    /// Files whose outputs were there.
    pub there: u64,
    /// Files that cannot be done.
    pub failed: u64,
    /// Files that are left to others: given back, or taken by another one since.
    pub left: u64,
}

impl Tally {
    /// Counts what came of a file.
    pub fn count(&mut self, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Done => &mut self.done,
            Outcome::There => &mut self.there,
            Outcome::Failed(_) => &mut self.failed,
            Outcome::Left(_) => &mut self.left,
        };
        *count += 1;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { done, there, failed, left } = *self;
        write!(f, "{} done", counted(done, "file"))?;
        append(f, [(there, "there already"), (failed, "failed"), (left, "left to others")])
    }
}

/// Appends what there is some of.
fn append(f: &mut std::fmt::Formatter<'_>, counts: [(u64, &str); 3]) -> std::fmt::Result {
    counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .try_for_each(|(count, what)| write!(f, " · {} {what}", grouped(*count)))
}

/// How far all workers are.
impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { waiting, running, done, failed } = *self;
        let all = waiting + running + done + failed;
        write!(f, "{} of {} done", grouped(done), counted(all, "file"))?;
        append(f, [(running, "running"), (waiting, "waiting"), (failed, "failed")])
    }
}

/// Works until it is told to stop, or, with `until_empty`, until no file waits and none is worked on. `job` does the work, and hears how often the
/// file was taken; `say` prints a line. Says what was done, and what ended it but for that: the connection's thread, or what keeps this machine from
/// working at all.
pub fn work<E: From<QueueError>>(
    keeper: &Keeper,
    until_empty: bool,
    job: &mut dyn FnMut(&Item, u64) -> Result<Outcome, E>,
    say: &dyn Fn(&str),
    shutdown: &Shutdown,
) -> (Tally, Option<E>) {
    let (mut tally, mut next) = (Tally::default(), Deadline::after(SAID));
    let (mut is_away, mut is_idle) = (false, false);
    while !shutdown.is_requested() {
        let taken = match keeper.take() {
            Ok(taken) => taken,
            Err(QueueError::Ended) => return (tally, Some(QueueError::Ended.into())),
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    say(&format!("{}; trying again", in_one_line(&error.to_string())));
                }
                let _ = shutdown.wait(AGAIN);
                continue;
            }
        };
        if std::mem::take(&mut is_away) {
            say("the queue is there again");
        }
        let Some((item, delivered)) = taken else {
            if !until_empty && !std::mem::replace(&mut is_idle, true) {
                say("no file waits; waiting for some");
            }
            if until_empty && keeper.figures().is_ok_and(|figures| figures.waiting + figures.running == 0) {
                break;
            }
            continue;
        };
        is_idle = false;
        let name = item.as_ref().map_or("(no file)".into(), Item::shown);
        let outcome = match item {
            None => {
                Ok(Outcome::Failed(Failure { exit_code: 2, message: "this is no file of `streamdet work add`".into() }))
            }
            Some(item) => job(&item, delivered),
        };
        // What keeps this machine from it need not keep another one.
        let (outcome, broken) = match outcome {
            Ok(outcome) => (outcome, None),
            Err(broken) => (Outcome::Left(Duration::ZERO), Some(broken)),
        };
        if let Outcome::Failed(failure) = &outcome {
            say(&format!("{name}: {}", in_one_line(&failure.message)));
        }
        match keeper.settle(outcome.clone()) {
            Ok(true) => tally.count(&outcome),
            Ok(false) => tally.count(&Outcome::Left(Duration::ZERO)),
            Err(QueueError::Ended) => return (tally, Some(broken.unwrap_or_else(|| QueueError::Ended.into()))),
            Err(error) => say(&format!("{name}: {}; another worker takes it again", in_one_line(&error.to_string()))),
        }
        if let Some(broken) = broken {
            return (tally, Some(broken));
        }
        if next.is_over() {
            next = Deadline::after(SAID);
            if let Ok(figures) = keeper.figures() {
                say(&figures.to_string());
            }
        }
    }
    (tally, None)
}
