//! ONNX Runtime: found, loaded, given an execution provider, and run on batches by one thread.

mod assigned;
mod choice;
mod convert;
pub mod cuda;
mod inspect;
mod inspection;
mod provider;
mod runtime;
mod session;

pub use choice::{Precision, ProviderChoice, check_precision};
pub use inspect::inspect;
pub use inspection::{InspectError, Inspection};
pub use provider::{ProviderOptions, ProviderReport};
pub use runtime::Runtime;
pub use session::{Engine, LackingSessions, NewSessions};

/// Why inference cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// ONNX Runtime's shared library is nowhere.
    #[error("ONNX Runtime was not found; searched:\n{}\n  run `make setup` in streamdet's folder, or name it with --onnxruntime", .searched.iter().map(|p| format!("    {p}")).collect::<Vec<_>>().join("\n"))]
    RuntimeMissing {
        /// Every place, in the order searched.
        searched: Vec<String>,
    },
    /// It is there but cannot be loaded.
    #[error(
        "{path} cannot be loaded as ONNX Runtime: {problem}\n  run `make setup` in streamdet's folder to put a good one in place"
    )]
    RuntimeUnusable {
        /// The library.
        path: String,
        /// What the loader says.
        problem: String,
    },
    /// The provider that was asked for does not run here.
    #[error(
        "the {provider} execution provider does not run here: {problem}\n  use --provider auto, or install what is missing"
    )]
    Provider {
        /// Its name on the command line.
        provider: &'static str,
        /// The missing piece.
        problem: String,
    },
    /// The provider that was asked for does not compute so.
    #[error(
        "the {provider} execution provider has no {precision}{why}: it has {able}\n  give --precision {able}{others}"
    )]
    Precision {
        /// Its name on the command line.
        provider: &'static str,
        /// What was asked for.
        precision: &'static str,
        /// What it lacks here, where that is not all.
        why: &'static str,
        /// What it has.
        able: String,
        /// Providers that have it.
        others: String,
    },
    /// The file is not what it was when the run began.
    #[error("{model} was changed, replaced or deleted while it was used\n  start again, for what is there now")]
    ModelChanged {
        /// Its path.
        model: String,
    },
    /// The file is not a model.
    #[error(
        "{model} is not a model that ONNX Runtime can read: {problem}\n  give an ONNX file (`yolo export format=onnx` makes one)"
    )]
    NotOnnx {
        /// The file.
        model: String,
        /// What the runtime says.
        problem: String,
    },
    /// A run failed.
    #[error("inference failed: {0}\n  another --imgsz or --provider may work; else export the model again")]
    Run(String),
    /// A run of a shape for which no session was made.
    #[error("internal: no session was made for the shape of this run")]
    NoSession,
}

/// What the runtime says, fit to be shown: on one line, without the middle of its C++ signatures, and without control
/// characters, as a model's own strings are in it.
fn said(error: &dyn std::fmt::Display) -> String {
    const ENDS: (usize, usize) = (150, 250);
    let text = error.to_string();
    // Which library lacks which: what stands before it are places in the runtime's source.
    let unloaded = text.split_once("Failed to load library ").and_then(|(_, rest)| rest.split_once(" with error: "));
    let text = unloaded.map_or_else(|| text.clone(), |(library, error)| format!("{library} does not load: {error}"));
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: Vec<char> = words.join(" ").chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let part = |chars: &[char]| chars.iter().collect::<String>();
    match line.len() {
        n if n <= ENDS.0 + ENDS.1 => part(&line),
        n => format!("{} … {}", part(&line[..ENDS.0]), part(&line[n - ENDS.1..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_lacks_a_library_names_it() {
        let runtime = "/onnxruntime_src/core/session/provider_bridge_ort.cc:1952 Provider& ProviderLibrary::Get() \
             [ONNXRuntimeError] : 1 : FAIL : Failed to load library /data/libonnxruntime_providers_cuda.so with error: \
             libcublasLt.so.12: cannot open shared object file: No such file or directory\n";
        assert_eq!(
            said(&runtime),
            "/data/libonnxruntime_providers_cuda.so does not load: libcublasLt.so.12: cannot open shared object file: No such \
             file or directory"
        );
        assert_eq!(said(&"out of\n  memory"), "out of memory");
    }
}
