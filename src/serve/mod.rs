//! `streamdet serve`: live viewing and the page.

pub mod live;
pub mod page;
