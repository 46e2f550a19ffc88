//! Execution providers: what is registered, in which order, and with which options.

use std::path::{Path, PathBuf};

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProvider, ExecutionProviderDispatch};

use super::choice::{Precision, ProviderChoice};
use super::{InferenceError, Runtime};
use crate::tensor::{InputPort, InputShape};

/// Everything a session needs to know about where it runs.
#[derive(Debug, Clone, Default)]
pub struct ProviderOptions {
    /// What the user asked for.
    pub choice: ProviderChoice,
    /// Arithmetic.
    pub precision: Precision,
    /// GPU to use, as the CUDA driver counts them, from 0.
    pub device_id: i32,
    /// Frames of one run, at most: `TensorRT` compiles for all batches up to there. 0 and 1: one.
    pub batch: usize,
    /// Threads of one run; `None`: one a core.
    pub threads: Option<usize>,
    /// Where compiled models are kept.
    pub cache_dir: Option<PathBuf>,
    /// Let the runtime's profiler write a trace to a file whose path begins so; [`Engine::end_profiling`] finishes it.
    ///
    /// [`Engine::end_profiling`]: super::Engine::end_profiling
    pub trace: Option<PathBuf>,
    /// Run the graph node by node as it is written, without the runtime's optimisations.
    pub as_written: bool,
}

/// Which provider runs, and why the others do not.
#[derive(Debug, Clone)]
pub struct ProviderReport {
    /// What the user asked for.
    pub requested: ProviderChoice,
    /// What runs: the first one registered to which ONNX Runtime gave nodes.
    pub actual: ProviderChoice,
    /// Precision, for people: `bf16`.
    pub detail: String,
    /// Nodes of the graph that each provider runs, as ONNX Runtime says; empty where it does not say.
    pub nodes: Vec<(String, usize)>,
    /// Providers that were tried before, each with its reason.
    pub rejected: Vec<(ProviderChoice, String)>,
    /// What the user should know: where it runs is not where it could be expected to.
    pub notice: Option<String>,
}

impl ProviderReport {
    /// For people: `openvino (bf16)`, `tensorrt (fp16), 3 of 250 nodes on cuda`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = format!("{} ({})", self.actual.name(), self.detail);
        let all: usize = self.nodes.iter().map(|(_, nodes)| nodes).sum();
        for (provider, nodes) in self.nodes.iter().filter(|(name, _)| name != self.actual.name()) {
            text = format!("{text}, {nodes} of {all} nodes on {provider}");
        }
        text
    }
}

/// A provider as it is registered: what is sent to it, word for word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registration {
    pub provider: ProviderChoice,
    pub options: Vec<(&'static str, String)>,
}

/// The shapes that `TensorRT` compiles an engine for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShapeProfile {
    min: String,
    max: String,
}

impl ShapeProfile {
    /// For batches up to that of `largest`, and its height and width alone; `None` where the graph takes one shape only, or its
    /// inputs have names that an option cannot hold.
    pub fn new(port: &InputPort, largest: InputShape) -> Option<Self> {
        port.symbols.iter().any(Option::is_some).then_some(())?;
        let names = std::iter::once(&port.name).chain(&port.target_sizes);
        // `NAME:1x3x384x640,NAME:1x2`.
        names.into_iter().all(|name| !name.is_empty() && !name.contains([':', ','])).then_some(())?;
        let of = |batch: usize| {
            let [_, channels, height, width] = largest.dims();
            let dims =
                if port.channels_last { [batch, height, width, channels] } else { [batch, channels, height, width] };
            let dims = dims.map(|dim| dim.to_string()).join("x");
            let sizes = port.target_sizes.iter().map(|name| format!(",{name}:{batch}x2"));
            std::iter::once(format!("{}:{dims}", port.name)).chain(sizes).collect::<String>()
        };
        let least = if port.symbols[0].is_some() { 1 } else { largest.batch };
        Some(Self { min: of(least), max: of(largest.batch) })
    }
}

/// `provider` and what stands behind it, in order: what the first does not take goes to the next.
pub(super) fn registrations(
    provider: ProviderChoice,
    precision: Precision,
    options: &ProviderOptions,
    profile: Option<&ShapeProfile>,
) -> Vec<Registration> {
    let cpu = Registration { provider: ProviderChoice::Cpu, options: Vec::new() };
    match provider {
        ProviderChoice::Auto | ProviderChoice::Cpu => vec![cpu],
        ProviderChoice::Openvino => vec![openvino(precision, options)],
        ProviderChoice::Cuda => vec![cuda(precision, options), cpu],
        ProviderChoice::Tensorrt => vec![tensorrt(precision, options, profile), cuda(precision, options), cpu],
    }
}

/// Primitives that OpenVINO keeps of a session for any shape, a few dozen a shape: its own limit, 5000, takes a gigabyte where every image
/// has another size (<https://github.com/openvinotoolkit/openvino/issues/23316>), and is no faster. Sizes that are usual have sessions of their own.
const OPENVINO_PRIMITIVES: u32 = 256;

fn openvino(precision: Precision, options: &ProviderOptions) -> Registration {
    let hint = if precision == Precision::Bf16 { "bf16" } else { "f32" };
    let config = serde_json::json!({"CPU": {
        "INFERENCE_PRECISION_HINT": hint,
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_RUNTIME_CACHE_CAPACITY": OPENVINO_PRIMITIVES.to_string(),
    }});
    let mut sent = vec![("device_type", "CPU".to_owned()), ("load_config", config.to_string())];
    sent.extend(options.threads.map(|threads| ("num_of_threads", threads.to_string())));
    sent.extend(cache(options, Path::new("openvino")).map(|folder| ("cache_dir", folder)));
    Registration { provider: ProviderChoice::Openvino, options: sent }
}

fn cuda(precision: Precision, options: &ProviderOptions) -> Registration {
    // Nodes that TensorRT leaves to it are fp32 in the graph.
    let tf32 = precision != Precision::Fp32;
    let sent = vec![
        ("device_id", options.device_id.to_string()),
        ("arena_extend_strategy", "kSameAsRequested".to_owned()),
        ("cudnn_conv_algo_search", "EXHAUSTIVE".to_owned()),
        ("use_tf32", flag(tf32)),
    ];
    Registration { provider: ProviderChoice::Cuda, options: sent }
}

fn tensorrt(precision: Precision, options: &ProviderOptions, profile: Option<&ShapeProfile>) -> Registration {
    let int8 = precision == Precision::Int8;
    let mut sent = vec![
        ("device_id", options.device_id.to_string()),
        ("trt_fp16_enable", flag(int8 || precision == Precision::Fp16)),
        ("trt_int8_enable", flag(int8)),
    ];
    if precision == Precision::Bf16 {
        sent.push(("trt_bf16_enable", flag(true)));
    }
    if let Some(ShapeProfile { min, max }) = profile {
        // The fullest batch is the one that has to be fast.
        sent.push(("trt_profile_min_shapes", min.clone()));
        sent.push(("trt_profile_opt_shapes", max.clone()));
        sent.push(("trt_profile_max_shapes", max.clone()));
    }
    // By precision: an engine's name does not say whether it uses TF32. Without a folder it would be written into the current one.
    if let Some(folder) = cache(options, &Path::new("tensorrt").join(precision.name())) {
        sent.push(("trt_engine_cache_enable", flag(true)));
        sent.push(("trt_engine_cache_path", folder.clone()));
        sent.push(("trt_timing_cache_enable", flag(true)));
        sent.push(("trt_timing_cache_path", folder));
    }
    Registration { provider: ProviderChoice::Tensorrt, options: sent }
}

fn flag(on: bool) -> String {
    if on { "1" } else { "0" }.to_owned()
}

/// A provider's folder in the cache, made where it is not there.
fn cache(options: &ProviderOptions, name: &Path) -> Option<String> {
    let folder = options.cache_dir.as_ref()?.join(name);
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.display().to_string())
}

impl Registration {
    /// Ready to be registered.
    ///
    /// # Errors
    /// When the runtime has no such provider.
    pub fn dispatch(self, runtime: &Runtime) -> Result<ExecutionProviderDispatch, InferenceError> {
        let name = self.provider.name();
        let fail = |problem: String| InferenceError::Provider { provider: name, problem };
        if let Some(library) = self.provider.library()
            && !runtime.folder().join(library).exists()
        {
            let remedy = if self.provider.is_gpu() { "; `make setup-cuda` installs it" } else { "" };
            return Err(fail(format!("{library} is not beside {}{remedy}", runtime.path().display())));
        }
        let (built_in, dispatch) = match self.provider {
            ProviderChoice::Auto | ProviderChoice::Cpu => (Ok(true), ep::CPU::default().build()),
            ProviderChoice::Openvino => (Ok(true), configured(ep::OpenVINO::default(), self.options).into()),
            ProviderChoice::Cuda => (ep::CUDA::is_available(), configured(ep::CUDA::default(), self.options).into()),
            ProviderChoice::Tensorrt => {
                (ep::TensorRT::is_available(), configured(ep::TensorRT::default(), self.options).into())
            }
        };
        if !built_in.unwrap_or(false) {
            return Err(fail("this ONNX Runtime was built without it".into()));
        }
        Ok(dispatch.error_on_failure())
    }
}

fn configured<P: ArbitrarilyConfigurableExecutionProvider>(provider: P, options: Vec<(&'static str, String)>) -> P {
    options.into_iter().fold(provider, |provider, (key, value)| provider.with_arbitrary_config(key, value))
}

// No card is needed to see what is sent; that CUDA and TensorRT take it was not seen.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    fn sent(provider: ProviderChoice, precision: Precision) -> Vec<Registration> {
        let options = ProviderOptions { device_id: 2, ..ProviderOptions::default() };
        registrations(provider, precision, &options, None)
    }

    fn value<'a>(registration: &'a Registration, key: &str) -> Option<&'a str> {
        registration.options.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    fn port(symbols: [Option<&str>; 3]) -> InputPort {
        InputPort {
            name: "images".into(),
            symbols: symbols.map(|symbol| symbol.map(ToOwned::to_owned)),
            ..InputPort::default()
        }
    }

    fn shape(batch: usize) -> InputShape {
        InputShape { batch, size: Size { width: 640, height: 384 } }
    }

    #[test]
    fn tensorrt_has_cuda_and_the_cpu_behind_it_on_the_same_device() {
        let chain = sent(ProviderChoice::Tensorrt, Precision::Fp16);
        let names: Vec<&str> = chain.iter().map(|one| one.provider.name()).collect();
        assert_eq!(names, ["tensorrt", "cuda", "cpu"]);
        assert_eq!([0, 1].map(|at| value(&chain[at], "device_id")), [Some("2"); 2]);
    }

    #[test]
    fn precision_is_what_tensorrt_is_sent() {
        let flags = |precision| {
            let chain = sent(ProviderChoice::Tensorrt, precision);
            let at = |key| value(&chain[0], key).map(ToOwned::to_owned);
            let tf32 = value(&chain[1], "use_tf32").map(ToOwned::to_owned);
            let flags = [at("trt_fp16_enable"), at("trt_int8_enable"), at("trt_bf16_enable"), tf32];
            flags.map(|flag| flag.unwrap_or_else(|| "-".into())).concat()
        };
        // fp16, int8, bf16, and TF32 of what CUDA takes over.
        assert_eq!(flags(Precision::Fp16), "10-1");
        assert_eq!(flags(Precision::Int8), "11-1");
        assert_eq!(flags(Precision::Bf16), "0011");
        assert_eq!(flags(Precision::Tf32), "00-1");
        assert_eq!(flags(Precision::Fp32), "00-0");
    }

    #[test]
    fn fp32_on_cuda_turns_tf32_off_and_auto_says_tf32() {
        let tf32 = |precision| value(&sent(ProviderChoice::Cuda, precision)[0], "use_tf32").map(ToOwned::to_owned);
        assert_eq!(tf32(Precision::Fp32).as_deref(), Some("0"));
        let arithmetic = crate::inference::choice::Arithmetic { bf16: true, tf32: true };
        let auto = ProviderChoice::Cuda.candidates(Precision::Auto, arithmetic).expect("it can");
        assert_eq!(auto, [(ProviderChoice::Cuda, Precision::Tf32)]);
        assert_eq!(tf32(auto[0].1).as_deref(), Some("1"));
    }

    #[test]
    fn tensorrt_compiles_for_batches_up_to_the_largest() {
        let profile = ShapeProfile::new(&port([Some("batch"), Some(""), Some("width")]), shape(8)).expect("dynamic");
        let options = ProviderOptions::default();
        let chain = registrations(ProviderChoice::Tensorrt, Precision::Fp16, &options, Some(&profile));
        assert_eq!(value(&chain[0], "trt_profile_min_shapes"), Some("images:1x3x384x640"));
        assert_eq!(value(&chain[0], "trt_profile_opt_shapes"), Some("images:8x3x384x640"));
        assert_eq!(value(&chain[0], "trt_profile_max_shapes"), Some("images:8x3x384x640"));
        assert!(chain[1].options.iter().all(|(key, _)| !key.starts_with("trt_")), "CUDA knows none of them");
    }

    #[test]
    fn a_profile_names_every_dynamic_input_in_the_graphs_own_layout() {
        let detr = InputPort { target_sizes: Some("orig_target_sizes".into()), ..port([Some("N"), None, None]) };
        let ShapeProfile { min, max } = ShapeProfile::new(&detr, shape(4)).expect("dynamic");
        assert_eq!(min, "images:1x3x384x640,orig_target_sizes:1x2");
        assert_eq!(max, "images:4x3x384x640,orig_target_sizes:4x2");
        let last = InputPort { channels_last: true, ..port([None, Some("h"), Some("w")]) };
        let ShapeProfile { min, max } = ShapeProfile::new(&last, shape(2)).expect("dynamic");
        assert_eq!([min, max], ["images:2x384x640x3"; 2], "the graph's batch is 2");
        assert_eq!(ShapeProfile::new(&port([None; 3]), shape(1)), None);
        let odd = InputPort { name: "serving:0".into(), ..port([Some("N"), None, None]) };
        assert_eq!(ShapeProfile::new(&odd, shape(1)), None);
    }

    #[test]
    fn engines_are_kept_in_the_cache_by_precision_and_nowhere_without_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = ProviderOptions { cache_dir: Some(folder.path().to_owned()), ..ProviderOptions::default() };
        let chain = registrations(ProviderChoice::Tensorrt, Precision::Fp16, &options, None);
        let at = folder.path().join("tensorrt/fp16");
        assert!(at.is_dir());
        for key in ["trt_engine_cache_path", "trt_timing_cache_path"] {
            assert_eq!(value(&chain[0], key).map(Path::new), Some(at.as_path()));
        }
        assert_eq!(value(&chain[0], "trt_engine_cache_enable"), Some("1"));
        assert_eq!(value(&sent(ProviderChoice::Tensorrt, Precision::Fp16)[0], "trt_engine_cache_enable"), None);
    }

    #[test]
    fn the_summary_names_nodes_that_run_elsewhere() {
        let report = ProviderReport {
            requested: ProviderChoice::Tensorrt,
            actual: ProviderChoice::Tensorrt,
            detail: "fp16".into(),
            nodes: vec![("tensorrt".into(), 247), ("cuda".into(), 3)],
            rejected: Vec::new(),
            notice: None,
        };
        assert_eq!(report.summary(), "tensorrt (fp16), 3 of 250 nodes on cuda");
        assert_eq!(ProviderReport { nodes: Vec::new(), ..report }.summary(), "tensorrt (fp16)");
    }
}
