//! `POST /v1/detect`: an image in, its detections or the annotated image out.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, Multipart, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::accept::preferred;
use super::parameters::{Parameters, check_views};
use super::problem::Problem;
use super::schema::Frame;
use super::state::Api;
use crate::detections::json::write_line;
use crate::stills::Kind;

/// What is given: JSON where a client has no wish.
const KINDS: [&str; 3] = ["application/json", "image/jpeg", "image/png"];

/// Detect objects in an image
///
/// The image is the body, or the one file of a form. JPEG, PNG, WebP, BMP and TIFF are taken, of several frames or pages the
/// first; turned as their EXIF orientation says. What is given goes by `Accept`: the detections as a line of `--json`, or the image with boxes drawn.
#[utoipa::path(
    post,
    path = "/v1/detect",
    tag = "Images",
    params(Parameters),
    request_body(
        description = "The image",
        content(
            (super::schema::Binary = "image/*"),
            (super::schema::Binary = "application/octet-stream"),
            (super::schema::Upload = "multipart/form-data")
        )
    ),
    responses(
        (status = 200, description = "What was detected", content(
            (Frame = "application/json"),
            (super::schema::Binary = "image/jpeg"),
            (super::schema::Binary = "image/png")
        )),
        (status = 406, description = "No kind that is accepted is given"),
        (status = 413, description = "The body is too long, or the image has too many pixels"),
        (status = 415, description = "The body is no image of a kind that is taken"),
        (status = 422, description = "The image is damaged")
    )
)]
pub(super) async fn detect(
    State(api): State<Arc<Api>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let Query(parameters) = parameters.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    let defaults = api.defaults.get();
    let wanted = parameters.wanted(&defaults.wanted, &api.model)?;
    let kind = preferred(&headers, &KINDS)?;
    let bytes = image(&headers, request).await?;
    let place = api.work.place()?;
    let image = api.images.look(bytes).await?;
    check_views(&wanted, &api.model, image.size)?;
    let turn = api.work.turn(1).await?;
    let decoded = api.images.decode(image).await?;
    let mut frames = api.work.detect(wanted, vec![decoded.frame]).await?;
    drop((place, turn));
    let frame = frames.pop().ok_or_else(|| Problem::failed("the detector gave no frame back"))?;
    let body = match kind {
        0 => {
            let mut line = Vec::new();
            let written = write_line(&mut line, &frame, frame.pixels.info().size, &api.model.classes);
            written.map_err(|error| Problem::failed(error.to_string()))?;
            line
        }
        1 => api.drawing.annotated(frame, Kind::Jpeg, defaults).await?,
        _ => api.drawing.annotated(frame, Kind::Png, defaults).await?,
    };
    Ok(([(CONTENT_TYPE, KINDS[kind])], body).into_response())
}

/// The image that a request carries.
async fn image(headers: &HeaderMap, request: Request) -> Result<Bytes, Problem> {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    match kind.as_deref() {
        Some(kind) if kind.starts_with("multipart/form-data") => only_file(request).await,
        // Whatever it is called, what it is is seen in its bytes.
        None => whole(request.into_body()).await,
        Some(kind) if kind.starts_with("image/") || kind.starts_with("application/octet-stream") => {
            whole(request.into_body()).await
        }
        Some(kind) => {
            let detail = format!(
                "{kind} is no image: send one as image/jpeg, image/png, image/webp, image/bmp, image/tiff or application/octet-stream, \
                 or as the file of a multipart/form-data form"
            );
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
        }
    }
}

/// A body that is here already.
pub(super) async fn whole(body: Body) -> Result<Bytes, Problem> {
    to_bytes(body, usize::MAX).await.map_err(|_| Problem::bad("the body cannot be read"))
}

/// The file of a form that has one.
async fn only_file(request: Request) -> Result<Bytes, Problem> {
    let wrong = |problem: &dyn std::fmt::Display| Problem::bad(format!("the form cannot be read: {problem}"));
    let mut form = Multipart::from_request(request, &()).await.map_err(|e| wrong(&e.body_text()))?;
    let mut file = None;
    while let Some(field) = form.next_field().await.map_err(|e| wrong(&e.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        if field.file_name().is_none() {
            return Err(Problem::bad(format!(
                "the form's field {name:?} is no file; parameters are given in the query"
            )));
        }
        let bytes = field.bytes().await.map_err(|e| wrong(&e.body_text()))?;
        if file.replace(bytes).is_some() {
            return Err(Problem::bad("the form has several files: send one"));
        }
    }
    file.ok_or_else(|| Problem::bad("the form has no file"))
}
