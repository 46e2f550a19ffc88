//! The Open Inference Protocol, as its clients speak it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{Answer, get, send};
use crate::fixture::{sample, shared};

const NAME: &str = "visdrone-nano";

#[track_caller]
fn infer(request: &Value, binary: Option<&[u8]>) -> Answer {
    let json = request.to_string();
    let header = format!("Inference-Header-Content-Length: {}", json.len());
    let headers: &[&str] = if binary.is_some() { &[&header] } else { &["Content-Type: application/json"] };
    let body = [json.as_bytes(), binary.unwrap_or_default()].concat();
    send(shared(), &format!("POST /v2/models/{NAME}/infer"), headers, &body)
}

/// A request with encoded images behind it.
fn with_images(images: &[&[u8]], more: &Value) -> (Value, Vec<u8>) {
    let mut binary = Vec::new();
    for image in images {
        binary.extend(u32::try_from(image.len()).expect("short").to_le_bytes());
        binary.extend(*image);
    }
    let parameters = json!({ "binary_data_size": binary.len() });
    let input = json!({ "name": "image", "shape": [images.len()], "datatype": "BYTES", "parameters": parameters });
    let mut request = json!({ "id": "7", "inputs": [input] });
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    (request, binary)
}

fn output<'a>(reply: &'a Value, name: &str) -> &'a Value {
    let outputs = reply["outputs"].as_array().expect("a list");
    outputs.iter().find(|output| output["name"] == name).unwrap_or_else(|| panic!("no {name}: {reply}"))
}

#[track_caller]
fn refused(answer: &Answer, status: u16, words: &str) {
    answer.problem(status);
    let error = answer.json()["error"].as_str().expect("as the protocol has it").to_owned();
    assert!(error.contains(words), "{error}");
}

#[test]
fn server_and_model_say_what_they_are() {
    let server = get(shared(), "/v2").json();
    assert!(server["name"] == "streamdet" && server["extensions"] == json!(["binary_tensor_data"]), "{server}");
    for path in [
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/visdrone-nano/ready",
        "/v2/models/visdrone-nano/versions/1/ready",
    ] {
        assert_eq!(get(shared(), path).status, 200, "{path}");
    }
    let model = get(shared(), "/v2/models/visdrone-nano").json();
    assert_eq!(model, get(shared(), "/v2/models/visdrone-nano/versions/1").json());
    assert_eq!(model["inputs"][1], json!({ "name": "image", "datatype": "BYTES", "shape": [-1] }));
    assert_eq!(model["inputs"][0]["shape"].as_array().map(Vec::len), Some(4), "{model}");
    for path in ["/v2/models/other", "/v2/models/other/ready", "/v2/models/visdrone-nano/versions/2"] {
        refused(&get(shared(), path), 404, "no");
    }
}

#[test]
fn the_models_own_tensor_gives_its_own_outputs_in_json_and_binary() {
    let model = get(shared(), &format!("/v2/models/{NAME}")).json();
    let (input, given) = (&model["inputs"][0]["name"], &model["outputs"][0]["name"]);
    let values: Vec<f32> = (0..3 * 96 * 96u16).map(|n| f32::from(n % 251) / 255.0).collect();
    let shape = json!([1, 3, 96, 96]);
    let request = json!({ "inputs": [{ "name": input, "shape": shape, "datatype": "FP32", "data": values }] });
    let reply = infer(&request, None);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = reply.json();
    let own = output(&reply, given.as_str().expect("a name"));
    assert!(reply["model_name"] == NAME && reply["model_version"] == "1" && own["datatype"] == "FP32", "{reply:.200}");
    let binary: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let input = json!({ "name": input, "shape": shape, "datatype": "FP32", "parameters": { "binary_data_size": binary.len() } });
    let request = json!({ "inputs": [input], "outputs": [{ "name": given, "parameters": { "binary_data": true } }] });
    let answer = infer(&request, Some(&binary));
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"), "{}", answer.text());
    let length: usize = answer.header("inference-header-content-length").expect("a length").parse().expect("a number");
    let (head, data) = answer.body.split_at(length);
    let head: Value = serde_json::from_slice(head).expect("JSON");
    let same = output(&head, given.as_str().expect("a name"));
    assert_eq!((&same["shape"], &same["parameters"]["binary_data_size"]), (&own["shape"], &json!(data.len())));
    let numbers: Vec<f64> = data.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four).into()).collect();
    let expected: Vec<f64> =
        own["data"].as_array().expect("numbers").iter().map(|n| n.as_f64().expect("one")).collect();
    assert_eq!(numbers.len(), expected.len());
    assert!(numbers.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1.0)), "the same outputs");
}

#[test]
fn encoded_images_give_the_boxes_of_detect() {
    let line = send(shared(), "POST /v1/detect?conf=0.4", &[], &sample()).json();
    let expected = line["detections"].as_array().expect("a list");
    let small = crate::fixture::converted("png", &["-vf", "scale=64:64"]);
    let (request, binary) = with_images(&[&sample(), &small], &json!({ "parameters": { "conf": 0.4 } }));
    let answer = infer(&request, Some(&binary));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let reply = answer.json();
    assert_eq!(reply["id"], "7");
    let most = expected.len();
    assert_eq!(output(&reply, "num_detections")["data"][0], json!(most));
    assert_eq!(output(&reply, "boxes")["shape"], json!([2, most, 4]));
    for (number, detection) in expected.iter().enumerate() {
        let b = &output(&reply, "boxes")["data"];
        assert_eq!(json!([b[number * 4], b[number * 4 + 1], b[number * 4 + 2], b[number * 4 + 3]]), detection["box"]);
        assert_eq!(output(&reply, "scores")["data"][number], detection["confidence"]);
        assert_eq!(output(&reply, "classes")["data"][number], detection["class_id"]);
    }
    // In JSON, as base64.
    let input = json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [STANDARD.encode(sample())] });
    let wished = json!([{ "name": "scores" }]);
    let reply = infer(&json!({ "inputs": [input], "parameters": { "conf": "0.4" }, "outputs": wished }), None).json();
    assert_eq!(reply["outputs"].as_array().map(Vec::len), Some(1));
    assert_eq!(output(&reply, "scores")["shape"], json!([1, most]));
}

#[test]
fn what_does_not_fit_the_model_is_refused_as_the_protocol_says() {
    let model = get(shared(), &format!("/v2/models/{NAME}")).json();
    let own = &model["inputs"][0]["name"];
    let tensor = |name: &Value, shape: Value, datatype: &str, count: usize| json!({ "inputs": [{ "name": name, "shape": shape, "datatype": datatype, "data": vec![0; count] }] });
    for (request, words) in [
        (tensor(own, json!([1, 1, 32, 32]), "FP32", 1024), "[N,3,H,W]"),
        (tensor(own, json!([3, 32, 32]), "FP32", 3072), "[N,3,H,W]"),
        (tensor(own, json!([1, 3, 33, 32]), "FP32", 3168), "multiples of"),
        (tensor(own, json!([0, 3, 32, 32]), "FP32", 0), "N ="),
        (tensor(own, json!([1, 3, 32, 32]), "FP32", 5), "3072 elements"),
        (tensor(own, json!([1, 3, 32, 32]), "INT32", 3072), "INT32"),
        (tensor(&json!("other"), json!([1, 3, 32, 32]), "FP32", 3072), "\"other\""),
        (json!({ "inputs": [] }), "one input"),
        (json!({}), "missing field"),
        (json!({ "inputs": [{ "name": "image", "shape": [1], "datatype": "BYTES", "data": ["aGVsbG8="] }] }), "hello"),
        (json!({ "inputs": [{ "name": "image", "shape": [0], "datatype": "BYTES", "data": [] }] }), "N from 1"),
    ] {
        refused(&infer(&request, None), 400, words);
    }
    let (mut request, binary) = with_images(&[&sample()], &json!({ "outputs": [{ "name": "none" }] }));
    refused(&infer(&request, Some(&binary)), 400, "no output \"none\"");
    request["outputs"] = json!([]);
    refused(&infer(&request, Some(&binary[..100])), 400, "bytes are left");
    refused(&send(shared(), "POST /v2/models/other/infer", &[], b"{}"), 404, "no model");
    refused(&send(shared(), "POST /v2", &[], b"{}"), 405, "GET");
}
