//! What the routes for images share.

use std::sync::Arc;

use super::defaults::SharedDefaults;
use super::drawing::Drawing;
use super::images::Images;
use super::inference::Served;
use super::work::Work;
use crate::model::Model;

/// The detector, its model, and what decodes and draws.
pub(super) struct Api {
    pub work: Work,
    pub model: Model,
    pub defaults: SharedDefaults,
    pub images: Arc<Images>,
    pub drawing: Arc<Drawing>,
    pub served: Served,
    pub is_ready: Box<dyn Fn() -> bool + Send + Sync>,
}
