//! Streams to watch: frames through the program's own encoder into a hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gstreamer as gst;
use gstreamer_video as gst_video;
use streamdet::clock;
use streamdet::geometry::Size;
use streamdet::shutdown::Shutdown;
use streamdet::sink::{EncoderOptions, Hub, OutputListener, OutputOptions, StreamSink, Target};
use streamdet::stream::StreamInfo;
use streamdet::thread::{Thread, spawn};

/// Frames a second.
pub const RATE: u64 = 30;

/// A camera, until it is dropped.
pub struct Camera {
    pub hub: Hub,
    width: Arc<AtomicU32>,
    stop: Shutdown,
    thread: Option<Thread<()>>,
}

impl Camera {
    /// One called `name`, of 320×240.
    pub fn start(name: &str) -> Self {
        gst::init().expect("GStreamer");
        let (hub, stop, width) = (Hub::new(name), Shutdown::new(), Arc::new(AtomicU32::new(320)));
        let run = {
            let (hub, stop, width) = (hub.clone(), stop.clone(), width.clone());
            move || run(&hub, &width, &stop)
        };
        Self { hub, width, stop, thread: Some(spawn("camera", run).expect("it starts")) }
    }

    /// From now on frames are so wide.
    pub fn resize(&self, width: u32) {
        self.width.store(width, Ordering::SeqCst);
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends well");
        }
    }
}

fn run(hub: &Hub, width: &AtomicU32, stop: &Shutdown) {
    let listener: OutputListener = Arc::new(|_| {});
    let encoder = EncoderOptions::default();
    let options =
        OutputOptions { encoder: &encoder, clock: clock::process(), live: true, listener: &listener, stopping: stop };
    let mut shown = video(width.load(Ordering::SeqCst));
    let info = StreamInfo {
        name: hub.name().to_owned(),
        recorded: false,
        size: Size { width: shown.width(), height: shown.height() },
        frame_rate: Some((30, 1)),
        duration: None,
        sure_duration: None,
        codec: "raw".into(),
        audio_codecs: Vec::new(),
        notices: Vec::new(),
    };
    let targets = [Target::Viewers(hub.clone())];
    let mut sink = StreamSink::open((&targets, 0), &shown, &info, Vec::new(), &options).expect("it opens");
    let every = Duration::from_secs(1) / u32::try_from(RATE).expect("few");
    for number in 0.. {
        let now = width.load(Ordering::SeqCst);
        if now != shown.width() {
            shown = video(now);
            sink.change(&shown, Some((30, 1)), &options).expect("it changes");
        }
        sink.push(frame(&shown, number), &shown).expect("it takes it");
        if !clock::process().pause(every, stop) {
            break;
        }
    }
    let (finished, _) = sink.finish(true);
    assert!(finished.failure.is_none(), "{:?}", finished.failure);
}

fn video(width: u32) -> gst_video::VideoInfo {
    let height = width * 3 / 4;
    let video = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height).fps((30, 1));
    video.build().expect("a format")
}

/// Grey that wanders.
fn frame(video: &gst_video::VideoInfo, number: u64) -> gst::Buffer {
    let luma = usize::try_from(video.width() * video.height()).expect("small");
    let mut bytes = vec![128; video.size()];
    for (at, byte) in bytes[..luma].iter_mut().enumerate() {
        *byte = u8::try_from((at as u64 / 7 + number * 3) % 219 + 16).expect("a byte");
    }
    let mut buffer = gst::Buffer::from_slice(bytes);
    let own = buffer.get_mut().expect("it is ours");
    own.set_pts(gst::ClockTime::from_mseconds(number * 1000 / RATE));
    own.set_duration(gst::ClockTime::from_mseconds(1000 / RATE));
    buffer
}
