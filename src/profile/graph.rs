//! An ONNX file's graph, as far as counting needs it: nodes, and how many parameters each of them holds.
//!
//! Field numbers are those of `onnx.proto3` (IR version 3 and later). Weights themselves are passed over, not read.

use std::collections::HashMap;

use prost::Message;

/// Element type of shapes and indices (`TensorProto.DataType.INT64`), which are no parameters.
const INT64: i32 = 7;

/// Nodes that the runtime fuses into the one before them, at most: a sum and an activation.
const FUSED: usize = 2;

/// A node's place in the graph as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GraphNode {
    pub name: String,
    pub op: String,
    inputs: Vec<String>,
    /// Elements of the weights that it is the first to use.
    pub parameters: u64,
}

/// Nodes of an ONNX file by what a trace may call them.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub nodes: Vec<GraphNode>,
    by_name: HashMap<String, usize>,
    by_output: HashMap<String, usize>,
}

impl Graph {
    /// Reads the bytes of an ONNX file.
    ///
    /// # Errors
    /// When they are none, saying where.
    pub fn read(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let graph = ModelProto::decode(bytes)?.graph.unwrap_or_default();
        let constants = graph.node.iter().filter(|node| node.op_type == "Constant").filter_map(|node| {
            let value = node.attribute.iter().find_map(|attribute| attribute.t.as_ref())?;
            Some((node.output.first()?.as_str(), value.parameters()))
        });
        let mut weights: HashMap<&str, u64> = graph
            .initializer
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor.parameters()))
            .chain(constants)
            .collect();
        let mut read = Self::default();
        // The runtime turns constants into weights before it counts nodes.
        for node in graph.node.iter().filter(|node| node.op_type != "Constant") {
            let index = read.nodes.len();
            let parameters = node.input.iter().filter_map(|input| weights.remove(input.as_str()));
            let parameters = parameters.fold(0, u64::saturating_add);
            let (name, op, inputs) = (node.name.clone(), node.op_type.clone(), node.input.clone());
            read.nodes.push(GraphNode { name, op, inputs, parameters });
            read.by_name.entry(node.name.clone()).or_insert(index);
            for output in &node.output {
                read.by_output.entry(output.clone()).or_insert(index);
            }
        }
        read.by_name.remove("");
        Ok(read)
    }

    /// Parameters of the whole graph.
    pub fn parameters(&self) -> u64 {
        self.nodes.iter().map(|node| node.parameters).fold(0, u64::saturating_add)
    }

    /// The node of type `op` that a trace calls `name`: by its own name, or by that of its output with what the runtime's
    /// layout pass appends to it. A node into which the ones after it were fused has the last one's output.
    pub fn find(&self, name: &str, op: &str) -> Option<usize> {
        let output = || self.by_output.get(name.strip_suffix("_nchwc")?);
        let last = *self.by_name.get(name).or_else(output)?;
        self.back_to(last, op.trim_start_matches("Fused"), FUSED).or(Some(last))
    }

    /// The nearest node of type `op`, at most `steps` before `node`.
    fn back_to(&self, node: usize, op: &str, steps: usize) -> Option<usize> {
        let GraphNode { op: own, inputs, .. } = &self.nodes[node];
        if own == op {
            return Some(node);
        }
        let before = inputs.iter().filter(|_| steps > 0).filter_map(|input| self.by_output.get(input));
        before.copied().find_map(|before| self.back_to(before, op, steps - 1))
    }
}

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(message, optional, tag = "5")]
    t: Option<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
}

impl TensorProto {
    /// Its elements, if they are parameters.
    fn parameters(&self) -> u64 {
        if self.data_type == INT64 {
            return 0;
        }
        self.dims.iter().fold(1, |product, dim| product.saturating_mul(u64::try_from(*dim).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(op: &str, name: &str, input: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            name: name.into(),
            input: input.iter().map(|input| (*input).into()).collect(),
            output: vec![output.into()],
            attribute: Vec::new(),
        }
    }

    fn tensor(name: &str, data_type: i32, dims: &[i64]) -> TensorProto {
        TensorProto { name: name.into(), data_type, dims: dims.to_vec() }
    }

    #[test]
    fn weights_count_once_and_shapes_do_not() {
        let constant = AttributeProto { t: Some(tensor("", 1, &[10])) };
        let graph = GraphProto {
            node: vec![
                NodeProto { attribute: vec![constant], ..node("Constant", "c", &[], "bias") },
                node("Conv", "first", &["x", "w", "bias"], "a"),
                node("Conv", "", &["a", "w"], "b"),
                node("Reshape", "shape", &["b", "s"], "y"),
            ],
            initializer: vec![tensor("w", 1, &[4, 3, 2, 2]), tensor("s", INT64, &[1000])],
        };
        let graph = Graph::read(&ModelProto { graph: Some(graph) }.encode_to_vec()).expect("a graph");
        let parameters: Vec<u64> = graph.nodes.iter().map(|node| node.parameters).collect();
        assert_eq!(parameters, [58, 0, 0]);
        assert_eq!(graph.parameters(), 58);
        assert_eq!(graph.find("first", "Conv"), Some(0));
        assert_eq!(graph.find("b_nchwc", "Conv"), Some(1));
        assert_eq!(graph.find("y_nchwc", "FusedConv"), Some(1), "what a reshape was fused into");
        assert_eq!(graph.find("shape", "Flatten"), Some(2));
        assert_eq!(graph.find("", "Conv"), None);
        assert_eq!(graph.find("b", "Conv"), None);
    }

    #[test]
    fn absurd_dimensions_saturate() {
        assert_eq!(tensor("w", 1, &[i64::MAX, i64::MAX]).parameters(), u64::MAX);
        assert_eq!(tensor("w", 1, &[-1]).parameters(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(graph) = Graph::read(&bytes) {
                prop_assert!(graph.nodes.len() <= bytes.len());
            }
        }
    }
}
