//! ONNX Runtime's trace (Chrome's trace event format), summed up node by node while it is read.
//!
//! The runtime writes an event when something ends, so that a run's nodes come before the run, and the nodes of a loop's
//! body before the loop. Times are whole microseconds.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::cost::Shape;

/// What a node's event is called after the node's name.
const KERNEL: &str = "_kernel_time";

/// One node over all runs that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeTime {
    pub name: String,
    /// Operator type.
    pub op: String,
    /// Execution provider, by the runtime's name.
    pub provider: String,
    pub calls: u64,
    /// Without the nodes inside it, over all runs.
    pub total_us: u64,
    /// Shapes of the last call.
    pub inputs: Vec<Shape>,
    pub outputs: Vec<Shape>,
}

/// What a trace says.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// Elapsed time of every run that counts.
    pub runs_us: Vec<u64>,
    /// Nodes in the order in which they first ran.
    pub nodes: Vec<NodeTime>,
}

impl Trace {
    /// Reads a trace; of its runs, numbered from 0, those that `counts` says count.
    ///
    /// # Errors
    /// When it is not a trace.
    pub fn read(text: impl Read, counts: &dyn Fn(usize) -> bool) -> serde_json::Result<Self> {
        let gathering = Gathering { counts, number: 0, trace: Self::default(), index: HashMap::new(), run: Vec::new() };
        serde_json::Deserializer::from_reader(text).deserialize_seq(gathering)
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    ts: i64,
    #[serde(default)]
    dur: i64,
    #[serde(default)]
    args: Args,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Args {
    op_name: String,
    provider: String,
    input_type_shape: Vec<BTreeMap<String, Shape>>,
    output_type_shape: Vec<BTreeMap<String, Shape>>,
}

/// A call within the present run: node, start, time without the calls inside it.
type Call = (usize, i64, u64);

struct Gathering<'a> {
    counts: &'a dyn Fn(usize) -> bool,
    /// Of the present run.
    number: usize,
    trace: Trace,
    index: HashMap<String, usize>,
    run: Vec<Call>,
}

impl Gathering<'_> {
    fn node(&mut self, name: &str, event: Event) {
        let shapes = |list: Vec<BTreeMap<String, Shape>>| list.into_iter().flat_map(BTreeMap::into_values).collect();
        let (inputs, outputs) = (shapes(event.args.input_type_shape), shapes(event.args.output_type_shape));
        let nodes = &mut self.trace.nodes;
        let at = if let Some(at) = self.index.get(name) {
            (nodes[*at].inputs, nodes[*at].outputs) = (inputs, outputs);
            *at
        } else {
            let Args { op_name, provider, .. } = event.args;
            self.index.insert(name.to_owned(), nodes.len());
            let name = name.to_owned();
            nodes.push(NodeTime { name, op: op_name, provider, calls: 0, total_us: 0, inputs, outputs });
            nodes.len() - 1
        };
        let whole = u64::try_from(event.dur).unwrap_or(0);
        // Nodes run one after the other: what began no earlier lies inside.
        let mut inside = 0;
        for (_, start, own) in self.run.iter().rev() {
            if *start < event.ts {
                break;
            }
            inside += own;
        }
        self.run.push((at, event.ts, whole.saturating_sub(inside)));
    }

    fn end_run(&mut self, elapsed: i64) {
        if (self.counts)(self.number) {
            self.trace.runs_us.push(u64::try_from(elapsed).unwrap_or(0));
            for (at, _, own) in &self.run {
                self.trace.nodes[*at].calls += 1;
                self.trace.nodes[*at].total_us += own;
            }
        }
        self.number += 1;
        self.run.clear();
    }
}

impl<'de> Visitor<'de> for Gathering<'_> {
    type Value = Trace;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of trace events")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut events: A) -> Result<Trace, A::Error> {
        while let Some(event) = events.next_element::<Event>()? {
            match (event.cat.as_str(), event.name.as_str()) {
                ("Node", name) => {
                    if let Some(name) = name.strip_suffix(KERNEL).map(str::to_owned) {
                        self.node(&name, event);
                    }
                }
                ("Session", "model_run") => self.end_run(event.dur),
                _ => {}
            }
        }
        Ok(self.trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(cat: &str, name: &str, ts: i64, dur: i64, op: &str) -> serde_json::Value {
        let args = serde_json::json!({
            "op_name": op, "provider": "CPUExecutionProvider", "thread_scheduling_stats": {"x": [1]},
            "input_type_shape": [{"float": [1, 3]}, {"int64": []}], "output_type_shape": [{"float": [ts, 4]}],
        });
        serde_json::json!({"cat": cat, "name": name, "ts": ts, "dur": dur, "ph": "X", "pid": 1, "tid": 1, "args": args})
    }

    fn read(events: &[serde_json::Value], counts: &dyn Fn(usize) -> bool) -> Trace {
        let text = serde_json::to_vec(events).expect("JSON");
        Trace::read(text.as_slice(), counts).expect("a trace")
    }

    #[test]
    fn runs_are_told_apart_and_the_first_ones_left_out() {
        let mut events = vec![serde_json::json!({"cat": "Session", "name": "session_initialization", "args": {}})];
        for (start, run) in [(0, 900), (1000, 60), (2000, 40)] {
            events.push(event("Node", "conv_kernel_time", start, 20, "Conv"));
            events.push(event("Node", "conv_fence_before", start, 20, "Conv"));
            events.push(event("Node", "add_kernel_time", start + 20, 10, "Add"));
            events.push(event("Session", "SequentialExecutor::Execute", start, run - 1, ""));
            events.push(event("Session", "model_run", start, run, ""));
        }
        let trace = read(&events, &|run| run != 0);
        assert_eq!(trace.runs_us, [60, 40]);
        let times: Vec<_> = trace.nodes.iter().map(|n| (n.name.as_str(), n.op.as_str(), n.calls, n.total_us)).collect();
        assert_eq!(times, [("conv", "Conv", 2, 40), ("add", "Add", 2, 20)]);
        assert_eq!(trace.nodes[0].inputs, [vec![1, 3], vec![]]);
        assert_eq!(trace.nodes[0].outputs, [vec![2000, 4]]);
    }

    #[test]
    fn a_loop_s_time_is_without_its_body() {
        let events = [
            event("Node", "before_kernel_time", 0, 10, "Add"),
            event("Node", "inner_kernel_time", 12, 5, "Mul"),
            event("Node", "if_kernel_time", 11, 8, "If"),
            event("Node", "inner_kernel_time", 20, 5, "Mul"),
            event("Node", "loop_kernel_time", 10, 30, "Loop"),
            event("Session", "model_run", 0, 50, ""),
        ];
        let trace = read(&events, &|_| true);
        let times: Vec<_> = trace.nodes.iter().map(|n| (n.name.as_str(), n.calls, n.total_us)).collect();
        assert_eq!(times, [("before", 1, 10), ("inner", 2, 10), ("if", 1, 3), ("loop", 1, 17)]);
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        assert!(Trace::read(b"{}".as_slice(), &|_| true).is_err());
        assert!(Trace::read(b"[{\"cat\": \"Node\"".as_slice(), &|_| true).is_err());
    }
}
