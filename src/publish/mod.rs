//! Detections for other programs: MQTT 5, NATS JetStream and Kafka, with a spool on disk.
//!
//! A [`Publisher`] is a [`DetectionOutput`](crate::detections::DetectionOutput): streams' threads make messages and hand them
//! over (`inbox`); a thread called `publish` numbers them, writes them to disk (`spool`) and sends what lies there, in its
//! order, until the broker has acknowledged it (`link`). A broker that is away, or an end of this process, delays messages; what
//! does not fit into the spool is counted, and its place among the numbers is told.
//!
//! Another protocol is another session: it connects, takes messages from its `link`, and says which are acknowledged.

mod deepstream;
mod discovery;
mod follow;
mod frigate;
mod inbox;
mod kafka;
mod lines;
mod link;
mod message;
mod mqtt;
pub mod nats;
mod plan;
mod publisher;
mod sink;
mod spool;
mod target;
mod tls;
mod views;
mod voice;

pub use plan::{Figures, Format, On, Plan, PublishError, PublishReport, Request, Route};
pub use publisher::Publisher;
pub use spool::SpoolError;
pub use target::{Protocol, Sasl, Target, TargetError};
pub use tls::config as trusted;
