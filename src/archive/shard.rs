//! Which files of a list are this machine's.

use std::str::FromStr;

/// Share `index` of `of`, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which; `None`: the scheduler says.
    pub index: Option<u32>,
    /// Of how many.
    pub of: u32,
}

/// Why it is not known which files are this machine's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// No scheduler says which.
    #[error(
        "--shard {0}: nothing says which of them this is\n  give --shard I/{0}, or run it as an Indexed Job (JOB_COMPLETION_INDEX) or an \
         array job (SLURM_ARRAY_TASK_ID)"
    )]
    NoIndex(u32),
    /// The scheduler says which, and not of how many.
    #[error(
        "the scheduler says which share this is, and not of how many\n  give --shard N, the number of tasks or the Job's completions"
    )]
    NoCount,
    /// There are not so many.
    #[error("share {index} of {of}: they are counted from 0 to {last}\n  give a smaller one, or more shares", last = .of.saturating_sub(1))]
    Beyond {
        /// Which.
        index: u32,
        /// Of how many.
        of: u32,
    },
    /// A variable is no number.
    #[error("{0}={1:?} is no number\n  unset it, or give --shard I/N")]
    Variable(&'static str, String),
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "give I/N, as 0/4, or N where a scheduler says which".to_owned();
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let (index, of) = match text.split_once('/') {
            Some((index, of)) => (Some(number(index)?), number(of)?),
            None => (None, number(text)?),
        };
        if of == 0 {
            return Err(wrong());
        }
        if index.is_some_and(|index| index >= of) {
            return Err(format!("shares are counted from 0: the last of {of} is {}/{of}", of - 1));
        }
        Ok(Self { index, of })
    }
}

impl Shard {
    /// What was asked for, completed by what the scheduler says in the environment; everything, where neither says anything.
    ///
    /// # Errors
    /// When one of the two numbers is not said, or they do not fit.
    pub fn resolve(asked: Option<Self>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ShardError> {
        if let Some(whole @ Self { index: Some(_), .. }) = asked {
            return Ok(whole);
        }
        let number = |name: &'static str| {
            let value = variable(name).filter(|value| !value.is_empty());
            value.map(|value| value.parse::<u32>().map_err(|_| ShardError::Variable(name, value))).transpose()
        };
        // Slurm counts from wherever the user does, in steps.
        let slurm = match number("SLURM_ARRAY_TASK_ID")? {
            Some(id) => {
                let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
                let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
                Some((id.saturating_sub(first) / step, number("SLURM_ARRAY_TASK_COUNT")?))
            }
            None => None,
        };
        let said = match number("JOB_COMPLETION_INDEX")? {
            Some(index) => Some((index, None)),
            None => slurm,
        };
        let (index, of) = match (said, asked) {
            (None, None) => return Ok(Self::ALL),
            (None, Some(asked)) => return Err(ShardError::NoIndex(asked.of)),
            (Some((_, None)), None) => return Err(ShardError::NoCount),
            (Some((index, count)), asked) => (index, asked.map_or_else(|| count.unwrap_or(1), |asked| asked.of)),
        };
        if index >= of {
            return Err(ShardError::Beyond { index, of });
        }
        Ok(Self { index: Some(index), of })
    }

    const ALL: Self = Self { index: Some(0), of: 1 };

    /// Whether the file at `line` of the list, from 0, is this machine's.
    #[must_use]
    pub fn has(&self, line: usize) -> bool {
        line % self.of as usize == self.index.unwrap_or(0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_or_the_schedulers() {
        let resolved = |asked: Option<&str>, set: &[(&str, &str)]| {
            let asked = asked.map(|text| text.parse().expect("a share"));
            let variable = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            Shard::resolve(asked, &variable)
        };
        let share = |index, of| Ok(Shard { index: Some(index), of });
        let slurm = [
            ("SLURM_ARRAY_TASK_ID", "7"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
        ];
        assert_eq!(resolved(None, &[]), share(0, 1));
        assert_eq!(resolved(Some("1/3"), &slurm), share(1, 3));
        assert_eq!(resolved(None, &slurm), share(3, 4));
        assert_eq!(resolved(Some("5"), &[("JOB_COMPLETION_INDEX", "4")]), share(4, 5));
        assert_eq!(resolved(None, &[("JOB_COMPLETION_INDEX", "4")]), Err(ShardError::NoCount));
        assert_eq!(resolved(Some("5"), &[]), Err(ShardError::NoIndex(5)));
        assert_eq!(resolved(Some("4"), &[("JOB_COMPLETION_INDEX", "4")]), Err(ShardError::Beyond { index: 4, of: 4 }));
        let wrong = ShardError::Variable("JOB_COMPLETION_INDEX", "x".into());
        assert_eq!(resolved(Some("4"), &[("JOB_COMPLETION_INDEX", "x")]), Err(wrong));
        for text in ["", "0/0", "3/3", "a/3", "-1/3", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_line_is_one_machines() {
        for of in 1..5 {
            for line in 0..20 {
                let shares = (0..of).filter(|index| Shard { index: Some(*index), of }.has(line)).count();
                assert_eq!(shares, 1);
            }
        }
    }
}
