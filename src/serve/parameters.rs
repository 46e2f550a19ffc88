//! What a request asks of the detector, checked as the command line checks it.

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::Problem;
use crate::detector::Wanted;
use crate::geometry::{Size, input_size};
use crate::model::Model;
use crate::text::{fraction, nearest};
use crate::tiling::Tiling;

/// Detections a frame, at most.
const MAX_DET: usize = 10_000;
/// A side of the model's input, pixels, at most.
const LARGEST_SIDE: u32 = 2048;
/// Pixels that the model sees of one image, tiles and all: 65 views of 640x640, or seven of 2048x2048. A tensor of them takes 400 MB.
pub(super) const MOST_SEEN: u64 = 32 << 20;

/// How images are seen, and what is kept; what is left out is as the program was started with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Confidence threshold, 0 to 1
    #[param(value_type = f32, required = false, minimum = 0.0, maximum = 1.0, example = 0.25)]
    pub conf: Option<String>,
    /// `IoU` threshold of NMS, 0 to 1
    #[param(value_type = f32, required = false, minimum = 0.0, maximum = 1.0, example = 0.7)]
    pub iou: Option<String>,
    /// Detect only these classes: names or ids, comma separated
    #[param(value_type = Vec<String>, required = false, style = Form, explode = false)]
    pub classes: Option<String>,
    /// Detections an image, at most
    #[param(value_type = u32, required = false, minimum = 1, maximum = 10_000, example = 300)]
    pub max_det: Option<String>,
    /// Input size, N or `HxW`, each from 32 to 2048, for models with a dynamic input
    #[param(value_type = String, required = false, example = "640")]
    pub imgsz: Option<String>,
    /// Infer tiles as well as the whole image: auto, N or `COLSxROWS`, with @OVERLAP
    #[param(value_type = String, required = false, example = "2x2")]
    pub tile: Option<String>,
}

impl Parameters {
    /// What is wanted, where `usual` is what is wanted otherwise.
    pub fn wanted(&self, usual: &Wanted, model: &Model) -> Result<Wanted, Problem> {
        let mut wanted = usual.clone();
        let refused = |name: &str, value: &str, problem: &dyn std::fmt::Display| {
            Problem::bad(format!("{name}={value}: {problem}"))
        };
        if let Some(conf) = &self.conf {
            wanted.thresholds.conf = fraction(conf).map_err(|e| refused("conf", conf, &e))?;
        }
        if let Some(iou) = &self.iou {
            wanted.thresholds.iou = fraction(iou).map_err(|e| refused("iou", iou, &e))?;
        }
        if let Some(most) = &self.max_det {
            let number = most.parse().ok().filter(|most| (1..=MAX_DET).contains(most));
            let number = number.ok_or_else(|| refused("max_det", most, &format!("give a number from 1 to {MAX_DET}")));
            wanted.thresholds.max_det = number?;
        }
        if let Some(classes) = &self.classes {
            wanted.thresholds.classes = Some(kept(classes, model)?);
        }
        if let Some(size) = &self.imgsz {
            let is_plain = size.split(['x', 'X']).all(|side| !side.starts_with(['0', '+']));
            let sides = input_size(size).ok().filter(|size| is_plain && size.width.max(size.height) <= LARGEST_SIDE);
            let expected = format!("give N or HxW, each from 32 to {LARGEST_SIDE}");
            wanted.imgsz = sides.ok_or_else(|| refused("imgsz", size, &expected))?;
        }
        if let Some(tile) = &self.tile {
            wanted.tiling = Some(tile.parse::<Tiling>().map_err(|e| refused("tile", tile, &e))?);
        }
        Ok(wanted)
    }
}

/// By class id: whether it is kept.
fn kept(classes: &str, model: &Model) -> Result<Vec<bool>, Problem> {
    let names = &model.classes;
    let mut keep = vec![false; names.len()];
    for class in classes.split(',').map(str::trim) {
        let id = names.iter().position(|name| name.eq_ignore_ascii_case(class)).or_else(|| class.parse().ok());
        let Some(slot) = id.and_then(|id| keep.get_mut(id)) else {
            let near = nearest(class, names.iter()).map_or("", String::as_str);
            let (model, last) = (&model.name, names.len().saturating_sub(1));
            return Err(Problem::bad(format!(
                "classes={class}: {model} has no such class; the nearest is {near:?}, ids are 0 to {last}"
            )));
        };
        *slot = true;
    }
    Ok(keep)
}

/// Checks that the model is not asked to see more of an image of this size than memory has room for.
pub(super) fn check_views(wanted: &Wanted, model: &Model, image: Size) -> Result<(), Problem> {
    let input = model.static_size.unwrap_or(wanted.imgsz);
    let views = wanted.tiling.map_or(1, |tiling| u64::from(tiling.grid(image, input).count()) + 1);
    let seen = views.saturating_mul(input.pixels());
    if seen > MOST_SEEN {
        let detail =
            format!("imgsz and tile ask for {views} views of {}x{}: give a smaller one", input.height, input.width);
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    Ok(())
}
