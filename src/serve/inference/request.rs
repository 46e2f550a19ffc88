//! An inference request: JSON, and binary tensors behind it.

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::flat::Flat;
use super::reply::{Chosen, Tensor};
use crate::serve::parameters::Parameters;
use crate::serve::problem::Problem;

/// A request
#[derive(ToSchema)]
#[schema(as = InferRequest)]
#[expect(dead_code, reason = "describes what is read elsewhere")]
pub struct InferSchema {
    /// Given back with the answer
    #[schema(required = false)]
    id: Option<String>,
    /// `conf`, `iou`, `classes`, `max_det`, `imgsz` and `tile` for encoded images; `binary_data_output`
    #[schema(required = false, value_type = Object)]
    parameters: Option<Value>,
    /// One
    #[schema(min_items = 1, max_items = 1)]
    inputs: Vec<InputSchema>,
    /// Those that are wanted, else all
    #[schema(required = false)]
    outputs: Option<Vec<OutputSchema>>,
}

/// An input tensor
#[derive(ToSchema)]
#[schema(as = InputTensor)]
#[expect(dead_code, reason = "describes what is read elsewhere")]
struct InputSchema {
    /// The model's own, or `image`
    name: String,
    /// Of each dimension
    #[schema(value_type = Vec<u64>)]
    shape: Vec<u64>,
    /// FP32 or BYTES
    #[schema(pattern = "^(FP32|BYTES)$")]
    datatype: String,
    /// `binary_data_size` where the data follows the JSON
    #[schema(required = false, value_type = Object)]
    parameters: Option<Value>,
    /// Row by row, flat or nested; encoded images as base64
    #[schema(required = false, value_type = Vec<Value>)]
    data: Option<Value>,
}

/// An output tensor that is wanted
#[derive(ToSchema)]
#[schema(as = WantedOutput)]
#[expect(dead_code, reason = "describes what is read elsewhere")]
struct OutputSchema {
    name: String,
    /// `binary_data`: whether it follows the JSON
    #[schema(required = false, value_type = Object)]
    parameters: Option<Value>,
}

#[derive(Deserialize)]
struct Head {
    id: Option<String>,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    inputs: Vec<InputHead>,
    #[serde(default)]
    outputs: Option<Vec<Wished>>,
}

#[derive(Deserialize)]
struct InputHead {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    data: Option<Flat>,
}

#[derive(Deserialize)]
struct Wished {
    name: String,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

/// A request that was read.
pub(super) struct Infer {
    pub id: Option<String>,
    pub inputs: Vec<Input>,
    parameters: Map<String, Value>,
    outputs: Option<Vec<Wished>>,
}

/// An input tensor, as long as its shape says.
pub(super) struct Input {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Data,
}

/// Its values, row by row.
pub(super) enum Data {
    Floats(Vec<f32>),
    Bytes(Vec<Bytes>),
}

impl Input {
    pub fn datatype(&self) -> &'static str {
        match self.data {
            Data::Floats(_) => "FP32",
            Data::Bytes(_) => "BYTES",
        }
    }
}

impl Infer {
    /// Reads a body, of which JSON makes up `length` bytes where binary tensors follow it.
    pub fn read(body: &Bytes, length: Option<usize>) -> Result<Self, Problem> {
        let length = length.unwrap_or(body.len());
        let Some(head) = body.get(..length) else {
            let detail = format!("Inference-Header-Content-Length is {length}, but the body has {} bytes", body.len());
            return Err(Problem::bad(detail));
        };
        let head: Head = serde_json::from_slice(head)
            .map_err(|error| Problem::bad(format!("this is no inference request: {error}")))?;
        let mut rest = body.slice(length..);
        let inputs = head.inputs.into_iter().map(|input| read_input(input, &mut rest)).collect::<Result<_, _>>()?;
        if !rest.is_empty() {
            return Err(Problem::bad(format!("{} bytes behind the JSON belong to no input", rest.len())));
        }
        Ok(Self { id: head.id, inputs, parameters: head.parameters.unwrap_or_default(), outputs: head.outputs })
    }

    /// What the request asks of the detector.
    pub fn parameters(&self) -> Result<Parameters, Problem> {
        let text = |name: &str| match self.parameters.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(Problem::bad(format!("parameter {name:?} is neither a number nor a text"))),
        };
        Ok(Parameters {
            conf: text("conf")?,
            iou: text("iou")?,
            classes: text("classes")?,
            max_det: text("max_det")?,
            imgsz: text("imgsz")?,
            tile: text("tile")?,
        })
    }

    /// The tensors that the request asks for, in its order; all of them where it asks for none.
    pub fn choose(&mut self, mut tensors: Vec<Tensor>) -> Result<Vec<Chosen>, Problem> {
        let usual = flag(&self.parameters, "binary_data_output")?.unwrap_or(false);
        let Some(wished) = self.outputs.take().filter(|wished| !wished.is_empty()) else {
            return Ok(tensors.into_iter().map(|tensor| Chosen { tensor, is_binary: usual }).collect());
        };
        let chosen = wished.into_iter().map(|Wished { name, parameters }| {
            let parameters = parameters.unwrap_or_default();
            if parameters.contains_key("classification") {
                return Err(Problem::bad(format!("output {name:?}: classification is not offered")));
            }
            let is_binary = flag(&parameters, "binary_data")?.unwrap_or(usual);
            let Some(at) = tensors.iter().position(|tensor| tensor.name == name) else {
                let there: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
                return Err(Problem::bad(format!(
                    "there is no output {name:?} (any more); there is {}",
                    there.join(", ")
                )));
            };
            Ok(Chosen { tensor: tensors.remove(at), is_binary })
        });
        chosen.collect()
    }
}

fn flag(parameters: &Map<String, Value>, name: &str) -> Result<Option<bool>, Problem> {
    match parameters.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(is_set)) => Ok(Some(*is_set)),
        Some(_) => Err(Problem::bad(format!("parameter {name:?} is neither true nor false"))),
    }
}

/// Makes a tensor of what its head says; binary data is taken from the front of `rest`.
fn read_input(head: InputHead, rest: &mut Bytes) -> Result<Input, Problem> {
    let InputHead { name, shape, datatype, parameters, data } = head;
    let wrong = |problem: &str| Problem::bad(format!("input {name:?}: {problem}"));
    let elements = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
    let elements = elements.ok_or_else(|| wrong("its shape has too many elements"))?;
    let binary = match parameters.unwrap_or_default().remove("binary_data_size") {
        None => None,
        Some(size) => {
            let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
            let size = size.ok_or_else(|| wrong("binary_data_size is no number of bytes"))?;
            if size > rest.len() {
                let detail = format!("binary_data_size is {size}, but {} bytes are left behind the JSON", rest.len());
                return Err(wrong(&detail));
            }
            Some(rest.split_to(size))
        }
    };
    let counted = |found: usize, what: &str| {
        if found == elements {
            return Ok(());
        }
        Err(wrong(&format!("shape {shape:?} has {elements} elements, but {found} {what} are given")))
    };
    let data = match (datatype.as_str(), data, binary) {
        (_, Some(_), Some(_)) => return Err(wrong("it has both data and binary_data_size")),
        (_, None, None) => return Err(wrong("it has neither data nor binary_data_size")),
        ("FP32", Some(data), None) => {
            if !data.texts.is_empty() {
                return Err(wrong("texts are given for FP32"));
            }
            counted(data.numbers.len(), "numbers")?;
            Data::Floats(data.numbers)
        }
        ("FP32", None, Some(bytes)) => {
            let (values, left) = bytes.as_chunks::<4>();
            if !left.is_empty() {
                return Err(wrong("binary_data_size is no multiple of 4"));
            }
            counted(values.len(), "values")?;
            Data::Floats(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
        }
        ("BYTES", Some(data), None) => {
            if !data.numbers.is_empty() {
                return Err(wrong("numbers are given for BYTES"));
            }
            counted(data.texts.len(), "texts")?;
            let decoded =
                data.texts.iter().map(|text| STANDARD.decode(text).map(Bytes::from)).collect::<Result<_, _>>();
            Data::Bytes(decoded.map_err(|error: base64::DecodeError| wrong(&format!("a text is no base64: {error}")))?)
        }
        ("BYTES", None, Some(mut bytes)) => {
            let mut found = Vec::new();
            while !bytes.is_empty() {
                let cut = || wrong("an element's length leads beyond its data");
                let length = bytes.first_chunk::<4>().map(|length| u32::from_le_bytes(*length)).ok_or_else(cut)?;
                let end = usize::try_from(length).ok().and_then(|length| length.checked_add(4));
                let end = end.filter(|end| *end <= bytes.len()).ok_or_else(cut)?;
                found.push(bytes.split_to(end).slice(4..));
            }
            counted(found.len(), "texts")?;
            Data::Bytes(found)
        }
        (other, ..) => return Err(wrong(&format!("datatype {other:?} is not taken; FP32 and BYTES are"))),
    };
    Ok(Input { name, shape, data })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str, binary: &[u8]) -> Result<Infer, Problem> {
        Infer::read(&Bytes::from([json.as_bytes(), binary].concat()), Some(json.len()))
    }

    #[test]
    fn tensors_are_read_from_json_and_from_what_follows_it() {
        let json = r#"{"inputs":[{"name":"a","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}},
            {"name":"b","shape":[1,2],"datatype":"FP32","data":[[3,4]]},
            {"name":"c","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":10}},
            {"name":"d","shape":[1],"datatype":"BYTES","data":["aGk="]}]}"#;
        let binary = [&1f32.to_le_bytes()[..], &2f32.to_le_bytes(), b"\x02\0\0\0hi\0\0\0\0"].concat();
        let inputs = read(json, &binary).expect("a request").inputs;
        let floats = |at: usize| if let Data::Floats(values) = &inputs[at].data { values.clone() } else { Vec::new() };
        let bytes = |at: usize| if let Data::Bytes(values) = &inputs[at].data { values.clone() } else { Vec::new() };
        assert_eq!((floats(0), floats(1)), (vec![1.0, 2.0], vec![3.0, 4.0]));
        assert_eq!((bytes(2), bytes(3)), (vec![Bytes::from("hi"), Bytes::new()], vec![Bytes::from("hi")]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let input = |rest: &str| format!(r#"{{"inputs":[{{"name":"a","shape":[2],{rest}}}]}}"#);
        for (rest, binary, words) in [
            (r#""datatype":"FP32","data":[1]"#, &b""[..], "has 2 elements, but 1 numbers"),
            (r#""datatype":"FP32","data":["a","b"]"#, b"", "texts are given"),
            (r#""datatype":"INT8","data":[1,2]"#, b"", "not taken"),
            (r#""datatype":"FP32""#, b"", "neither data"),
            (r#""datatype":"FP32","data":[1,2],"parameters":{"binary_data_size":0}"#, b"", "both"),
            (r#""datatype":"FP32","parameters":{"binary_data_size":8}"#, b"1234", "4 bytes are left"),
            (r#""datatype":"FP32","parameters":{"binary_data_size":-1}"#, b"1234", "no number"),
            (r#""datatype":"FP32","parameters":{"binary_data_size":4}"#, b"1234", "has 2 elements"),
            (r#""datatype":"FP32","parameters":{"binary_data_size":8}"#, b"123456789", "1 bytes behind"),
            (r#""datatype":"BYTES","parameters":{"binary_data_size":5}"#, b"\xff\xff\xff\xffa", "beyond"),
            (r#""datatype":"BYTES","data":["a","b"]"#, b"", "no base64"),
        ] {
            let problem = read(&input(rest), binary).map(|_| ()).expect_err(rest);
            assert!(problem.status() == 400 && problem.detail().contains(words), "{rest}: {}", problem.detail());
        }
        let huge = r#"{"inputs":[{"name":"a","shape":[9223372036854775807,3],"datatype":"FP32","data":[]}]}"#;
        assert!(read(huge, b"").map(|_| ()).expect_err("too many").detail().contains("too many elements"));
        assert!(Infer::read(&Bytes::from("{}"), Some(3)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(length in 0usize..60, bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Infer::read(&bytes.clone().into(), Some(length));
            let json = r#"{"inputs":[{"name":"a","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":20}}]}"#;
            let _ = read(json, &bytes);
        }
    }
}
