//! Execution providers: which are tried, with which options, and why the others do not run.

use std::path::PathBuf;

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProvider, ExecutionProviderDispatch};

use super::choice::{Precision, ProviderChoice};
use super::{InferenceError, Runtime};

/// Everything a session needs to know about where it runs.
#[derive(Debug, Clone, Default)]
pub struct ProviderOptions {
    /// What the user asked for.
    pub choice: ProviderChoice,
    /// Arithmetic.
    pub precision: Precision,
    /// GPU to use, from 0.
    pub device_id: i32,
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
    /// What runs.
    pub actual: ProviderChoice,
    /// Precision, for people: `bf16`.
    pub detail: String,
    /// Providers that were tried before, each with its reason.
    pub rejected: Vec<(ProviderChoice, String)>,
}

/// The providers to try, in order.
pub(super) fn candidates(choice: ProviderChoice) -> Vec<ProviderChoice> {
    match choice {
        ProviderChoice::Auto => {
            vec![ProviderChoice::Tensorrt, ProviderChoice::Cuda, ProviderChoice::Openvino, ProviderChoice::Cpu]
        }
        one => vec![one],
    }
}

/// A provider ready to be registered, with its precision for people.
pub(super) fn dispatch(
    provider: ProviderChoice,
    runtime: &Runtime,
    options: &ProviderOptions,
) -> Result<(ExecutionProviderDispatch, String), InferenceError> {
    let fail = |problem: String| InferenceError::Provider { provider: provider.name(), problem };
    if let Some(library) = provider.library()
        && !runtime.folder().join(library).exists()
    {
        return Err(fail(format!("{library} is not beside {}", runtime.path().display())));
    }
    let cache = |name: &str| {
        let folder = options.cache_dir.as_ref()?.join(name);
        std::fs::create_dir_all(&folder).ok()?;
        Some(folder.display().to_string())
    };
    match provider {
        ProviderChoice::Auto | ProviderChoice::Cpu => {
            Ok((ep::CPU::default().build().error_on_failure(), "fp32".into()))
        }
        ProviderChoice::Openvino => {
            let bf16 = match options.precision {
                Precision::Auto => cpu_has_bf16(),
                Precision::Bf16 => true,
                Precision::Fp32 | Precision::Fp16 => false,
            };
            let hint = if bf16 { "bf16" } else { "f32" };
            let config = serde_json::json!({"CPU": {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}});
            let mut provider = ep::OpenVINO::default()
                .with_device_type("CPU")
                .with_arbitrary_config("load_config", config.to_string());
            if let Some(threads) = options.threads {
                provider = provider.with_num_threads(threads);
            }
            if let Some(folder) = cache("openvino") {
                provider = provider.with_cache_dir(folder);
            }
            Ok((provider.build().error_on_failure(), if bf16 { "bf16" } else { "fp32" }.into()))
        }
        ProviderChoice::Cuda => {
            let provider = ep::CUDA::default()
                .with_device_id(options.device_id)
                .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
                .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Exhaustive)
                .with_tf32(options.precision != Precision::Fp32);
            if !ep::CUDA::is_available().unwrap_or(false) {
                return Err(fail("this ONNX Runtime was built without it".into()));
            }
            Ok((provider.build().error_on_failure(), "fp32".into()))
        }
        ProviderChoice::Tensorrt => {
            let fp16 = matches!(options.precision, Precision::Auto | Precision::Fp16);
            let mut provider = ep::TensorRT::default()
                .with_device_id(options.device_id)
                .with_fp16(fp16)
                .with_engine_cache(true)
                .with_timing_cache(true);
            if let Some(folder) = cache("tensorrt") {
                provider = provider.with_engine_cache_path(&folder).with_timing_cache_path(&folder);
            }
            Ok((provider.build().error_on_failure(), if fp16 { "fp16" } else { "fp32" }.into()))
        }
    }
}

/// Whether the CPU multiplies bfloat16 natively (AMX-BF16 or AVX512-BF16).
fn cpu_has_bf16() -> bool {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo
        .lines()
        .find(|l| l.starts_with("flags"))
        .is_some_and(|l| l.split_whitespace().any(|f| f == "avx512_bf16" || f == "amx_bf16"))
}
