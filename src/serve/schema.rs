//! What JSON answers hold, for the documentation; `detections::json` writes it.

use utoipa::ToSchema;

/// Bytes
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes what is written elsewhere")]
pub(super) struct Binary(Vec<u8>);

/// An event of a stream (server-sent)
#[expect(clippy::struct_field_names, reason = "named as in the stream")]
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written elsewhere")]
pub(super) struct Event {
    /// To go on after it: `Last-Event-ID`
    #[schema(required = false)]
    id: Option<String>,
    /// `missed` or `ended`; none of a line
    #[schema(required = false)]
    event: Option<String>,
    /// A line of `--json`; of `missed` how many lines are
    data: String,
}

/// Options of a stream: its source, and any option of `streamdet detect` that is a stream's own and names no file
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is read elsewhere")]
pub(super) struct StreamOptions {
    /// Of a scheme that may be started over HTTP (--allow)
    #[schema(example = "test:ball", pattern = "^[A-Za-z]+:")]
    source: String,
}

/// A frame or an image, as a line of `--json`
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written elsewhere")]
#[expect(clippy::struct_field_names, reason = "named as in the line")]
pub(super) struct Frame {
    /// Version of this form: fields are added to it, never renamed
    #[schema(example = 1)]
    schema: u32,
    /// Number of the stream; 0 of an image
    stream: u32,
    /// Number of the frame; 0 of an image
    frame: u64,
    /// Presentation time, ns; 0 of an image
    pts_ns: u64,
    /// Width as displayed, pixels
    width: u32,
    /// Height as displayed, pixels
    height: u32,
    /// By falling confidence
    detections: Vec<Detection>,
}

/// A detected object
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written elsewhere")]
pub(super) struct Detection {
    /// Index into the model's classes
    class_id: u16,
    /// Name of the class
    #[schema(example = "car")]
    class: String,
    /// 0 to 1
    #[schema(minimum = 0.0, maximum = 1.0)]
    confidence: f32,
    /// x1, y1, x2, y2, pixels of the image as displayed
    #[schema(min_items = 4, max_items = 4)]
    r#box: Vec<f32>,
    /// The object's number where it is tracked; none in an image
    #[schema(required = true)]
    track_id: Option<u32>,
}

/// A form with one file
#[derive(ToSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what is read elsewhere")]
pub(super) struct Upload {
    /// The image
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
}

/// An error (RFC 9457)
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written elsewhere")]
pub(super) struct ProblemDocument {
    /// What kind of problem it is
    #[schema(example = "about:blank")]
    r#type: String,
    /// The status in words
    title: String,
    /// The status
    status: u16,
    /// What happened, and what to do
    #[schema(required = false)]
    detail: Option<String>,
    /// The same, as the Open Inference Protocol has it; below /v2 only
    #[schema(required = false)]
    error: Option<String>,
}
