//! Where a model's time goes, operator by operator, as ONNX Runtime's own profiler has it.
//!
//! Three sessions: as the program runs the model (its times and its memory), the same with the profiler, in turns with it
//! (so that the profiler's own cost is seen), and the graph as written, once, on the CPU provider, whose shapes say how much
//! there is to compute.

mod cost;
mod graph;
mod input;
mod table;
mod trace;
mod turns;

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::detector::{DetectError, Detector, DetectorOptions};
use crate::inference::{InferenceError, ProviderChoice, ProviderOptions, Runtime};
use crate::model::{Model, ModelFile};
use crate::report::{Machine, ModelReport, ProviderFigures, Resources};
use crate::tensor::{InputShape, InputTensor};
use graph::Graph;
use trace::{NodeTime, Trace};

pub use input::{FrameInput, Input};
pub use table::text;
pub use turns::WARM_UP_RUNS;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The model does not run.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// No tensor to run on.
    #[error("there is nothing to run the model on")]
    NoInput,
    /// The trace cannot be kept or read.
    #[error("{path}: {problem}\n  see that the disk has room, or name another file with --trace")]
    Trace {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The profiler left runs out.
    #[error("the profiler recorded {found} of {expected} runs\n  ask for fewer with --runs")]
    Incomplete {
        /// Runs in the trace.
        found: usize,
        /// Runs made.
        expected: usize,
    },
    /// A shutdown was requested.
    #[error("stopped before there was a profile")]
    Interrupted,
}

/// What is profiled.
pub struct Request<'a> {
    /// The library.
    pub runtime: &'a Runtime,
    /// The model.
    pub model: &'a Model,
    /// Where it runs.
    pub provider: ProviderOptions,
    /// What it is fed.
    pub input: Input,
    /// Runs that count.
    pub runs: usize,
    /// Where traces are written meanwhile.
    pub scratch: PathBuf,
}

/// Where the time of a model's runs went.
#[derive(Debug, serde::Serialize)]
pub struct Profile {
    /// Version of the program.
    pub version: &'static str,
    /// What it ran on.
    pub machine: Machine,
    /// The model.
    pub model: ModelReport,
    /// The execution provider.
    pub provider: ProviderFigures,
    /// What the input tensors show.
    pub input: String,
    /// Runs that count.
    pub runs: usize,
    /// Runs before them in every turn, which do not.
    pub warm_up_runs_excluded: usize,
    /// Elapsed time of a run, without the profiler.
    pub run_ms: RunTimes,
    /// The same with the profiler.
    pub profiled_run_ms: RunTimes,
    /// Share of the profiled runs that lies in operators, 0..1.
    pub in_operators: f64,
    /// Time of a profiled run that lies between operators: the runtime's executor, and the profiler. With the operators' times
    /// it sums to the run.
    pub between_operators_ms: f64,
    /// What the profiler adds to a run, within operators and between them: the difference of the two medians, whose runs took
    /// turns.
    pub profiler_ms: f64,
    /// Operations of a run, 10^9, where the graph could be counted.
    pub gflop: Option<f64>,
    /// Which operators that counts.
    pub gflop_counts: &'static str,
    /// Parameters of the model, shapes and indices left out.
    pub parameters: u64,
    /// Most memory the process held while it loaded and ran the model, above what it held before; `None` where the system
    /// does not say.
    pub peak_memory_bytes: Option<u64>,
    /// Nodes of the graph as written; `None` where it could not be counted.
    pub nodes_as_written: Option<usize>,
    /// Whether the provider made the graph, or parts of it, into nodes of its own, whose inside is not measured.
    pub fused: bool,
    /// By operator type, the longest first.
    pub types: Vec<Figures>,
    /// By node, the longest first.
    pub nodes: Vec<Figures>,
    /// Things the user should know.
    pub notices: Vec<String>,
    /// The runtime's own trace.
    #[serde(skip)]
    pub trace: PathBuf,
}

/// Elapsed time of a run, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct RunTimes {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// Shortest.
    pub min: f64,
    /// Longest.
    pub max: f64,
}

/// Figures of one node, or of all nodes of a type.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Figures {
    /// Name of the node as the graph has it, else as the runtime calls it; empty for a type.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Operator type.
    pub op: String,
    /// Execution provider, by the runtime's name.
    pub provider: String,
    /// Calls a run.
    pub calls: f64,
    /// Time a run.
    pub ms: f64,
    /// Share of the profiled run, 0..1.
    pub share: f64,
    /// Operations a run, 10^9, where they are counted.
    pub gflop: Option<f64>,
    /// Parameters, where the node is known in the graph as written.
    pub parameters: Option<u64>,
}

/// Runs the model as asked and says where the time went; `stopping` is asked between runs.
///
/// # Errors
/// When the model does not run, its trace cannot be read, or it was stopped.
pub fn profile(
    request: &Request,
    clock: &Arc<dyn Clock>,
    stopping: &dyn Fn() -> bool,
) -> Result<Profile, ProfileError> {
    let shape = request.shape()?;
    let mut notices = Vec::new();
    let before = peak_from_now_on();
    let mut plain = open(request, &request.provider, clock)?;
    run(request, &mut plain, WARM_UP_RUNS, stopping)?;
    let peak = before.map(|before| Resources::read().max_rss_bytes.saturating_sub(before));

    let traced = ProviderOptions { trace: Some(request.scratch.join("runs")), ..request.provider.clone() };
    let mut detector = open(request, &traced, clock)?;
    let mut times = Vec::with_capacity(request.runs);
    for runs in turns::lengths(request.runs) {
        let turn = run(request, &mut plain, runs, stopping)?;
        times.extend(turn.iter().skip(WARM_UP_RUNS).map(|time| time.as_secs_f64() * 1000.0));
        run(request, &mut detector, runs, stopping)?;
    }
    drop(plain);
    let (path, trace) = read_trace(&mut detector, shape, &turns::counts)?;
    if trace.runs_us.len() != request.runs {
        return Err(ProfileError::Incomplete { found: trace.runs_us.len(), expected: request.runs });
    }
    let report = detector.provider().cloned().ok_or(DetectError::Inference(InferenceError::NoSession))?;
    drop(detector);
    notices.extend(report.notice.clone());
    if report.actual.is_gpu() {
        notices.push("on a GPU these are the times of handing work over, not those of the work".into());
    }

    let written = count(request, clock, stopping).map_err(|e| notices.push(format!("not counted: {e}"))).ok();
    let graph = read_graph(&request.model.file).map_err(|error| notices.push(error.to_string())).unwrap_or_default();
    let attribution = Attribution::new(&graph, written.as_ref());
    let run_us: u64 = trace.runs_us.iter().sum();
    let nodes = attribution.nodes(&trace, request.runs, run_us);
    let foreign =
        |node: &NodeTime| node.provider != "CPUExecutionProvider" && graph.find(&node.name, &node.op).is_none();
    let in_operators: f64 = nodes.iter().map(|node| node.share).sum();
    let run_ms = RunTimes::of(times.into_iter());
    let profiled_run_ms = RunTimes::of(trace.runs_us.iter().map(|us| milliseconds(*us)));
    Ok(Profile {
        version: env!("CARGO_PKG_VERSION"),
        machine: Machine::read(),
        model: ModelReport {
            name: request.model.name.clone(),
            sha256: request.model.sha256.clone(),
            input: shape.dims(),
        },
        provider: ProviderFigures::new(&report),
        input: request.input.name.clone(),
        runs: request.runs,
        warm_up_runs_excluded: WARM_UP_RUNS,
        run_ms,
        profiled_run_ms,
        in_operators,
        between_operators_ms: profiled_run_ms.mean * (1.0 - in_operators),
        profiler_ms: (profiled_run_ms.p50 - run_ms.p50).max(0.0),
        gflop: written.is_some().then_some(attribution.gflop),
        gflop_counts: cost::COUNTED,
        parameters: graph.parameters(),
        peak_memory_bytes: peak,
        nodes_as_written: written.is_some().then_some(graph.nodes.len()),
        fused: trace.nodes.iter().any(foreign),
        types: by_type(&nodes),
        nodes,
        notices,
        trace: path,
    })
}

/// A detector with its session made.
fn open(request: &Request, provider: &ProviderOptions, clock: &Arc<dyn Clock>) -> Result<Detector, ProfileError> {
    let (provider, clock) = (provider.clone(), clock.clone());
    let options = DetectorOptions { provider, clock, ..DetectorOptions::of(request.model) };
    let mut detector = Detector::new(request.runtime, request.model, options);
    detector.prepare(request.shape()?)?;
    Ok(detector)
}

impl Request<'_> {
    fn shape(&self) -> Result<InputShape, ProfileError> {
        self.input.tensors.first().map(InputTensor::shape).ok_or(ProfileError::NoInput)
    }
}

fn run(
    request: &Request,
    detector: &mut Detector,
    runs: usize,
    stopping: &dyn Fn() -> bool,
) -> Result<Vec<Duration>, ProfileError> {
    let mut times = Vec::with_capacity(runs);
    for tensor in request.input.tensors.iter().cycle().take(runs) {
        if stopping() {
            return Err(ProfileError::Interrupted);
        }
        times.push(detector.infer(tensor)?);
    }
    Ok(times)
}

/// What the profiler wrote, and what it says of the runs that `count`, by their numbers.
fn read_trace(
    detector: &mut Detector,
    shape: InputShape,
    counts: &dyn Fn(usize) -> bool,
) -> Result<(PathBuf, Trace), ProfileError> {
    let path = detector.end_profiling(shape)?;
    let problem = |problem: String| ProfileError::Trace { path: path.display().to_string(), problem };
    let file = File::open(&path).map_err(|e| problem(e.to_string()))?;
    let trace = Trace::read(BufReader::new(file), counts).map_err(|e| problem(e.to_string()))?;
    Ok((path, trace))
}

/// Runs the graph once as it is written, for its shapes.
fn count(request: &Request, clock: &Arc<dyn Clock>, stopping: &dyn Fn() -> bool) -> Result<Trace, ProfileError> {
    let options = ProviderOptions {
        choice: ProviderChoice::Cpu,
        threads: request.provider.threads,
        trace: Some(request.scratch.join("as-written")),
        as_written: true,
        ..ProviderOptions::default()
    };
    let mut detector = open(request, &options, clock)?;
    run(request, &mut detector, 1, stopping)?;
    let (_, trace) = read_trace(&mut detector, request.shape()?, &|_| true)?;
    Ok(trace)
}

/// A graph that cannot be read, so that nothing of it is counted.
#[derive(Debug, thiserror::Error)]
enum GraphError {
    #[error("parameters are not counted: {path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("parameters are not counted: {path}: {source}")]
    NotOnnx { path: String, source: prost::DecodeError },
}

fn read_graph(file: &ModelFile) -> Result<Graph, GraphError> {
    let path = file.label();
    let read = match file {
        ModelFile::Path(place) => match std::fs::read(place) {
            Ok(bytes) => Graph::read(&bytes),
            Err(source) => return Err(GraphError::Unreadable { path, source }),
        },
        ModelFile::Embedded(bytes) => Graph::read(bytes),
    };
    read.map_err(|source| GraphError::NotOnnx { path, source })
}

/// Resets the process's peak memory, as the system counts it; what it holds now, bytes, or `None` where that cannot be done.
fn peak_from_now_on() -> Option<u64> {
    // 5 resets the peak resident set size (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    Some(Resources::read().max_rss_bytes)
}

impl RunTimes {
    /// Of at least one run.
    fn of(times_ms: impl Iterator<Item = f64>) -> Self {
        let mut times: Vec<f64> = times_ms.collect();
        times.sort_by(f64::total_cmp);
        let at = |index: usize| times.get(index).copied().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a count of runs")]
        let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
        Self { mean, p50: at(times.len() / 2), min: at(0), max: at(times.len().saturating_sub(1)) }
    }
}

/// What the graph as written says of the nodes of a trace.
struct Attribution<'a> {
    graph: &'a Graph,
    /// Operations a run by node of the graph, 10^9.
    gflop_of: HashMap<usize, f64>,
    /// The same of all nodes, those without a name included.
    gflop: f64,
}

impl<'a> Attribution<'a> {
    fn new(graph: &'a Graph, written: Option<&Trace>) -> Self {
        let (mut gflop_of, mut gflop) = (HashMap::new(), 0.0);
        for node in written.iter().flat_map(|trace| &trace.nodes) {
            let Some(flop) = cost::flop(&node.op, &node.inputs, &node.outputs) else { continue };
            #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
            let cost = flop * node.calls as f64 / 1e9;
            gflop += cost;
            if let Some(index) = graph.find(&node.name, &node.op) {
                *gflop_of.entry(index).or_default() += cost;
            }
        }
        Self { graph, gflop_of, gflop }
    }

    /// The nodes of `trace`, the longest first.
    fn nodes(&self, trace: &Trace, runs: usize, run_us: u64) -> Vec<Figures> {
        #[expect(clippy::cast_precision_loss, reason = "counts of calls and microseconds")]
        let (runs, run_us) = (runs.max(1) as f64, run_us.max(1) as f64);
        let figures = |node: &NodeTime| {
            let index = self.graph.find(&node.name, &node.op);
            #[expect(clippy::cast_precision_loss, reason = "counts of calls and microseconds")]
            let (calls, total_us) = (node.calls as f64, node.total_us as f64);
            Figures {
                name: index.map_or_else(|| node.name.clone(), |index| self.graph.nodes[index].name.clone()),
                op: node.op.clone(),
                provider: node.provider.clone(),
                calls: calls / runs,
                ms: total_us / runs / 1000.0,
                share: total_us / run_us,
                gflop: index.and_then(|index| self.gflop_of.get(&index).copied()),
                parameters: index.map(|index| self.graph.nodes[index].parameters),
            }
        };
        let mut nodes: Vec<Figures> = trace.nodes.iter().filter(|node| node.calls > 0).map(figures).collect();
        // A single node that the provider made holds all that the others do not.
        let known = |node: &Figures| node.parameters.is_some();
        let (gflop, parameters) =
            nodes.iter().filter(|node| known(node)).fold((0.0, 0), |(gflop, parameters), node| {
                (gflop + node.gflop.unwrap_or(0.0), parameters + node.parameters.unwrap_or(0))
            });
        let mut made = nodes.iter_mut().filter(|node| node.provider != "CPUExecutionProvider" && !known(node));
        if let (Some(node), None) = (made.next(), made.next()) {
            node.gflop = Some((self.gflop - gflop).max(0.0)).filter(|gflop| *gflop > 0.0);
            node.parameters = Some(self.graph.parameters().saturating_sub(parameters));
        }
        nodes.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        nodes
    }
}

fn by_type(nodes: &[Figures]) -> Vec<Figures> {
    let sum = |a: Option<f64>, b: Option<f64>| a.map_or(b, |a| Some(a + b.unwrap_or(0.0)));
    let mut types: Vec<Figures> = Vec::new();
    for node in nodes {
        if let Some(of) = types.iter_mut().find(|of| of.op == node.op && of.provider == node.provider) {
            of.calls += node.calls;
            of.ms += node.ms;
            of.share += node.share;
            of.gflop = sum(of.gflop, node.gflop);
            of.parameters = of.parameters.map_or(node.parameters, |n| Some(n + node.parameters.unwrap_or(0)));
        } else {
            types.push(Figures { name: String::new(), ..node.clone() });
        }
    }
    types.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    types
}

#[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^52")]
fn milliseconds(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_sums_of_their_nodes() {
        let node = |op: &str, ms, gflop, parameters| Figures {
            name: format!("{op} {ms}"),
            op: op.into(),
            provider: "CPUExecutionProvider".into(),
            calls: 1.0,
            ms,
            share: ms / 10.0,
            gflop,
            parameters,
        };
        let nodes = [
            node("Conv", 4.0, Some(1.5), Some(7)),
            node("Add", 3.0, None, None),
            node("Conv", 1.0, None, Some(2)),
            node("Mul", 0.5, None, Some(0)),
        ];
        let types = by_type(&nodes);
        let seen: Vec<_> = types.iter().map(|t| (t.op.as_str(), t.calls, t.ms, t.gflop, t.parameters)).collect();
        assert_eq!(
            seen,
            [("Conv", 2.0, 5.0, Some(1.5), Some(9)), ("Add", 1.0, 3.0, None, None), ("Mul", 1.0, 0.5, None, Some(0))]
        );
    }

    #[test]
    fn run_times_are_ordered() {
        let times = RunTimes::of([3.0, 1.0, 2.0].into_iter());
        assert_eq!(times, RunTimes { mean: 2.0, p50: 2.0, min: 1.0, max: 3.0 });
    }
}
