//! The allocator's memory: how it is shared by threads, and what becomes of it between connections and between images.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::HostTime;

/// The shortest time between two: what a connection or an image leaves behind is small, and it is what a thousand leave that has to go.
const INTERVAL: Duration = Duration::from_mins(1);

/// When the last one was, ns, plus one; 0 before the first.
static LAST: AtomicU64 = AtomicU64::new(0);
/// Whether images were decoded from memory since then.
static IMAGES: AtomicBool = AtomicBool::new(false);

/// Has all threads share as many of the allocator's arenas as there are cores, where its default is eight times as many and each keeps what was
/// freed in it: a server that decoded images took 185 MB so, and takes 110. Before the first thread; `MALLOC_ARENA_MAX` stands above it.
pub fn share_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // SAFETY: it takes two numbers, and concerns arenas that are not there yet.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, i32::try_from(cores.max(2)).unwrap_or(i32::MAX));
        }
    }
}

/// Returns to the system what a connection's threads have freed, or those that images are decoded on. Their allocations lie scattered over the allocator's arenas,
/// one of which every thread gets: without this, the memory of a thousand connections grew by a twentieth with nothing leaked.
/// It takes the lock of every arena in turn, which the threads of all other streams wait for: once a minute in the whole process.
pub(super) fn trim_heap(now: HostTime) {
    if is_due(&LAST, now) {
        IMAGES.store(false, Ordering::Relaxed);
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: it takes a number and touches only memory that is free.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

/// Notes that an image was decoded.
pub(super) fn image_was_decoded() {
    IMAGES.store(true, Ordering::Relaxed);
}

/// Returns to the system what was freed where images were decoded from memory, once a minute at most; for who decodes them to call now and
/// then, also when no more come.
pub fn trim_after_images(now: HostTime) {
    if IMAGES.load(Ordering::Relaxed) {
        trim_heap(now);
    }
}

fn is_due(last: &AtomicU64, now: HostTime) -> bool {
    let now = u64::try_from(now.since_start().as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
    let before = last.load(Ordering::SeqCst);
    let interval = u64::try_from(INTERVAL.as_nanos()).unwrap_or(u64::MAX);
    let is_over = before == 0 || now >= before.saturating_add(interval);
    is_over && last.compare_exchange(before, now, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_reconnect_all_the_time_trim_the_heap_once_a_minute() {
        let last = AtomicU64::new(0);
        let due: Vec<u64> = (0..600u64)
            .filter(|second| is_due(&last, HostTime::from_start(Duration::from_millis(500 * second))))
            .collect();
        assert_eq!(due, [0, 120, 240, 360, 480]);
    }
}
