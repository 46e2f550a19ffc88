//! Recorded files that many machines work through, each once.
//!
//! The files stand in a work queue of NATS JetStream ([`Queue`]), or in a list of which each machine takes its share ([`Shard`]). One is
//! taken, its outputs are written into a folder beside their destination ([`Staged`]) and take their names when all are whole, and then it is
//! acknowledged. What lies on S3 or a web server is fetched before and uploaded after ([`Remote`]). So whatever ends a worker, or comes twice, leaves one whole output.
//!
//! What is done with a file is the caller's ([`Outcome`] is what came of it): nothing here knows of detections.

mod absent;
mod address;
mod item;
mod keeper;
mod list;
mod names;
mod queue;
mod remote;
mod shard;
mod staged;
mod worker;

pub use absent::{Absent, BUSY};
pub use address::{Address, AddressError};
pub use item::{Failure, Item};
pub use keeper::{Keeper, KeeperError, with_queue};
pub use list::{ListError, absolute, listed, named, whole};
pub use names::{NameError, Names, make_absolute};
pub use queue::{Added, Buried, Figures, Queue, QueueError};
pub use remote::{CACHE, LocationError, Remote, RemoteError, Standing, Turn, Unlisted};
pub use shard::{Shard, ShardError};
pub use staged::{Staged, unusable};
pub use worker::{SAID, Tally, work};

use std::time::Duration;

/// What came of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its outputs are there.
    Done,
    /// They were there already.
    There,
    /// It cannot be done, on whatever machine.
    Failed(Failure),
    /// It was not done: it is somebody's again after this time.
    Left(Duration),
}
