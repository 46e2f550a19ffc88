//! Turns that two sessions take, so that whatever else the machine does meanwhile falls on both.

/// Runs before those of a turn that count: the first ones pay for buffers and lazy set-up, and for the threads of the other
/// session, which look for work for a while.
pub const WARM_UP_RUNS: usize = 3;

/// Runs of a turn that count, at most.
const LONGEST: usize = 5;

/// The turns in which `runs` count: runs of every turn, those at its beginning that do not count included.
pub(super) fn lengths(runs: usize) -> impl Iterator<Item = usize> {
    (0..runs).step_by(LONGEST).map(move |done| WARM_UP_RUNS + LONGEST.min(runs - done))
}

/// Whether a session's run of this number, from 0, counts.
pub(super) fn counts(run: usize) -> bool {
    run % (WARM_UP_RUNS + LONGEST) >= WARM_UP_RUNS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_runs_count_as_were_asked_for() {
        for runs in 1..40 {
            let all: usize = lengths(runs).sum();
            assert_eq!((0..all).filter(|run| counts(*run)).count(), runs);
            assert_eq!(lengths(runs).count(), runs.div_ceil(LONGEST));
        }
    }
}
