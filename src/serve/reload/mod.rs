//! `POST /v1/reload`: the configuration is read again.

mod apply;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::aside::aside;
use super::problem::Problem;
use crate::config::{Change, Effect};

pub use apply::{New, Running};

/// Reads the configuration again and applies what can be; what has changed.
pub type Reload = Arc<dyn Fn() -> Result<Vec<Change>, Problem> + Send + Sync>;

/// The route, and `reload` behind it.
pub fn routes(reload: Reload) -> Router {
    Router::new().route("/v1/reload", post(answer)).with_state(reload)
}

/// What it does.
#[must_use]
pub fn described() -> utoipa::openapi::OpenApi {
    Described::openapi()
}

#[derive(OpenApi)]
#[openapi(paths(answer))]
struct Described;

/// What a reload changed
#[derive(Serialize, ToSchema)]
struct Reloaded {
    /// Of the process first, then by stream
    changes: Vec<Changed>,
}

/// A difference between the configuration that ran and the new one
#[derive(Serialize, ToSchema)]
struct Changed {
    /// The stream's name; null: of the process and of requests
    stream: Option<String>,
    /// The setting; null: the whole stream
    key: Option<String>,
    /// When it applies
    applies: Applies,
    /// The same for people
    detail: String,
}

/// When a change applies
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Applies {
    /// At once
    Now,
    /// With the next start of the program
    Restart,
}

/// Read the configuration again
///
/// The configuration file (and what else the program was started with) is read again. Streams that are new start, those that are gone or
/// changed finish their outputs first; all others go on. What needs a restart of the program is said and stays as it is. SIGHUP does the same.
#[utoipa::path(
    post,
    path = "/v1/reload",
    tag = "Streams",
    responses(
        (status = 200, description = "What has changed", body = Reloaded),
        (status = 422, description = "The configuration cannot be used: nothing has changed"),
        (status = 500, description = "Streams that did not start; everything else is applied")
    )
)]
async fn answer(State(reload): State<Reload>) -> Result<Response, Problem> {
    let changes = aside(move || reload()).await??;
    let changes = changes.iter().map(Changed::of).collect();
    Ok(Json(Reloaded { changes }).into_response())
}

impl Changed {
    fn of(change: &Change) -> Self {
        let applies = if change.effect() == Effect::Restart { Applies::Restart } else { Applies::Now };
        let (stream, key) = (change.stream().map(str::to_owned), change.key().map(str::to_owned));
        Self { stream, key, applies, detail: change.to_string() }
    }
}
