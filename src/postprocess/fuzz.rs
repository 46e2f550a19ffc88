//! Whatever model is recognised by facts from outside, its outputs are read or refused, and nothing panics.
//!
//! 256 cases in `make test`, a million in `make fuzz` (`PROPTEST_CASES`).

use proptest::prelude::*;

use super::{Postprocessor, Thresholds};
use crate::geometry::{Letterbox, Size};
use crate::model::Model;
use crate::model::facts::OnnxFacts;
use crate::model::fuzz::models;
use crate::tensor::OutputView;

/// The outputs as a run might give them, of as many of the stated dimensions as a test can hold.
fn run(model: &Model, facts: &OnnxFacts, fill: f32) {
    const OPEN: usize = 84;
    let shapes: Vec<Vec<usize>> =
        facts.outputs.iter().map(|o| o.dims.iter().map(|d| d.fixed().unwrap_or(OPEN)).collect()).collect();
    let lengths: Vec<usize> =
        shapes.iter().map(|s| s.iter().try_fold(1usize, |a, b| a.checked_mul(*b)).unwrap_or(usize::MAX)).collect();
    if lengths.iter().any(|n| *n > 1 << 16) {
        return;
    }
    let data: Vec<Vec<f32>> = lengths.iter().map(|n| vec![fill; *n]).collect();
    let views: Vec<OutputView<'_>> = (facts.outputs.iter().zip(&shapes).zip(&data))
        .map(|((output, shape), data)| OutputView { name: &output.name, shape, data })
        .collect();
    let frame = Size { width: 128, height: 96 };
    let tensor = model.tensor_size(frame, model.default_size);
    let letterbox = Letterbox::fit(frame, tensor, model.input.placement);
    let thresholds = Thresholds { conf: 0.25, iou: 0.5, max_det: 300, agnostic: false, classes: None };
    let mut found = Vec::new();
    let outcome = Postprocessor::new(model.layout, model.classes.len()).run(
        &views,
        0,
        tensor,
        &letterbox,
        &thresholds,
        &mut found,
    );
    assert!(outcome.is_err() || found.len() <= 300);
}

proptest! {
    #[test]
    fn outputs_of_recognised_models(model in models(), fill in prop::sample::select(vec![0.0, 0.5, 2.0, f32::NAN])) {
        if let Some((model, facts)) = model {
            run(&model, &facts, fill);
        }
    }
}
