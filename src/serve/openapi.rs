//! What the server offers, as `OpenAPI` 3.1 has it, made of the handlers themselves, and a page that shows it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use utoipa::OpenApi;

use super::detect;
use super::health;
use super::inference::routes;
use super::schema::ProblemDocument;
use crate::model::Model;

/// A side of the model's input, 32 to 2048, as a pattern.
const SIDE: &str = "(3[2-9]|[4-9][0-9]|[1-9][0-9]{2}|1[0-9]{3}|20[0-3][0-9]|204[0-8])";
/// Tiles, as a pattern.
const TILES: &str = "^(auto|[1-9]|[1-5][0-9]|6[0-4]|[1-8]x[1-8])(@0(\\.[0-4][0-9]{0,2}|\\.50{0,2})?)?$";

/// A stream's name, as a pattern.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$";

/// What any operation may be answered with, and why.
const COMMON: [(&str, &str); 9] = [
    ("400", "The request is wrong: the detail says what"),
    ("401", "The token is missing or another"),
    ("403", "A page of another origin asks"),
    ("408", "The body did not come in time"),
    ("413", "The body is too long"),
    ("415", "The body is compressed in a way that is not known"),
    ("421", "The Host header names another machine"),
    ("500", "The program failed"),
    ("503", "Too many requests wait, or the program is not ready: try again later"),
];

/// Operations and schemas.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "streamdet",
        description = "Images in, detections out; probes and metrics. Errors are problem documents (RFC 9457). Where the server has a token, \
                       it is sent as Authorization: Bearer TOKEN."
    ),
    paths(
        detect::detect,
        routes::server,
        routes::live,
        routes::ready,
        routes::model,
        routes::model_version,
        routes::model_ready,
        routes::version_ready,
        routes::infer,
        routes::infer_version,
        health::healthz,
        health::readyz,
        health::metrics,
    ),
    components(schemas(ProblemDocument))
)]
struct Described;

/// The document, with what others describe; `has_token`: one has to be sent.
pub(super) fn document(model: &Model, has_token: bool, more: Vec<utoipa::openapi::OpenApi>) -> Value {
    let mut described = Described::openapi();
    for other in more {
        described.merge(other);
    }
    let mut document = serde_json::to_value(described).unwrap_or_default();
    document["info"].as_object_mut().map(|info| info.remove("contact"));
    if has_token {
        document["components"]["securitySchemes"] = json!({ "token": { "type": "http", "scheme": "bearer" } });
    }
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        let operations = operations.as_object_mut().into_iter().flat_map(Map::values_mut);
        for operation in operations.filter_map(Value::as_object_mut) {
            complete(operation, (path, model), has_token);
        }
    }
    document
}

/// Adds to an operation what all have.
fn complete(operation: &mut Map<String, Value>, (path, model): (&str, &Model), has_token: bool) {
    let is_open = operation.get("security").and_then(Value::as_array).is_some_and(|any| any.contains(&json!({})));
    operation.remove("security");
    if has_token && !is_open {
        operation.insert("security".into(), json!([{ "token": [] }]));
    }
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    if let Some(responses) = responses.as_object_mut() {
        for (status, description) in COMMON {
            responses.entry(status).or_insert_with(|| json!({ "description": description }));
        }
        for (status, response) in responses {
            if status.starts_with(['4', '5']) {
                let schema = json!({ "$ref": "#/components/schemas/ProblemDocument" });
                response["content"] = json!({ "application/problem+json": { "schema": schema } });
            }
        }
    }
    let names = model.classes.iter().cloned().chain((0..model.classes.len()).map(|id| id.to_string()));
    let names: Vec<String> = names.filter(|name| !name.contains(',') && name.trim() == name).collect();
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        match parameter["name"].as_str() {
            Some("classes") => {
                let items = json!({ "type": "string", "enum": names });
                parameter["schema"] = json!({ "type": "array", "items": items, "minItems": 1 });
            }
            Some("imgsz") => parameter["schema"]["pattern"] = format!("^{SIDE}([xX]{SIDE})?$").into(),
            Some("tile") => parameter["schema"]["pattern"] = TILES.into(),
            Some("name") if parameter["in"] == "path" && path.starts_with("/v2/") => {
                parameter["example"] = model.name.as_str().into();
            }
            Some("name") if parameter["in"] == "path" => {
                parameter["example"] = "gate".into();
                parameter["schema"]["pattern"] = NAME.into();
            }
            Some("version") if parameter["in"] == "path" => parameter["example"] = "1".into(),
            _ => {}
        }
    }
}

/// What is served.
struct Pages {
    document: String,
    docs: String,
    policy: String,
}

/// `/openapi.json` and `/docs`.
pub(super) fn routes(document: &Value) -> Router {
    let (style, script) = (include_str!("docs/docs.css"), include_str!("docs/docs.js"));
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let docs = include_str!("docs/docs.html").replace("{STYLE}", style).replace("{SCRIPT}", script);
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(style),
        hash(script)
    );
    let pages = Pages { document: document.to_string(), docs, policy };
    Router::new().route("/openapi.json", get(openapi)).route("/docs", get(docs_page)).with_state(Arc::new(pages))
}

async fn openapi(State(pages): State<Arc<Pages>>) -> Response {
    ([(CONTENT_TYPE, "application/json")], pages.document.clone()).into_response()
}

async fn docs_page(State(pages): State<Arc<Pages>>) -> Response {
    let kind = "text/html; charset=utf-8".to_owned();
    ([(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, pages.policy.clone())], pages.docs.clone()).into_response()
}
