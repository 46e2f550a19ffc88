//! CPU time by stage and the GPU's use, read by a thread of its own: no stage waits while the kernel or a driver answers.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::report::gpu::{GpuMeter, GpuUse};
use crate::report::threads::ThreadTimes;
use crate::thread::{self, Thread, ThreadError, test_panic_point};

/// Between two samples: reading a hundred threads' counters takes about a millisecond.
const EVERY: Duration = Duration::from_millis(500);
/// How long a sample that was asked for may take; without it some CPU time goes uncounted.
const PATIENCE: Duration = Duration::from_secs(1);
/// Samples that are asked for at once, at most; a further one waits for [`PATIENCE`].
const REQUESTS: usize = 16;

/// What was sampled.
pub(super) type Sampled = (ThreadTimes, Option<GpuUse>);

/// Asks for samples. When all of them are gone, the thread ends.
#[derive(Clone)]
pub(super) struct Sampler(Sender<Sender<()>>);

impl Sampler {
    /// Starts the thread; it samples from the first [`now`](Self::now) on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(gpu: i32) -> Result<(Self, Thread<Sampled>), ThreadError> {
        let (requests, asked) = bounded(REQUESTS);
        let thread = thread::spawn("sampler", move || sample(&asked, gpu))?;
        Ok((Self(requests), thread))
    }

    /// Has a sample taken and waits for it: where counting begins, and before threads end.
    pub fn now(&self) {
        let (done, taken) = bounded(0);
        if self.0.send_timeout(done, PATIENCE).is_ok() {
            // Disconnects when it is taken.
            let _ = taken.recv_timeout(PATIENCE);
        }
    }
}

fn sample(asked: &Receiver<Sender<()>>, gpu: i32) -> Sampled {
    let (mut times, mut gpu, mut begun) = (ThreadTimes::default(), GpuMeter::start(gpu), false);
    loop {
        test_panic_point();
        let request = match asked.recv_timeout(EVERY) {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        begun |= request.is_some();
        if begun {
            times.sample();
            if let Some(gpu) = &mut gpu {
                gpu.sample();
            }
        }
    }
    (times, gpu.map(GpuMeter::finish))
}
