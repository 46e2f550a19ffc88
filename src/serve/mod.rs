//! HTTP: one server for images, streams, probes and metrics, on one thread with bounded work.
//!
//! Every request passes the same gate before any route sees it: who asks (token, `Host`, `Origin`), how large and how slow it is, and
//! how many there are. Whatever is refused is a problem document (RFC 9457).

mod accept;
mod access;
mod api;
mod aside;
mod connections;
mod defaults;
mod detect;
mod drawing;
mod error;
mod gate;
mod health;
mod images;
mod inference;
mod inflate;
mod limits;
pub mod live;
mod openapi;
pub mod page;
mod parameters;
mod problem;
mod received;
pub mod reload;
mod schema;
mod server;
mod state;
pub mod streams;
mod tls;
mod wire;
mod work;

pub use access::{Listen, address, check_token, token};
pub use api::{ApiOptions, api};
pub use defaults::{Defaults, SharedDefaults};
pub use error::ServeError;
pub use gate::Known;
pub use health::{Probes, probes};
pub use limits::Limits;
pub use problem::Problem;
pub use server::Server;
pub use tls::{Certificate, SharedCertificate, Tls};
