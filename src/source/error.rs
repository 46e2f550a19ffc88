//! Why a source cannot be used, or ended early.

/// Why a source cannot be used, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The input cannot be used at all: nothing was decoded.
    #[error("{input}: {problem}\n  {remedy}")]
    Unusable {
        /// What the user named, without secrets.
        input: String,
        /// What is wrong with it.
        problem: String,
        /// What to do next.
        remedy: String,
    },
    /// The source failed after frames had come out.
    #[error("{input}: failed after frame {frames}: {problem}")]
    Broken {
        /// What the user named, without secrets.
        input: String,
        /// Frames that had left the decoder.
        frames: u64,
        /// What is wrong.
        problem: String,
    },
}

/// Why a live source cannot be connected to, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(super) struct ConnectError {
    /// What is wrong, without secrets.
    pub problem: String,
    /// What to do next.
    pub remedy: String,
    /// Another transport may work.
    pub other_transport: bool,
    /// The server is busy: the same may work a moment later.
    pub transient: bool,
}

impl ConnectError {
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into(), other_transport: false, transient: false }
    }

    /// Another transport may work.
    pub fn of_transport(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { other_transport: true, ..Self::new(problem, remedy) }
    }

    /// The same may work a moment later.
    pub fn transient(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { transient: true, ..Self::new(problem, remedy) }
    }
}
