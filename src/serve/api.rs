//! What images are sent to: `POST /v1/detect` and the Open Inference Protocol, with the page that says how.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::defaults::SharedDefaults;
use super::detect::detect;
use super::drawing::Drawing;
use super::images::Images;
use super::inference::{Served, routes};
use super::openapi;
use super::state::Api;
use super::work::Work;
use crate::clock::Clock;
use crate::detector::Service;
use crate::model::Model;
use crate::model::facts::TensorFacts;
use crate::source::SourceError;

/// What images are detected with.
pub struct ApiOptions {
    /// The detector, which streams may share.
    pub service: Arc<Service>,
    /// Its model.
    pub model: Model,
    /// The model's outputs, as [`inspect`](crate::inference::inspect) finds them.
    pub outputs: Vec<TensorFacts>,
    /// What a request gets where it does not say.
    pub defaults: SharedDefaults,
    /// Pixels of an image, at most; `--max-pixels`.
    pub max_pixels: u64,
    /// Where stamps come from.
    pub clock: Arc<dyn Clock>,
    /// Whether requests have to show a token.
    pub has_token: bool,
    /// Whether requests are taken: `/readyz` says the same.
    pub is_ready: Box<dyn Fn() -> bool + Send + Sync>,
}

/// The routes. `more` describes those of others, which `/openapi.json` shows as well.
///
/// # Errors
/// When `GStreamer` does not start.
pub fn api(options: ApiOptions, more: Vec<utoipa::openapi::OpenApi>) -> Result<Router, SourceError> {
    let ApiOptions { service, model, outputs, defaults, max_pixels, clock, has_token, is_ready } = options;
    let document = openapi::document(&model, has_token, more);
    let api = Arc::new(Api {
        work: Work::new(service),
        images: Arc::new(Images::new(max_pixels, clock)?),
        drawing: Arc::new(Drawing::new(model.classes.clone())),
        served: Served::new(&model, &outputs),
        is_ready,
        defaults,
        model,
    });
    let router = Router::new()
        .route("/v1/detect", post(detect))
        .route("/v2", get(routes::server))
        .route("/v2/health/live", get(routes::live))
        .route("/v2/health/ready", get(routes::ready))
        .route("/v2/models/{name}", get(routes::model))
        .route("/v2/models/{name}/ready", get(routes::model_ready))
        .route("/v2/models/{name}/infer", post(routes::infer))
        .route("/v2/models/{name}/versions/{version}", get(routes::model_version))
        .route("/v2/models/{name}/versions/{version}/ready", get(routes::version_ready))
        .route("/v2/models/{name}/versions/{version}/infer", post(routes::infer_version))
        .with_state(api);
    Ok(router.merge(openapi::routes(&document)))
}
