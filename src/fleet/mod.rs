//! Streams that several machines share: each runs on one of them, and on another where that one is gone.
//!
//! What should run stands in a key-value bucket of NATS JetStream ([`Store`]): streams with their options, and who owns each. An instance
//! ([`Member`]) says that it is alive as long as it is; who has not said so for a lease is gone, and its streams are taken by others. A stream is taken
//! by a write that only one instance can make, and the number of that write is the stream's epoch: whoever speaks with it is the one that made it.
//!
//! What running a stream means is the caller's ([`Runs`]): nothing here knows of sources and detections.

mod address;
mod listing;
mod member;
mod records;
mod store;
mod view;

pub use address::{Address, AddressError};
pub use listing::Listing;
pub use member::{Figures, Joining, Member, Runs};
pub use records::{Capacity, Instance, Owner, Stream};
pub use store::{FleetError, Store, with_store};
pub use view::View;
