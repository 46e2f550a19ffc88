//! The command line of streamdet.
fn main() {}
