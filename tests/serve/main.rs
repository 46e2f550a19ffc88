//! `streamdet serve` as a client sees it: a real server with the real model, asked over real sockets.

mod client;
mod documentation;
mod fixture;
mod hostile;
mod images;
mod inference;
mod server;
