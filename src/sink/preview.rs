//! A stream's annotated frames as JPEG, for viewers without a decoder for video: encoded only while somebody watches, once for all
//! of them, on a thread of its own. The pipeline never waits for it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use gstreamer as gst;
use gstreamer_video as gst_video;

use crate::clock::now;
use crate::stills::{Kind, StillWriter};
use crate::thread::{ThreadError, spawn, test_panic_point};

/// Time between frames, at least: ten a second show what happens, at a tenth of the CPU time of H.264 decoded anew by each viewer.
const EVERY: Duration = Duration::from_millis(100);
/// Quality of the JPEGs: half the bytes of a still (92), and no difference at arm's length.
const QUALITY: u8 = 80;

/// A frame on its way to be encoded.
type Frame = (gst::Buffer, gst_video::VideoInfo);

/// A stream's annotated frames as JPEG.
#[derive(Clone, Default)]
pub struct Preview(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Watchers: without any, a frame costs a look at this.
    watching: AtomicUsize,
    /// When the next frame is taken, ns of host time.
    due: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By number, with whom to wake.
    watchers: Vec<(u64, Option<Waker>)>,
    next: u64,
    /// Images made so far, and the newest.
    made: u64,
    newest: Option<Arc<[u8]>>,
    /// Where frames go while somebody watches.
    frames: Option<Sender<Frame>>,
}

impl State {
    fn wakers(&mut self) -> Vec<Waker> {
        self.watchers.iter_mut().filter_map(|(_, waker)| waker.take()).collect()
    }
}

impl Preview {
    /// A watcher from now on, who gets what is shown from now on.
    ///
    /// # Errors
    /// When the thread that encodes cannot be started.
    pub fn watch(&self) -> Result<Stills, ThreadError> {
        let mut state = self.lock();
        if state.frames.is_none() {
            let (frames, coming) = bounded(1);
            let preview = self.clone();
            // It ends with its last watcher.
            spawn("preview", move || preview.encode(&coming))?;
            state.frames = Some(frames);
        }
        let watcher = state.next;
        state.next += 1;
        state.watchers.push((watcher, None));
        self.0.due.store(0, Ordering::SeqCst);
        self.0.watching.store(state.watchers.len(), Ordering::SeqCst);
        Ok(Stills { preview: self.clone(), watcher, seen: state.made })
    }

    /// How many watch.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.0.watching.load(Ordering::SeqCst)
    }

    /// Takes a frame, where one is wanted by now.
    pub(super) fn offer(&self, buffer: &gst::Buffer, video: &gst_video::VideoInfo) {
        if self.watchers() == 0 {
            return;
        }
        let time = u64::try_from(now().since_start().as_nanos()).unwrap_or(u64::MAX);
        if time < self.0.due.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.lock();
        // Who does not read what he has wants no more.
        if state.watchers.iter().all(|(_, waker)| waker.is_none()) {
            return;
        }
        let Some(frames) = &state.frames else { return };
        match frames.try_send((buffer.clone(), video.clone())) {
            Ok(()) => {
                let every = u64::try_from(EVERY.as_nanos()).unwrap_or(u64::MAX);
                self.0.due.store(time.saturating_add(every), Ordering::SeqCst);
            }
            // The one before is still being encoded.
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => {
                // Its thread panicked: who watches again has another.
                state.frames = None;
                self.end(state);
            }
        }
    }

    /// The stream is no more.
    pub(super) fn close(&self) {
        self.end(self.lock());
    }

    /// Lets all watchers go.
    fn end(&self, mut state: MutexGuard<'_, State>) {
        let wakers = state.wakers();
        state.watchers.clear();
        state.frames = None;
        self.0.watching.store(0, Ordering::SeqCst);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Encodes what comes, until nobody watches.
    fn encode(&self, coming: &Receiver<Frame>) {
        let mut writer = StillWriter::of_quality(QUALITY);
        while let Ok((buffer, video)) = coming.recv() {
            test_panic_point();
            match writer.encode(Kind::Jpeg, buffer, &video) {
                Ok(image) => {
                    let image: Arc<[u8]> = Arc::from(image.as_slice());
                    let mut state = self.lock();
                    state.made += 1;
                    state.newest = Some(image);
                    let wakers = state.wakers();
                    drop(state);
                    wakers.into_iter().for_each(Waker::wake);
                }
                // The next frame may be one that can be.
                Err(error) => tracing::warn!(%error, "a frame cannot be shown as JPEG"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watcher of a stream's frames as JPEG, until it is dropped.
pub struct Stills {
    preview: Preview,
    watcher: u64,
    /// Images made when it had its last one.
    seen: u64,
}

impl Stills {
    /// The newest image that it has not had; `None` when the stream is no more.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Arc<[u8]>>> {
        let mut state = self.preview.lock();
        let (made, newest) = (state.made, state.newest.clone());
        let Some((_, waker)) = state.watchers.iter_mut().find(|(watcher, _)| *watcher == self.watcher) else {
            return Poll::Ready(None);
        };
        if let Some(image) = newest.filter(|_| made > self.seen) {
            self.seen = made;
            return Poll::Ready(Some(image));
        }
        *waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Stills {
    fn drop(&mut self) {
        let mut state = self.preview.lock();
        state.watchers.retain(|(watcher, _)| *watcher != self.watcher);
        self.preview.0.watching.store(state.watchers.len(), Ordering::SeqCst);
        if state.watchers.is_empty() {
            // An image of long ago is no use to the next.
            (state.frames, state.newest) = (None, None);
        }
    }
}
