//! What a server takes at most.

use std::time::Duration;

/// Bounds of a server's work and memory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once. One more closes the one that has been idle longest, else the one that has been sending longest: a thousand
    /// idle ones keep nobody out. Half of the 1024 open files that a process may have on most systems.
    pub connections: usize,
    /// Longest request line with its headers, bytes.
    pub head: usize,
    /// Longest body of a request, bytes, compressed or not.
    pub body: usize,
    /// Bodies that are held at once, bytes in all; one more is refused with 503.
    pub bodies: usize,
    /// Requests with a body that are worked on at once; one more is refused with 503.
    pub requests: usize,
    /// How long a connection may be idle, and a head take.
    pub head_time: Duration,
    /// How long a client may send nothing of a body, or take nothing of an answer.
    pub stall: Duration,
    /// How long a whole body may take.
    pub body_time: Duration,
    /// How long requests that are being answered have, once the server ends.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            head: 16 << 10,
            body: 32 << 20,
            bodies: 256 << 20,
            requests: 64,
            head_time: Duration::from_secs(15),
            stall: Duration::from_secs(10),
            body_time: Duration::from_mins(1),
            grace: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// For probes and metrics alone: few connections, hardly any body, and an end that nobody waits for.
    #[must_use]
    pub fn small() -> Self {
        let (connections, body, bodies, requests) = (64, 4 << 10, 1 << 20, 4);
        let grace = Duration::from_secs(1);
        Self { connections, body, bodies, requests, grace, head_time: Duration::from_secs(5), ..Self::default() }
    }
}
