//! The protocol's paths.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::try_join_all;
use serde::Serialize;

use super::reply::{LENGTH, ReplySchema, Tensor, Values, written};
use super::request::{Data, Infer, InferSchema, Input};
use super::served::{DETECTED, IMAGE, Live, ModelMetadata, ModelReady, Ready, ServerMetadata, VERSION, any};
use crate::detection::Detection;
use crate::geometry::Size;
use crate::serve::aside::aside;
use crate::serve::detect::whole;
use crate::serve::images::Looked;
use crate::serve::parameters::{MOST_SEEN, check_views};
use crate::serve::problem::Problem;
use crate::serve::state::Api;
use crate::tensor::{InputShape, InputTensor};

/// Images of a request.
const IMAGES: usize = 64;

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => Problem::failed(error.to_string()).into_response(),
    }
}

/// What the server is
#[utoipa::path(get, path = "/v2", tag = "Open Inference Protocol", responses((status = 200, description = "Name, version and extensions", body = ServerMetadata)))]
pub async fn server() -> Response {
    let extensions = ["binary_tensor_data"];
    json(StatusCode::OK, &ServerMetadata { name: "streamdet", version: env!("CARGO_PKG_VERSION"), extensions })
}

/// Whether the server is alive
#[utoipa::path(get, path = "/v2/health/live", tag = "Open Inference Protocol", responses((status = 200, description = "It is", body = Live)), security(()))]
pub async fn live() -> Response {
    json(StatusCode::OK, &Live { live: true })
}

/// Whether the server takes requests
#[utoipa::path(get, path = "/v2/health/ready", tag = "Open Inference Protocol", responses((status = 200, description = "It does", body = Ready)), security(()))]
pub async fn ready(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    if !takes(&api) {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the program takes no requests now"));
    }
    Ok(json(StatusCode::OK, &Ready { ready: true }))
}

fn takes(api: &Api) -> bool {
    !api.work.has_ended() && (api.is_ready)()
}

type Name = Result<Path<String>, PathRejection>;
type NameAndVersion = Result<Path<(String, String)>, PathRejection>;

/// Refuses every model and version but the one there is.
fn check(api: &Api, name: &str, version: Option<&str>) -> Result<(), Problem> {
    let own = &api.model.name;
    if name != own {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no model {name:?}; there is {own:?}")));
    }
    if let Some(version) = version.filter(|version| *version != VERSION) {
        let detail = format!("the model has no version {version:?}; it has {VERSION:?}");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    Ok(())
}

fn path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    path.map(|Path(path)| path).map_err(|rejection| Problem::bad(rejection.body_text()))
}

/// What the model takes and gives
#[utoipa::path(get, path = "/v2/models/{name}", tag = "Open Inference Protocol", params(("name" = String, Path, description = "The model")), responses((status = 200, description = "Its tensors", body = ModelMetadata), (status = 404, description = "There is no such model")))]
pub async fn model(State(api): State<Arc<Api>>, name: Name) -> Result<Response, Problem> {
    check(&api, &path(name)?, None)?;
    Ok(json(StatusCode::OK, &api.served.metadata))
}

/// What a version of the model takes and gives
#[utoipa::path(get, path = "/v2/models/{name}/versions/{version}", tag = "Open Inference Protocol", params(("name" = String, Path, description = "The model"), ("version" = String, Path, description = "Its version")), responses((status = 200, description = "Its tensors", body = ModelMetadata), (status = 404, description = "There is no such model or version")))]
pub async fn model_version(State(api): State<Arc<Api>>, given: NameAndVersion) -> Result<Response, Problem> {
    let (name, version) = path(given)?;
    check(&api, &name, Some(&version))?;
    Ok(json(StatusCode::OK, &api.served.metadata))
}

/// Whether the model takes requests
#[utoipa::path(get, path = "/v2/models/{name}/ready", tag = "Open Inference Protocol", params(("name" = String, Path, description = "The model")), responses((status = 200, description = "It does", body = ModelReady), (status = 404, description = "There is no such model")))]
pub async fn model_ready(State(api): State<Arc<Api>>, name: Name) -> Result<Response, Problem> {
    readiness(&api, path(name)?, None)
}

/// Whether a version of the model takes requests
#[utoipa::path(get, path = "/v2/models/{name}/versions/{version}/ready", tag = "Open Inference Protocol", params(("name" = String, Path, description = "The model"), ("version" = String, Path, description = "Its version")), responses((status = 200, description = "It does", body = ModelReady), (status = 404, description = "There is no such model or version")))]
pub async fn version_ready(State(api): State<Arc<Api>>, given: NameAndVersion) -> Result<Response, Problem> {
    let (name, version) = path(given)?;
    readiness(&api, name, Some(&version))
}

fn readiness(api: &Api, name: String, version: Option<&str>) -> Result<Response, Problem> {
    check(api, &name, version)?;
    if !takes(api) {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the program takes no requests now"));
    }
    Ok(json(StatusCode::OK, &ModelReady { name, ready: true }))
}

/// Run the model
///
/// With its own input (FP32, [N,3,H,W], as preprocessing makes it) the model's own outputs are given; with `image` (BYTES, [N]:
/// JPEG, PNG, WebP, BMP or TIFF; in JSON as base64) `boxes` [N,max,4] (x1, y1, x2, y2, pixels), `scores` [N,max], `classes` [N,max]
/// and `num_detections` [N], where what lies behind `num_detections` is 0 (-1 in `classes`). The request's `parameters` are those of /v1/detect.
/// With the header Inference-Header-Content-Length, JSON of that length is followed by binary tensors.
#[utoipa::path(post, path = "/v2/models/{name}/infer", tag = "Open Inference Protocol", params(("name" = String, Path, description = "The model"), ("Inference-Header-Content-Length" = Option<u64>, Header, description = "Length of the JSON before binary tensors, bytes")), request_body(description = "Input tensors", content((InferSchema = "application/json"), (crate::serve::schema::Binary = "application/octet-stream"))), responses((status = 200, description = "Output tensors", content((ReplySchema = "application/json"), (crate::serve::schema::Binary = "application/octet-stream"))), (status = 404, description = "There is no such model")))]
pub async fn infer(
    State(api): State<Arc<Api>>,
    name: Name,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    inferred(api, (path(name)?, None), headers, request).await
}

/// Run a version of the model
#[utoipa::path(post, path = "/v2/models/{name}/versions/{version}/infer", tag = "Open Inference Protocol", params(("name" = String, Path, description = "The model"), ("version" = String, Path, description = "Its version"), ("Inference-Header-Content-Length" = Option<u64>, Header, description = "Length of the JSON before binary tensors, bytes")), request_body(description = "Input tensors", content((InferSchema = "application/json"), (crate::serve::schema::Binary = "application/octet-stream"))), responses((status = 200, description = "Output tensors", content((ReplySchema = "application/json"), (crate::serve::schema::Binary = "application/octet-stream"))), (status = 404, description = "There is no such model or version")))]
pub async fn infer_version(
    State(api): State<Arc<Api>>,
    given: NameAndVersion,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let (name, version) = path(given)?;
    inferred(api, (name, Some(version)), headers, request).await
}

async fn inferred(
    api: Arc<Api>,
    (name, version): (String, Option<String>),
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    check(&api, &name, version.as_deref())?;
    let length = match headers.get(LENGTH) {
        None => None,
        Some(length) => {
            let number = length.to_str().ok().and_then(|length| length.trim().parse::<usize>().ok());
            Some(number.ok_or_else(|| Problem::bad("Inference-Header-Content-Length is no number"))?)
        }
    };
    let body = whole(request.into_body()).await?;
    let place = api.work.place()?;
    let mut infer = aside(move || Infer::read(&body, length)).await??;
    let (Some(input), true) = (infer.inputs.pop(), infer.inputs.is_empty()) else {
        return Err(Problem::bad(format!(
            "one input is taken, {} or {IMAGE}; the request has several",
            api.model.port.name
        )));
    };
    let tensors = match input.data {
        Data::Bytes(_) if input.name == IMAGE => images(&api, &infer, input).await?,
        Data::Floats(_) if input.name == api.model.port.name => own(&api, input).await?,
        _ => {
            let own = &api.model.port.name;
            let detail = format!(
                "input {:?} of {} is not taken: send {own:?}, FP32 [N,3,H,W], or {IMAGE:?}, BYTES [N]",
                input.name,
                input.datatype()
            );
            return Err(Problem::bad(detail));
        }
    };
    drop(place);
    let tensors = infer.choose(tensors)?;
    aside(move || written(&name, infer.id, &tensors)).await?
}

/// The model's own outputs.
async fn own(api: &Api, input: Input) -> Result<Vec<Tensor>, Problem> {
    let model = &api.model;
    let wrong = |expected: &str| {
        Problem::bad(format!("input {:?} has shape {:?}, but the model takes {expected}", input.name, input.shape))
    };
    let &[batch, 3, height, width] = input.shape.as_slice() else { return Err(wrong("[N,3,H,W]")) };
    if model.batch.is_some_and(|fixed| fixed != batch) || batch == 0 {
        return Err(wrong(&format!("N = {}", model.batch.map_or("1 or more".into(), |fixed| fixed.to_string()))));
    }
    let side = |side: usize| u32::try_from(side).ok().filter(|side| *side > 0);
    let size = side(height).zip(side(width)).map(|(height, width)| Size { width, height });
    let Some(size) = size else { return Err(wrong("sides of 1 pixel or more")) };
    if let Some(fixed) = model.static_size.filter(|fixed| *fixed != size) {
        return Err(wrong(&format!("H = {}, W = {}", fixed.height, fixed.width)));
    }
    let stride = model.stride.max(1);
    if model.static_size.is_none() && !(size.width.is_multiple_of(stride) && size.height.is_multiple_of(stride)) {
        return Err(wrong(&format!("sides that are multiples of {stride}")));
    }
    let shape = InputShape { batch, size };
    if shape.frame_len() as u64 / 3 * batch as u64 > MOST_SEEN {
        return Err(wrong(&format!("{MOST_SEEN} pixels at most")));
    }
    let Data::Floats(values) = input.data else { return Err(Problem::bad("FP32 is taken")) };
    let tensor =
        InputTensor::of(shape, values).ok_or_else(|| Problem::bad("the data has another length than the shape"))?;
    let outputs = api.work.run(api.defaults.get().wanted.clone(), tensor).await?;
    let known = |name: &str| api.served.own.iter().any(|own| own == name);
    let outputs = outputs.into_iter().filter(|output| known(&output.name));
    Ok(outputs
        .map(|output| Tensor { name: output.name, shape: output.shape, values: Values::F32(output.data) })
        .collect())
}

/// What is detected in encoded images.
async fn images(api: &Api, infer: &Infer, input: Input) -> Result<Vec<Tensor>, Problem> {
    let wanted = infer.parameters()?.wanted(&api.defaults.get().wanted, &api.model)?;
    let Data::Bytes(images) = input.data else { return Err(Problem::bad("BYTES is taken")) };
    if input.shape.len() != 1 || images.is_empty() || images.len() > IMAGES {
        let detail = format!("input {IMAGE:?} has shape {:?}, but [N] is taken, N from 1 to {IMAGES}", input.shape);
        return Err(Problem::bad(detail));
    }
    let images = try_join_all(images.into_iter().map(|image| api.images.look(image))).await.map_err(as_bad)?;
    let mut pixels = 0;
    for Looked { size, .. } in &images {
        check_views(&wanted, &api.model, *size)?;
        pixels += size.pixels();
    }
    api.images.fit(pixels)?;
    let (mut left, mut found) = (images.into_iter(), Vec::new());
    // Others have their turns between two pieces.
    loop {
        let piece: Vec<_> = left.by_ref().take(api.work.piece()).collect();
        if piece.is_empty() {
            return Ok(detected(&found));
        }
        let turn = api.work.turn(piece.len()).await?;
        let decoded = try_join_all(piece.into_iter().map(|image| api.images.decode(image))).await.map_err(as_bad)?;
        let (frames, held): (Vec<_>, Vec<_>) = decoded.into_iter().map(|decoded| (decoded.frame, decoded.held)).unzip();
        let frames = api.work.detect(wanted.clone(), frames).await?;
        found.extend(frames.into_iter().map(|frame| frame.detections));
        drop((held, turn));
    }
}

/// Of an image among tensors: it is the request that is wrong.
fn as_bad(problem: Problem) -> Problem {
    if problem.is_busy() || problem.status().is_server_error() { problem } else { Problem::bad(problem.detail()) }
}

fn detected(found: &[Vec<Detection>]) -> Vec<Tensor> {
    let (count, most) = (found.len(), found.iter().map(Vec::len).max().unwrap_or(0));
    let mut boxes = vec![0.0; count * most * 4];
    let (mut scores, mut classes) = (vec![0.0; count * most], vec![-1; count * most]);
    for (number, detections) in found.iter().enumerate() {
        for (place, detection) in detections.iter().enumerate() {
            let at = number * most + place;
            let b = detection.bbox;
            boxes[at * 4..][..4].copy_from_slice(&[b.x1, b.y1, b.x2, b.y2]);
            (scores[at], classes[at]) = (detection.confidence, i64::from(detection.class_id));
        }
    }
    let counts = found.iter().map(|detections| any(Some(detections.len()))).collect();
    let values = [Values::F32(boxes), Values::F32(scores), Values::I64(classes), Values::I64(counts)];
    let shapes = [vec![count, most, 4], vec![count, most], vec![count, most], vec![count]];
    let named = DETECTED.iter().zip(shapes).zip(values);
    named.map(|(((name, ..), shape), values)| Tensor { name: (*name).into(), shape, values }).collect()
}
