//! `streamdet serve`: one detector for HTTP requests and any number of streams.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;

use super::detect::DetectArgs;
use super::messages::{command_line, print_error, print_line, told};
use super::options::{DetectionOptions, DrawingOptions, Invocation, ModelOptions, TilingOptions};
use super::run::{Ready, metrics};
use super::settings::resolved;
use super::signals::Signals;
use super::units::{bytes, length};
use crate::clock::{Clock, RealClock};
use crate::config::{self, Layers, StreamConfig, stream_from};
use crate::detections::Feed;
use crate::detector::{DetectorOptions, Service, Wanted};
use crate::inference;
use crate::model::Origin;
use crate::monitoring::{Fleet, Liveness};
use crate::pipeline::{self, EventLog, Finder, Listener, Outcome, OutputSpec, SourceSpec};
use crate::report::{RunContext, RunReport};
use crate::secrets::{Secret, redact};
use crate::serve::live::{self, LiveOptions};
use crate::serve::streams::{self, Allowed, Begins, Launch, Launched, Options, Status, StreamError, Streams};
use crate::serve::{self, ApiOptions, Limits, Listen, Probes, ServeError, Server, Tls, page};
use crate::shutdown::Shutdown;
use crate::sink::{Hub, Target};
use crate::text::nearest;

const EXAMPLES: &str = "Examples:
  streamdet serve                                    http://127.0.0.1:8080: drop an image onto the page
  streamdet serve --stream gate=rtsp://cam/main      a stream, on the page and as JSON
  curl --data-binary @street.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8080/v1/detect
  curl -T gate.json http://127.0.0.1:8080/v1/streams/gate   {\"source\": \"rtsp://cam/main\", \"track\": true}
  STREAMDET_TOKEN=$(openssl rand -hex 32) streamdet serve --listen 0.0.0.0:8080

Exit codes: 0 stopped by SIGINT or SIGTERM; 1 failed while running; 2 unusable input or options.";

/// How often it is seen whether the detector still is there.
const LOOK: Duration = Duration::from_secs(1);

/// Options of a stream that a client may give, its source aside.
const CLIENT_KEYS: [&str; 37] = [
    "conf",
    "iou",
    "classes",
    "max-det",
    "agnostic",
    "imgsz",
    "tile",
    "target-latency",
    "frames",
    "stride",
    "track",
    "tracker",
    "track-buffer",
    "trails",
    "fixed-camera",
    "count-line",
    "zone",
    "anchor",
    "labels",
    "hide-labels",
    "line-width",
    "blur",
    "hud",
    "crf",
    "bitrate",
    "preset",
    "hdr",
    "max-lag",
    "jitter",
    "stall-timeout",
    "reconnect",
    "wait",
    "rtsp-transport",
    "user",
    "password",
    "insecure",
    "video-track",
];

/// What a stream that a client starts does not inherit from the configuration.
const NOT_INHERITED: [&str; 3] = ["user", "password", "insecure"];

/// Options of `serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Listen here: `:PORT` (loopback only) or `HOST:PORT` (with --token)
    #[arg(long, value_name = "ADDR", value_parser = serve::address, default_value = ":8080", help_heading = "Server")]
    listen: SocketAddr,
    /// Bearer token, needed where other machines reach the address; visible in the process list, unlike `STREAMDET_TOKEN` and the
    /// config file
    #[arg(long, value_name = "TOKEN", value_parser = serve::token, help_heading = "Server")]
    token: Option<Secret>,
    /// Certificate for HTTPS, a PEM file, followed by those that signed it
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Server")]
    tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Server")]
    tls_key: Option<PathBuf>,
    /// Requests that may wait for the detector; further ones are refused (503)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Server")]
    queue: u16,
    /// Longest body of a request: 500KB, 32MB
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "32MB", help_heading = "Server")]
    max_body: u64,
    /// Largest image, megapixels
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1000), help_heading = "Server")]
    max_pixels: u64,
    /// Finish requests and outputs within this time when stopped
    #[arg(long, value_name = "LENGTH", value_parser = length, default_value = "30s", help_heading = "Server")]
    grace: Duration,
    /// Watch so many streams at once by WebRTC or as JPEGs, all viewers together; further ones are refused (503)
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Server")]
    max_viewers: u16,
    /// A stream: its name, and its source as `detect` takes it; repeatable
    #[arg(long, value_name = "NAME=SOURCE", help_heading = "Streams")]
    stream: Vec<String>,
    /// Sources that may be started over HTTP: schemes (rtsp), or with a host (`rtsp://cam1.example`, `rtsp://*.example`), comma separated
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Streams")]
    allow: Vec<Allowed>,
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    detections: DetectionOptions,
    #[command(flatten)]
    tiling: TilingOptions,
    #[command(flatten)]
    drawing: DrawingOptions,
    #[command(flatten)]
    invocation: Invocation,
}

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &ServeArgs, layers: &Layers) -> u8 {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    let signals = Signals::watch();
    let result = serve(args, layers, &clock, &signals.shutdown);
    // Being told to stop is its normal end.
    signals.stopped(result)
}

fn serve(args: &ServeArgs, layers: &Layers, clock: &Arc<dyn Clock>, shutdown: &Shutdown) -> anyhow::Result<u8> {
    args.invocation.start_logs()?;
    gstreamer::init()?;
    let listen = Listen { option: "--listen", address: args.listen, token: args.token.clone() };
    serve::check_token(&listen)?;
    let configured = config::streams::<DetectArgs>(layers)?;
    let (runtime, model) = args.model.load()?;
    let outputs = inference::inspect(&runtime, &model.file)?.outputs;
    let origin = Origin::from(&model);
    let wanted = args.wanted(&origin)?;
    let options = DetectorOptions {
        wanted: wanted.clone(),
        provider: args.model.provider_options(),
        clock: clock.clone(),
        ..DetectorOptions::of(&model)
    };
    let service = Arc::new(Service::start(&runtime, &model, options, args.queue.into())?);
    let metrics = Arc::new(Fleet::default());
    // Whoever may name a host is not told the password of another, and files are the configuration's.
    let inherited: Vec<&str> = CLIENT_KEYS.into_iter().filter(|key| !NOT_INHERITED.contains(key)).collect();
    let launcher = Arc::new(Launcher {
        inherited: layers.only(&inherited),
        allowed: if args.allow.is_empty() { Allowed::by_default() } else { args.allow.clone() },
        service: service.clone(),
        origin: origin.clone(),
        clock: clock.clone(),
    });
    let first_run = jiff::Timestamp::now().as_millisecond().unsigned_abs();
    let streams = Streams::new(launcher.clone(), metrics.clone(), shutdown, first_run);
    let mut all = configured;
    all.extend(args.streams(layers)?);
    let mut taken = HashSet::new();
    if let Some(twice) = all.iter().find(|config| !taken.insert(&config.name)) {
        anyhow::bail!(
            "{}: a stream called {} is there already\n  give each a name of its own",
            twice.place,
            twice.name
        );
    }
    let (ready, stopping) = (metrics.clone(), shutdown.clone());
    let not_ready: NotReady =
        Arc::new(
            move || {
                if stopping.is_requested() { vec!["streamdet is being stopped".into()] } else { ready.not_ready() }
            },
        );
    let missing = not_ready.clone();
    let images = ApiOptions {
        service: service.clone(),
        model,
        outputs,
        wanted,
        style: args.drawing.style(),
        max_pixels: args.max_pixels * 1_000_000,
        clock: clock.clone(),
        has_token: args.token.is_some(),
        is_ready: Box::new(move || missing().is_empty()),
    };
    let api = serve::api(images, vec![streams::described(), live::described()])?;
    let routes = |address| Ok(api.merge(routes(args, address, &streams, &metrics, (clock, not_ready))?));
    let server = Server::start_with(listen, args.tls().as_ref(), routes, args.limits())?;
    for config in all {
        let place = config.place.clone();
        let started = streams.start(&config.name, place.clone(), |begins| launcher.start(&config, begins, false));
        if let Err(error) = started {
            // What was begun is finished.
            streams.end_all();
            return Err(anyhow::Error::from(error).context(place));
        }
    }
    let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
    let provider = service.provider();
    let runs_on = format!("{} ({})", provider.actual.name(), provider.detail);
    print_line(&format!("  {scheme}://{}/ · {} · {runs_on}", server.address(), origin.name));
    while !shutdown.wait(LOOK) && !service.has_ended() {}
    let mut code = u8::from(service.has_ended());
    if code > 0 {
        shutdown.request();
    }
    for (name, error) in streams.end_all() {
        print_error(&format!("{name}: {error}"));
        code = 1;
    }
    server.close()?;
    drop((streams, launcher));
    // Streams and requests are answered: nobody else holds it.
    if let Some(Err(panicked)) = Arc::into_inner(service).map(Service::close) {
        print_error(&panicked);
    }
    Ok(code)
}

/// Says what is missing before requests are taken.
type NotReady = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Everything that is answered at `address`.
fn routes(
    args: &ServeArgs,
    address: SocketAddr,
    streams: &Arc<Streams>,
    metrics: &Arc<Fleet>,
    (clock, not_ready): (&Arc<dyn Clock>, NotReady),
) -> Result<axum::Router, ServeError> {
    let liveness = Liveness::new(clock.clone());
    let written = metrics.clone();
    let probes = serve::probes(Probes {
        hung: Box::new(move || liveness.hung()),
        not_ready: Box::new(move || not_ready()),
        metrics: Box::new(move |text| written.write(text)),
    });
    let viewing = LiveOptions { listen: address, max_viewers: args.max_viewers.into() };
    Ok(probes
        .merge(streams::routes(streams.clone()))
        .merge(live::routes(streams.clone(), &viewing)?)
        .merge(page::routes()))
}

impl ServeArgs {
    /// What is asked for where neither a request nor a stream asks for something else.
    fn wanted(&self, origin: &Origin) -> anyhow::Result<Wanted> {
        Ok(Wanted {
            imgsz: self.model.imgsz.unwrap_or(origin.default_size),
            thresholds: self.detections.thresholds(origin)?,
            tiling: self.tiling.tile,
            target_latency: self.tiling.target_latency.map(Duration::from_millis),
        })
    }

    /// Those of `--stream`.
    fn streams(&self, layers: &Layers) -> anyhow::Result<Vec<StreamConfig<DetectArgs>>> {
        let stream = |text: &String| {
            let (name, source) = text
                .split_once('=')
                .ok_or_else(|| anyhow!("--stream {text}: give NAME=SOURCE, as gate=rtsp://cam/main"))?;
            let own = Options::from_iter([("source".to_owned(), source.into())]);
            Ok(stream_from(layers, name, &own, &format!("--stream {name}"))?)
        };
        self.stream.iter().map(stream).collect()
    }

    fn tls(&self) -> Option<Tls> {
        let (cert, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        Some(Tls { cert, key })
    }

    fn limits(&self) -> Limits {
        Limits { grace: self.grace, body: usize::try_from(self.max_body).unwrap_or(usize::MAX), ..Limits::default() }
    }
}

/// Makes streams' runs.
struct Launcher {
    /// By streams that clients start.
    inherited: Layers,
    allowed: Vec<Allowed>,
    service: Arc<Service>,
    origin: Origin,
    clock: Arc<dyn Clock>,
}

impl Launch for Launcher {
    fn launch(&self, name: &str, options: &Options, begins: Begins) -> Result<Launched, StreamError> {
        check_client(options, &self.allowed)?;
        let config = stream_from::<DetectArgs>(&self.inherited, name, options, &format!("PUT /v1/streams/{name}"));
        let config = config.map_err(|error| StreamError::Options(redact(&error.to_string())))?;
        self.start(&config, begins, true)
    }
}

impl Launcher {
    /// Makes a stream ready.
    fn start(
        &self,
        config: &StreamConfig<DetectArgs>,
        begins: Begins,
        from_client: bool,
    ) -> Result<Launched, StreamError> {
        let Begins { changed, shutdown } = begins;
        let unusable = |error: anyhow::Error| StreamError::Options(redact(&told(&error)));
        let name = config.name.as_str();
        let mut task = config.args.task().map_err(unusable)?;
        let hub = Hub::new(name);
        let sources = task.plan.jobs.len();
        let [job] = &mut task.plan.jobs[..] else {
            return Err(StreamError::Options(format!("a stream has one source, and this names {sources}")));
        };
        let source = job.name.clone();
        task.stream_name = Some(name.to_owned());
        // Unasked, nothing is written; a recording is shown in its own time.
        if !config.chose("output") {
            job.output = OutputSpec::None;
        }
        job.paced = !config.chose("full-speed");
        match &mut job.output {
            OutputSpec::Stream(targets) => targets.push(Target::Viewers(hub.clone())),
            output @ OutputSpec::None if !matches!(job.source, SourceSpec::Images(_)) => {
                *output = OutputSpec::Stream(vec![Target::Viewers(hub.clone())]);
            }
            // Images are written one by one.
            _ => {}
        }
        let run = config.args.options();
        let (requested, origin, clock) = (run.model.provider, self.origin.clone(), self.clock.clone());
        let mut settings = run.settings(&task, &origin, false).map_err(|e| unusable(e.into()))?;
        // A camera that is not there yet is no reason to give up.
        settings.live.wait |= !config.chose("wait");
        // Where a client may go was checked; where a server sends it was not.
        settings.live.redirects = !from_client;
        let claimed = run.claim(&task).map_err(unusable)?;
        claimed.left.iter().for_each(|left| print_line(&format!("  {name}: {left}")));
        let Ready { settings, instruments, mut detections } =
            claimed.open(settings, &origin, &shutdown).map_err(unusable)?;

        let metrics = Arc::new(metrics(&settings, &origin, &clock).named(name));
        let mut shapes = (Vec::new(), Vec::new());
        if let Some(counting) = &settings.counting {
            shapes.0 = counting.shapes.lines.iter().map(|line| line.name().clone()).collect();
            shapes.1 = counting.shapes.zones.iter().map(|zone| zone.name().to_string()).collect();
        }
        let status = Arc::new(Status::new(name, &source, origin.classes.clone(), shapes, clock.clone()));
        let feed = Feed::new(origin.classes.clone(), changed);
        detections.push(Box::new(feed.clone()));
        let instruments = Arc::new(instruments);
        let listeners: Vec<Arc<dyn Listener>> =
            vec![status.clone(), metrics.clone(), instruments.clone(), Arc::new(EventLog)];
        let finder = Finder::Service(self.service.clone(), Box::new(origin.clone()));
        let run = Box::new(move || {
            let said = resolved(&settings, &origin);
            let Outcome { figures, errors } =
                pipeline::run(settings, &finder, clock.clone(), Arc::new(listeners), detections, &shutdown);
            let context = RunContext { command: command_line(), origin: &origin, requested, settings: said };
            let report = RunReport::assemble(&context, &figures, clock.now());
            let mut failed: Vec<String> = errors.iter().map(ToString::to_string).collect();
            failed.extend(instruments.finish(&report, &figures.book).iter().map(ToString::to_string));
            (!failed.is_empty()).then(|| redact(&failed.join("; ")))
        });
        Ok(Launched { run, status, feed, metrics, hub })
    }
}

/// Checks what a client asks for: nothing that reads or writes a file, and no source but those that are allowed.
fn check_client(options: &Options, allowed: &[Allowed]) -> Result<(), StreamError> {
    let is_known = |key: &&String| *key == "source" || CLIENT_KEYS.contains(&key.as_str());
    if let Some(key) = options.keys().find(|key| !is_known(key)) {
        let known = std::iter::once("source").chain(CLIENT_KEYS);
        let nearest = nearest(key, known).unwrap_or_default();
        return Err(StreamError::Options(format!(
            "{key}: not an option of a stream that is started over HTTP; the nearest is {nearest}. Files, outputs and options of the \
             process belong into the configuration"
        )));
    }
    let source = options.get("source").and_then(|source| source.as_str());
    let source =
        source.ok_or_else(|| StreamError::Options("give a source, as {\"source\": \"rtsp://cam/main\"}".into()))?;
    streams::check_source(source, allowed).map_err(StreamError::Forbidden)
}
