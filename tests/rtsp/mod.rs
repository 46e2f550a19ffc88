//! A real RTSP server on loopback, in this process or in one of its own that can be killed.
//!
//! The other process is this test binary again: a test file that wants one has a test named `rtsp_server_process` that
//! calls [`serve_as_told`], which does nothing unless it is told what to serve.

#![allow(dead_code, reason = "every test binary uses its own part")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_rtsp_server as rtsp_server;
use rtsp_server::gst_rtsp::{RTSPAuthMethod, RTSPLowerTrans};
use rtsp_server::prelude::*;
use rtsp_server::{gio, glib};
use serde::{Deserialize, Serialize};
use streamdet::thread::{self, Thread};

use crate::program::skipped;

/// Who may watch where a password is asked for.
pub const USER: &str = "pilot";
/// Their password.
pub const PASSWORD: &str = "planted-s3cret";

/// Tells the other process what to serve.
const TOLD: &str = "STREAMDET_TEST_RTSP";

/// How pictures are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    H264,
    H265,
}

/// What one mount point shows: a moving test picture, or a recording.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a way in which feeds differ")]
pub struct Feed {
    /// The mount point, with its slash.
    pub mount: String,
    pub codec: Codec,
    pub width: u32,
    pub height: u32,
    pub frame_rate: u32,
    /// Ends after so many pictures; 0 never.
    pub pictures: u32,
    /// There is no keyframe but the first: pictures are refreshed column by column.
    pub refresh: bool,
    /// A tone beside the pictures, in AAC.
    pub audio: bool,
    /// A second tone, in A-law.
    pub second_audio: bool,
    /// The tone of this number, from 1, begins later than the rest, by so many packets; 0: none does.
    pub late_audio: u8,
    pub late_packets: u64,
    /// An H.264 recording in MP4 or Matroska, sent as it is in its own time; codec, size and rate above do not apply.
    pub recording: Option<PathBuf>,
    /// Of a hundred RTP packets of pictures, so many are lost.
    pub loss_percent: u64,
    /// Nothing more is sent after so many RTP packets of pictures; 0 never. Large pictures are of many packets: half of one
    /// is sent, and the session stays.
    pub stop_after_packets: u64,
    /// It is sent in the RTSP connection only.
    pub tcp_only: bool,
    /// The size changes after so many pictures, to the size given.
    pub resize: Option<(u64, u32, u32)>,
    /// And no sooner than there is something in this file.
    pub resize_once: Option<PathBuf>,
}

impl Feed {
    /// 320×240 at 30 frames a second, H.264, without sound and without end.
    pub fn new(mount: &str) -> Self {
        Self {
            mount: mount.to_owned(),
            codec: Codec::H264,
            width: 320,
            height: 240,
            frame_rate: 30,
            pictures: 0,
            refresh: false,
            audio: false,
            second_audio: false,
            late_audio: 0,
            // Less than half a second.
            late_packets: 20,
            recording: None,
            loss_percent: 0,
            stop_after_packets: 0,
            tcp_only: false,
            resize: None,
            resize_once: None,
        }
    }

    fn description(&self) -> String {
        if let Some(recording) = &self.recording {
            let demuxer = if recording.extension().is_some_and(|e| e == "mkv") { "matroskademux" } else { "qtdemux" };
            let audio = if self.audio { "d. ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97" } else { "" };
            return format!(
                "( filesrc location=\"{}\" ! {demuxer} name=d d. ! queue ! h264parse \
                 ! rtph264pay name=pay0 pt=96 config-interval=-1 {audio} )",
                recording.display()
            );
        }
        let (encoder, payloader) = match self.codec {
            Codec::H264 if self.refresh => {
                ("x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 intra-refresh=true", "rtph264pay")
            }
            Codec::H264 => ("x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15", "rtph264pay"),
            Codec::H265 => ("x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15", "rtph265pay"),
        };
        // The sound ends with the pictures: 1024 samples a packet at 48 kHz.
        let buffers = if self.pictures == 0 { -1 } else { i64::from(self.pictures) };
        let packets = if self.pictures == 0 { -1 } else { buffers * 48_000 / i64::from(self.frame_rate) / 1024 + 1 };
        let audio = if self.audio {
            format!(
                "audiotestsrc is-live=true samplesperbuffer=1024 num-buffers={packets} ! audio/x-raw,rate=48000,channels=2 \
                 ! avenc_aac ! aacparse ! rtpmp4gpay name=pay1 pt=97"
            )
        } else {
            String::new()
        };
        let second = if self.second_audio {
            "audiotestsrc is-live=true freq=880 ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay2 pt=8"
        } else {
            ""
        };
        format!(
            "( videotestsrc is-live=true pattern=ball num-buffers={buffers} ! capsfilter name=size caps={} \
             ! {encoder} ! {payloader} name=pay0 pt=96 config-interval=-1 {audio} {second} )",
            size_caps(self.width, self.height, self.frame_rate)
        )
    }

    /// Damages `media` as asked for.
    fn tamper(&self, media: &rtsp_server::RTSPMedia) {
        let element = media.element();
        let Ok(bin) = element.downcast::<gst::Bin>() else { return };
        if self.loss_percent > 0 || self.stop_after_packets > 0 {
            let (loss, stop) = (self.loss_percent, self.stop_after_packets);
            let pad = bin.by_name("pay0").and_then(|p| p.static_pad("src")).expect("a payloader");
            let sent = AtomicU64::new(0);
            let passes = move || {
                let n = sent.fetch_add(1, Ordering::SeqCst);
                // Spread evenly, so that a hundred packets lose exactly so many.
                let lost = (n + 1) * loss / 100 > n * loss / 100;
                !lost && (stop == 0 || n < stop)
            };
            pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
                match &mut info.data {
                    Some(gst::PadProbeData::BufferList(list)) => {
                        let kept: Vec<gst::Buffer> = list.iter_owned().filter(|_| passes()).collect();
                        if kept.is_empty() {
                            return gst::PadProbeReturn::Drop;
                        }
                        *list = kept.into_iter().collect();
                        gst::PadProbeReturn::Ok
                    }
                    _ if passes() => gst::PadProbeReturn::Ok,
                    _ => gst::PadProbeReturn::Drop,
                }
            });
        }
        if self.late_audio > 0 {
            let payloader = bin.by_name(&format!("pay{}", self.late_audio)).expect("a tone");
            let (sent, late) = (AtomicU64::new(0), self.late_packets);
            payloader.static_pad("src").expect("a pad").add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                let is_late = sent.fetch_add(1, Ordering::SeqCst) < late;
                if is_late { gst::PadProbeReturn::Drop } else { gst::PadProbeReturn::Ok }
            });
        }
        if let Some((after, width, height)) = self.resize {
            let filter = bin.by_name("size").expect("a test picture");
            let (caps, seen) = (size_caps(width, height, self.frame_rate), AtomicU64::new(0));
            let file = self.resize_once.clone();
            let pad = filter.static_pad("sink").expect("a pad");
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                let begun = file.as_ref().is_none_or(|file| file.metadata().is_ok_and(|file| file.len() > 0));
                if seen.fetch_add(1, Ordering::SeqCst) + 1 < after || !begun {
                    return gst::PadProbeReturn::Ok;
                }
                filter.set_property_from_str("caps", &caps);
                gst::PadProbeReturn::Remove
            });
        }
    }
}

fn size_caps(width: u32, height: u32, frame_rate: u32) -> String {
    format!("video/x-raw,format=I420,width={width},height={height},framerate={frame_rate}/1")
}

/// How a password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Auth {
    Basic,
    Digest,
}

/// What a server does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Told {
    pub feeds: Vec<Feed>,
    /// A port of one's own; 0 for any.
    pub port: u16,
    pub auth: Option<Auth>,
    /// Certificate with its key, in PEM, for `rtsps://`.
    pub certificate: Option<PathBuf>,
}

impl Told {
    pub fn showing(feeds: impl IntoIterator<Item = Feed>) -> Self {
        Self { feeds: feeds.into_iter().collect(), ..Self::default() }
    }
}

/// A server in this process, until it is dropped.
pub struct Server {
    pub port: u16,
    scheme: &'static str,
    main_loop: glib::MainLoop,
    thread: Option<Thread<()>>,
}

impl Server {
    pub fn start(told: &Told) -> Self {
        gst::init().expect("GStreamer");
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let (tell, port) = std::sync::mpsc::sync_channel(1);
        let (own, runs) = (told.clone(), main_loop.clone());
        let body = move || {
            context
                .with_thread_default(|| {
                    let server = server_for(&own);
                    let _source = server.attach(Some(&context)).expect("the port is free");
                    tell.send(u16::try_from(server.bound_port()).expect("a port")).expect("somebody waits");
                    runs.run();
                    // Nobody is served any more.
                    server.client_filter(Some(&mut |_, _| rtsp_server::RTSPFilterResult::Remove));
                })
                .expect("its own context");
        };
        let thread = thread::spawn("rtsp-server", body).expect("a thread");
        let port = port.recv().expect("a server");
        let scheme = if told.certificate.is_some() { "rtsps" } else { "rtsp" };
        Self { port, scheme, main_loop, thread: Some(thread) }
    }

    /// Address of a mount point.
    pub fn url(&self, mount: &str) -> String {
        format!("{}://127.0.0.1:{}{mount}", self.scheme, self.port)
    }

    /// The same with a name and a password in it.
    pub fn url_for(&self, user: &str, password: &str, mount: &str) -> String {
        format!("{}://{user}:{password}@127.0.0.1:{}{mount}", self.scheme, self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.main_loop.quit();
        if let Some(thread) = self.thread.take() {
            // A fault in it has failed whoever was served.
            let _ = thread.join();
        }
    }
}

fn server_for(told: &Told) -> rtsp_server::RTSPServer {
    let server = rtsp_server::RTSPServer::new();
    server.set_address("127.0.0.1");
    server.set_service(&told.port.to_string());
    if told.auth.is_some() || told.certificate.is_some() {
        let auth = rtsp_server::RTSPAuth::new();
        if let Some(certificate) = &told.certificate {
            let certificate = gio::TlsCertificate::from_file(certificate).expect("a certificate and its key");
            auth.set_tls_certificate(Some(&certificate));
        }
        let mut token = rtsp_server::RTSPToken::builder().field("media.factory.role", USER).build();
        match told.auth {
            Some(Auth::Basic) => auth.add_basic(&rtsp_server::RTSPAuth::make_basic(USER, PASSWORD), &token),
            Some(Auth::Digest) => {
                auth.set_supported_methods(RTSPAuthMethod::Digest);
                auth.add_digest(USER, PASSWORD, &token);
            }
            None => auth.set_default_token(Some(&mut token)),
        }
        server.set_auth(Some(&auth));
    }
    let mounts = server.mount_points().expect("a server has them");
    for feed in &told.feeds {
        let factory = rtsp_server::RTSPMediaFactory::new();
        factory.set_launch(&feed.description());
        factory.set_shared(true);
        if feed.tcp_only {
            factory.set_protocols(RTSPLowerTrans::TCP);
        }
        let allowed = gst::Structure::builder(USER)
            .field("media.factory.access", true)
            .field("media.factory.construct", true)
            .build();
        factory.add_role_from_structure(&allowed);
        let own = feed.clone();
        factory.connect_media_configure(move |_, media| own.tamper(media));
        mounts.add_factory(&feed.mount, factory);
    }
    server
}

/// A server in a process of its own.
pub struct ServerProcess {
    child: Child,
    told: Told,
    test_binary: PathBuf,
}

impl ServerProcess {
    /// Starts one; returns when it accepts connections. Its port stays the same over restarts.
    pub fn start(mut told: Told) -> Self {
        let test_binary = std::env::current_exe().expect("this test");
        let (child, port) = spawn(&test_binary, &told);
        told.port = port;
        Self { child, told, test_binary }
    }

    pub fn url(&self, mount: &str) -> String {
        format!("rtsp://127.0.0.1:{}{mount}", self.told.port)
    }

    /// Ends it at once, as a power failure would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ended");
    }

    /// Starts it again after [`kill`](Self::kill), to show `feeds` if given.
    pub fn restart(&mut self, feeds: Option<Vec<Feed>>) {
        if let Some(feeds) = feeds {
            self.told.feeds = feeds;
        }
        self.child = spawn(&self.test_binary, &self.told).0;
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(test_binary: &Path, told: &Told) -> (Child, u16) {
    let mut command = Command::new(test_binary);
    command.args(["rtsp_server_process", "--exact", "--nocapture"]);
    command.env(TOLD, serde_json::to_string(told).expect("JSON"));
    served(command)
}

/// Starts a server and waits for the port that it says. It ends with its standard input.
fn served(mut command: Command) -> (Child, u16) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a server");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let port = loop {
        let line = lines.next().expect("it says its port").expect("text");
        if let Some((_, port)) = line.rsplit_once("serving on ") {
            break port.trim().parse().expect("a port");
        }
    };
    (child, port)
}

/// What the other process does, in which nothing else is tested: serves until it is killed, or whoever started it has gone.
pub fn serve_as_told() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let server = Server::start(&serde_json::from_str(&told).expect("what to serve"));
    println!("serving on {}", server.port);
    std::io::stdout().flush().expect("somebody reads");
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

/// A certificate authority and a server's certificate for `127.0.0.1` and `localhost`, made anew in `folder`.
pub struct Certificates {
    /// For `--tls-ca`.
    pub authority: PathBuf,
    /// Certificate with key, for the server.
    pub server: PathBuf,
}

impl Certificates {
    pub fn make(folder: &Path) -> Self {
        let at = |name: &str| folder.join(name);
        let run = |args: &[&str]| {
            let output = Command::new("openssl").args(args).current_dir(folder).output().expect("openssl is installed");
            assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let key = ["-newkey", "rsa:2048", "-nodes", "-days", "2"];
        let mut authority =
            vec!["req", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=streamdet test authority"];
        authority.extend(key);
        run(&authority);
        run(&[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
            "-subj",
            "/CN=localhost",
        ]);
        std::fs::write(at("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").expect("a file");
        run(&[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "names",
            "-out",
            "server.crt",
        ]);
        let mut both = std::fs::read(at("server.crt")).expect("a certificate");
        both.extend(std::fs::read(at("server.key")).expect("a key"));
        std::fs::write(at("server.pem"), both).expect("a file");
        Self { authority: at("ca.pem"), server: at("server.pem") }
    }
}

/// The server of `tests/live555/`, which owes nothing to `GStreamer`: the files of a folder (`.mkv`, `.ts`, `.264`) at their
/// names, until it is dropped.
pub struct Live555 {
    child: Child,
    port: u16,
}

impl Live555 {
    /// Starts it; `None`, with a word of it, where it was not built.
    pub fn start(folder: &Path) -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/live555/live555-server");
        if !program.exists() {
            skipped(&format!("no {} (make test builds it)", program.display()));
            return None;
        }
        let mut command = Command::new(program);
        command.arg(folder);
        let (child, port) = served(command);
        Some(Self { child, port })
    }

    pub fn url(&self, name: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Live555 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
