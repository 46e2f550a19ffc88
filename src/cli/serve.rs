//! `streamdet serve`: one detector for HTTP requests and any number of streams.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;

use super::detect::DetectArgs;
use super::fleet::FleetOptions;
use super::launch::{Clients, Launcher, check_distinct};
use super::messages::{print_error, print_line, told};
use super::options::{DetectionOptions, DrawingOptions, Invocation, ModelOptions, TilingOptions};
use super::settings::{pixelation, wanted};
use super::signals::{HungUp, Signals};
use crate::clock::{Clock, Deadline, RealClock};
use crate::config::{self, Change, ConfigError, Layers, StreamConfig, stream_from};
use crate::detector::{DetectorOptions, Service};
use crate::fleet::Member;
use crate::inference;
use crate::model::Origin;
use crate::monitoring::{Liveness, MergedMetrics, Metrics};
use crate::secrets::Secret;
use crate::serve::live::{self, LiveOptions};
use crate::serve::reload::{self, New, Running};
use crate::serve::streams::{self, Allowed, Asked, Options, Streams};
use crate::serve::{
    self, ApiOptions, Defaults, Limits, Listen, Probes, Problem, ServeError, Server, SharedCertificate, SharedDefaults,
    Tls, page,
};
use crate::shutdown::Shutdown;
use crate::source::{prefer_decoder, trim_after_images};
use crate::units::{Bytes, length};

const EXAMPLES: &str = "Examples:
  streamdet serve                                    http://127.0.0.1:8080: drop an image onto the page
  streamdet serve --stream gate=rtsp://cam/main      a stream, on the page and as JSON
  curl --data-binary @street.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8080/v1/detect
  curl -T gate.json http://127.0.0.1:8080/v1/streams/gate   {\"source\": \"rtsp://cam/main\", \"track\": true}
  STREAMDET_TOKEN=$(openssl rand -hex 32) streamdet serve --listen 0.0.0.0:8080
  streamdet serve --fleet nats://hub --capacity 6    its share of streams that several machines run (docs/fleet.md)

SIGHUP reads the config file and the certificate again, as POST /v1/reload does.

Exit codes: 0 stopped by SIGINT or SIGTERM; 1 failed while running; 2 unusable input or options.";

/// How often it is seen whether the detector still is there.
const LOOK: Duration = Duration::from_secs(1);

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
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, a PEM file
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    tls_key: Option<PathBuf>,
    /// Requests that may wait for the detector; further ones are refused (503)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "Server")]
    queue: u16,
    /// Longest body of a request: 500KB, 32MB
    #[arg(long, value_name = "SIZE", value_parser = clap::value_parser!(Bytes), default_value = "32MB", help_heading = "Server")]
    max_body: Bytes,
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
    fleet: FleetOptions,
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

/// The command line with what lies below it, as it is when this is called.
pub type ReadAgain = fn() -> Result<(ServeArgs, Layers), ConfigError>;

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &ServeArgs, layers: &Layers, read_again: ReadAgain) -> u8 {
    let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
    let (signals, hung_up) = Signals::of_a_server();
    let result = serve((args, layers, read_again), &clock, (&signals.shutdown, &hung_up));
    // Being told to stop is its normal end.
    signals.stopped(result)
}

fn serve(
    (args, layers, read_again): (&ServeArgs, &Layers, ReadAgain),
    clock: &Arc<dyn Clock>,
    (shutdown, hung_up): (&Shutdown, &HungUp),
) -> anyhow::Result<u8> {
    args.invocation.start_logs()?;
    gstreamer::init()?;
    let listen = args.listening();
    serve::check_token(&listen)?;
    args.fleet.check()?;
    let certificate = args.tls().map(|tls| tls.read()).transpose()?.map(SharedCertificate::new);
    let all = args.distinct(layers)?;
    // The decoder is the process's: all of them name the same.
    all.first().map_or(Ok(()), |stream| prefer_decoder(stream.args.options().live.decoder.as_deref()))?;
    let (runtime, model) = args.model.load()?;
    let outputs = inference::inspect(&runtime, &model.file)?.outputs;
    let origin = Origin::from(&model);
    let settings = config::comparable(layers, &all);
    let defaults = args.defaults(&origin)?;
    let clients = Clients::new(layers, &args.allow);
    let options = DetectorOptions {
        wanted: defaults.wanted.clone(),
        provider: args.model.provider_options(),
        clock: clock.clone(),
        ..DetectorOptions::of(&model)
    };
    // Those that wait, and those that are run.
    let places = usize::from(args.queue) + usize::from(args.model.batch);
    let service = Arc::new(Service::start(&runtime, &model, options, places)?);
    let provider = service.provider();
    let program = Metrics::new(&[], &origin, clock.clone()).running_on(provider);
    let metrics = Arc::new(MergedMetrics::of(program));
    let defaults = SharedDefaults::new(defaults);
    let launcher = Arc::new(Launcher::new(clients, service.clone(), origin.clone(), clock.clone()));
    let first_run = jiff::Timestamp::now().as_millisecond().unsigned_abs();
    let streams = Streams::new(launcher.clone(), metrics.clone(), shutdown, first_run);
    let not_ready = not_ready(&metrics, shutdown);
    let missing = not_ready.clone();
    let images = ApiOptions {
        service: service.clone(),
        model,
        outputs,
        defaults: defaults.clone(),
        max_pixels: args.max_pixels * 1_000_000,
        clock: clock.clone(),
        has_token: args.token.is_some(),
        is_ready: Box::new(move || missing().is_empty()),
    };
    let api = serve::api(images, vec![streams::described(), live::described(), reload::described()])?;
    let own = launcher.clone();
    let running = Arc::new(Running {
        settings: Mutex::new(settings),
        streams: streams.clone(),
        defaults,
        certificate: certificate.clone(),
        check: Box::new(move |stream| own.checked(stream, false)),
        adjust: Box::new(DetectArgs::adjust(origin.conf)),
    });
    // Nothing is read again before everything has started.
    let begun = running.clone();
    let starting = begun.hold();
    let read = {
        let (origin, launcher) = (origin.clone(), launcher.clone());
        move || new(read_again, &origin, &launcher).map_err(|error| told(&error))
    };
    let reload: reload::Reload = Arc::new(move || {
        let done = running.reload(&read);
        say_reload(&done);
        done
    });
    let again = reload.clone();
    let routes = |address| {
        let routes = routes(args, address, &streams, &metrics, (clock, not_ready))?;
        Ok(api.merge(routes).merge(reload::routes(again)))
    };
    let server = Server::start_with(listen, certificate, routes, args.limits())?;
    if let Err(error) = start_all(all, &streams, &launcher) {
        // What was begun is finished, and who waits to read again is told so.
        drop(starting);
        streams.end_all(args.grace);
        return Err(error);
    }
    drop(starting);
    let scheme = if args.tls().is_some() { "https" } else { "http" };
    print_line(&format!("  {scheme}://{}/ · {} · {}", server.address(), origin.name, provider.summary()));
    if let Some(notice) = &provider.notice {
        print_line(&format!("  notice: {notice}"));
    }
    let member = args.fleet.join(&streams, &metrics)?;
    let has_ended = || service.has_ended() || member.as_ref().is_some_and(Member::has_ended);
    while !shutdown.wait(LOOK) && !has_ended() {
        trim_after_images(clock.now());
        // What comes of it is said.
        let _ = hung_up.take().then(|| reload());
    }
    let deadline = Deadline::after(args.grace);
    let left = member.map_or(Ok(()), |member| member.leave(deadline.left()));
    if let Err(error) = &left {
        print_error(error);
    }
    let (late, failed) = streams.end_all(deadline.left());
    late.iter().for_each(print_error);
    let code = u8::from(service.has_ended() || left.is_err() || !late.is_empty() || failed > 0);
    server.close_within(deadline.left())?;
    drop((streams, launcher, reload, begun));
    // Streams and requests are answered: nobody else holds it.
    if let Some(Err(panicked)) = Arc::into_inner(service).map(Service::close) {
        print_error(&panicked);
    }
    Ok(code)
}

/// Starts configured streams.
fn start_all(
    all: Vec<StreamConfig<DetectArgs>>,
    streams: &Arc<Streams>,
    launcher: &Arc<Launcher>,
) -> anyhow::Result<()> {
    for config in all {
        let started = streams.start(&config.name, Asked::Configuration, || launcher.checked(&config, false));
        started.map_err(|error| anyhow::Error::from(error).context(config.place))?;
    }
    Ok(())
}

/// The configuration as it is now.
fn new(read_again: ReadAgain, origin: &Origin, launcher: &Arc<Launcher>) -> anyhow::Result<New<DetectArgs>> {
    let (args, layers) = read_again()?;
    serve::check_token(&args.listening())?;
    let streams = args.distinct(&layers)?;
    let (launcher, clients) = (launcher.clone(), Clients::new(&layers, &args.allow));
    Ok(New {
        settings: config::comparable(&layers, &streams),
        streams,
        defaults: args.defaults(origin)?,
        tls: args.tls(),
        apply: Box::new(move || launcher.allow(clients)),
    })
}

fn say_reload(done: &Result<Vec<Change>, Problem>) {
    match done {
        Ok(changes) if changes.is_empty() => print_line("  configuration read again: nothing has changed"),
        Ok(changes) => changes.iter().for_each(|change| print_line(&format!("  {change}"))),
        Err(problem) => print_error(&problem.detail()),
    }
}

/// Says what is missing before requests are taken.
type NotReady = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

fn not_ready(metrics: &Arc<MergedMetrics>, shutdown: &Shutdown) -> NotReady {
    let (ready, stopping) = (metrics.clone(), shutdown.clone());
    Arc::new(
        move || {
            if stopping.is_requested() { vec!["streamdet is being stopped".into()] } else { ready.not_ready() }
        },
    )
}

/// Everything that is answered at `address`.
fn routes(
    args: &ServeArgs,
    address: SocketAddr,
    streams: &Arc<Streams>,
    metrics: &Arc<MergedMetrics>,
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
    /// What a request gets where it does not say.
    fn defaults(&self, origin: &Origin) -> anyhow::Result<Defaults> {
        let wanted = wanted(&self.model, &self.detections, &self.tiling, origin)?;
        let pixelation = pixelation(&self.drawing.blur, &wanted.thresholds, origin)?;
        Ok(Defaults { style: self.drawing.style(), pixelation, wanted })
    }

    /// What stands against it, its streams aside; what needs the model's classes is looked at where there is one.
    pub(super) fn unusable(&self, origin: Option<&Origin>) -> Vec<anyhow::Error> {
        let token = serve::check_token(&self.listening()).err().map(Into::into);
        let certificate = self.tls().and_then(|tls| tls.read().err()).map(Into::into);
        let defaults = origin.and_then(|origin| self.defaults(origin).err());
        [token, certificate, defaults].into_iter().flatten().collect()
    }

    /// Its streams, those of the config file first.
    pub(super) fn configured(&self, layers: &Layers) -> anyhow::Result<Vec<StreamConfig<DetectArgs>>> {
        let mut all = config::streams::<DetectArgs>(layers)?;
        all.extend(self.streams(layers)?);
        let mut taken = HashSet::new();
        if let Some(twice) = all.iter().find(|config| !taken.insert(&config.name)) {
            anyhow::bail!(
                "{}: a stream called {} is there already\n  give each a name of its own",
                twice.place,
                twice.name
            );
        }
        Ok(all)
    }

    /// The same, no two of which write one file.
    fn distinct(&self, layers: &Layers) -> anyhow::Result<Vec<StreamConfig<DetectArgs>>> {
        let all = self.configured(layers)?;
        check_distinct(&all)?;
        Ok(all)
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

    /// Where it listens, and for whom.
    pub(super) fn listening(&self) -> Listen {
        Listen { option: "--listen", address: self.listen, token: self.token.clone() }
    }

    /// The certificate's files.
    pub(super) fn tls(&self) -> Option<Tls> {
        let (cert, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        Some(Tls { cert, key })
    }

    fn limits(&self) -> Limits {
        Limits { grace: self.grace, body: usize::try_from(self.max_body.0).unwrap_or(usize::MAX), ..Limits::default() }
    }
}
