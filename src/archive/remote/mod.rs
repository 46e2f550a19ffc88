//! Files and outputs that lie elsewhere: on S3, or a server that speaks its protocol, and (sources only) on web servers.
//!
//! A source is fetched whole into a bounded cache ([`Remote`]) and read from there; outputs are written there, and uploaded when all of a
//! file's are whole ([`Turn`]). Each file that is worked on has a folder in the cache, which is locked, and goes with its turn.

mod client;
mod error;
mod fetch;
mod http;
mod list;
mod location;
mod scratch;
mod send;
mod turn;

pub use error::RemoteError;
pub use list::{Unlisted, below};
pub use location::{Location, LocationError};
pub use turn::{CACHE, Remote, Standing, Turn};
