//! What a request gets where it does not say.

use std::sync::{Arc, PoisonError, RwLock};

use crate::detector::Wanted;
use crate::frame::pixelate::Pixelation;
use crate::overlay::Style;

/// What a request gets where it does not say.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Of the detector.
    pub wanted: Wanted,
    /// How boxes are drawn.
    pub style: Style,
    /// Which boxes are pixelated in annotated images.
    pub pixelation: Pixelation,
}

/// The same for all routes; a reload changes them.
#[derive(Debug, Clone)]
pub struct SharedDefaults(Arc<RwLock<Arc<Defaults>>>);

impl SharedDefaults {
    /// These, at first.
    #[must_use]
    pub fn new(defaults: Defaults) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(defaults))))
    }

    /// As they are now.
    #[must_use]
    pub fn get(&self) -> Arc<Defaults> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For requests from now on.
    pub fn set(&self, defaults: Defaults) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(defaults);
    }
}
