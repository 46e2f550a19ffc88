//! The server that all tests of a kind share, with the built-in model.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use axum::Router;
use streamdet::clock;
use streamdet::detector::{DetectorOptions, Service, Wanted};
use streamdet::frame::pixelate::Pixelation;
use streamdet::inference::{self, ProviderChoice, ProviderOptions, Runtime};
use streamdet::model::{Model, ModelRef};
use streamdet::overlay::Style;
use streamdet::secrets::Secret;
use streamdet::serve::{self, ApiOptions, Defaults, Limits, Listen, Probes, Server, SharedDefaults};

/// Requests that may wait for the detector.
pub const QUEUE: usize = 32;

pub fn runtime() -> &'static (Runtime, Model, Vec<streamdet::model::facts::TensorFacts>) {
    static MODEL: OnceLock<(Runtime, Model, Vec<streamdet::model::facts::TensorFacts>)> = OnceLock::new();
    MODEL.get_or_init(|| {
        let runtime = Runtime::load(None, ProviderChoice::Cpu).expect("ONNX Runtime is installed");
        let reference = ModelRef::resolve(None).expect("the built-in model");
        let facts = inference::inspect(&runtime, reference.file()).expect("it can be read");
        let outputs = facts.outputs.clone();
        (runtime, Model::build(reference, &facts).expect("its layout is known"), outputs)
    })
}

/// A detector with the built-in model.
pub fn service(queue: usize) -> Arc<Service> {
    let (runtime, model, _) = runtime();
    let provider = ProviderOptions { choice: ProviderChoice::Cpu, ..ProviderOptions::default() };
    let options = DetectorOptions { provider, ..DetectorOptions::of(model) };
    Arc::new(Service::start(runtime, model, options, queue).expect("it runs"))
}

/// The routes for images of a detector.
pub fn routes(service: Arc<Service>) -> Router {
    let (_, model, outputs) = runtime();
    let options = ApiOptions {
        service,
        model: model.clone(),
        outputs: outputs.clone(),
        defaults: SharedDefaults::new(Defaults {
            wanted: Wanted::of(model),
            style: Style::default(),
            pixelation: Pixelation::default(),
        }),
        max_pixels: 64_000_000,
        clock: clock::process().clone(),
        has_token: false,
        is_ready: Box::new(|| true),
    };
    serve::api(options, Vec::new()).expect("GStreamer starts").merge(probes())
}

pub fn probes() -> Router {
    serve::probes(Probes {
        hung: Box::new(Vec::new),
        not_ready: Box::new(Vec::new),
        metrics: Box::new(|text| text.push_str("up 1\n")),
    })
}

pub fn listen(token: Option<&str>) -> Listen {
    Listen { option: "--listen", address: ([127, 0, 0, 1], 0).into(), token: token.map(Secret::new) }
}

pub fn start(routes: Router, limits: Limits) -> Server {
    Server::start(listen(None), None, routes, limits).expect("a server")
}

/// The server with the model; it ends with the tests.
pub fn shared() -> SocketAddr {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| start(routes(service(QUEUE)), Limits::default())).address()
}

/// The built-in model's sample image.
pub fn sample() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/visdrone-nano.jpg")).expect("the sample")
}

/// An image that `ffmpeg` makes of the sample.
pub fn converted(ending: &str, options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(format!("image.{ending}"));
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/models/visdrone-nano.jpg");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i", sample]).args(options).arg(&path);
    assert!(command.status().expect("ffmpeg is installed").success());
    std::fs::read(path).expect("an image")
}
