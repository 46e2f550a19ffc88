//! Bounded lanes from many sources to one receiver, which takes from them in turn: no source keeps another waiting.
//!
//! A lane holds so many items; what happens when one more comes is its [`WhenFull`]. Notes, which say something about the
//! items before and after them, are never dropped and keep their place.

mod lanes;

pub use lanes::{Closed, Lane, Lanes, Received, RecvError, Rest, WhenFull, lanes};

/// Where the lanes take their locks from; `modelled` puts loom's in this place.
mod sync {
    pub use std::sync::atomic::{AtomicUsize, Ordering};
    pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod modelled;
