//! CPU time by stage: that of every thread, as the kernel counts it.
//!
//! Elapsed times cannot say what the bottleneck is, since a stage that waits for the next one looks slow itself.

use std::collections::HashMap;
use std::path::Path;

/// The stages that CPU time is counted by, in the order in which frames pass them.
pub const WORKERS: [&str; 4] = ["decode", "inference", "overlay", "encode"];

/// Threads of monitoring, which belong to no stage.
const WATCHERS: [&str; 6] = ["http", "http-work", "dashboard", "stats", "sampler", "signals"];

/// CPU time of every thread there has been, from the first sample on.
#[derive(Debug, Default)]
pub struct ThreadTimes {
    /// Those that there are, by thread id.
    threads: HashMap<u64, Thread>,
    /// Those that have ended, by worker: ids do not pile up with connections and clients.
    ended: [u64; WORKERS.len()],
    /// Whether counting has begun.
    begun: bool,
    most: usize,
}

#[derive(Debug)]
struct Thread {
    /// Index into [`WORKERS`].
    worker: usize,
    /// Clock ticks used when counting began, and now.
    before: u64,
    now: u64,
}

/// CPU time of a process or thread, from its `stat` file (proc(5)).
#[derive(Debug)]
pub struct ProcStat {
    /// Its name, 15 bytes of it.
    pub name: String,
    /// Time in its own code, clock ticks of 1/100 s.
    pub user: u64,
    /// Time in the kernel, clock ticks.
    pub system: u64,
}

impl ProcStat {
    /// Reads it; `None` once the process or thread is gone.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        let stat = std::fs::read_to_string(path).ok()?;
        // "12 (name) S …": utime and stime are fields 14 and 15.
        let (name, fields) = stat.split_once('(')?.1.rsplit_once(')')?;
        let mut times = fields.split_whitespace().skip(11).map(|ticks| ticks.parse().unwrap_or(0));
        Some(Self { name: name.to_owned(), user: times.next()?, system: times.next()? })
    }

    /// That of this process.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::read(Path::new("/proc/self/stat"))
    }
}

impl ThreadTimes {
    /// Reads the counters. What was used before the first time does not count: opening files and compiling the model.
    pub fn sample(&mut self) {
        let mut threads = 0;
        let read = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten().filter_map(|entry| {
            threads += 1;
            let id = entry.file_name().to_str()?.parse().ok()?;
            Some((id, ProcStat::read(&entry.path().join("stat"))?))
        });
        self.take(read);
        self.most = self.most.max(threads);
    }

    /// Takes in those that there are now.
    fn take(&mut self, threads: impl Iterator<Item = (u64, ProcStat)>) {
        let begins = !std::mem::replace(&mut self.begun, true);
        let mut known = std::mem::take(&mut self.threads);
        for (id, stat) in threads.filter(|(_, stat)| !WATCHERS.contains(&stat.name.as_str())) {
            let now = stat.user + stat.system;
            let new = Thread { worker: worker(&stat.name), before: if begins { now } else { 0 }, now };
            // One that has used less than before is another, under the same id.
            let same = known.remove(&id).filter(|thread| thread.now <= now || self.end(thread));
            self.threads.insert(id, same.map_or(new, |thread| Thread { now, ..thread }));
        }
        for thread in known.into_values() {
            self.end(&thread);
        }
    }

    /// Keeps the time of a thread that has ended; it is not the same any more.
    fn end(&mut self, thread: &Thread) -> bool {
        self.ended[thread.worker] += thread.now.saturating_sub(thread.before);
        false
    }

    /// Threads there were at once, at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Each worker's share of the CPU time since the first sample, `0..=1`, in the order of [`WORKERS`]; `None` before there is any.
    #[must_use]
    pub fn shares(&self) -> Option<[f64; 4]> {
        let mut sums = self.ended;
        for thread in self.threads.values() {
            sums[thread.worker] += thread.now.saturating_sub(thread.before);
        }
        let total: u64 = sums.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "clock ticks of one run")]
        (total > 0).then(|| sums.map(|sum| sum as f64 / total as f64))
    }
}

/// Which worker a thread belongs to, by its name: `GStreamer` calls a thread `ELEMENT:PAD`, libav `av:CODEC:NUMBER`, and a
/// thread without a name has that of the one that made it: the encoder's that of its input, the runtime's the program's.
fn worker(thread: &str) -> usize {
    let starts = |names: &[&str]| names.iter().any(|name| thread.starts_with(name));
    let reads =
        starts(&["source-", "files-", "av:", "typefind"]) || thread.contains("demux") || thread.contains("parse");
    match () {
        () if starts(&["sink-", "json"]) => 2,
        () if starts(&["frames", "encoded", "units", "mux", "packets", "out:"]) => 3,
        () if reads => 0,
        () => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_told_apart_by_name() {
        let name = |thread| WORKERS[worker(thread)];
        assert_eq!(name("av:h264:df0"), "decode");
        assert_eq!(name("qtdemux0:sink"), "decode");
        assert_eq!(name("demuxed:src"), "decode");
        assert_eq!(name("streamdet"), "inference");
        assert_eq!(name("sink-0"), "overlay");
        assert_eq!(name("frames:src"), "encode");
        assert_eq!(
            (name("demuxed-audio1:src"), name("out:src")),
            ("decode", "encode"),
            "the queues of audio, in and out"
        );
    }

    #[test]
    fn a_million_threads_that_come_and_go_leave_their_time_and_no_ids() {
        let mut times = ThreadTimes::default();
        let stat = |name: &str, user| ProcStat { name: name.to_owned(), user, system: 0 };
        times.take([(1, stat("streamdet", 1000))].into_iter());
        for round in 0..10_000 {
            // A client's threads, each of a tick, and one of ours that goes on.
            let clients = (0..100).map(|n| (2 + round * 100 + n, stat("units:src", 1)));
            times.take(clients.chain([(1, stat("streamdet", 1001 + round * 100))]));
        }
        assert!(times.threads.len() <= 101 && times.threads.capacity() <= 1000, "{}", times.threads.len());
        let [decode, inference, overlay, encode] = times.shares().expect("some");
        assert!(decode + overlay < 1e-9 && (inference - 0.5).abs() < 0.001 && (encode - 0.5).abs() < 0.001);
        // The system gives an id again.
        let before = times.ended[2];
        times.take([(7, stat("sink-0", 50))].into_iter());
        times.take([(7, stat("sink-0", 3))].into_iter());
        times.take(std::iter::empty());
        assert_eq!(times.ended[2] - before, 53);
    }

    fn work() {
        let mut x = 1u64;
        for _ in 0..1_000_000 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
    }

    #[test]
    fn shares_sum_to_one_and_leave_out_what_came_before() {
        let mut times = ThreadTimes::default();
        let ticks = |times: &ThreadTimes| times.threads.values().map(|thread| thread.now).sum::<u64>();
        while ticks(&times) == 0 {
            work();
            times = ThreadTimes::default();
            times.sample();
        }
        assert!(times.shares().is_none(), "work before the first sample counts: {times:?}");
        while times.shares().is_none() {
            work();
            times.sample();
        }
        let sum: f64 = times.shares().expect("some").iter().sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
}
