//! Models: what a file is, what its card says, how it is recognised.

pub mod facts;
