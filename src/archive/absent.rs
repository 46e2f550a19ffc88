//! Files that a machine does not reach: left to others, until it is plain that it is the machine, or the file.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use super::Outcome;
use super::item::Failure;
use super::remote::RemoteError;
use crate::text::in_one_line;

/// How often a file is taken by machines that lack its folder before it fails.
const ELSEWHERE: u64 = 5;
/// How many such files in a row, or such whose store does not answer, are one too many.
const IN_A_ROW: u32 = 3;
/// How long such a file is left to others; where it is a store, twice as long each time.
const MISSING: Duration = Duration::from_secs(2);
/// How long a file is left alone that another worker is at.
pub const BUSY: Duration = Duration::from_secs(10);

/// What a worker did not reach of late.
#[derive(Debug)]
pub struct Absent {
    attempts: u64,
    in_a_row: Cell<u32>,
}

impl Absent {
    /// Of files that may be taken so often.
    #[must_use]
    pub fn new(attempts: u64) -> Self {
        Self { attempts, in_a_row: Cell::new(0) }
    }

    /// A file was reached.
    pub fn reached(&self) {
        self.in_a_row.set(0);
    }

    /// Whether it is the machine.
    fn is_machine(&self) -> bool {
        self.in_a_row.set(self.in_a_row.get() + 1);
        self.in_a_row.get() >= IN_A_ROW
    }

    /// The folder of a file that was `taken` so often is not there. It may be another machine's, of which some are given the time to take it;
    /// else it was deleted.
    ///
    /// # Errors
    /// When it is the machine.
    pub fn folder(&self, folder: &Path, taken: Option<u64>) -> Result<Outcome, String> {
        let problem = format!("{}: no such folder on this machine", folder.display());
        let is_machine = self.is_machine();
        if taken.is_none_or(|taken| taken > ELSEWHERE) {
            return Ok(failed(2, problem));
        }
        if is_machine {
            return Err(format!("{problem}, {IN_A_ROW} times in a row\n  is its file system mounted?"));
        }
        Ok(Outcome::Left(MISSING))
    }

    /// A file was not fetched, or its outputs were not sent; `say` hears why it is given back.
    ///
    /// # Errors
    /// When it is the machine.
    pub fn store(&self, error: &RemoteError, taken: Option<u64>, say: impl FnOnce(&str)) -> Result<Outcome, String> {
        let problem = error.to_string();
        match error {
            error if error.is_of_the_file() => {
                // It was asked, and answered.
                self.reached();
                return Ok(failed(2, problem));
            }
            error if error.is_busy() => return Ok(Outcome::Left(BUSY)),
            RemoteError::Stopped => return Ok(Outcome::Left(Duration::ZERO)),
            RemoteError::Away(_) | RemoteError::Settings(_) => {}
            _ => return Err(problem),
        }
        if self.is_machine() {
            return Err(format!("{IN_A_ROW} files in a row: {problem}"));
        }
        match taken.filter(|taken| *taken < self.attempts) {
            Some(taken) => {
                say(&format!("{}; given back", in_one_line(&problem)));
                Ok(Outcome::Left(MISSING * (1 << taken.min(7))))
            }
            None => Ok(failed(1, problem)),
        }
    }
}

fn failed(exit_code: u8, message: String) -> Outcome {
    Outcome::Failed(Failure { exit_code, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_are_the_machine_and_one_too_often_is_the_file() {
        let absent = Absent::new(10);
        let away = || RemoteError::Away("connection refused".into());
        let store = |taken: Option<u64>| absent.store(&away(), taken, |_| {});
        assert_eq!(store(Some(1)), Ok(Outcome::Left(Duration::from_secs(4))));
        assert_eq!(store(Some(9)), Ok(Outcome::Left(Duration::from_secs(256))));
        assert!(store(Some(1)).is_err());
        absent.reached();
        assert!(matches!(store(Some(10)), Ok(Outcome::Failed(_))));
        assert!(matches!(store(None), Ok(Outcome::Failed(_))));
        assert!(store(None).is_err(), "of a list as well");
        absent.reached();
        let folder = |taken: u64| absent.folder(Path::new("/a"), Some(taken));
        assert_eq!(folder(5), Ok(Outcome::Left(MISSING)));
        assert!(matches!(folder(6), Ok(Outcome::Failed(_))));
        assert!(folder(1).is_err());
        let missing = absent.store(&RemoteError::Missing("404".into()), Some(1), |_| {});
        assert!(matches!(missing, Ok(Outcome::Failed(Failure { exit_code: 2, .. }))));
    }
}
